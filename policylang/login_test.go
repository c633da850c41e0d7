package policylang_test

import (
	"testing"

	"github.com/posternhq/postern/policylang"
)

// TestLoginBy is the choice that the policy leaves, and that a policy keeps what
// it says.
func TestLoginBy(t *testing.T) {
	for _, test := range []struct {
		name     string
		upstream policylang.Upstream
		want     policylang.LoginMethod
		kept     policylang.LoginMethod // in the canonical policy
	}{
		{"nothing said", policylang.Upstream{}, policylang.LoginCertificate, ""},
		{"encrypted only", policylang.Upstream{TLS: "require"}, policylang.LoginCertificate, ""},
		{"credentials", policylang.Upstream{Credentials: "env:DB"}, policylang.LoginPassword, ""},
		{"no TLS", policylang.Upstream{TLS: "disable"}, policylang.LoginPassword, ""},
		{"a certificate in spite of credentials", policylang.Upstream{Credentials: "env:DB", Login: policylang.LoginCertificate}, policylang.LoginCertificate, policylang.LoginCertificate},
		{"a password that there is not", policylang.Upstream{Login: policylang.LoginPassword}, policylang.LoginPassword, policylang.LoginPassword},
		{"a password", policylang.Upstream{Credentials: "env:DB", Login: policylang.LoginPassword}, policylang.LoginPassword, ""},
	} {
		p := policylang.Policy{Gateways: []policylang.Gateway{{Name: "g", Upstream: test.upstream}}}
		sorted := p.Sorted()
		canonical := sorted.Gateways[0].Upstream
		if got := test.upstream.LoginBy(); got != test.want || canonical.LoginBy() != test.want || canonical.Login != test.kept {
			t.Errorf("%s: got %q, and %q kept as %q, want %q kept as %q", test.name, got, canonical.LoginBy(), canonical.Login, test.want, test.kept)
		}
	}
}
