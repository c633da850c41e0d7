package login_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/login"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

// issuer is a running oidc-provider: npm's, a real one, that rotates its keys,
// withdraws them and goes away. testacc/identity has it.
type issuer struct {
	url   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startIssuer(t *testing.T, logout ...string) *issuer {
	t.Helper()
	installed, err := filepath.Abs("../../../bin/identity")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(installed, "node_modules", "oidc-provider")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("oidc-provider is not installed: run testacc/identity/install.sh")
		}
		t.Skip("SKIPPED: oidc-provider is not installed: run testacc/identity/install.sh")
	}
	i := &issuer{cmd: exec.Command("node", append([]string{"../../../testacc/identity/issuer.mjs", installed}, logout...)...)}
	i.stdin, err = i.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.stop)
	i.lines = bufio.NewScanner(out)
	i.url = i.read(t)
	return i
}

// read returns what the issuer prints next, but for its library's warnings.
func (i *issuer) read(t *testing.T) string {
	t.Helper()
	for i.lines.Scan() {
		if line := i.lines.Text(); line == "done" || strings.HasPrefix(line, "http") || strings.Trim(line, "0123456789") == "" {
			return line
		}
	}
	t.Fatalf("the issuer has ended: %v", i.lines.Err())
	return ""
}

func (i *issuer) tell(t *testing.T, command string) string {
	t.Helper()
	if _, err := fmt.Fprintln(i.stdin, command); err != nil {
		t.Fatal(err)
	}
	return i.read(t)
}

func (i *issuer) stop() {
	if i.cmd.ProcessState == nil {
		_ = i.stdin.Close()
		_ = i.cmd.Wait()
	}
}

// signIn signs ana in by a browser with cookies.
func (i *issuer) signIn(t *testing.T) *login.Login {
	t.Helper()
	at := api.SignInIssuer{Name: "corp", URL: i.url, ClientID: "postern"}
	p, err := login.Discover(t.Context(), at, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := p.Browser(ctx, login.BrowserConfig{Hint: "ana", Open: func(page string) error {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		go func() {
			response, err := (&http.Client{Jar: jar}).Get(page)
			if err != nil {
				t.Errorf("the browser: %v", err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
				t.Errorf("the browser: %s\n%s", response.Status, body)
			}
		}()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// clock can be set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// TestRealIssuer is the life of an issuer's keys, as a gateway sees it.
func TestRealIssuer(t *testing.T) {
	i, c := startIssuer(t), &clock{}
	issuers := []policylang.Issuer{{Name: "corp", URL: i.url, Audience: "postern"}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true, Clock: c.now})
	accepted := func(what, token string) {
		t.Helper()
		claims, err := v.Verify(t.Context(), token)
		if err != nil || claims["sub"] != "ana" {
			t.Fatalf("%s: %v, %v", what, claims, err)
		}
	}
	refused := func(what, token string, want oidc.Code) {
		t.Helper()
		_, err := v.Verify(t.Context(), token)
		var e *oidc.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Fatalf("%s: got %v, want %s", what, err, want)
		}
	}

	first := i.signIn(t)
	accepted("the first token", first.IDToken)
	refused("an altered token", altered(first.IDToken), oidc.CodeSignature)

	i.tell(t, "rotate")
	second := i.signIn(t)
	accepted("a token of a key that is new", second.IDToken)
	accepted("a token of the key before", first.IDToken)

	before := i.tell(t, "fetches")
	for n := range 50 {
		refused("a token of a key that there is not", withKey(t, first.IDToken, fmt.Sprint("bogus-", n)), oidc.CodeUnknownKey)
	}
	if after := i.tell(t, "fetches"); after != before {
		t.Errorf("fifty bogus tokens made %s requests of %s, want none so soon after the last", after, before)
	}

	i.tell(t, "remove")
	accepted("a token of a withdrawn key, before the keys are read again", first.IDToken)
	c.forward(11 * time.Minute)
	refused("a token of a withdrawn key", first.IDToken, oidc.CodeUnknownKey)
	accepted("a token of the key that stays", second.IDToken)

	i.stop()
	c.forward(11 * time.Minute)
	accepted("while the issuer is away", second.IDToken)
	c.forward(time.Hour)
	refused("when it has been away for long", second.IDToken, oidc.CodeIssuerUnreachable)
}

// TestRealLogout has the real issuer end a sign-in.
func TestRealLogout(t *testing.T) {
	sent := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent <- r.PostFormValue("logout_token") }))
	t.Cleanup(server.Close)
	i := startIssuer(t, server.URL)
	issuers := []policylang.Issuer{{Name: "corp", URL: i.url, Audience: "postern"}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true})
	claims, err := v.Verify(t.Context(), i.signIn(t).IDToken)
	if err != nil {
		t.Fatal(err)
	}
	session, _ := claims["sid"].(string)
	if session == "" {
		t.Fatal("the ID token names no session")
	}
	if said := i.tell(t, "logout ana "+session); said != "done" {
		t.Fatal(said)
	}
	token := <-sent
	said, err := v.VerifyLogout(t.Context(), token)
	if err != nil || said.Issuer != i.url || said.Subject != "ana" || said.Session != session || said.ID == "" {
		t.Errorf("it says %+v, %v", said, err)
	}
	var refused *oidc.Error
	if _, err := v.Verify(t.Context(), token); !errors.As(err, &refused) || refused.Code != oidc.CodeTokenType {
		t.Errorf("as a token to log in with: %v", err)
	}
}

// TestRenew exchanges a refresh token at the real issuer.
func TestRenew(t *testing.T) {
	i := startIssuer(t)
	l := i.signIn(t)
	if l.Refresh == "" {
		t.Fatal("the issuer gave no refresh token")
	}
	l.Control, l.Expires = "https://control.example.com", time.Now().Add(-time.Minute)
	fresh, err := login.Renew(t.Context(), l, time.Now(), http.DefaultClient)
	if err != nil || fresh.IDToken == l.IDToken || !fresh.Expires.After(time.Now()) || fresh.Control != l.Control {
		t.Fatalf("%v, it expires at %v", err, fresh.Expires)
	}
	l.Refresh = "not one"
	if _, err := login.Renew(t.Context(), l, time.Now(), http.DefaultClient); !errors.Is(err, login.ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
}

// altered changes a claim under the signature.
func altered(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"ana"`, `"ben"`, 1)))
	return strings.Join(parts, ".")
}

// withKey names another key in the header.
func withKey(t *testing.T, token, id string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	header := map[string]any{}
	data, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil {
		err = json.Unmarshal(data, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	header["kid"] = id
	if data, err = json.Marshal(header); err != nil {
		t.Fatal(err)
	}
	parts[0] = base64.RawURLEncoding.EncodeToString(data)
	return strings.Join(parts, ".")
}
