package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/source"
)

// TestOperationsDocuments runs every command of docs/control-plane.md and then
// of docs/bundle.md, in order, in one shell: with addresses and directories of
// this test's, since the documents' hosts are one here.
func TestOperationsDocuments(t *testing.T) {
	d := newDocumentHosts(t)
	ran := 0
	for _, file := range []string{"control-plane.md", "bundle.md"} {
		if file == "bundle.md" {
			d.changePolicy()
		}
		for _, line := range commandsOf(t, "../../../docs/"+file) {
			d.run(line)
			ran++
			if file == "control-plane.md" && strings.HasPrefix(line, "export POSTERN_TOKEN=") {
				d.follow("orders-canary", "orders-eu", "orders-us")
			}
		}
	}
	if ran < 20 {
		t.Errorf("%d commands were found", ran)
	}
	for _, want := range []string{"orders\t", "author:orders", "spiffe://corp/ci\tcertificate", "ana reads invoices", "nobody can work since 42", "proven"} {
		if !strings.Contains(d.printed.String(), want) {
			t.Errorf("%q is not in what was printed:\n%s", want, d.printed.String())
		}
	}
}

// commandsOf returns the lines of a document's blocks that have no language
// and begin with a command; a line that ends in a backslash goes on.
func commandsOf(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, part := range strings.Split(string(text), "```") {
		block, ok := strings.CutPrefix(part, "\n")
		if i%2 == 0 || !ok {
			continue
		}
		for _, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(block), "\\\n", ""), "\n") {
			switch word, _, _ := strings.Cut(line, " "); {
			case word == "postern", word == "export", strings.HasPrefix(word, "POSTERN_STORE="):
				out = append(out, line)
			case word == "revoked", strings.HasPrefix(word, "postern-public-key+"): // lines of a file of keys
			default:
				t.Errorf("%s: %q is no command", file, line)
			}
		}
	}
	return out
}

// documentHosts are the hosts of the documents, on this one.
type documentHosts struct {
	*testing.T
	dir              string
	control, gateway string // addresses
	shell            io.Writer
	answers          *bufio.Scanner
	printed          bytes.Buffer
	controlArgs      string
}

func newDocumentHosts(t *testing.T) *documentHosts {
	t.Helper()
	d := &documentHosts{T: t, dir: t.TempDir(), control: freeAddress(t), gateway: freeAddress(t)}
	in := &installation{cluster: pgtest.New(t)}
	in.cluster.MustExec(t, "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER")
	var err error
	if in.issuer, err = demoissuer.Start(demoissuer.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.issuer.Close() })
	policy := in.policy()
	policy.Gateways[0].Issuers = policy.Gateways[0].Issuers[:1]
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"policies/orders.postern.hcl": source.Write(*policy),
		"bin/postern":                 []byte("#!/bin/sh\nexec env " + asPostern + "=1 " + program + " \"$@\"\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(d.dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.clientCertificate()
	d.start()
	return d
}

// changePolicy makes orders.bundle of a policy that lets ana read invoices.
func (d *documentHosts) changePolicy() {
	d.Helper()
	const rule = "query_rule \"invoices\" {\n  effect = \"allow\"\n  when   = \"statement.reads('public.invoices')\"\n}\n"
	if err := os.WriteFile(filepath.Join(d.dir, "policies", "invoices.postern.hcl"), []byte(rule), 0o600); err != nil {
		d.Fatal(err)
	}
	d.execute("postern policy build --key publisher.key --out orders.bundle policies/")
}

// clientCertificate makes clients.pem, ci.pem and ci.key.
func (d *documentHosts) clientCertificate() {
	d.Helper()
	dir := d.TempDir()
	ca, err := authority(dir)
	if err != nil {
		d.Fatal(err)
	}
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: "ci"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "corp", Path: "/ci"}}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if err := writeCertificate(filepath.Join(d.dir, "ci.pem"), filepath.Join(d.dir, "ci.key"), &template, &ca); err != nil {
		d.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "ca.pem"), filepath.Join(d.dir, "clients.pem")); err != nil {
		d.Fatal(err)
	}
}

// start starts the shell.
func (d *documentHosts) start() {
	d.Helper()
	cmd := exec.CommandContext(context.Background(), "bash")
	cmd.Dir = d.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "POSTERN_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+d.dir, "PATH="+filepath.Join(d.dir, "bin")+":"+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		d.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.shell, d.answers = in, bufio.NewScanner(out)
	d.Cleanup(func() {
		_, _ = fmt.Fprintln(in, "kill $(jobs -p); wait; exit 0")
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			d.Errorf("the shell: %v", err)
		}
	})
}

// run runs a command as it stands in a document, and wants it to succeed.
func (d *documentHosts) run(line string) {
	d.Helper()
	data := filepath.Join(d.dir, "control")
	gateway := strings.HasPrefix(line, "postern gateway --") || strings.HasPrefix(line, "postern gateway enroll") || strings.HasPrefix(line, "postern doctor")
	if gateway {
		data = filepath.Join(d.dir, "gateway")
	}
	command := strings.NewReplacer(
		"/var/lib/postern", data, "0.0.0.0:8443", d.control, "https://control:8443", d.url(), "--host control", "--host localhost",
		"t_0123456789abcdef", "$(postern token list | awk '$2 == \"ci\" {print $1}')", "--observe 10m", "--observe 0s --timeout 30s",
	).Replace(line)
	switch {
	case strings.HasPrefix(line, "postern control --"):
		d.controlArgs = command
		d.serve("control", command+" --demo", d.control)
		return
	case strings.HasPrefix(line, "postern control …"):
		d.execute("kill $control; wait $control || true")
		d.serve("control", strings.Replace(command, "postern control …", d.controlArgs, 1)+" --demo", d.control)
		return
	case strings.HasPrefix(line, "postern gateway --"):
		d.serve("gateway", "env -u POSTERN_TOKEN "+command+" --demo --listen "+d.gateway, d.gateway)
		return
	case strings.HasPrefix(line, "postern bundle keygen --name ops-2026 --out ops"):
		command = "(mkdir keys && cd keys && " + command + ")"
	case strings.Contains(line, "--key ops.key"):
		command = strings.Replace(command, "ops.key", "publisher.key", 1)
	case strings.HasPrefix(line, "postern doctor"): // a gateway takes its time to find that the control plane is there again
		command = "(for _ in $(seq 50); do " + command + " && exit; sleep 0.5; done; exit 1)"
	case strings.Contains(line, "--client-cert"):
		command = "env -u POSTERN_TOKEN " + command
	}
	d.execute(command)
}

func (d *documentHosts) url() string {
	_, port, _ := net.SplitHostPort(d.control)
	return "https://localhost:" + port
}

// serve starts a server, and returns when it listens.
func (d *documentHosts) serve(name, command, address string) {
	d.Helper()
	d.execute(fmt.Sprintf("%s > %s.log 2>&1 & %s=$!", command, name, name))
	eventually(d.T, name+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (d *documentHosts) execute(command string) {
	d.Helper()
	const mark = "@@ended "
	if _, err := fmt.Fprintf(d.shell, "%s\nstatus=$?; echo; echo %q$status\n", command, mark); err != nil {
		d.Fatal(err)
	}
	var printed bytes.Buffer
	for d.answers.Scan() {
		status, ended := strings.CutPrefix(d.answers.Text(), mark)
		if !ended {
			printed.WriteString(d.answers.Text() + "\n")
			continue
		}
		d.printed.Write(printed.Bytes())
		if status != "0" {
			d.Fatalf("%s\n%s", command, printed.String())
		}
		return
	}
	d.Fatalf("the shell ended at %s\n%s", command, printed.String())
}

// follow has gateways that enforce at once whatever is released to them.
func (d *documentHosts) follow(gateways ...string) {
	d.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var following sync.WaitGroup
	d.Cleanup(func() { stop(); following.Wait() })
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(d.dir, "control", "ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		d.Fatalf("ca.pem: %v", err)
	}
	for _, name := range gateways {
		file := filepath.Join(d.dir, name+".token")
		d.execute("postern token create " + name + " --role gateway:" + name + " > " + file)
		token, err := os.ReadFile(file)
		if err != nil {
			d.Fatal(err)
		}
		client, err := controlclient.New(controlclient.Config{
			URL: d.url(), RootCAs: roots, Token: controlclient.StaticToken(strings.TrimSpace(string(token))),
		})
		if err != nil {
			d.Fatal(err)
		}
		d.Cleanup(client.Close)
		following.Go(func() {
			started := time.Now()
			for ctx.Err() == nil {
				live, err := client.Live(ctx, name, 0, 0)
				if err == nil && live != nil {
					_ = client.Report(ctx, name, "i1", api.Heartbeat{Bundle: live.Bundle, Revision: live.Revision, StartedAt: started}) // the control plane may be down
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}
