package policylang

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// testKind is the kind in the paths of a test's problems. A test is not an
// object, so this is no [Kind] that a policy can hold.
const testKind = "test"

// Validate reports what is wrong with the test's structure, given the policy
// that it is about. The paths have the kind "test".
func (t *Test) Validate(p *Policy) []Problem {
	var problems []Problem
	c := checker{problems: &problems, kind: testKind, name: t.Name}
	if strings.TrimSpace(t.Name) == "" {
		c.add("", "the test has no name", "Say in its name what the test shows.")
	}
	c.texts(reflect.ValueOf(t).Elem(), "")
	c.required("sql", t.SQL, "Give the text of the statement.")
	c.who(t, p)
	c.circumstances(t)
	c.expect(&t.Expect, p)
	return problems
}

func (c checker) who(t *Test, p *Policy) {
	if t.Identity == "" && len(t.Token) == 0 {
		c.add("identity", "identity is missing", "Say who asks: name an identity, or give the claims of a token.")
	}
	identities := objectNames(p.Identities)
	c.reference("identity", "identity", t.Identity, identities)
	c.reference("actor", "identity", t.Actor, identities)
	c.reference("gateway", "gateway", t.Gateway, objectNames(p.Gateways))
	if i, ok := find(p.Identities, t.Identity); ok && i.NameFrom != "" && len(t.Token) == 0 {
		c.add("token", "token is missing", fmt.Sprintf("Identity %q takes names from tokens: give the claims of one, as in token = { sub = \"u-17\" }.", i.Name))
	}
}

func (c checker) circumstances(t *Test) {
	if t.Now != "" {
		if _, err := time.Parse(time.RFC3339, t.Now); err != nil {
			c.add("now", fmt.Sprintf("now cannot be %q", t.Now), `Write a time as in "2006-01-02T15:04:05Z".`)
		}
	}
	if addr := t.Session.ClientAddr; addr != "" {
		if _, err := netip.ParseAddr(addr); err != nil {
			c.add("session.client_addr", fmt.Sprintf("%q is not an address", addr), `Write an address as in "10.1.2.3" or "2001:db8::1".`)
		}
	}
	for i, sign := range t.Session.Signs {
		enumeration(c, "session.signs["+strconv.Itoa(i)+"]", sign, Signs()...)
	}
	if strings.HasPrefix(t.Schema, "/") || strings.Contains("/"+t.Schema+"/", "/../") {
		c.add("schema", "schema must name a file beside the policy file or below it", `Write a path as in "schema.sql".`)
	}
}

func (c checker) expect(e *Expect, p *Policy) {
	if reflect.ValueOf(*e).IsZero() {
		c.add("expect", "the test expects nothing", `Say what is wanted, as in expect { effect = "deny" }.`)
		return
	}
	enumeration(c, "expect.effect", e.Effect, EffectAllow, EffectDeny, EffectHold)
	rules := objectNames(p.QueryRules)
	for i, r := range e.Rules {
		c.reference("expect.rules["+strconv.Itoa(i)+"]", "query rule", r, rules)
	}
	for i, r := range e.Observed {
		c.reference("expect.observed["+strconv.Itoa(i)+"]", "query rule", r, rules)
	}
	for i, g := range e.ApprovalGroups {
		c.reference("expect.approval_groups["+strconv.Itoa(i)+"]", "approval group", g, objectNames(p.ApprovalGroups))
	}
	c.duration("expect.statement_timeout", e.StatementTimeout, longestStatement)
}
