package policylang_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
)

// TestServers reads every way to write a server.
func TestServers(t *testing.T) {
	u := policylang.Upstream{Host: "a", Port: 6000, FallbackHosts: []string{"b", "c:7000", "10.0.0.1", "10.0.0.1:7000", "::1", "[::1]:7000", "d_e.f-g"}}
	var got []string
	for _, s := range u.Servers() {
		got = append(got, s.String())
	}
	want := []string{"a:6000", "b:6000", "c:7000", "10.0.0.1:6000", "10.0.0.1:7000", "[::1]:6000", "[::1]:7000", "d_e.f-g:6000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	plain := policylang.Upstream{Host: "a"}
	if got := plain.Servers()[0].String(); got != "a:5432" {
		t.Errorf("without a port: %s", got)
	}
}

// TestAttrs is the choice that the policy leaves.
func TestAttrs(t *testing.T) {
	one, two := policylang.Upstream{Host: "a"}, policylang.Upstream{Host: "a", FallbackHosts: []string{"b"}}
	said := two
	said.TargetSessionAttrs = policylang.AttrsStandby
	if one.Attrs() != policylang.AttrsAny || two.Attrs() != policylang.AttrsPrimary || said.Attrs() != policylang.AttrsStandby {
		t.Errorf("got %q, %q and %q", one.Attrs(), two.Attrs(), said.Attrs())
	}
	if at := said.At(said.Servers()[1]); at.Host != "b" || len(at.Servers()) != 1 || at.Attrs() != policylang.AttrsAny {
		t.Errorf("at its second server: %+v", at)
	}
}
