package gateway_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/policylang"
)

// from has a client connect from another address of the loopback network,
// which tests as another machine would.
func from(address string) func(*pgx.ConnConfig) {
	return func(c *pgx.ConnConfig) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c.DialFunc = dialer.DialContext
	}
}

func application(name string) func(*pgx.ConnConfig) {
	return func(c *pgx.ConnConfig) { c.RuntimeParams["application_name"] = name }
}

// signsPolicy denies whoever shows any sign, and has a service beside ana.
func signsPolicy() *policylang.Policy {
	p := testPolicy()
	p.Identities = append(p.Identities, policylang.Identity{Name: "job", Kind: "service", When: "token.sub == 'job'", DatabaseRole: "ben"})
	p.QueryRules = []policylang.QueryRule{
		{Name: "everybody_reads", When: "statement.read_only", Effect: policylang.EffectAllow},
		{Name: "shared", When: "'shared_token' in session.signs", Effect: policylang.EffectDeny, Message: "This token is in use elsewhere."},
		{Name: "others", When: "session.signs.exists(s, s != 'shared_token')", Effect: policylang.EffectDeny, Message: "This is not how you connect."},
	}
	return p
}

func TestSignsOfImpersonation(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := newBench(t, signsPolicy(), func(c *gateway.Config) {
		c.CINetworks = []netip.Prefix{netip.MustParsePrefix("127.0.7.0/24")}
		c.Metrics = metrics.NewGateway(registry)
	})
	for _, test := range []struct {
		name, who, role string
		change          func(*pgx.ConnConfig)
		sign            string
	}{
		{"a person at a terminal", "ana", "ana", application("psql"), ""},
		{"a service as it should be", "job", "ben", application("billing-worker"), ""},
		{"a person from a network of jobs", "ana", "ana", from("127.0.7.9"), "human_from_ci"},
		{"a person by a program of jobs", "ana", "ana", application("GitHub-Actions deploy"), "human_as_job"},
		{"a service by a program of people", "job", "ben", application("DBeaver 24.1.0 - Main"), "service_as_person"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := b.config(test.role, token(test.who))
			test.change(cfg)
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			_, err = conn.Exec(t.Context(), "SELECT 1")
			if test.sign == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			wantError(t, err, "42501", "not how you connect")
			b.wantSign(t, registry, test.sign, test.who)
		})
	}
}

// wantSign looks for a sign in the evidence, the log and the metrics.
func (b *bench) wantSign(t *testing.T, registry *prometheus.Registry, sign, identity string) {
	t.Helper()
	found := false
	for r, err := range evidence.Search(b.dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindImpersonation}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || r.Reason == sign && r.Identity == identity && r.Session != "" && r.ClientAddr != ""
	}
	if !found {
		t.Errorf("the evidence has no record of %s", sign)
	}
	if !strings.Contains(b.logs.String(), "sign="+sign) {
		t.Errorf("the log has no line of %s", sign)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := slices.ContainsFunc(families, func(f *dto.MetricFamily) bool {
		return f.GetName() == "postern_impersonation_signs_total" && strings.Contains(f.String(), sign)
	})
	if !counted {
		t.Errorf("the metrics have no %s", sign)
	}
}

// TestSignsOfTheRefused shows that who is refused after the token was verified
// leaves the same traces: whatever refuses them, and though they get no session.
func TestSignsOfTheRefused(t *testing.T) {
	b := newBench(t, signsPolicy(), func(c *gateway.Config) {
		c.CINetworks = []netip.Prefix{netip.MustParsePrefix("127.0.7.0/24")}
		c.Limits.IdentityConnections = 1
	})
	b.connect("ana")
	stolen := shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "jti": "t-9"}, 5*time.Minute)
	if conn, err := pgx.ConnectConfig(t.Context(), b.config("postgres", stolen)); err == nil {
		_ = conn.Close(context.Background())
		t.Fatal("let in as another role")
	}
	for _, test := range []struct {
		role     string
		change   func(*pgx.ConnConfig)
		password string
		code     string
		sign     string
	}{
		{"ana", from("127.0.7.9"), token("ana"), "too_many_identity_connections", "human_from_ci"},
		{"postgres", application("gitlab-runner"), token("ana"), "role_mismatch", "human_as_job"},
		{"postgres", from("127.0.8.8"), stolen, "role_mismatch", "shared_token"},
		{"ben", func(c *pgx.ConnConfig) { c.RuntimeParams["application_name"], c.Database = "psql", "nowhere" }, token("job"), "upstream_unavailable", "service_as_person"},
	} {
		t.Run(test.code+" "+test.sign, func(t *testing.T) {
			cfg := b.config(test.role, test.password)
			test.change(cfg)
			if conn, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
				_ = conn.Close(context.Background())
				t.Fatal("let in")
			}
			var sign, denied bool
			for r, err := range evidence.Search(b.dir, evidence.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				sign = sign || r.Kind == evidence.KindImpersonation && r.Reason == test.sign && r.Session == "" && r.Identity != "" && r.ClientAddr != ""
				denied = denied || sign && r.Kind == evidence.KindDenied && r.Reason == test.code && r.Command == "LOGIN" && r.Session == "" && r.Identity != ""
			}
			if !sign || !denied {
				t.Errorf("the evidence has the sign: %t, and after it the refusal: %t", sign, denied)
			}
		})
	}
}

// TestSharedToken uses one token from two addresses: both sessions show it, the
// first from its next statement on.
func TestSharedToken(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := newBench(t, signsPolicy(), func(c *gateway.Config) { c.Metrics = metrics.NewGateway(registry) })
	shared := shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "jti": "t-1"}, 5*time.Minute)
	with := func(address string) *pgx.Conn {
		return b.connect("ana", from(address), func(c *pgx.ConnConfig) { c.Password = shared })
	}
	first, again := with("127.0.0.1"), with("127.0.0.1")
	for _, conn := range []*pgx.Conn{first, again} {
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatalf("two sessions from one address: %v", err)
		}
	}
	other := b.connect("ana") // a token of its own
	second := with("127.0.8.8")
	for _, conn := range []*pgx.Conn{first, again, second} {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		wantError(t, err, "42501", "in use elsewhere")
	}
	if _, err := other.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("another token of the same person: %v", err)
	}
	b.wantSign(t, registry, "shared_token", "ana")
}
