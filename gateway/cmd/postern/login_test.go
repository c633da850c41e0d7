package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/freeport"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// installation is `postern serve` before a real PostgreSQL, with an identity
// provider, as the tests of signing in need it.
type installation struct {
	issuer   *demoissuer.Issuer
	cluster  *pgtest.Cluster
	data     string
	gateway  string // host:port
	control  string // URL
	key      *bundle.PrivateKey
	admin    *controlclient.Client
	token    string // the administrator's
	revision uint64
	live     string // digest of the bundle that is live
}

func install(t *testing.T) *installation {
	t.Helper()
	t.Setenv(asPostern, "1") // what serve runs before it serves
	in := &installation{data: t.TempDir()}
	var err error
	in.issuer, err = demoissuer.Start(demoissuer.Config{Users: map[string]map[string]any{
		"ana": {"sub": "u-17"}, "stranger": {"sub": "u-99"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.issuer.Close() })
	if in.cluster, err = pgtest.Start(pgtest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.cluster.Stop)
	if err := in.cluster.Exec(context.Background(), "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER"); err != nil {
		t.Fatal(err)
	}
	if in.key, err = bundle.GenerateKey("publisher"); err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(in.data, "publisher.pub")
	if err := os.WriteFile(trust, []byte(in.key.PublicKey().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.serve(t, trust)
	in.bootstrap(t)
	return in
}

func (in *installation) serve(t *testing.T, trust string) {
	t.Helper()
	in.gateway = freeAddress(t)
	control := freeAddress(t)
	in.control = "https://" + control
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		cmd := rootCommand()
		cmd.SetArgs([]string{
			"serve", "--gateway", "orders", "--data", filepath.Join(in.data, "postern"), "--trust", trust,
			"--listen", in.gateway, "--control-listen", control, "--demo",
		})
		done <- cmd.ExecuteContext(ctx)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	eventually(t, "the control plane answers", func() bool {
		conn, err := net.Dial("tcp", control)
		if err == nil {
			_ = conn.Close()
		}
		_, missing := os.Stat(in.ca())
		return err == nil && missing == nil
	})
}

func (in *installation) ca() string { return filepath.Join(in.data, "postern", "ca.pem") }

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it did not come to pass: %s", what)
}

func (in *installation) bootstrap(t *testing.T) {
	t.Helper()
	t.Setenv(envCA, in.ca())
	t.Setenv("POSTERN_LOGIN_FILE", filepath.Join(t.TempDir(), "login.json"))
	for _, name := range []string{envToken, envControl, "BROWSER", "DISPLAY", "WAYLAND_DISPLAY"} {
		t.Setenv(name, "")
	}
	token, err := runPostern(context.Background(), "control", "bootstrap", "--store", filepath.Join(in.data, "postern", "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	in.token = strings.TrimSpace(token)
	flags := controlFlags{url: in.control}
	roots, err := flags.roots()
	if err != nil {
		t.Fatal(err)
	}
	in.admin, err = controlclient.New(controlclient.Config{URL: in.control, RootCAs: roots, Token: controlclient.StaticToken(in.token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.admin.Close)
}

// runPostern runs a command line and returns what it prints.
func runPostern(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(""))
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// policy lets ana, and agents that the test adds, read.
func (in *installation) policy(more ...policylang.Identity) *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: "orders", Upstream: policylang.Upstream{Host: in.cluster.Host, Port: in.cluster.Port, TLS: "disable"},
			Issuers: []policylang.Issuer{
				{Name: "corp", URL: in.issuer.URL(), Audience: demoissuer.ClientID},
				{Name: api.CredentialIssuer, URL: in.control, Audience: "orders"},
			},
		}},
		Identities: append([]policylang.Identity{{Name: "ana", Kind: "human", When: `token.sub == "u-17"`}}, more...),
		QueryRules: []policylang.QueryRule{{Name: "read", When: "statement.read_only", Effect: policylang.EffectAllow}},
	}
}

// release makes a policy live and waits until the gateway enforces it.
func (in *installation) release(t *testing.T, p *policylang.Policy) {
	t.Helper()
	ctx := context.Background()
	digest, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := bundle.Seal(p, in.key)
	if err != nil {
		t.Fatal(err)
	}
	in.revision++
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: "orders", Bundle: digest, Predecessor: in.live, Revision: in.revision, Time: time.Now().UTC().Truncate(time.Second),
	}, in.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.admin.PutBundle(ctx, digest, sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := in.admin.Publish(ctx, "orders", signed, in.live); err != nil {
		t.Fatal(err)
	}
	in.live = digest
	eventually(t, "the gateway enforces the release", func() bool {
		instances, err := in.admin.Instances(ctx, "orders")
		return err == nil && len(instances) > 0 && instances[0].Revision == in.revision
	})
}

// browse stands for a browser in which somebody signs in: it follows the URL
// with the issuer's secret, and the redirect to the command line without.
func (in *installation) browse(t *testing.T, authorize string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequest(http.MethodGet, authorize, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	request.Header.Set("Authorization", "Bearer "+in.issuer.Secret())
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	_ = response.Body.Close()
	back, err := client.Get(response.Header.Get("Location"))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = back.Body.Close() }()
	page, _ := io.ReadAll(back.Body)
	return string(page)
}

// signInByBrowser runs `postern login` with a browser of the test's.
func (in *installation) signInByBrowser(t *testing.T, user string) (string, error) {
	t.Helper()
	t.Setenv("BROWSER", "true") // shows nothing; the test opens what is printed
	return in.watch(t, regexp.MustCompile(`(?m)^  (http://\S+/authorize\S+)$`), func(found string) { in.browse(t, found) },
		"login", "--control", in.control, "--login-hint", user)
}

// watch runs a command and calls found once with what its output shows.
func (in *installation) watch(t *testing.T, pattern *regexp.Regexp, found func(string), args ...string) (string, error) {
	t.Helper()
	var out watched
	var once sync.Once
	out.seen = func(text string) {
		if m := pattern.FindStringSubmatch(text); m != nil {
			once.Do(func() { go found(m[1]) })
		}
	}
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// watched is output that is looked at as it grows.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	seen func(string)
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	w.seen(w.text.String())
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestSignIn is a person's day: login, whoami, token, psql, connect, logout,
// all against real parts.
func TestSignIn(t *testing.T) {
	in := install(t)
	ctx := context.Background()
	t.Run("before a policy is released", func(t *testing.T) {
		_, err := runPostern(ctx, "login", "--control", in.control)
		wantError(t, err, "no policy that names an issuer")
	})
	in.release(t, in.policy())
	t.Run("signed out", func(t *testing.T) {
		for _, args := range [][]string{{"whoami"}, {"token"}, {"psql", "postgres"}, {"connect"}} {
			_, err := runPostern(ctx, args...)
			wantError(t, err, "run: postern login")
		}
	})
	t.Run("somebody whom the policy does not know", func(t *testing.T) {
		_, err := in.signInByBrowser(t, "stranger")
		wantError(t, err, "no identity of the gateway's policy matches")
		_, err = runPostern(ctx, "whoami")
		wantError(t, err, "you are not signed in")
	})
	t.Run("bad input", func(t *testing.T) { in.testBadInput(t) })
	t.Run("login", func(t *testing.T) {
		out, err := in.signInByBrowser(t, "ana")
		if err != nil || !strings.Contains(out, "Signed in as ana (human).") {
			t.Fatalf("%v\n%s", err, out)
		}
		info, err := os.Stat(os.Getenv("POSTERN_LOGIN_FILE"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the login's file: %v, mode %v", err, info.Mode())
		}
	})
	t.Run("whoami", func(t *testing.T) {
		out, err := runPostern(ctx, "whoami", "-o", "json")
		if err != nil || !strings.Contains(out, `"database_role": "ana"`) || strings.Contains(out, "ey") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("the API with the login", func(t *testing.T) {
		if out, err := runPostern(ctx, "token", "whoami"); err != nil || !strings.Contains(out, "ana") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("token", func(t *testing.T) { in.testToken(t) })
	t.Run("psql", func(t *testing.T) {
		out, err := runPostern(ctx, "psql", "postgres", "--", "-X", "-A", "-t", "-c", "SELECT session_user")
		if err != nil || !strings.Contains(out, "ana") {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err = runPostern(ctx, "psql", "postgres", "--", "-X", "-c", "CREATE TABLE t ()")
		var status exitStatus
		if !errors.As(err, &status) || status != 1 || !strings.Contains(out, "none allows") && !strings.Contains(out, "ERROR") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("connect by socket", func(t *testing.T) { in.testSocket(t) })
	t.Run("connect by port", func(t *testing.T) { in.testPort(t) })
	t.Run("the login is renewed", func(t *testing.T) { in.testRenewal(t) })
	t.Run("device", func(t *testing.T) { in.testDevice(t) })
	t.Run("logout", func(t *testing.T) {
		if _, err := runPostern(ctx, "logout"); err != nil {
			t.Fatal(err)
		}
		_, err := runPostern(ctx, "token")
		wantError(t, err, "run: postern login")
		if _, err := runPostern(ctx, "logout"); err != nil {
			t.Fatalf("a second time: %v", err)
		}
	})
}

// testBadInput is what people mistype before they are signed in.
func (in *installation) testBadInput(t *testing.T) {
	for command, want := range map[string]string{
		"login --control https://127.0.0.1:1":               "connection refused",
		"login --control http://127.0.0.1:1":                "must start with https://",
		"login --control " + in.control + " --issuer nope":  `there is no issuer "nope"; there is corp`,
		"login --control " + in.control + " --gateway nope": `there is no gateway "nope"; there is orders`,
		"login --control " + in.control + " --ca /dev/null": "holds no PEM certificate",
		"psql": "say which database: postern psql DATABASE",
	} {
		_, err := runPostern(t.Context(), strings.Fields(command)...)
		wantError(t, err, want)
	}
	t.Setenv(envCA, "")
	_, err := runPostern(t.Context(), "login", "--control", in.control)
	wantError(t, err, "name its authority with --ca or POSTERN_CA_FILE")
	t.Setenv(envToken, in.issuer.Issue(map[string]any{"sub": "u-17", "aud": demoissuer.ClientID}, time.Minute))
	_, err = runPostern(t.Context(), "token", "--control", in.control, "--ca", in.ca(), "--gateway", "nope")
	wantError(t, err, "audience names no gateway that this control plane knows; there is orders")
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want one with %q", err, text)
	}
}

// psql lets real psql connect through the gateway as ana, with a password.
func (in *installation) psql(t *testing.T, password string) (string, error) {
	t.Helper()
	host, port, _ := net.SplitHostPort(in.gateway)
	cmd := exec.Command("psql", "-X", "-A", "-t", "-c", "SELECT 1")
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGDATABASE=postgres", "PGUSER=ana", "PGPASSWORD="+password,
		"PGSSLMODE=verify-full", "PGSSLROOTCERT="+in.ca())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// testToken shows that a credential is a password and nothing else.
func (in *installation) testToken(t *testing.T) {
	out, err := runPostern(context.Background(), "token")
	if err != nil {
		t.Fatal(err)
	}
	credential := strings.TrimSpace(out)
	if len(credential) > 2048 {
		t.Errorf("the credential has %d bytes, want at most 2048", len(credential))
	}
	if out, err := in.psql(t, credential); err != nil {
		t.Fatalf("psql with the credential: %v\n%s", err, out)
	}
	t.Setenv(envToken, credential)
	_, err = runPostern(context.Background(), "token", "--gateway", "orders", "--control", in.control)
	wantError(t, err, "a credential is not exchanged for another one")
}

// start runs a command that listens, and returns the line that it prints.
func start(t *testing.T, args ...string) (line string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	lines, done := make(chan string, 1), make(chan error, 1)
	var once sync.Once
	out := &watched{seen: func(text string) {
		if first, _, ended := strings.Cut(text, "\n"); ended {
			once.Do(func() { lines <- first })
		}
	}}
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(out)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("postern %v: %v", args, err)
		}
	})
	select {
	case line = <-lines:
	case <-time.After(30 * time.Second):
		t.Fatalf("postern %v printed nothing", args)
	}
	return line
}

func psqlBy(conninfo, sql string) (string, error) {
	cmd := exec.Command("psql", "-X", "-A", "-t", conninfo, "-c", sql)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (in *installation) testSocket(t *testing.T) {
	line := start(t, "connect")
	for range 2 { // each connection gets a credential of its own
		out, err := psqlBy(line+" dbname=postgres", "SELECT session_user")
		if err != nil || strings.TrimSpace(out) != "ana" {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := runPostern(context.Background(), "connect", "--dir", open)
	wantError(t, err, "others can enter")
}

func (in *installation) testPort(t *testing.T) {
	line := start(t, "connect", "--port", "0")
	out, err := psqlBy(line+" dbname=postgres", "SELECT session_user")
	if err != nil || strings.TrimSpace(out) != "ana" {
		t.Fatalf("%v\n%s", err, out)
	}
	wrong := regexp.MustCompile(`password=\S+`).ReplaceAllString(line, "password=guess")
	out, err = psqlBy(wrong+" dbname=postgres", "SELECT 1")
	if err == nil || !strings.Contains(out, "not the one that postern connect printed") {
		t.Fatalf("a guessed password: %v\n%s", err, out)
	}
}

// testRenewal ages the stored login.
func (in *installation) testRenewal(t *testing.T) {
	age := func() {
		t.Helper()
		file := os.Getenv("POSTERN_LOGIN_FILE")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		old := regexp.MustCompile(`"expires_at": "[^"]*"`).ReplaceAll(data, []byte(`"expires_at": "2001-01-01T00:00:00Z"`))
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age()
	if _, err := runPostern(context.Background(), "token"); err != nil {
		t.Fatalf("with a refresh token: %v", err)
	}
	age()
	in.issuer.RevokeRefresh()
	_, err := runPostern(context.Background(), "token")
	wantError(t, err, "the login has expired; run: postern login")
}

func (in *installation) testDevice(t *testing.T) {
	out, err := in.watch(t, regexp.MustCompile(`enter the code (\S{9})\n`), func(code string) {
		if !in.issuer.ApproveDevice(code, "ana") {
			t.Errorf("the issuer does not know the code %q", code)
		}
	}, "login", "--device")
	if err != nil || !strings.Contains(out, "Signed in as ana") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("refused", func(t *testing.T) {
		_, err := in.watch(t, regexp.MustCompile(`enter the code (\S{9})\n`), func(code string) { in.issuer.ApproveDevice(code, "") }, "login", "--device")
		wantError(t, err, "it was refused there")
	})
}

// get returns the status of an answer.
func get(address string) (status int, err error) {
	response, err := http.Get(address)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestBrowserAnswers sends what is not the answer to a sign-in.
func TestBrowserAnswers(t *testing.T) {
	in := install(t)
	in.release(t, in.policy())
	t.Setenv("BROWSER", "true")
	_, err := in.watch(t, regexp.MustCompile(`(?m)^  (http://\S+/authorize\S+)$`), func(found string) {
		u, err := url.Parse(found)
		if err != nil {
			t.Error(err)
			return
		}
		back := u.Query().Get("redirect_uri")
		for _, query := range []string{"code=stolen", "code=stolen&state=guess", "state=" + strconv.Itoa(1)} {
			if status, err := get(back + "?" + query); err != nil || status != http.StatusBadRequest {
				t.Errorf("%s: %d %v", query, status, err)
			}
		}
		other := url.Values{"state": {u.Query().Get("state")}, "code": {"stolen"}, "iss": {"https://other.example.com"}}
		if status, err := get(back + "?" + other.Encode()); err != nil || status != http.StatusForbidden {
			t.Errorf("another issuer's answer: %d %v", status, err)
		}
	}, "login", "--control", in.control)
	wantError(t, err, "the answer is of another issuer")
}
