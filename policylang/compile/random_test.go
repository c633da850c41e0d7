package compile_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
)

// random makes policies and requests from small vocabularies, so that they
// often meet.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 2))} }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

func (r random) some(from ...string) []string {
	return slices.DeleteFunc(slices.Clone(from), func(string) bool { return r.IntN(2) == 0 })
}

// atom makes a part of a condition; a mask's mentions no statement.
func (r random) atom(statement bool) string {
	n := 18
	if !statement {
		n = 9
	}
	switch r.IntN(n) {
	case 0, 1:
		return fmt.Sprintf("identity.in_group('%s')", pick(r, "dba", "eng", "pii"))
	case 2:
		return fmt.Sprintf("identity.name == '%s'", pick(r, "ana", "ben", "bot"))
	case 3:
		return fmt.Sprintf("identity.kind in ['%s', '%s']", pick(r, "human", "agent"), pick(r, "human", "service"))
	case 4:
		return fmt.Sprintf("session.database == '%s'", pick(r, "app", "old"))
	case 5:
		return fmt.Sprintf("session.client_addr.in_cidr('%s')", pick(r, "10.0.0.0/8", "192.0.2.0/24"))
	case 6:
		return fmt.Sprintf("now.hour('UTC') %s %d", pick(r, "<", ">="), 6*r.IntN(4))
	case 7:
		return fmt.Sprintf("identity.claims.%s == 'a'", pick(r, "team", "missing"))
	case 8:
		return fmt.Sprintf("now - session.started > duration('%dh')", 6*r.IntN(4))
	case 9, 10:
		return "statement." + pick(r, "read_only", "writes", "ddl", "filtered", "opaque")
	case 11, 12:
		return fmt.Sprintf("statement.%s('%s')", pick(r, "reads", "writes_to", "within"), pick(r, "public.*", "public.t", "app.u", "t", "*"))
	case 13:
		return fmt.Sprintf("statement.command == '%s'", pick(r, "SELECT", "UPDATE", "DO"))
	case 14:
		return fmt.Sprintf("statement.commands.exists(c, c == '%s')", pick(r, "SELECT", "UPDATE", "DROP TABLE"))
	case 15:
		return fmt.Sprintf("statement.class in ['%s', 'ddl']", pick(r, "read", "write"))
	case 16:
		return "statement.relations.exists(r, r.name == identity.name)"
	}
	return fmt.Sprintf("statement.parameters / %d == 0", r.IntN(2))
}

func (r random) condition(statement bool, depth int) string {
	if depth > 0 {
		switch r.IntN(4) {
		case 0, 1:
			return r.condition(statement, depth-1) + " && " + r.condition(statement, depth-1)
		case 2:
			return "(" + r.condition(statement, depth-1) + " || " + r.condition(statement, depth-1) + ")"
		}
	}
	if r.IntN(4) == 0 {
		return "!(" + r.atom(statement) + ")"
	}
	return r.atom(statement)
}

func (r random) rule(name string, effect policylang.Effect) policylang.QueryRule {
	o := policylang.QueryRule{Name: name, Effect: effect, When: r.condition(true, r.IntN(3)), Message: "Message of " + name + "."}
	if r.IntN(8) == 0 {
		o.Mode = policylang.ModeObserve
	}
	switch effect {
	case policylang.EffectHold:
		o.ApprovalGroup, o.HoldMode = pick(r, "dba", "leads"), pick(r, "", "wait", "retry")
	case policylang.EffectLimit:
		o.Message = ""
		o.MaxRows, o.StatementTimeout, o.ReadOnly = int64(1+r.IntN(100)), fmt.Sprintf("%ds", 1+r.IntN(60)), r.IntN(2) == 0
	case policylang.EffectAllow:
		o.Message = ""
	case policylang.EffectDeny:
	}
	return o
}

func (r random) policy() policylang.Policy {
	p := examplePolicy()
	p.ApprovalGroups = append(p.ApprovalGroups, policylang.ApprovalGroup{Name: "leads", Members: []string{"ana", "ben"}, Required: 2})
	p.Gateways[0].DefaultEffect = pick(r, policylang.EffectDeny, policylang.EffectDeny, policylang.EffectAllow)
	p.QueryRules, p.MaskingPolicies = nil, nil
	for i := range 1 + r.IntN(8) {
		effect := pick(r, policylang.EffectAllow, policylang.EffectAllow, policylang.EffectAllow, policylang.EffectDeny, policylang.EffectHold, policylang.EffectLimit)
		p.QueryRules = append(p.QueryRules, r.rule(fmt.Sprintf("rule_%d", i), effect))
	}
	for i := range r.IntN(3) {
		p.MaskingPolicies = append(p.MaskingPolicies, policylang.MaskingPolicy{
			Name: fmt.Sprintf("mask_%d", i), Columns: []string{"*.*.email"}, Transform: policylang.TransformNull, Unless: r.condition(false, r.IntN(3)),
		})
	}
	return p
}

func (r random) subject() *policylang.Subject {
	s := &policylang.Subject{Name: pick(r, "ana", "ben"), Kind: pick(r, "human", "service"), Groups: r.some("dba", "eng", "pii")}
	if r.IntN(2) == 0 {
		s.Claims = map[string]any{"team": pick(r, "a", "b")}
	}
	return s
}

func (r random) request() policylang.Request {
	q := policylang.Request{
		Subject: r.subject(),
		Session: &policylang.Session{Gateway: "orders", Database: pick(r, "app", "old"), Started: noon},
		Facts: &policylang.Facts{
			Text: "x", Command: pick(r, "SELECT", "UPDATE", "DO"), Commands: r.some("SELECT", "UPDATE", "DROP TABLE"),
			Class: pick(r, policylang.ClassRead, policylang.ClassWrite, policylang.ClassDDL, policylang.ClassFunction), ReadOnly: r.IntN(2) == 0,
			Writes: r.IntN(2) == 0, DDL: r.IntN(2) == 0, Filtered: r.IntN(2) == 0, Opaque: r.IntN(4) == 0, Parameters: r.IntN(2),
		},
		Now: noon.Add(time.Duration(r.IntN(24)) * time.Hour),
	}
	if r.IntN(4) > 0 {
		q.Session.ClientAddr = netip.MustParseAddr(pick(r, "10.1.2.3", "192.0.2.1"))
	}
	if r.IntN(3) == 0 {
		q.Subject.Actor = &policylang.Subject{Name: "bot", Kind: "agent", Groups: r.some("dba", "eng")}
	}
	for range r.IntN(4) {
		q.Facts.Relations = append(q.Facts.Relations, policylang.Relation{
			Schema: pick(r, "public", "app", ""), Name: pick(r, "t", "u", "ana"), Verb: pick(r, policylang.VerbRead, policylang.VerbUpdate),
		})
	}
	return q
}

// shuffled returns the policy with its objects, and their sets, in another
// order.
func (r random) shuffled(p policylang.Policy) policylang.Policy {
	q := policylang.Policy{
		Gateways: slices.Clone(p.Gateways), Identities: slices.Clone(p.Identities), QueryRules: slices.Clone(p.QueryRules),
		MaskingPolicies: slices.Clone(p.MaskingPolicies), ApprovalGroups: slices.Clone(p.ApprovalGroups),
	}
	r.Shuffle(len(q.Identities), func(i, j int) { q.Identities[i], q.Identities[j] = q.Identities[j], q.Identities[i] })
	r.Shuffle(len(q.QueryRules), func(i, j int) { q.QueryRules[i], q.QueryRules[j] = q.QueryRules[j], q.QueryRules[i] })
	r.Shuffle(len(q.MaskingPolicies), func(i, j int) {
		q.MaskingPolicies[i], q.MaskingPolicies[j] = q.MaskingPolicies[j], q.MaskingPolicies[i]
	})
	r.Shuffle(len(q.ApprovalGroups), func(i, j int) { q.ApprovalGroups[i], q.ApprovalGroups[j] = q.ApprovalGroups[j], q.ApprovalGroups[i] })
	for i := range q.ApprovalGroups {
		members := slices.Clone(q.ApprovalGroups[i].Members)
		slices.Reverse(members)
		q.ApprovalGroups[i].Members = members
	}
	return q
}

func describe(p policylang.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default %s\n", p.Gateways[0].DefaultEffect)
	for _, o := range p.QueryRules {
		fmt.Fprintf(&b, "%s %s %s %s: %s\n", o.Name, o.Effect, o.Mode, o.ApprovalGroup, o.When)
	}
	for _, o := range p.MaskingPolicies {
		fmt.Fprintf(&b, "%s unless %s\n", o.Name, o.Unless)
	}
	return b.String()
}
