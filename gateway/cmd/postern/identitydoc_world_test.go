package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/issuertest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/bundle"
)

// docBlock is a block of commands in a document.
type docBlock struct {
	section, language, text string
	ran                     bool
}

// readBlocks reads the fenced blocks of a document, each with the heading that
// it stands under.
func readBlocks(t *testing.T, file string) (out []*docBlock) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var section string
	var open *docBlock
	for line := range strings.Lines(string(text)) {
		switch fence, isFence := strings.CutPrefix(line, "```"); {
		case isFence && open == nil:
			open = &docBlock{section: section, language: strings.TrimSpace(fence)}
		case isFence:
			out, open = append(out, open), nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return out
}

// docWorld is what docs/identity.md speaks of: a control plane and a gateway in
// processes of their own, a PostgreSQL with TLS, a real identity provider, and
// the machine of a person with a browser and a keyring.
type docWorld struct {
	installation
	dir      string // where commands run
	blocks   []*docBlock
	names    []string // what stands for the document's names, in pairs
	env      []string // of the person's machine
	provider *issuertest.Issuer
	robots   *demoissuer.Issuer
	database *pgtest.Cluster

	controlPlane, orders *docProcess
}

func newDocWorld(t *testing.T) *docWorld {
	t.Helper()
	w := &docWorld{dir: t.TempDir(), blocks: readBlocks(t, "../../../docs/identity.md")}
	w.data = w.dir
	w.gateway = freeAddress(t)
	w.control = "https://" + freeAddress(t)
	w.person(t)
	var err error
	if w.key, err = bundle.GenerateKey("publisher"); err != nil {
		t.Fatal(err)
	}
	w.write(t, "publisher.pub", w.key.PublicKey().String()+"\n")
	if w.robots, err = demoissuer.Start(demoissuer.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.robots.Close() })
	_, port, _ := net.SplitHostPort(w.gateway)
	w.names = []string{
		"https://postern.example.com:8443", w.control, "db.example.com:6432", w.gateway, "host=db.example.com port=6432", "host=127.0.0.1 port=" + port,
		"10.0.0.5/32", "127.0.0.1/32",
	}
	return w
}

// person makes a home, and a directory of programs with postern and a browser.
func (w *docWorld) person(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "home/.postgresql", "run"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"postern": self, asBrowser: self, "psql": psqlProgram(t)} {
		if err := os.Symlink(target, filepath.Join(w.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	w.env = []string{
		asPostern + "=1", "PATH=" + filepath.Join(w.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"),
		"XDG_RUNTIME_DIR=" + filepath.Join(w.dir, "run"), "BROWSER=" + filepath.Join(w.dir, "bin", asBrowser),
		"POSTERN_ENDPOINT=" + w.control, "POSTERN_CA_FILE=ca.pem", "PGSSLROOTCERT=ca.pem", "SSL_CERT_FILE=" + filepath.Join(w.dir, "ca.pem"),
	}
}

// psqlProgram is psql itself: Debian's is a script around it, in which libraries
// that are loaded before others would be too.
func psqlProgram(t *testing.T) string {
	t.Helper()
	dir, err := pgtest.FindBinDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "psql")
}

func (w *docWorld) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *docWorld) read(t *testing.T, names ...string) string {
	t.Helper()
	var out strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	return out.String()
}

// named has the world's names in place of the document's. Both hosts of it have
// one directory for what is kept: host says whose is meant.
func (w *docWorld) named(text, host string) string {
	return strings.NewReplacer(append([]string{"/var/lib/postern", filepath.Join(w.dir, host)}, w.names...)...).Replace(text)
}

// block takes the commands of a section that begin so.
func (w *docWorld) block(t *testing.T, section, beginning string) string {
	t.Helper()
	for _, b := range w.blocks {
		if b.section == section && strings.HasPrefix(b.text, beginning) {
			b.ran = true
			return b.text
		}
	}
	t.Fatalf("the section %q has no block that begins with %q", section, beginning)
	return ""
}

// shell runs commands as somebody would type them, but that the first that fails
// ends it.
func (w *docWorld) shell(t *testing.T, commands string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", commands)
	cmd.Dir, cmd.Env = w.dir, slices.Concat(os.Environ(), w.env, env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs commands that must not fail.
func (w *docWorld) run(t *testing.T, commands string, env ...string) string {
	t.Helper()
	out, err := w.shell(t, commands, env...)
	if err != nil {
		t.Fatalf("%v\n$ %s\n%s", err, commands, out)
	}
	return out
}

// runBlock runs a block of the document.
func (w *docWorld) runBlock(t *testing.T, section, beginning string) string {
	t.Helper()
	return w.run(t, w.named(w.block(t, section, beginning), "control"))
}

// docProcess is a command that goes on.
type docProcess struct {
	cmd    *exec.Cmd
	output *watched
	ended  chan struct{}
	err    error // once it has ended
}

// start starts a command that goes on until the test ends.
func (w *docWorld) start(t *testing.T, command string) *docProcess {
	t.Helper()
	p := &docProcess{cmd: exec.Command("sh", "-euc", "exec "+command), output: &watched{seen: func(string) {}}, ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = w.dir, slices.Concat(os.Environ(), w.env)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *docProcess) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("%v: %v\n%s", p.cmd.Args, p.err, p.output)
		}
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Errorf("%v does not end", p.cmd.Args)
	}
}

// listening waits until something listens.
func (p *docProcess) listening(t *testing.T, address string) {
	t.Helper()
	eventually(t, fmt.Sprint(p.cmd.Args, " listens"), func() bool {
		select {
		case <-p.ended:
			t.Fatalf("it has ended\n%s", p.output)
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// serveControl runs the document's control plane.
func (w *docWorld) serveControl(t *testing.T, signInAt string) {
	t.Helper()
	address := strings.TrimPrefix(w.control, "https://")
	command := strings.TrimSpace(w.named(w.block(t, "People", "postern control "), "control"))
	command = strings.Replace(command, "--sign-in corp", "--sign-in "+signInAt, 1)
	w.controlPlane = w.start(t, command+" --control-listen "+address+" --demo")
	w.controlPlane.listening(t, address)
}

// serveGateway runs a command of the document that is a gateway.
func (w *docWorld) serveGateway(t *testing.T, command string) {
	t.Helper()
	w.orders = w.start(t, w.named(command, "gateway")+" --listen "+w.gateway+" --demo")
	w.orders.listening(t, w.gateway)
}

// administer reads the administrator's token, as the test needs it itself.
func (w *docWorld) administer(t *testing.T) {
	t.Helper()
	w.token = strings.TrimSpace(w.read(t, "admin.token"))
	roots, err := (&controlFlags{ca: filepath.Join(w.dir, "ca.pem")}).roots()
	if err != nil {
		t.Fatal(err)
	}
	if w.admin, err = controlclient.New(controlclient.Config{URL: w.control, RootCAs: roots, Token: controlclient.StaticToken(w.token)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.admin.Close)
}

// serveDatabase starts a PostgreSQL with TLS that lets its owner in, and nobody
// else yet.
func (w *docWorld) serveDatabase(t *testing.T) {
	t.Helper()
	w.database = pgtest.New(t, pgtest.Options{HBA: []string{hbaOfOwner}})
	ca, err := authority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(w.dir, "server.crt"), filepath.Join(w.dir, "server.key")
	err = writeCertificate(cert, key, &x509.Certificate{
		Subject: pkix.Name{CommonName: "orders-db"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &ca)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "orders-db.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Leaf.Raw})))
	for _, name := range []string{"server.crt", "server.key"} {
		if err := w.database.WriteFile(name, w.read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.database.WriteFile("root.crt", w.read(t, "gateway/upstream-ca.pem")); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE DATABASE orders", "ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'", "SELECT pg_reload_conf()",
	} {
		w.database.MustExec(t, "postgres", sql)
	}
	w.database.MustExec(t, "orders", "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 42)")
}

// hbaOfOwner lets the superuser in, whom the gateway has nothing to do with.
const hbaOfOwner = "host all postgres 127.0.0.1/32 trust"

var preparedLine = regexp.MustCompile(`(?m)^--   ((?:hostssl|host|local|postern) .*)$`)

// configure puts the lines that postern upstream prepare prints where they belong.
func (w *docWorld) configure(t *testing.T, printed string) {
	t.Helper()
	hba, ident := []string{hbaOfOwner}, ""
	for _, m := range preparedLine.FindAllStringSubmatch(printed, -1) {
		if strings.HasPrefix(m[1], "postern ") {
			ident += m[1] + "\n"
			continue
		}
		hba = append(hba, m[1])
	}
	if len(hba) < 3 || ident == "" {
		t.Fatalf("it prints no lines for pg_hba.conf and pg_ident.conf:\n%s", printed)
	}
	for name, text := range map[string]string{"pg_hba.conf": strings.Join(hba, "\n") + "\n", "pg_ident.conf": ident} {
		if err := w.database.WriteFile(name, text); err != nil {
			t.Fatal(err)
		}
	}
	w.database.MustExec(t, "orders", "GRANT SELECT ON orders TO postern_clients; SELECT pg_reload_conf()")
}

// serveKeyring starts the Secret Service that desktops have, unlocked.
func (w *docWorld) serveKeyring(t *testing.T) {
	t.Helper()
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path="+filepath.Join(w.dir, "run", "bus"))
	address := "DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(w.dir, "run", "bus")
	keyring := exec.Command("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	keyring.Stdin = strings.NewReader("the keyring's password")
	for _, cmd := range []*exec.Cmd{bus, keyring} {
		cmd.Env = slices.Concat(os.Environ(), w.env, []string{address})
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatalf("%v; testacc/setup.sh tests installs it", err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		if cmd == bus {
			eventually(t, "the bus is there", func() bool { _, err := os.Stat(filepath.Join(w.dir, "run", "bus")); return err == nil })
		}
	}
	w.env = append(w.env, address)
	eventually(t, "the keyring is unlocked", func() bool {
		_, err := w.shell(t, "printf x | secret-tool store --label=x probe x && secret-tool clear probe x")
		return err == nil
	})
}

// storedLogin is the login that is kept in a file, tokens included.
func (w *docWorld) storedLogin(t *testing.T, file string) (idToken, refresh string, inKeyring bool) {
	t.Helper()
	var kept struct {
		IDToken   string `json:"id_token"`
		Refresh   string `json:"refresh_token"`
		InKeyring bool   `json:"in_keyring"`
	}
	if err := json.Unmarshal([]byte(w.read(t, file)), &kept); err != nil {
		t.Fatal(err)
	}
	return kept.IDToken, kept.Refresh, kept.InKeyring
}

// libpq18 is where the library is.
func libpq18(t *testing.T) string {
	t.Helper()
	bin, err := pgtest.BinDirOf(18)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(bin), "lib")
}
