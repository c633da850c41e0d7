//go:build simplesamlphp

package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestSimpleSAMLphp signs somebody in at Debian's SimpleSAMLphp, which signs
// Response and Assertion, and lets them reach the database. `make testacc-saml`
// installs it and runs this.
func TestSimpleSAMLphp(t *testing.T) {
	in := install(t)
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := samlKey(t)
	cmd := exec.Command("../../../testacc/identity/simplesamlphp.sh", t.TempDir(), port, certificate, key, in.control+"/saml/acs", samlAudience)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	entityID := "http://" + address + "/saml2/idp/metadata.php"
	eventually(t, "the identity provider answers", func() bool {
		response, err := http.Get(entityID) //nolint:noctx // a test's own server
		if err != nil {
			return false
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	in.release(t, in.samlPolicy(entityID, fetch(t, entityID)))

	who := in.person(t)
	out, err := in.signInBySAML(t, who)
	if err != nil || !strings.Contains(out, "Signed in as ana (human).") {
		t.Fatalf("%v\n%s\nby way of %v", err, out, who.visited)
	}
	if out, err := runPostern(t.Context(), "psql", "postgres", "--", "-X", "-A", "-t", "-c", "SELECT session_user"); err != nil || strings.TrimSpace(out) != "ana" {
		t.Fatalf("%v\n%s", err, out)
	}
	// The same browser is known there, and signs in again without a word.
	if out, err := in.signInBySAML(t, who); err != nil || !strings.Contains(out, "Signed in as ana (human).") {
		t.Fatalf("%v\n%s", err, out)
	}
}
