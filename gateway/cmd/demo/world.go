package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/freeport"
	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// world is what the demo runs.
type world struct {
	dir       string // temporary
	bin       string
	story     string // copy of the Terraform configuration
	terraform string

	postgres *pgtest.Cluster
	issuer   *demoissuer.Issuer
	postern  *exec.Cmd
	log      string // postern's

	gatewayPort string
	controlURL  string
	adminToken  string
	signingKey  string // private, by environment alone
	publicKey   string // file
}

// users are the people and jobs of the story, by the claims of their tokens.
func users() map[string]map[string]any {
	return map[string]map[string]any{
		"ana":       {"sub": "u-17", "name": "Ana (engineer)"},
		"carl":      {"sub": "u-42", "name": "Carl (contractor)"},
		"ben":       {"sub": "u-3", "name": "Ben (DBA)"},
		"orders_ci": {"sub": "repo:4711:main", "repository_id": "4711", "ref": "refs/heads/main"},
	}
}

func newWorld(_ context.Context, bin, story string) (*world, error) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		return nil, errors.New("terraform is not on PATH; install Terraform 1.8 or newer as https://developer.hashicorp.com/terraform/install says")
	}
	if _, err := exec.LookPath("psql"); err != nil {
		return nil, errors.New("psql is not on PATH; on Debian: apt-get install postgresql-client")
	}
	absolute, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another user below it
		return nil, err
	}
	w := &world{dir: dir, bin: absolute, terraform: terraform, story: filepath.Join(dir, "terraform"), log: filepath.Join(dir, "postern.log")}
	if err := os.CopyFS(w.story, os.DirFS(story)); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the story: %w", err), os.RemoveAll(dir))
	}
	return w, nil
}

// close stops everything and removes the directory.
func (w *world) close() {
	if w.postern != nil {
		_ = w.postern.Process.Signal(syscall.SIGTERM)
		_ = w.postern.Wait()
	}
	if w.issuer != nil {
		_ = w.issuer.Close()
	}
	if w.postgres != nil {
		w.postgres.Stop()
	}
	_ = os.RemoveAll(w.dir)
}

// explain shows the end of postern's log when something failed.
func (w *world) explain() {
	data, err := os.ReadFile(w.log)
	if err != nil {
		return
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	fmt.Fprintf(os.Stderr, "\nThe end of Postern's log:\n%s\n", bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

func (w *world) startPostgreSQL(ctx context.Context) error {
	heading("A throwaway PostgreSQL with customers and orders")
	cluster, err := pgtest.Start(pgtest.Options{
		Dir: w.dir,
		HBA: []string{"host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"},
	})
	if err != nil {
		return err
	}
	w.postgres = cluster
	for _, name := range []string{"shop", "scratch"} {
		if err := cluster.Exec(ctx, "postgres", "CREATE DATABASE "+name); err != nil {
			return err
		}
	}
	if err := cluster.Exec(ctx, "shop", dataset); err != nil {
		return fmt.Errorf("load the data set: %w", err)
	}
	// Upstream passwords, in libpq's password file format, for the gateway alone.
	pass := "127.0.0.1:*:*:*:" + upstreamPassword + "\n"
	if err := os.WriteFile(filepath.Join(w.dir, "upstream.pgpass"), []byte(pass), 0o600); err != nil {
		return err
	}
	note("postgres://127.0.0.1:%d/shop: customers (e-mail, SSN, card), orders, and the view contacts over customers", cluster.Port)
	return nil
}

func (w *world) startIssuer(context.Context) error {
	issuer, err := demoissuer.Start(demoissuer.Config{Users: usersWithAudience(), TokenTTL: 10 * time.Minute})
	if err != nil {
		return err
	}
	w.issuer = issuer
	note("an OpenID Connect issuer at %s, for this demo alone", issuer.URL())
	return nil
}

func usersWithAudience() map[string]map[string]any {
	all := users()
	for _, claims := range all {
		claims["aud"] = "postern"
	}
	return all
}

// token is a fresh token of a job, as its platform would give it.
func (w *world) token(user string) string {
	claims := usersWithAudience()[user]
	return w.issuer.Issue(claims, 10*time.Minute)
}

func (w *world) startPostern(ctx context.Context) error {
	heading("Postern: control plane and gateway in one process")
	base := filepath.Join(w.dir, "publisher")
	keyFile := base + ".key"
	w.publicKey = base + ".pub"
	if out, err := w.command(ctx, "bundle", "keygen", "--name", "demo-publisher", "--out", base).CombinedOutput(); err != nil {
		return fmt.Errorf("make the publisher's key: %w\n%s", err, out)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	w.signingKey = strings.TrimSpace(string(key))

	gatewayPort, err := freeport.Find()
	if err != nil {
		return err
	}
	control, err := freeport.Address()
	if err != nil {
		return err
	}
	w.gatewayPort, w.controlURL = strconv.Itoa(gatewayPort), "https://"+control
	args := []string{
		"serve", "--gateway", "orders", "--data", w.data(), "--trust", w.publicKey,
		"--listen", "127.0.0.1:" + w.gatewayPort, "--control-listen", control, "--demo",
	}
	log, err := os.Create(w.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := w.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = nil
	if err := cmd.Start(); err != nil {
		return err
	}
	w.postern = cmd
	show("postern " + strings.Join(args, " ") + " &")
	if err := w.awaitPostern(ctx); err != nil {
		return err
	}
	out, err := w.command(ctx, "control", "bootstrap", "--store", filepath.Join(w.data(), "control.db")).Output()
	if err != nil {
		return fmt.Errorf("mint the administrator's token: %w", err)
	}
	w.adminToken = strings.TrimSpace(string(out))
	note("the gateway has no policy yet, so it refuses everybody:")
	refused, err := w.job(ctx, "orders_ci", "SELECT 1")
	if err == nil || !strings.Contains(refused, "no verified policy") {
		return fmt.Errorf("a gateway without a policy let somebody in:\n%s", refused)
	}
	return nil
}

func (w *world) data() string { return filepath.Join(w.dir, "postern") }

func (w *world) ca() string { return filepath.Join(w.data(), "ca.pem") }

func (w *world) awaitPostern(ctx context.Context) error {
	for range 200 {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+w.gatewayPort, time.Second)
		if err == nil {
			_ = conn.Close()
			if _, err := os.Stat(w.ca()); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("postern did not start")
}

// command is postern with the demo's environment.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "postern"), args...)
	cmd.Env = append(os.Environ(), "POSTERN_ENDPOINT="+w.controlURL, "POSTERN_CA_FILE="+w.ca(), "NO_COLOR=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	return cmd
}

// login signs a user in with `postern login`. This program stands for the
// browser: it agrees at the issuer, as the person would.
func (w *world) login(ctx context.Context, user string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	show("postern login --login-hint " + user)
	cmd := w.person(w.command(ctx, "login", "--login-hint", user), user)
	cmd.Env = append(cmd.Env, "BROWSER="+self+" -browse", envSecret+"="+w.issuer.Secret())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("sign %s in: %w\n%s", user, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Signed in") {
			fmt.Print("  " + line)
		}
	}
	return nil
}

// person gives a command the login of a user, each of whom has their own.
func (w *world) person(cmd *exec.Cmd, user string) *exec.Cmd {
	cmd.Env = append(cmd.Env, "POSTERN_LOGIN_FILE="+filepath.Join(w.dir, "login-"+user+".json"))
	return cmd
}

// psqlCommand is `postern psql` as a user who has signed in.
func (w *world) psqlCommand(ctx context.Context, user string, args ...string) *exec.Cmd {
	return w.person(w.command(ctx, append([]string{"psql", "shop", "--", "-X", "-v", "VERBOSITY=default"}, args...)...), user)
}

// jobCommand is psql through the gateway as a job: the token of its own issuer
// is the password.
func (w *world) jobCommand(ctx context.Context, user string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "psql", append([]string{"-X", "-v", "VERBOSITY=default"}, args...)...)
	cmd.Env = append(os.Environ(),
		"PGHOST=127.0.0.1", "PGPORT="+w.gatewayPort, "PGDATABASE=shop", "PGUSER="+user,
		"PGSSLMODE=verify-full", "PGSSLROOTCERT="+w.ca(), "PGPASSWORD="+w.token(user), "PGCONNECT_TIMEOUT=10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// psql runs statements in one session of a person and shows what psql prints.
func (w *world) psql(ctx context.Context, user string, statements ...string) (string, error) {
	return w.psqlBy(ctx, w.psqlCommand, "postern psql shop --  # as "+user, user, statements...)
}

// job is psql for a job.
func (w *world) job(ctx context.Context, user string, statements ...string) (string, error) {
	return w.psqlBy(ctx, w.jobCommand, "psql  # as "+user+", its token in PGPASSWORD", user, statements...)
}

func (w *world) psqlBy(ctx context.Context, command func(context.Context, string, ...string) *exec.Cmd, line, user string, statements ...string) (string, error) {
	var args []string
	for _, s := range statements {
		args = append(args, "-c", s)
		line += fmt.Sprintf("\n    -c %q", s)
	}
	show(line)
	out, err := command(ctx, user, args...).CombinedOutput()
	fmt.Print(indent(string(out)))
	return string(out), err
}

func (w *world) terraformCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.terraform, args...)
	cmd.Dir = w.story
	cmd.Env = append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+filepath.Join(w.dir, "terraform.rc"), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1",
		"POSTERN_ENDPOINT="+w.controlURL, "POSTERN_CA_FILE="+w.ca(), "POSTERN_TOKEN="+w.adminToken, "POSTERN_SIGNING_KEY="+w.signingKey,
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func heading(text string) { fmt.Printf("\n== %s\n", text) }

func note(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func show(command string) { fmt.Printf("\n  $ %s\n", command) }

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  ")
		b.WriteString(line)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// expect fails unless got holds every wanted text and none of the forbidden.
func expect(what, got string, want []string, forbidden ...string) error {
	for _, s := range want {
		if !strings.Contains(got, s) {
			return fmt.Errorf("%s: %q is missing in:\n%s", what, s, got)
		}
	}
	for _, s := range forbidden {
		if strings.Contains(got, s) {
			return fmt.Errorf("%s: %q must not be in:\n%s", what, s, got)
		}
	}
	return nil
}

// aside is a note between what commands print.
func aside(text string) { fmt.Printf("\n  %s\n", text) }

// align sets lines of cells with tabs between them as a table.
func align(s string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = io.WriteString(w, s) // a strings.Builder never fails
	_ = w.Flush()
	return b.String()
}
