package policydiff_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/policydiff"
)

func TestCompare(t *testing.T) {
	before := policylang.Policy{
		Gateways: []policylang.Gateway{{Name: "orders", Upstream: policylang.Upstream{Host: "a"}}},
		Identities: []policylang.Identity{
			{Name: "ana", Kind: "human", When: "true", Groups: []string{"eng", "pii"}},
			{Name: "carl", Kind: "human", When: "true"},
		},
		QueryRules: []policylang.QueryRule{{Name: "read", When: "statement.read_only", Effect: "allow"}},
	}
	after := policylang.Policy{
		Gateways: []policylang.Gateway{{Name: "orders", Upstream: policylang.Upstream{Host: "b", Port: 5432}}},
		Identities: []policylang.Identity{
			{Name: "ana", Kind: "human", When: "true", Groups: []string{"ops", "eng"}},
			{Name: "dora", Kind: "human", When: "true"},
		},
		QueryRules: []policylang.QueryRule{{Name: "read", When: strings.Repeat("<", 300), Effect: "deny", Mode: "enforce"}},
	}
	tests := []struct {
		name          string
		before, after policylang.Policy
		want          []string
	}{
		{"nothing", before, before, nil},
		{"other words for the same", before, before.Sorted(), nil},
		{"everything", before, after, []string{
			`~ gateway.orders: upstream.host "a" -> "b"`,
			`~ identity.ana: groups +"ops" -"pii"`,
			`- identity.carl`,
			`+ identity.dora`,
			`~ query_rule.read: effect "allow" -> "deny"; when "statement.read_only" -> "` + strings.Repeat("<", 199) + `…`,
		}},
		{"the order of servers", ofServers("b", "c"), ofServers("c", "b"), []string{`~ gateway.orders: upstream.fallback_hosts in another order: ["c","b"]`}},
		{"another server", ofServers("b"), ofServers("b", "c"), []string{`~ gateway.orders: upstream.fallback_hosts +"c"`}},
		{"the first", policylang.Policy{}, before, []string{"+ gateway.orders", "+ identity.ana", "+ identity.carl", "+ query_rule.read"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changes, err := policydiff.Compare(test.before, test.after)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func ofServers(fallbacks ...string) policylang.Policy {
	return policylang.Policy{Gateways: []policylang.Gateway{{Name: "orders", Upstream: policylang.Upstream{Host: "a", FallbackHosts: fallbacks}}}}
}
