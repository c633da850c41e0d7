package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/login"
	"github.com/posternhq/postern/policylang"
)

const samlAudience = "https://postern.example.com/saml"

// samlIDP is a running samlp: npm's, a real SAML identity provider.
type samlIDP struct {
	url      string
	metadata string
	stdin    io.Writer
	lines    *bufio.Scanner
}

func startSAML(t *testing.T, acs string) *samlIDP {
	t.Helper()
	installed, err := filepath.Abs("../../../bin/identity")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(installed, "node_modules", "samlp")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("samlp is not installed: run testacc/identity/install.sh")
		}
		t.Skip("SKIPPED: samlp is not installed: run testacc/identity/install.sh")
	}
	certificate, key := samlKey(t)
	cmd := exec.Command("node", "../../../testacc/identity/saml.mjs", installed, certificate, key, acs, samlAudience)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	i := &samlIDP{stdin: stdin, lines: bufio.NewScanner(out)}
	i.url = i.read(t)
	i.metadata = fetch(t, i.url+"/metadata")
	return i
}

func (i *samlIDP) read(t *testing.T) string {
	t.Helper()
	if !i.lines.Scan() {
		t.Fatalf("the identity provider has ended: %v", i.lines.Err())
	}
	return i.lines.Text()
}

// user is who signs in next.
func (i *samlIDP) user(t *testing.T, name string, groups ...string) {
	t.Helper()
	if _, err := fmt.Fprintln(i.stdin, name, strings.Join(groups, " ")); err != nil {
		t.Fatal(err)
	}
	i.read(t)
}

// samlKey makes the identity provider's key and certificate.
func samlKey(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "idp.crt"), filepath.Join(dir, "idp.key")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der},
		key:         {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get(address) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", address, response.Status, err)
	}
	return string(body)
}

// samlPolicy has people sign in at a SAML identity provider.
func (in *installation) samlPolicy(entityID, metadata string) *policylang.Policy {
	p := in.policy()
	p.Gateways[0].Issuers = []policylang.Issuer{
		{Name: "sso", URL: entityID, Audience: samlAudience, SAMLMetadata: metadata},
		{Name: api.CredentialIssuer, URL: in.control, Audience: "orders"},
	}
	p.Identities = []policylang.Identity{{
		Name: "staff", Kind: "human", When: fmt.Sprintf("token.iss == %q && 'dba' in token.attributes.groups", entityID),
		NameFrom: "token.attributes.uid[0]", GroupsFrom: "token.attributes.groups",
	}}
	return p
}

// person is a browser: it follows redirects, keeps cookies, and sends the form
// that an identity provider shows by itself. It remembers where it went.
type person struct {
	client  *http.Client
	visited []string
	posted  url.Values // the last form
}

func (in *installation) person(t *testing.T) *person {
	t.Helper()
	roots, err := (&controlFlags{ca: in.ca()}).roots()
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{}
	p.client = &http.Client{
		Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			p.visited = append(p.visited, r.URL.String())
			return nil
		},
	}
	return p
}

var (
	formAction = regexp.MustCompile(`<form[^>]*action="([^"]+)"`)
	formInput  = regexp.MustCompile(`<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"`)
)

// visit opens a page, and sends the form that is in it if that is for the
// assertion consumer service. It returns the last page.
func (p *person) visit(t *testing.T, page string) string {
	t.Helper()
	body := p.send(t, http.MethodGet, page, nil)
	action := formAction.FindStringSubmatch(body)
	if action == nil {
		return body
	}
	p.posted = url.Values{}
	for _, input := range formInput.FindAllStringSubmatch(body, -1) {
		p.posted.Set(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
	}
	return p.send(t, http.MethodPost, html.UnescapeString(action[1]), p.posted)
}

func (p *person) send(t *testing.T, method, address string, form url.Values) string {
	t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(form.Encode())) //nolint:noctx // a test's own server
	if err != nil {
		t.Error(err)
		return ""
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := p.client.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// signInBySAML runs `postern login` with a browser of the test's.
func (in *installation) signInBySAML(t *testing.T, who *person) (out string, err error) {
	t.Helper()
	t.Setenv("BROWSER", "true") // shows nothing; the test opens what is printed
	done := make(chan struct{})
	out, err = in.watch(t, regexp.MustCompile(`(?m)^  (https://\S+/oauth/authorize\S+)$`), func(found string) {
		defer close(done)
		who.visit(t, found)
	}, "login", "--control", in.control)
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("the browser did not come to an end")
	}
	return out, err
}

// TestSAML signs people in at npm's samlp, and lets them reach the database.
func TestSAML(t *testing.T) {
	in := install(t)
	idp := startSAML(t, in.control+"/saml/acs")
	in.release(t, in.samlPolicy(idp.url+"/metadata", idp.metadata))

	t.Run("what the identity provider must know", func(t *testing.T) {
		metadata := in.person(t).visit(t, in.control+"/saml/metadata/sso")
		if !strings.Contains(metadata, `entityID="`+samlAudience+`"`) || !strings.Contains(metadata, in.control+"/saml/acs") {
			t.Errorf("the metadata is\n%s", metadata)
		}
	})
	t.Run("login", func(t *testing.T) {
		idp.user(t, "ana", "dba", "oncall")
		who := in.person(t)
		out, err := in.signInBySAML(t, who)
		if err != nil || !strings.Contains(out, "Signed in as ana (human).") {
			t.Fatalf("%v\n%s", err, out)
		}
		last := who.visited[len(who.visited)-1]
		if !strings.HasPrefix(last, "http://127.0.0.1:") || !strings.Contains(last, "code=") {
			t.Errorf("the browser ends at %s", last)
		}
		for _, place := range who.visited {
			if strings.Contains(place, "eyJ") || strings.Contains(place, "SAMLResponse") {
				t.Errorf("a token is in the URL %s", place)
			}
		}
	})
	t.Run("psql", func(t *testing.T) {
		out, err := runPostern(t.Context(), "psql", "postgres", "--", "-X", "-A", "-t", "-c", "SELECT session_user")
		if err != nil || strings.TrimSpace(out) != "ana" {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("whoami", func(t *testing.T) {
		out, err := runPostern(t.Context(), "whoami", "-o", "json")
		if err != nil || !strings.Contains(out, `"identity": "staff"`) {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("the API with the login", func(t *testing.T) {
		if out, err := runPostern(t.Context(), "token", "whoami"); err != nil || !strings.Contains(out, "ana") || !strings.Contains(out, "oncall") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("the login is no credential", func(t *testing.T) {
		store, err := login.DefaultStore()
		if err != nil {
			t.Fatal(err)
		}
		l, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := in.psql(t, l.IDToken); err == nil || !strings.Contains(out, "not of a kind") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("somebody whom the policy does not know", func(t *testing.T) {
		idp.user(t, "ben", "sales")
		_, err := in.signInBySAML(t, in.person(t))
		wantError(t, err, "no identity of the gateway's policy matches")
	})
	t.Run("without a browser", func(t *testing.T) {
		_, err := runPostern(t.Context(), "login", "--control", in.control, "--device")
		wantError(t, err, "needs a browser on this machine")
	})
	t.Run("metadata that the policy no longer trusts", func(t *testing.T) {
		other := startSAML(t, in.control+"/saml/acs")
		renamed := strings.ReplaceAll(other.metadata, other.url+"/metadata", idp.url+"/metadata")
		in.release(t, in.samlPolicy(idp.url+"/metadata", renamed))
		_, err := runPostern(t.Context(), "whoami")
		wantError(t, err, "the subject token is not accepted")
	})
}
