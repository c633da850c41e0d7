package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestPeerFlags(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		want string // in the error; empty if there is none
	}{
		{"", ""},
		{"--instance 3", ""},
		{"--instance 3 --peer 1=a:5432 --peer 255=b:5432", ""},
		{"--instance 3 --peer 1=a:5432,2=b:5432", ""},
		{"--peer 1=a:5432", "--peer 1=a:5432: --instance must give this gateway a number of its own"},
		{"--instance 1 --peer 1=a:5432", "--peer 1=a:5432: --instance must give this gateway a number of its own"},
		{"--instance 1 --peer 0=a:5432", "--peer 0=a:5432: the number must be 1 to 255"},
		{"--instance 1 --peer 256=a:5432", "--peer 256=a:5432: the number must be 1 to 255"},
		{"--instance 1 --peer db=a:5432", "--peer db=a:5432: the number must be 1 to 255"},
		{"--instance 1 --peer 2=a", "--peer 2=a: the address must be HOST:PORT"},
		{"--instance 256", "value out of range"},
		{"--instance 1 --peer a:5432", "must be formatted as key=value"},
		{"--instance 1 --peer 2=a:5432 --peer-ca /nowhere.pem", "read --peer-ca"},
		{"--instance 1 --peer 2=a:5432 --peer-ca " + notPEM, "holds no PEM certificate"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var flags peerFlags
			cmd := &cobra.Command{Use: "gateway"}
			flags.add(cmd)
			err := cmd.ParseFlags(strings.Fields(test.args))
			if err == nil {
				_, err = flags.peers()
			}
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
