// Package issuertest runs a real OpenID Connect issuer for tests, npm's
// oidc-provider, and is the browser of whoever signs in there. Its keys rotate
// and are withdrawn, and it goes away. testacc/identity has it.
//
//	issuer := issuertest.Start(t)
//	issuer.Tell(t, "rotate")
//	issuertest.Browse(page) // signs in, and consents
package issuertest

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// ClientID is that of its only client, which is public and has the redirect
// URI http://127.0.0.1/callback on any port.
const ClientID = "postern"

// Issuer is a running issuer.
type Issuer struct {
	URL string

	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// Start starts one that ends with the test. It sends logout tokens to an
// address, if there is one.
func Start(t testing.TB, logout ...string) *Issuer {
	t.Helper()
	root, err := pgtest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(root, "bin", "identity")
	if _, err := os.Stat(filepath.Join(installed, "node_modules", "oidc-provider")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("oidc-provider is not installed: run testacc/identity/install.sh")
		}
		t.Skip("SKIPPED: oidc-provider is not installed: run testacc/identity/install.sh")
	}
	script := filepath.Join(root, "testacc", "identity", "issuer.mjs")
	i := &Issuer{cmd: exec.Command("node", append([]string{script, installed}, logout...)...)}
	if i.stdin, err = i.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	i.lines = bufio.NewScanner(out)
	i.URL = i.read(t)
	return i
}

// read returns what the issuer prints next, but for its library's warnings.
func (i *Issuer) read(t testing.TB) string {
	t.Helper()
	for i.lines.Scan() {
		if line := i.lines.Text(); line == "done" || strings.HasPrefix(line, "http") || strings.Trim(line, "0123456789") == "" {
			return line
		}
	}
	t.Fatalf("the issuer has ended: %v", i.lines.Err())
	return ""
}

// Tell gives it a command, as testacc/identity/issuer.mjs has them, and returns
// the answer.
func (i *Issuer) Tell(t testing.TB, command string) string {
	t.Helper()
	if _, err := fmt.Fprintln(i.stdin, command); err != nil {
		t.Fatal(err)
	}
	return i.read(t)
}

// Stop ends it.
func (i *Issuer) Stop() {
	if i.cmd.ProcessState == nil {
		_ = i.stdin.Close()
		_ = i.cmd.Wait()
	}
}

// maxForms bounds how many forms a sign-in has.
const maxForms = 5

var (
	formAction = regexp.MustCompile(`<form[^>]*action="([^"]+)"`)
	formInput  = regexp.MustCompile(`<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"`)
)

// Browse opens a page, as a browser with cookies that sends every form as it
// is. An error page is an error.
func Browse(page string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	response, err := client.Get(page) //nolint:noctx // a test's own server
	for range maxForms {
		if err != nil {
			return err
		}
		body, failed := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if failed != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s\n%s", response.Request.URL, response.Status, body)
		}
		action := formAction.FindSubmatch(body)
		if action == nil {
			return nil
		}
		form := url.Values{}
		for _, input := range formInput.FindAllSubmatch(body, -1) {
			form.Set(html.UnescapeString(string(input[1])), html.UnescapeString(string(input[2])))
		}
		target, failed := response.Request.URL.Parse(html.UnescapeString(string(action[1])))
		if failed != nil {
			return failed
		}
		response, err = client.PostForm(target.String(), form) //nolint:noctx // likewise
	}
	return fmt.Errorf("%s: more than %d forms", page, maxForms)
}
