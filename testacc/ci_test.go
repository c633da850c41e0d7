package testacc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v3"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/source"
)

const ciExamples = "../examples/ci"

// platform stands for the issuers of the platforms, at their real URLs.
type platform struct {
	key    jose.JSONWebKey
	signer jose.Signer
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{key: jose.JSONWebKey{Key: private.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}
	p.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// RoundTrip answers discovery and keys for any issuer.
func (p *platform) RoundTrip(r *http.Request) (*http.Response, error) {
	var v any = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key}}
	if issuer, ok := strings.CutSuffix(r.URL.String(), "/.well-known/openid-configuration"); ok {
		v = map[string]string{"issuer": issuer, "jwks_uri": issuer + "/jwks"}
	}
	data, err := json.Marshal(v)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(data)))}, err
}

func (p *platform) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := p.signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// The shapes of the platforms' tokens, with the claims that their
// documentation lists.
func shapes(now time.Time) map[string]map[string]any {
	times := func(life time.Duration, m map[string]any) map[string]any {
		m["iat"], m["nbf"], m["exp"], m["jti"] = now.Unix(), now.Unix(), now.Add(life).Unix(), "j-1"
		return m
	}
	return map[string]map[string]any{
		"github": times(5*time.Minute, map[string]any{
			"iss": "https://token.actions.githubusercontent.com", "aud": "postern", "sub": "repo:example/orders:environment:production",
			"repository": "example/orders", "repository_id": "296133", "repository_owner": "example", "repository_owner_id": "9919",
			"repository_visibility": "private", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "f1d2d2f",
			"environment": "production", "event_name": "push", "actor": "ana", "actor_id": "12", "run_id": "301", "run_number": "10", "run_attempt": "2",
			"workflow": "migrate", "workflow_ref": "example/orders/.github/workflows/migrate.yml@refs/heads/main",
			"job_workflow_ref": "example/orders/.github/workflows/migrate.yml@refs/heads/main", "runner_environment": "github-hosted",
			"head_ref": "", "base_ref": "",
		}),
		"gitlab": times(10*time.Minute, map[string]any{
			"iss": "https://gitlab.example.com", "aud": "postern", "sub": "project_path:example/orders:ref_type:branch:ref:main",
			"namespace_id": "72", "namespace_path": "example", "project_id": "4711", "project_path": "example/orders", "user_id": "1", "user_login": "ana",
			"user_email": "ana@example.com", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
			"ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 1, "runner_environment": "gitlab-hosted", "sha": "714a629",
		}),
		"kubernetes": times(10*time.Minute, map[string]any{
			"iss": "https://oidc.cluster.example.com", "aud": []string{"postern"}, "sub": "system:serviceaccount:orders:report",
			"kubernetes.io": map[string]any{
				"namespace": "orders", "node": map[string]any{"name": "n-1", "uid": "646e7c5e"}, "pod": map[string]any{"name": "report-1", "uid": "5e0bd49b"},
				"serviceaccount": map[string]any{"name": "report", "uid": "1a7b1e0c-7a56-4c05-9e3c-0a2f3c5b6d7e"},
			},
		}),
	}
}

// TestCITokens verifies tokens of the platforms' shapes and matches them on
// what is stable: who takes over a name is not let in.
func TestCITokens(t *testing.T) {
	file, problems := source.ParseFS(os.DirFS(ciExamples))
	program, more := compile.Compile(file.Policy, "orders")
	if problems = append(problems, more...); program == nil {
		t.Fatal(problems)
	}
	p, now := newPlatform(t), time.Now()
	auth := authenticate.New(authenticate.Config{Issuers: func() []policylang.Issuer { return program.Gateway().Issuers }, Transport: p})
	for name, c := range map[string]struct {
		shape  string
		change map[string]any
		want   string // the identity; empty: refused
	}{
		"github":                           {"github", nil, "orders-github"},
		"github, the repository was moved": {"github", map[string]any{"repository": "example/shop", "sub": "repo:example/shop:environment:production"}, "orders-github"},
		"github, the name was taken over":  {"github", map[string]any{"repository_id": "999"}, ""},
		"github, the owner was taken over": {"github", map[string]any{"repository_owner_id": "999"}, ""},
		"github, a pull request":           {"github", map[string]any{"ref": "refs/pull/1/merge", "event_name": "pull_request"}, ""},
		"github, no environment":           {"github", map[string]any{"environment": nil}, ""},
		"github, a number for a string":    {"github", map[string]any{"repository_id": 296133}, ""},
		"github, another audience":         {"github", map[string]any{"aud": "https://github.com/example"}, ""},
		"gitlab":                           {"gitlab", nil, "orders-gitlab"},
		"gitlab, another project":          {"gitlab", map[string]any{"project_id": "4712"}, ""},
		"gitlab, not protected":            {"gitlab", map[string]any{"ref_protected": "false"}, ""},
		"gitlab, github's claims":          {"gitlab", map[string]any{"repository_id": "296133", "repository_owner_id": "9919", "project_id": "1"}, ""},
		"kubernetes":                       {"kubernetes", nil, "orders-report"},
		"kubernetes, made again":           {"kubernetes", map[string]any{"kubernetes.io": map[string]any{"serviceaccount": map[string]any{"name": "report", "uid": "other"}}}, ""},
		"kubernetes, another account":      {"kubernetes", map[string]any{"sub": "system:serviceaccount:orders:web"}, ""},
		"kubernetes, the API's audience":   {"kubernetes", map[string]any{"aud": []string{"https://kubernetes.default.svc"}}, ""},
		"kubernetes, two audiences":        {"kubernetes", map[string]any{"aud": []string{"postern", "vault"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			claims := shapes(now)[c.shape]
			maps.Copy(claims, c.change)
			maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
			verified, err := auth.Token(t.Context(), p.token(t, claims))
			if err == nil {
				subject, failed := program.Identify(verified, now)
				if err = failed; err == nil && subject.Identity != c.want {
					t.Fatalf("it is %q, want %q", subject.Identity, c.want)
				}
			}
			if (err == nil) != (c.want != "") {
				t.Errorf("got error %v, want identity %q", err, c.want)
			}
		})
	}
}

// TestCIExamples runs each example's script with a psql that shows how it was
// called: as the identity's role, verified in full, with the platform's token.
func TestCIExamples(t *testing.T) {
	bin := t.TempDir()
	stub := "#!/bin/sh\necho \"psql $* as $PGUSER at $PGHOST:$PGPORT/$PGDATABASE $PGSSLMODE with $PGPASSWORD\"\n"
	if err := os.WriteFile(filepath.Join(bin, "psql"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, script string, env map[string]string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	want := func(t *testing.T, out, role string) {
		t.Helper()
		if !strings.Contains(out, "as "+role+" at db.example.com:6432/orders verify-full with the-token\n") {
			t.Errorf("it printed %s", out)
		}
	}
	t.Run("github", func(t *testing.T) {
		var workflow struct {
			Permissions map[string]string `yaml:"permissions"`
			Jobs        map[string]struct {
				Env   map[string]string `yaml:"env"`
				Steps []struct {
					Run string `yaml:"run"`
				} `yaml:"steps"`
			} `yaml:"jobs"`
		}
		readYAML(t, "github-actions.yml", &workflow)
		if workflow.Permissions["id-token"] != "write" {
			t.Error("the job may not ask for a token")
		}
		platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer request-token" || r.URL.Query().Get("audience") != "postern" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, `{"count": 1, "value": "the-token"}`)
		}))
		defer platform.Close()
		job := workflow.Jobs["migrate"]
		env := maps.Clone(job.Env)
		env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = platform.URL+"/?api-version=2.0", "request-token"
		out := run(t, job.Steps[len(job.Steps)-1].Run, env)
		if !strings.HasPrefix(out, "::add-mask::the-token\n") {
			t.Errorf("the token is not masked in the job's log: %s", out)
		}
		want(t, out, "orders_ci")
	})
	t.Run("gitlab", func(t *testing.T) {
		var pipeline map[string]struct {
			Tokens map[string]struct {
				Audience string `yaml:"aud"`
			} `yaml:"id_tokens"`
			Variables map[string]string `yaml:"variables"`
			Script    []string          `yaml:"script"`
		}
		readYAML(t, "gitlab-ci.yml", &pipeline)
		job := pipeline["migrate"]
		if job.Tokens["POSTERN_ID_TOKEN"].Audience != "postern" {
			t.Error("the token is not for the gateway")
		}
		env := maps.Clone(job.Variables)
		env["POSTERN_ID_TOKEN"] = "the-token"
		want(t, run(t, strings.Join(job.Script, "\n"), env), "orders_ci")
	})
	t.Run("kubernetes", func(t *testing.T) { testKubernetes(t, run, want) })
}

func testKubernetes(t *testing.T, run func(*testing.T, string, map[string]string) string, want func(*testing.T, string, string)) {
	var job struct {
		Spec struct {
			JobTemplate struct {
				Spec struct {
					Template struct {
						Spec struct {
							Containers []struct {
								Env          []struct{ Name, Value string } `yaml:"env"`
								Args         []string                       `yaml:"args"`
								VolumeMounts []struct {
									MountPath string `yaml:"mountPath"`
								} `yaml:"volumeMounts"`
							} `yaml:"containers"`
							Volumes []struct {
								Projected struct {
									Sources []struct {
										Token struct {
											Audience string `yaml:"audience"`
											Path     string `yaml:"path"`
										} `yaml:"serviceAccountToken"`
									} `yaml:"sources"`
								} `yaml:"projected"`
							} `yaml:"volumes"`
						} `yaml:"spec"`
					} `yaml:"template"`
				} `yaml:"spec"`
			} `yaml:"jobTemplate"`
		} `yaml:"spec"`
	}
	readYAML(t, "kubernetes.yaml", &job)
	pod := job.Spec.JobTemplate.Spec.Template.Spec
	projected := pod.Volumes[0].Projected.Sources[0].Token
	if projected.Audience != "postern" {
		t.Error("the token is not for the gateway")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, projected.Path), []byte("the-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	container := pod.Containers[0]
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	script := strings.ReplaceAll(container.Args[0], container.VolumeMounts[0].MountPath, dir)
	want(t, run(t, script, env), "orders_report")
}

// readYAML reads the last document of an example.
func readYAML(t *testing.T, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join(ciExamples, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for dec := yaml.NewDecoder(f); err == nil; {
		err = dec.Decode(v)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
