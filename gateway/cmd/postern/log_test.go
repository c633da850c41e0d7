package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestLogFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // of the error; empty if there is none
		on   slog.Level
	}{
		{nil, "", slog.LevelInfo},
		{[]string{"--log-level", "warn", "--log-format=json"}, "", slog.LevelWarn},
		{[]string{"--log-level", "DEBUG"}, "", slog.LevelDebug},
		{[]string{"--log-level", "loud"}, `"loud" is none of debug, info, warn, error`, 0},
		{[]string{"--log-format", "xml"}, `"xml" is neither text nor json`, 0},
	} {
		var f commonFlags
		cmd := &cobra.Command{Use: "x", SilenceUsage: true, SilenceErrors: true, RunE: func(*cobra.Command, []string) error { return nil }}
		f.add(cmd)
		cmd.SetArgs(append([]string{"--data", "d"}, tt.args...))
		err := cmd.ExecuteContext(t.Context())
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		case tt.want == "":
			log := f.logger()
			if !log.Enabled(context.Background(), tt.on) || log.Enabled(context.Background(), tt.on-1) {
				t.Errorf("%v: does not log from %v on", tt.args, tt.on)
			}
		}
	}
}
