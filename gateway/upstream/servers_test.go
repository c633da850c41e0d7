package upstream_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
)

// pair is a primary and its standby, to which postgres and ana may connect.
func pair(t *testing.T) (primary, standby *pgtest.Cluster) {
	t.Helper()
	primary = pgtest.New(t, pgtest.Options{HBA: []string{
		"host all postgres 127.0.0.1/32 trust", "host replication postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256",
	}})
	primary.MustExec(t, "postgres", "create role ana login password 'right'")
	return primary, pgtest.NewStandby(t, primary)
}

// over is an upstream with these servers, in this order.
func over(attrs policylang.SessionAttrs, clusters ...*pgtest.Cluster) *policylang.Upstream {
	u := &policylang.Upstream{Host: clusters[0].Host, Port: clusters[0].Port, TLS: "disable", TargetSessionAttrs: attrs}
	for _, c := range clusters[1:] {
		u.FallbackHosts = append(u.FallbackHosts, fmt.Sprintf("%s:%d", c.Host, c.Port))
	}
	return u
}

// TestTargetSessionAttrs finds the server that will do, whatever the order.
func TestTargetSessionAttrs(t *testing.T) {
	p, s := pair(t)
	postgres := upstream.Login{Role: "postgres", Database: "postgres"}
	both := [][]*pgtest.Cluster{{p, s}, {s, p}}
	for _, test := range []struct {
		attrs policylang.SessionAttrs
		among [][]*pgtest.Cluster
		want  []*pgtest.Cluster // for each order; nil if none will do
	}{
		{"", both, []*pgtest.Cluster{p, p}},
		{policylang.AttrsPrimary, both, []*pgtest.Cluster{p, p}},
		{policylang.AttrsReadWrite, both, []*pgtest.Cluster{p, p}},
		{policylang.AttrsStandby, both, []*pgtest.Cluster{s, s}},
		{policylang.AttrsReadOnly, both, []*pgtest.Cluster{s, s}},
		{policylang.AttrsPreferStandby, both, []*pgtest.Cluster{s, s}},
		{policylang.AttrsAny, both, []*pgtest.Cluster{p, s}},
		{policylang.AttrsPreferStandby, [][]*pgtest.Cluster{{p}}, []*pgtest.Cluster{p}},
		{policylang.AttrsStandby, [][]*pgtest.Cluster{{p}}, []*pgtest.Cluster{nil}},
		{policylang.AttrsPrimary, [][]*pgtest.Cluster{{s}}, []*pgtest.Cluster{nil}},
		{policylang.AttrsAny, [][]*pgtest.Cluster{{s}}, []*pgtest.Cluster{s}},
	} {
		for i, clusters := range test.among {
			conn, err := upstream.Dial(t.Context(), over(test.attrs, clusters...), postgres)
			if err != nil {
				if test.want[i] != nil || !strings.Contains(err.Error(), "standby mode") {
					t.Errorf("%q, order %d: %v", test.attrs, i, err)
				}
				continue
			}
			if want := test.want[i]; want == nil || conn.Server != fmt.Sprintf("%s:%d", want.Host, want.Port) || conn.Target.Port != want.Port || len(conn.Target.Servers()) != 1 {
				t.Errorf("%q, order %d: connected to %s", test.attrs, i, conn.Server)
			}
			_ = conn.Close()
		}
	}
}

// TestNextServer passes over a server that is not there, and tries no other
// where one refuses the login. A server that takes connections and says nothing
// holds up the first login alone, and not for all of its time.
func TestNextServer(t *testing.T) {
	p, s := pair(t)
	ana := upstream.Login{Role: "ana", Database: "postgres"}
	target := over(policylang.AttrsAny, p, s)

	t.Setenv("POSTERN_TEST_PASSWORDS", fmt.Sprintf("*:%d:*:*:wrong\n*:%d:*:*:right", p.Port, s.Port))
	target.Credentials = "env:POSTERN_TEST_PASSWORDS"
	if _, err := upstream.Dial(t.Context(), target, ana); err == nil || !strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "right") {
		t.Errorf("the first server refuses the password: %v", err)
	}
	p.Stop()
	conn, err := upstream.Dial(t.Context(), target, ana)
	if err != nil {
		t.Fatalf("the first server is down: %v", err)
	}
	_ = conn.Close()

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silentAt, _ := silent.Addr().(*net.TCPAddr)
	target.Host, target.Port = "127.0.0.1", silentAt.Port
	target.FallbackHosts = []string{fmt.Sprintf("127.0.0.1:%d", s.Port)}
	for i := range 3 {
		began := time.Now()
		conn, err := upstream.Dial(t.Context(), target, ana)
		if err != nil {
			t.Fatalf("the first server is silent: %v", err)
		}
		_ = conn.Close()
		if took := time.Since(began); i > 0 && took > 4*time.Second {
			t.Errorf("login %d waited %v for a server that was silent before", i+1, took)
		}
	}

	s.Stop()
	target.Port, target.FallbackHosts = p.Port, []string{fmt.Sprintf("127.0.0.1:%d", s.Port)}
	_, err = upstream.Dial(t.Context(), target, ana)
	for _, c := range []*pgtest.Cluster{p, s} {
		if want := fmt.Sprintf("connect to upstream 127.0.0.1:%d as \"ana\"", c.Port); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no server is there: %v, want it to say %s", err, want)
		}
	}
}

// TestPromotion follows the primary.
func TestPromotion(t *testing.T) {
	p, s := pair(t)
	target := over("", p, s)
	postgres := upstream.Login{Role: "postgres", Database: "postgres"}
	conn, err := upstream.Dial(t.Context(), target, postgres)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	p.Kill()
	if _, err := upstream.Dial(t.Context(), target, postgres); err == nil || !strings.Contains(err.Error(), "standby mode") {
		t.Fatalf("the primary is gone and the standby was not promoted: %v", err)
	}
	if err := s.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err = upstream.Dial(t.Context(), target, postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Target.Port != s.Port {
		t.Errorf("connected to %s", conn.Server)
	}
}
