package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/internal/pki"
)

func TestLoginFlags(t *testing.T) {
	ca, err := pki.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	file := func(text []byte) string {
		name := filepath.Join(t.TempDir(), "login-ca.pem")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	upstream, err := ca.IssueUpstream("ana", "s_1", ca.Certificate().NotBefore, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := loginFlags{method: "scram", byName: map[string]string{"OAuth.example.com": "oauthbearer"}, clientCAs: []string{file(ca.PEM())}, ciNetworks: []string{"10.20.3.4/16"}}
	logins, err := f.parse()
	if err != nil || logins.Methods.Default != authenticate.MethodSCRAM || logins.Methods.ByServerName["oauth.example.com"] != authenticate.MethodOAuthBearer {
		t.Errorf("got %+v, %v", logins, err)
	}
	if got, err := f.authorities(); err != nil || len(got) != 1 || !got[0].Equal(ca.Certificate()) {
		t.Errorf("got %d authorities, %v", len(got), err)
	}
	if got, err := f.networks(); err != nil || len(got) != 1 || got[0].String() != "10.20.0.0/16" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, test := range []struct {
		name string
		f    loginFlags
		text string
	}{
		{"a method that there is not", loginFlags{method: "md5"}, "it is token, oauthbearer or scram"},
		{"for a name", loginFlags{byName: map[string]string{"db": "certificate"}}, "--auth-for db"},
		{"no such file", loginFlags{clientCAs: []string{"/nonexistent"}}, "no such file"},
		{"not a certificate", loginFlags{clientCAs: []string{file([]byte("x"))}}, "no PEM CERTIFICATE"},
		{"not an authority", loginFlags{clientCAs: []string{file(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate[0]}))}}, "is no authority"},
		{"not a network", loginFlags{ciNetworks: []string{"10.20"}}, "not a network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.f.parse()
			if err == nil {
				_, err = test.f.authorities()
			}
			if err == nil {
				_, err = test.f.networks()
			}
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}
