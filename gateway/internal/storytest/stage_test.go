// Package storytest plays the stories of examples/stories as their readers
// would: with Terraform, the provider's own binary, gateways and PostgreSQL. It
// has no code but tests.
package storytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/freeport"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/bundle"
)

// theatre is what all stories share: PostgreSQL, an OpenID Connect issuer, and
// the binaries.
type theatre struct {
	bin     string
	cluster *pgtest.Cluster
	issuer  *demoissuer.Issuer
}

// stage is what one story plays on: a control plane and a publisher's key of its
// own, so that stories play at the same time.
type stage struct {
	*theatre
	dir     string
	control string // URL
	admin   string // API token
	key     *bundle.PrivateKey
	plane   *process // the control plane
}

// stageSchema has a table for each team and desk of the stories.
const stageSchema = `
CREATE ROLE ana LOGIN; CREATE ROLE bo LOGIN; CREATE ROLE carl LOGIN; CREATE ROLE chloe LOGIN; CREATE ROLE dora LOGIN;
CREATE ROLE postern LOGIN SUPERUSER;
CREATE SCHEMA orders CREATE TABLE items (id int GENERATED ALWAYS AS IDENTITY, name text);
CREATE SCHEMA billing CREATE TABLE invoices (id int GENERATED ALWAYS AS IDENTITY, name text);
CREATE SCHEMA payments CREATE TABLE refunds (id int GENERATED ALWAYS AS IDENTITY, name text);
CREATE SCHEMA support CREATE TABLE tickets (id int GENERATED ALWAYS AS IDENTITY, name text);
CREATE TABLE t1 (id int); CREATE TABLE t2 (id int); CREATE TABLE t3 (id int);
GRANT USAGE ON SCHEMA orders, billing, payments, support TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA orders, billing, payments, support, public TO PUBLIC;
`

// root is the repository's.
const root = "../../.."

// binaries builds postern and the provider into a temporary directory.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, pkg := range map[string]string{"postern": "./gateway/cmd/postern", "terraform-provider-postern": "./provider/cmd/terraform-provider-postern"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = root
		if strings.HasPrefix(name, "terraform") {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// needTerraform skips outside CI when there is no Terraform; `make test`
// demands it, and CI skips nothing.
func needTerraform(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("terraform is not on PATH")
		}
		t.Skip("terraform is not on PATH: run make test, which says how to install it")
	}
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	needTerraform(t)
	th := &theatre{bin: binaries(t), cluster: pgtest.New(t)}
	th.cluster.MustExec(t, "postgres", "CREATE DATABASE shop")
	th.cluster.MustExec(t, "shop", stageSchema)
	var err error
	th.issuer, err = demoissuer.Start(demoissuer.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, th.issuer.Close()) })
	return th
}

func (th *theatre) stage(t *testing.T) *stage {
	t.Helper()
	key, err := bundle.GenerateKey("publisher")
	must(t, err)
	s := &stage{theatre: th, dir: t.TempDir(), control: "https://" + freeAddress(t), key: key}
	writeFile(t, s.trust(), key.PublicKey().String()+"\n")
	writeFile(t, s.data("terraform.rc"), fmt.Sprintf(
		"provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/posternhq/postern\" = %q\n  }\n  direct {}\n}\n", th.bin))
	s.startControl(t)
	s.admin = s.postern(t, "control", "bootstrap", "--store", filepath.Join(s.data("control"), "control.db"))
	return s
}

// startControl starts the control plane, at first and after it died.
func (s *stage) startControl(t *testing.T) {
	t.Helper()
	address := strings.TrimPrefix(s.control, "https://")
	s.plane = s.start(t, address, "control", "--data", s.data("control"), "--control-listen", address, "--demo", "--trust", s.trust(),
		"--identify-for", "credential")
}

func (s *stage) data(name string) string { return filepath.Join(s.dir, name) }
func (s *stage) trust() string           { return s.data("publisher.pub") }
func (s *stage) ca() string              { return filepath.Join(s.data("control"), "ca.pem") }

func (s *stage) environment() []string {
	return append(os.Environ(),
		"POSTERN_ENDPOINT="+s.control, "POSTERN_CA_FILE="+s.ca(), "POSTERN_TOKEN="+s.admin, "POSTERN_SIGNING_KEY="+s.key.Secret(),
		"TF_CLI_CONFIG_FILE="+s.data("terraform.rc"), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "NO_COLOR=1",
		"POSTERN_LOGIN_FILE="+s.data("login.json"))
}

// postern runs a command line of postern's and returns what it prints.
func (s *stage) postern(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.bin, "postern"), args...)
	cmd.Env = s.environment()
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		t.Fatalf("postern %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// process is a running postern.
type process struct {
	cmd *exec.Cmd
	log string // file
}

// start runs postern until the test ends, and returns when it listens.
func (s *stage) start(t *testing.T, address string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "postern.log"))
	must(t, err)
	defer log.Close()
	p := &process{cmd: exec.Command(filepath.Join(s.bin, "postern"), args...), log: log.Name()}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(s.environment(), "POSTERN_TOKEN=")
	must(t, p.cmd.Start())
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if text := p.text(); t.Failed() {
			t.Logf("the log of postern %s:\n%s", args[0], text[max(0, len(text)-4000):])
		}
	})
	eventually(t, "postern "+args[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p
}

// end sends a signal and waits; what has ended already stays so.
func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal)
	_ = p.cmd.Wait()
}

// text is what the process has logged.
func (p *process) text() string {
	text, _ := os.ReadFile(p.log) // none is as good as an empty one
	return string(text)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass: %s", what)
		}
	}
}

// door is a running gateway.
type door struct {
	*stage
	name, address, ca string
}

// gateway starts a gateway, which has no policy yet.
func (s *stage) gateway(t *testing.T, name string) *door {
	t.Helper()
	d := &door{stage: s, name: name, address: freeAddress(t), ca: filepath.Join(s.data("gateway-"+name), "ca.pem")}
	token := s.data(name + ".token")
	must(t, os.WriteFile(token, []byte(s.postern(t, "token", "create", name, "--role", "gateway:"+name)), 0o600))
	s.start(t, d.address, "gateway", "--gateway", name, "--data", s.data("gateway-"+name), "--trust", s.trust(), "--listen", d.address,
		"--control", s.control, "--ca", s.ca(), "--token-file", token, "--demo")
	return d
}

// connect logs in with a token of the subject's.
func (d *door) connect(t *testing.T, role, subject string) (*pgx.Conn, error) {
	t.Helper()
	token := d.issuer.Issue(map[string]any{"sub": subject, "aud": "postern"}, 10*time.Minute)
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, token), Host: d.address, Path: "shop",
		RawQuery: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {d.ca}, "connect_timeout": {"10"}}.Encode(),
	}
	return pgx.Connect(t.Context(), u.String())
}

// session logs in, which must succeed, until the test ends.
func (d *door) session(t *testing.T, role, subject string) *pgx.Conn {
	t.Helper()
	conn, err := d.connect(t, role, subject)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// state is a Terraform configuration in a directory of its own, and its state.
type state struct {
	*stage
	dir   string
	vars  []string
	token string // the control plane's, for it alone; the administrator's if empty
}

// state copies a story's configuration, and runs it with the variables, which
// are name=value.
func (s *stage) state(t *testing.T, story string, vars ...string) *state {
	t.Helper()
	return s.stateOf(t, filepath.Join(root, "examples", "stories", story), vars...)
}

// stateOf is state for any directory.
func (s *stage) stateOf(t *testing.T, dir string, vars ...string) *state {
	t.Helper()
	st := &state{stage: s, dir: t.TempDir(), vars: vars}
	must(t, os.CopyFS(st.dir, os.DirFS(dir)))
	return st
}

// within is another configuration of the same copy.
func (st *state) within(dir string, vars ...string) *state {
	return &state{stage: st.stage, dir: filepath.Join(st.dir, dir), vars: vars}
}

// upstreamVars are the variables that every story has.
func (s *stage) upstreamVars() []string {
	return []string{"issuer_url=" + s.issuer.URL(), "upstream=" + s.upstream()}
}

func (s *stage) upstream() string {
	return fmt.Sprintf("{host=%q,port=%d,tls=\"disable\"}", s.cluster.Host, s.cluster.Port)
}

// terraform runs a command; those that take variables get the state's, and
// those that are given later win.
func (st *state) terraform(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return st.terraformContext(t.Context(), args...)
}

func (st *state) terraformContext(ctx context.Context, args ...string) (string, error) {
	line := []string{args[0]}
	switch args[0] {
	case "plan", "apply", "destroy":
		line = append(line, "-input=false", "-no-color")
		if args[0] != "plan" {
			line = append(line, "-auto-approve")
		}
		if !strings.HasSuffix(args[len(args)-1], ".tfplan") || args[0] == "plan" {
			for _, v := range st.vars {
				line = append(line, "-var", v)
			}
		}
	}
	cmd := exec.CommandContext(ctx, "terraform", append(line, args[1:]...)...)
	cmd.Dir, cmd.Env = st.dir, st.environment()
	if st.token != "" {
		cmd.Env = append(cmd.Env, "POSTERN_TOKEN="+st.token)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (st *state) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := st.terraform(t, args...)
	if err != nil {
		t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fails runs what must fail, and wants the parts in what is printed, however
// Terraform wraps the lines.
func (st *state) fails(t *testing.T, args []string, want ...string) {
	t.Helper()
	out, err := st.terraform(t, args...)
	if err == nil {
		t.Fatalf("terraform %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	wantText(t, out, want...)
}

func wantText(t *testing.T, out string, want ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(out)), " ")
	for _, part := range want {
		if !strings.Contains(flat, part) {
			t.Fatalf("%q is missing in:\n%s", part, out)
		}
	}
}

// allowed checks that a statement is.
func allowed(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// denied checks that the policy denies a statement, and the session lives on.
func denied(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "42501" || refused.Severity != "ERROR" {
		t.Fatalf("%s: %v, want that the policy denies it", sql, err)
	}
}

// refused checks that nobody with the subject's token is let in.
func (d *door) refused(t *testing.T, role, subject string) {
	t.Helper()
	conn, err := d.connect(t, role, subject)
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatalf("%s is let in", role)
	}
}

// edit replaces text in a file, which must have it.
func edit(t *testing.T, name, before, after string) {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	if !strings.Contains(string(data), before) {
		t.Fatalf("%s has no %q", name, before)
	}
	writeFile(t, name, strings.ReplaceAll(string(data), before, after))
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o600))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	must(t, err)
	return address
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// together runs functions at the same time and waits for all.
func together(functions ...func()) {
	var all sync.WaitGroup
	for _, f := range functions {
		all.Go(f)
	}
	all.Wait()
}
