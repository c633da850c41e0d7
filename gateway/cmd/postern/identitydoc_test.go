package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/issuertest"
	"github.com/posternhq/postern/policylang/source"
)

// TestIdentityDoc runs each command of docs/identity.md, in the order in which
// they depend on each other, under the policy that the document shows.
func TestIdentityDoc(t *testing.T) {
	w := newDocWorld(t)
	w.enrol(t)
	sso := startSAML(t, w.control+"/saml/acs")
	w.serveDatabase(t)
	w.publish(t, sso)
	w.people(t)
	w.device(t)
	w.tools(t)
	w.agents(t)
	w.withoutBearer(t)
	w.oauth(t)
	w.ends(t)
	w.issuerDown(t)
	w.saml(t, sso)
	for _, b := range w.blocks {
		if !b.ran {
			t.Errorf("a block of the section %q is not run:\n%s", b.section, b.text)
		}
	}
	w.noSecrets(t)
}

// enrol starts the control plane, makes the first administrator, and enrols the
// gateway.
func (w *docWorld) enrol(t *testing.T) {
	w.serveControl(t, "corp")
	w.write(t, "ca.pem", w.read(t, "control/ca.pem"))
	w.runBlock(t, "Enrolment", "postern control bootstrap ")
	w.administer(t)
	t.Setenv("NODE_EXTRA_CA_CERTS", filepath.Join(w.dir, "ca.pem"))
	w.provider = issuertest.Start(t, w.control+"/oauth/back-channel-logout")
	w.provider.Tell(t, "user u-17")
	w.names = append(w.names, "https://login.example.com", w.provider.URL)
	invite, rest, _ := strings.Cut(w.block(t, "Enrolment", "postern gateway invite "), "\n")
	enroll, gateway, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	w.run(t, invite)
	w.run(t, w.named(enroll, "gateway"))
	w.serveGateway(t, gateway)
	w.write(t, "ca.pem", w.read(t, "control/ca.pem", "gateway/ca.pem"))
}

var samlMetadata = regexp.MustCompile(`(?s)<<-EOT\n.*?\n    EOT`)

// publish puts the document's policy together, prepares the database for it and
// releases it.
func (w *docWorld) publish(t *testing.T, sso *samlIDP) {
	policy := w.block(t, "What the policy says", `gateway "orders"`)
	upstream := w.block(t, "The person in PostgreSQL", "upstream {")
	issuer := w.block(t, "SAML", `  issuer "sso"`)
	policy = regexp.MustCompile(`(?s)  upstream \{.*?\n  \}\n`).ReplaceAllLiteralString(policy, upstream+issuer+
		fmt.Sprintf("issuer \"robots\" {\n  url = %q\n  audience = \"postern\"\n}\n", w.robots.URL()))
	policy = samlMetadata.ReplaceAllLiteralString(policy, "<<-EOT\n"+sso.metadata+"\n    EOT")
	policy += w.block(t, "SAML", `identity "staff"`) + w.block(t, "Signs of impersonation", "query_rule ") + fmt.Sprintf(`
identity "robot" {
  kind = "agent"
  when = "token.iss == '%s' && token.sub == 'robot'"
}

query_rule "reading" {
  when   = "statement.read_only"
  effect = "allow"
}
`, w.robots.URL())
	policy = strings.NewReplacer(`host = "orders-db.internal"`, fmt.Sprintf("host = %q\nport = %d", w.database.Host, w.database.Port),
		"/etc/postern/orders-db.pem", filepath.Join(w.dir, "orders-db.pem"), "https://idp.example.com", sso.url).Replace(w.named(policy, ""))
	w.write(t, "policies/orders.postern.hcl", policy)
	file, problems := source.ParseFS(os.DirFS(filepath.Join(w.dir, "policies")))
	if len(problems) > 0 {
		t.Fatalf("the policy of the document: %v", problems)
	}
	lines := strings.Split(strings.TrimSpace(w.block(t, "The person in PostgreSQL", "postern upstream prepare ")), "\n")
	check := lines[2]
	administrator := "ADMIN_URL=" + w.database.URL("orders", "postgres")
	if out, err := w.shell(t, check, administrator); err == nil || !strings.Contains(out, "by certificate") {
		t.Errorf("before the database is prepared, postern upstream check says %v\n%s", err, out)
	}
	w.run(t, w.named(lines[0], ""))
	for range 2 { // it can be run any number of times
		w.run(t, lines[1]+" -v ON_ERROR_STOP=1", administrator)
	}
	w.configure(t, w.read(t, "prepare.sql"))
	eventually(t, "the database is as the gateway needs it", func() bool {
		_, err := w.shell(t, check, administrator)
		return err == nil
	})
	w.release(t, &file.Policy)
	eventually(t, "the control plane follows the policy", func() bool {
		out, err := w.shell(t, "curl -sSf --cacert ca.pem "+w.control+"/oauth/sign-in")
		return err == nil && strings.Contains(out, "corp")
	})
}

// people is a person's day, with a browser and a keyring.
func (w *docWorld) people(t *testing.T) {
	w.serveKeyring(t)
	kept := "home/.config/postern/login.json"
	lines := strings.Split(strings.TrimSpace(w.block(t, "People", "postern login ")), "\n")
	out := w.run(t, w.named(lines[0], ""))
	if !strings.Contains(out, "Signed in as ana (human)") || strings.Contains(out, "no keyring") {
		t.Errorf("postern login says\n%s", out)
	}
	if token, refresh, inKeyring := w.storedLogin(t, kept); token != "" || refresh != "" || !inKeyring {
		t.Errorf("there is a keyring, and tokens are in the file")
	}
	secret := "secret-tool lookup service postern username " + w.control
	if out := w.run(t, secret); !strings.Contains(out, `"id_token":"eyJ`) {
		t.Error("the keyring does not have the login")
	}
	for line, want := range map[string]string{"postern whoami": "ana", "postern psql orders": "", "postern psql orders -- -c 'SELECT count(*) FROM orders'": "42"} {
		if out := w.run(t, line); !strings.Contains(out, want) {
			t.Errorf("$ %s\n%s", line, out)
		}
	}
	if said := strings.Join(lines, "\n"); !strings.Contains(said, "postern whoami\npostern psql orders\npostern psql orders -- -c 'SELECT count(*) FROM orders'\npostern logout") {
		t.Errorf("the document's commands are others than those that are run:\n%s", said)
	}
	if out := w.run(t, "postern logout"); !strings.Contains(out, "Signed out") {
		t.Errorf("postern logout says\n%s", out)
	}
	if _, err := w.shell(t, secret); err == nil {
		t.Error("the keyring has the login after postern logout")
	}
	if out, err := w.shell(t, "postern psql orders"); err == nil || !strings.Contains(out, "run: postern login") {
		t.Errorf("signed out: %v\n%s", err, out)
	}
}

// device signs in on another device, and from here on without a keyring.
func (w *docWorld) device(t *testing.T) {
	w.env = append(w.env, "POSTERN_LOGIN_FILE=login.json")
	login := w.start(t, "postern login --device")
	shown := regexp.MustCompile(`or open\n  (\S+)\n`)
	eventually(t, "postern login --device shows where to go", func() bool { return shown.MatchString(login.output.String()) })
	if err := issuertest.Browse(shown.FindStringSubmatch(login.output.String())[1]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-login.ended:
	case <-time.After(time.Minute):
	}
	if out := login.output.String(); !strings.Contains(out, "Signed in as ana (human)") {
		t.Fatalf("postern login --device says\n%s", out)
	}
	if token, _, _ := w.storedLogin(t, "login.json"); token == "" {
		t.Error("there is no keyring, and the file has no token")
	}
}

// signIn signs ana in by the browser.
func (w *docWorld) signIn(t *testing.T) {
	t.Helper()
	eventually(t, "ana is let in again", func() bool { // not within the second of a revocation
		out, err := w.shell(t, "postern login && postern psql orders -- -XAtc 'SELECT 1'")
		return err == nil && strings.Contains(out, "Signed in as ana")
	})
}

// tools are programs that take a password, or connect to this machine.
func (w *docWorld) tools(t *testing.T) {
	if out, err := w.shell(t, strings.TrimSpace(w.named(w.block(t, "People", "PGPASSWORD="), ""))+" -XAtc 'SELECT session_user'"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(w.block(t, "Tools and pools", "postern connect\n")) {
		line = strings.Replace(strings.TrimSpace(line), "5433", "0", 1)
		connect := w.start(t, line)
		eventually(t, line+" says where it is", func() bool { return strings.Contains(connect.output.String(), "host=") })
		conninfo, _, _ := strings.Cut(connect.output.String(), "\n")
		if out := w.run(t, fmt.Sprintf("psql \"%s dbname=orders\" -XAtc 'SELECT session_user'", conninfo)); out != "ana\n" {
			t.Errorf("by way of %s\n%s", line, out)
		}
		connect.stop(t)
	}
}

// agents is an agent that works for ana.
func (w *docWorld) agents(t *testing.T) {
	idToken, _, _ := w.storedLogin(t, "login.json")
	w.write(t, "person.token", idToken)
	w.write(t, "agent.token", w.robots.Issue(map[string]any{"sub": "robot", "aud": "postern"}, 5*time.Minute))
	if out := w.runBlock(t, "Agents", "postern psql "); !strings.Contains(out, "42") || !strings.Contains(out, "eyJ") {
		t.Errorf("the agent gets\n%s", out)
	}
	if out := w.runBlock(t, "Agents", "curl "); !strings.Contains(out, `"subject":"ana"`) || !strings.Contains(out, `"actor":"robot"`) {
		t.Errorf("the exchange gives\n%s", out)
	}
}

// withoutBearer logs in with a certificate, for which the gateway is told the
// authority, and with a SCRAM secret.
func (w *docWorld) withoutBearer(t *testing.T) {
	certificate := "postern psql orders --with certificate"
	if out, err := w.shell(t, certificate+" -- -XAtc 'SELECT 1'"); err == nil || !strings.Contains(out, "--login-ca") {
		t.Errorf("a gateway that was not told the authority: %v\n%s", err, out)
	}
	fetch, gateway, _ := strings.Cut(strings.TrimSpace(w.block(t, "Client certificates", "curl ")), "\n")
	w.run(t, w.named(fetch, ""))
	w.orders.stop(t)
	w.serveGateway(t, strings.Replace(gateway, "…", "--data /var/lib/postern --trust publisher.pub", 1))
	w.runBlock(t, "Without a bearer", certificate)
	command := w.block(t, "Client certificates", "postern token --certificate ")
	out := w.run(t, strings.TrimSpace(w.named(command, ""))+" -XAtc 'SELECT session_user'")
	if !strings.HasSuffix(out, "\nana\n") {
		t.Errorf("%s\n%s", command, out)
	}
	serial := strings.TrimSpace(w.run(t, "openssl x509 -noout -serial -in ~/.postgresql/postgresql.crt | cut -d= -f2 | tr A-F a-f"))
	w.names = append(w.names, "JTI", serial)
	w.run(t, w.named("postern revoke token JTI", ""), "POSTERN_TOKEN="+w.token)
	connect := strings.Split(strings.TrimSpace(w.named(command, "")), "\n")[1]
	eventually(t, "the certificate is refused", func() bool {
		out, err := w.shell(t, connect+" -XAtc 'SELECT 1'")
		return err != nil && strings.Contains(out, "was revoked")
	})
	w.run(t, "rm ~/.postgresql/postgresql.*")
	command = w.block(t, "SCRAM", "eval ")
	if out := w.run(t, strings.TrimSpace(w.named(command, ""))+" -XAtc 'SELECT session_user'"); out != "ana\n" {
		t.Errorf("%s\n%s", command, out)
	}
}

// oauth is psql on libpq 18, to which a hook gives the token.
func (w *docWorld) oauth(t *testing.T) {
	lib := libpq18(t)
	hook := filepath.Join(w.dir, "oauthhook.so")
	cmd := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-o", hook, "../../testdata/oauthhook.c", filepath.Join(lib, "libpq.so.5"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the hook: %v\n%s", err, out)
	}
	command := strings.TrimSpace(w.named(w.block(t, "OAUTHBEARER", "psql "), ""))
	out := w.run(t, command+" -XAtc 'SELECT session_user'", "LD_LIBRARY_PATH="+lib, "LD_PRELOAD="+hook, "PGOAUTHDEBUG=UNSAFE", "TEST_BEARER="+w.read(t, "person.token"))
	if !strings.HasSuffix(out, "\nana\n") {
		t.Errorf("%s\n%s", command, out)
	}
}

// ends are the ways in which a session ends, each in the middle of a statement.
func (w *docWorld) ends(t *testing.T) {
	var sid struct {
		ID string `json:"sid"`
	}
	decodeSegment(t, strings.Split(w.read(t, "person.token"), ".")[1], &sid)
	for line := range strings.Lines(w.block(t, "How a session ends", "postern revoke subject")) {
		line = strings.TrimSpace(line)
		_, words, _ := strings.Cut(line, "postern revoke ")
		kind, _, _ := strings.Cut(words, " ")
		switch kind {
		case "subject", "token": // not ana's, and seen above
			w.run(t, w.named(line, ""), "POSTERN_TOKEN="+w.token)
			continue
		case "sign_in":
			w.signIn(t)
			idToken, _, _ := w.storedLogin(t, "login.json")
			decodeSegment(t, strings.Split(idToken, ".")[1], &sid)
			line = strings.Replace(line, "SID", sid.ID, 1)
		}
		w.endsBy(t, kind, func() {
			line = strings.Replace(line, "s_0123456789abcdef", w.lastSession(t), 1)
			w.run(t, w.named(line, ""), "POSTERN_TOKEN="+w.token)
		})
		if out, err := w.shell(t, "postern psql orders -- -XAtc 'SELECT 1'"); kind != "session" && (err == nil || !strings.Contains(out, "run: postern login") && !strings.Contains(out, "run postern login")) {
			t.Errorf("after postern revoke %s: %v\n%s", kind, err, out)
		}
	}
	w.signIn(t)
	idToken, _, _ := w.storedLogin(t, "login.json")
	decodeSegment(t, strings.Split(idToken, ".")[1], &sid)
	w.endsBy(t, "back-channel logout", func() {
		if said := w.provider.Tell(t, "logout u-17 "+sid.ID); said != "done" {
			t.Error(said)
		}
	})
	w.signIn(t)
}

// endsBy ends a session whose statement runs.
func (w *docWorld) endsBy(t *testing.T, what string, end func()) {
	t.Helper()
	in := installation{cluster: w.database}
	said := make(chan string, 1)
	go func() {
		out, _ := w.shell(t, "postern psql orders -- -X -v VERBOSITY=verbose -c 'SELECT pg_sleep(120)'")
		said <- out
	}()
	eventually(t, "the statement runs", func() bool { return in.sleeping(t) == 1 })
	began := time.Now()
	end()
	select {
	case out := <-said:
		t.Logf("%s: the session ended %v after the command was started", what, time.Since(began).Round(time.Millisecond))
		if !strings.Contains(out, "FATAL:  57P01:") || !strings.Contains(out, "revoked") && !strings.Contains(out, "was ended at its identity provider") || !strings.Contains(out, "HINT:  Sign in again") {
			t.Errorf("%s: psql prints\n%s", what, out)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: the session did not end", what)
	}
	eventually(t, "the database has cancelled the statement", func() bool { return in.sleeping(t) == 0 })
}

// issuerDown has the identity provider go away: new logins go on with the keys
// that are known, live sessions in any case, and a gateway that starts without it
// refuses its tokens, and nobody else's.
func (w *docWorld) issuerDown(t *testing.T) {
	idToken, _, _ := w.storedLogin(t, "login.json")
	host, port, _ := net.SplitHostPort(w.gateway)
	conninfo := fmt.Sprintf("host=%s port=%s dbname=orders user=ana sslmode=verify-full sslrootcert=%s password=%s", host, port, filepath.Join(w.dir, "ca.pem"), idToken)
	live, err := pgx.Connect(t.Context(), conninfo)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close(context.Background())
	w.provider.Stop()
	if again, err := pgx.Connect(t.Context(), conninfo); err != nil {
		t.Errorf("soon after the issuer went away: %v", err)
	} else {
		_ = again.Close(context.Background())
	}
	if _, err := live.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a live session: %v", err)
	}
	w.orders.stop(t)
	w.serveGateway(t, "postern gateway --gateway orders --data /var/lib/postern --trust publisher.pub")
	eventually(t, "the gateway has its policy, and refuses what it cannot check", func() bool {
		_, err := pgx.Connect(t.Context(), conninfo)
		return err != nil && strings.Contains(err.Error(), "the token can't be checked now: its issuer does not answer")
	})
	eventually(t, "the gateway's log says which issuer it is", func() bool {
		log := w.orders.output.String()
		return strings.Contains(log, "code=token_issuer_unreachable") && strings.Contains(log, w.provider.URL)
	})
	if out, err := w.shell(t, "postern psql orders -- -XAtc 'SELECT session_user'"); err != nil || out != "ana\n" {
		t.Errorf("a credential of the control plane, which knows the issuer's keys: %v\n%s", err, out)
	}
}

// lastSession is the newest of the evidence.
func (w *docWorld) lastSession(t *testing.T) string {
	t.Helper()
	all := regexp.MustCompile(`"s_[0-9a-f]{16}"`).FindAllString(w.run(t, "postern evidence search --dir gateway/evidence --kind session_start -o json"), -1)
	if len(all) == 0 {
		t.Fatal("the evidence has no session")
	}
	return strings.Trim(all[len(all)-1], `"`)
}

// saml signs sam in where people sign in at a SAML identity provider.
func (w *docWorld) saml(t *testing.T, sso *samlIDP) {
	w.env = append(w.env, "POSTERN_LOGIN_FILE=sam.json")
	w.controlPlane.stop(t)
	w.serveControl(t, "sso")
	eventually(t, "the control plane has the policy", func() bool {
		_, err := w.shell(t, w.named(w.block(t, "SAML", "curl "), ""))
		return err == nil
	})
	if out := w.runBlock(t, "SAML", "curl "); !strings.Contains(out, `entityID="`+samlAudience+`"`) {
		t.Errorf("the metadata is\n%s", out)
	}
	sso.user(t, "sam", "engineering")
	if out := w.runBlock(t, "SAML", "postern login "); !strings.Contains(out, "Signed in as sam (human)") {
		t.Errorf("%s", out)
	}
	if out := w.run(t, "postern psql orders -- -XAtc 'SELECT session_user'"); out != "sam\n" {
		t.Errorf("PostgreSQL sees %s", out)
	}
}

// noSecrets looks for tokens where none belong.
func (w *docWorld) noSecrets(t *testing.T) {
	server, err := os.ReadFile(w.database.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the control plane's log": w.controlPlane.output.String(), "the gateway's log": w.orders.output.String(), "PostgreSQL's log": string(server),
		"the evidence": w.run(t, "postern evidence search --dir gateway/evidence -o json"),
	} {
		if at := strings.Index(text, "eyJ"); at >= 0 {
			t.Errorf("%s has a token: …%.80s", name, text[max(0, at-60):])
		}
	}
}
