package condition

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
)

// random makes expressions and inputs from small vocabularies, so that they
// often meet.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

func (r random) some(from ...string) []string {
	var out []string
	for _, s := range from {
		if r.IntN(2) == 0 {
			out = append(out, s)
		}
	}
	return out
}

func (r random) quoted(from ...string) string { return fmt.Sprintf("%q", pick(r, from...)) }

func (r random) listOf(from ...string) string {
	var quoted []string
	for _, s := range r.some(from...) {
		quoted = append(quoted, fmt.Sprintf("'%s'", s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// The vocabularies.
func vocabulary(field string) []string {
	switch field {
	case "identity.name", "identity.actor", "session.role":
		return []string{"ana", "ben", ""}
	case "identity.groups":
		return []string{"dba", "eng", "pii"}
	case "identity.kind":
		return []string{"human", "agent"}
	case "session.database":
		return []string{"app", "app_old", "postgres"}
	case "session.client_addr":
		return []string{"10.1.2.3", "2001:db8::1", ""}
	case "statement.command", "statement.commands":
		return []string{"SELECT", "UPDATE", "DROP TABLE"}
	case "statement.class":
		return []string{"read", "write", "ddl"}
	case "statement.shape", "statement.text", "statement.fingerprint":
		return []string{"select ?", "update", ""}
	case "statement.functions":
		return []string{"pg_catalog.now", "public.f", "f"}
	case "statement.columns":
		return []string{"public.t.a", "*.t.a", "public.*.b", `"my.s".t.a`}
	}
	return []string{"public", "app", "t", "u"}
}

// bool makes a condition.
func (r random) bool(kind Kind, depth int) string {
	if depth > 0 {
		switch r.IntN(8) {
		case 0, 1:
			return r.bool(kind, depth-1) + " && " + r.group(kind, depth-1)
		case 2, 3:
			return r.group(kind, depth-1) + " || " + r.group(kind, depth-1)
		case 4, 5:
			return "!" + r.group(kind, depth-1)
		case 6:
			return r.group(kind, depth-1) + " ? " + r.group(kind, depth-1) + " : " + r.group(kind, depth-1)
		}
	}
	if kind == KindIdentity {
		return r.tokenAtom()
	}
	return r.atom()
}

func (r random) group(kind Kind, depth int) string { return "(" + r.bool(kind, depth) + ")" }

func (r random) atom() string {
	texts := []string{
		"identity.name", "identity.actor", "identity.kind", "session.role", "session.database", "session.client_addr",
		"statement.command", "statement.class", "statement.shape", "statement.text", "statement.fingerprint",
	}
	lists := []string{"identity.groups", "statement.commands", "statement.functions", "statement.columns"}
	text, list := pick(r, texts...), pick(r, lists...)
	in := vocabulary(text)
	of := vocabulary(list)
	switch r.IntN(22) {
	case 0:
		return text + " == " + r.quoted(in...)
	case 1:
		return r.quoted(in...) + " != " + text
	case 2:
		return text + " in " + r.listOf(in...)
	case 3, 4:
		return r.quoted(of...) + " in " + list
	case 5:
		return fmt.Sprintf("%s.exists(x, x == %s)", list, r.quoted(of...))
	case 6:
		return fmt.Sprintf("%s.exists(x, x == %s || %s == x || x in %s)", list, r.quoted(of...), r.quoted(of...), r.listOf(of...))
	case 7:
		return fmt.Sprintf("%s.all(x, x != %s)", list, r.quoted(of...))
	case 8:
		return fmt.Sprintf("size(%s) %s %d", list, pick(r, "<", ">=", "=="), r.IntN(3))
	case 9:
		return fmt.Sprintf("identity.in_group(%s)", r.quoted("dba", "eng"))
	case 10, 11:
		return fmt.Sprintf("statement.%s(%s)", pick(r, "reads", "writes_to", "within", "calls"), r.quoted("public.t", "public.*", "*.t", "t", "*", "app.u", "pg_catalog.*", "f"))
	case 12:
		return fmt.Sprintf("statement.touches(%s)", r.quoted("public.t.a", "*.*.b", "a", "*", "t.*", `"my.s".t.a`))
	case 13:
		return "statement." + pick(r, "read_only", "writes", "ddl", "filtered", "opaque")
	case 14:
		return pick(r, "session.tls", "identity.delegated", "true", "false")
	case 15:
		return fmt.Sprintf("%s %s %d", pick(r, "statement.limit", "statement.parameters", "now.hour('Europe/Berlin')", "now.weekday('UTC')"), pick(r, "<", "<=", ">", ">=", "==", "!="), r.IntN(8))
	case 16:
		return fmt.Sprintf("%d %s %s", r.IntN(8), pick(r, "<", "<=", ">", ">=", "=="), pick(r, "statement.limit", "now.day('Asia/Tokyo')"))
	case 17:
		return fmt.Sprintf("now.time('America/New_York') %s %s", pick(r, "<", ">=", "=="), pick(r, "'08:00'", "'07:30'"))
	case 18:
		return fmt.Sprintf("session.client_addr.in_cidr(%s)", r.quoted("10.0.0.0/8", "2001:db8::/32", "10.1.2.3"))
	case 19:
		return fmt.Sprintf("statement.relations.%s(r, r.%s == %s)", pick(r, "exists", "all", "exists_one"), pick(r, "schema", "name", "verb"), r.quoted("public", "t", "read", "update"))
	case 20:
		return fmt.Sprintf("identity.claims.%s == %s", pick(r, "team", "level"), pick(r, "'a'", "3"))
	}
	return "has(identity.claims.team)"
}

func (r random) tokenAtom() string {
	claim := pick(r, "token.iss", "token.sub", "token['sub']", "token.admin", "token.level")
	switch r.IntN(6) {
	case 0, 1:
		return claim + " == " + r.quoted("a", "b", "c")
	case 2:
		return claim + " in " + r.listOf("a", "b", "c")
	case 3:
		return claim + " != " + r.quoted("a", "b", "c")
	case 4:
		return "has(" + pick(r, "token.iss", "token.sub", "token.admin") + ")"
	}
	return pick(r, "token.admin == true", "token.level > 3", "'dba' in token.groups", "token.iss.startsWith('a')")
}

// input makes an input for any kind.
func (r random) input() *Input {
	in := &Input{
		Subject: &policylang.Subject{
			Name: pick(r, vocabulary("identity.name")...), Kind: pick(r, "human", "agent"), Groups: r.some("dba", "eng", "pii"),
			AuthTime: time.Unix(1e9, 0),
		},
		Delegated: r.IntN(4) == 0,
		Session: &policylang.Session{
			Database: pick(r, vocabulary("session.database")...), Role: pick(r, "ana", "ben"), TLS: r.IntN(2) == 0,
		},
		Facts: r.facts(),
		Now:   time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC).Add(time.Duration(r.IntN(48)) * time.Hour),
		Token: map[string]any{},
	}
	if addr := pick(r, "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "192.0.2.1", ""); addr != "" {
		in.Session.ClientAddr = netip.MustParseAddr(addr)
	}
	if r.IntN(3) == 0 {
		in.Subject.Actor = &policylang.Subject{Name: "ben"}
	}
	if r.IntN(2) == 0 {
		in.Subject.Claims = map[string]any{"team": pick[any](r, "a", "b", 1.5, nil), "level": pick[any](r, 3.0, "3", int64(3))}
	}
	for _, c := range r.some("iss", "sub", "admin", "level", "groups") {
		in.Token[c] = pick[any](r, "a", "b", "c", true, 3.0, 5.0, []any{"dba"}, nil)
	}
	return in
}

func (r random) facts() *policylang.Facts {
	f := &policylang.Facts{
		Text: pick(r, "select 1", "update"), Shape: pick(r, "select ?", "update", ""), Fingerprint: pick(r, "update", "x", ""),
		Command: pick(r, vocabulary("statement.command")...), Commands: r.some(vocabulary("statement.commands")...),
		Class:    pick(r, policylang.ClassRead, policylang.ClassWrite, policylang.ClassDDL, policylang.ClassFunction, ""),
		ReadOnly: r.IntN(2) == 0, Writes: r.IntN(2) == 0, DDL: r.IntN(4) == 0, Filtered: r.IntN(2) == 0,
		Columns: r.some(vocabulary("statement.columns")...), Functions: r.some(vocabulary("statement.functions")...),
		Limit: int64(r.IntN(9)) - 1, Parameters: r.IntN(4), Opaque: r.IntN(4) == 0,
	}
	for range r.IntN(4) {
		f.Relations = append(f.Relations, policylang.Relation{
			Schema: pick(r, "public", "app", ""), Name: pick(r, "t", "u"),
			Verb: pick(r, policylang.VerbRead, policylang.VerbUpdate, policylang.VerbLock, policylang.VerbDrop),
			Via:  pick(r, "", policylang.ViaView, policylang.ViaTrigger),
		})
	}
	return f
}
