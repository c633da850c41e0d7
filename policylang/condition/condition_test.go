package condition_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// testInput is ana in a session of hers, about to update with a sub-select.
func testInput() condition.Input {
	return condition.Input{
		Subject: &policylang.Subject{
			Name: "ana", Kind: "human", Groups: []string{"engineering", "oncall"}, AuthMethod: "token",
			AuthTime: time.Date(2026, 3, 28, 8, 0, 0, 0, time.UTC), Claims: map[string]any{"team": "core", "level": 3.0, "zoneinfo": "Asia/Tokyo"},
			Actor: &policylang.Subject{Name: "bot"},
		},
		Session: &policylang.Session{
			Gateway: "orders", Database: "app", Role: "ana_rw", ClientAddr: netip.MustParseAddr("10.1.2.3"), ApplicationName: "psql",
			Reason: "OPS-7", Started: time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), TLS: true,
		},
		Facts: &policylang.Facts{
			Text: "update public.orders set total = 0 where id in (select order_id from archive) -- secret 4711", Shape: "update public.orders set total = ? where id in (select order_id from archive)",
			Fingerprint: "00112233445566ff", Command: "UPDATE", Commands: []string{"SELECT", "UPDATE"}, Class: policylang.ClassWrite, Writes: true, Filtered: true,
			Relations: []policylang.Relation{{Name: "archive", Verb: policylang.VerbRead}, {Schema: "public", Name: "orders", Verb: policylang.VerbUpdate}},
			Columns:   []string{"*.archive.order_id", "public.orders.id", "public.orders.total"}, Functions: []string{"now", "pg_catalog.lower"},
			Limit: -1, Parameters: 2,
		},
		// Berlin's clocks go from 02:00 to 03:00 on this Sunday.
		Now:   time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC),
		Token: map[string]any{"iss": "https://login.example.com", "sub": "u-17", "aud": []any{"postern"}, "email": "Ana@Example.com", "n": json.Number("5"), "nested": map[string]any{"a": map[string]any{"b": "c"}}},
	}
}

// TestEval covers every variable, field and function of the language.
func TestEval(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want condition.Value
	}{
		{`identity.name == "ana"`, condition.True},
		{`identity.kind != "human"`, condition.False},
		{`"oncall" in identity.groups && identity.in_group("engineering")`, condition.True},
		{`identity.in_group("dba")`, condition.False},
		{`size(identity.groups) == 2`, condition.True},
		{`identity.groups.all(g, g.size() > 3)`, condition.True},
		{`identity.claims.team == "core" && identity.claims["level"] > 2`, condition.True},
		{`has(identity.claims.missing)`, condition.False},
		{`identity.claims.missing == "x"`, condition.Error},
		{`identity.claims.missing == "x" || session.tls`, condition.True},
		{`identity.actor == "bot" && identity.delegated`, condition.True},
		{`identity.auth_method in ["token", "certificate"]`, condition.True},
		{`now - identity.auth_time < duration("24h")`, condition.True},
		{`session.gateway == "orders" && session.database.glob("a*p") && session.role.startsWith("ana")`, condition.True},
		{`session.database.glob("app") && session.role.glob("*") && session.role.glob("a*_*w") && session.role.glob("*rw")`, condition.True},
		{`session.role.glob("a*b*") || session.role.glob("ana") || session.role.glob("x*") || session.role.glob("*r")`, condition.False},
		{`session.role.glob(identity.actor + "*")`, condition.False},
		{`session.role.glob(session.tls ? "" : "*")`, condition.Error},
		{`session.client_addr == "10.1.2.3"`, condition.True},
		{`session.client_addr.in_cidr("10.0.0.0/8")`, condition.True},
		{`session.client_addr.in_cidr("10.1.2.4")`, condition.False},
		{`session.application_name == "psql" && session.reason.matches("^OPS-[0-9]+$") && session.tls`, condition.True},
		{`now - session.started > duration("90m")`, condition.False},
		{`statement.text.contains("4711") && !statement.shape.contains("4711")`, condition.True},
		{`statement.fingerprint == "00112233445566ff"`, condition.True},
		{`statement.command == "UPDATE" && "SELECT" in statement.commands && statement.class == "write"`, condition.True},
		{`statement.commands.exists(c, c == "DROP DATABASE")`, condition.False},
		{`statement.read_only || statement.ddl || statement.opaque`, condition.False},
		{`statement.writes && statement.filtered`, condition.True},
		{`statement.limit == -1 && statement.parameters == 2`, condition.True},
		{`statement.relations.exists(r, r.schema == "public" && r.name == "orders" && r.verb == "update")`, condition.True},
		{`statement.relations.all(r, r.via == "text")`, condition.True},
		{`statement.relations.exists(r, r.schema == "secret")`, condition.Unknown},
		{`statement.relations.all(r, r.schema == "secret")`, condition.False},
		{`statement.reads("archive")`, condition.True},
		{`statement.reads("*.arch*")`, condition.True},
		{`statement.reads("public.archive")`, condition.Unknown},
		{`!statement.reads("public.archive")`, condition.Unknown},
		{`statement.reads("public.orders")`, condition.False},
		{`statement.reads(identity.claims.team + ".*")`, condition.Unknown},
		{`statement.writes_to("public.orders")`, condition.True},
		{`statement.writes_to("archive")`, condition.False},
		{`statement.within("public.*")`, condition.Unknown},
		{`statement.within("app.*")`, condition.False},
		{`statement.within("*")`, condition.True},
		{`statement.touches("public.orders.total") && statement.touches("*.*.id")`, condition.True},
		{`statement.touches("archive.order_id")`, condition.True},
		{`statement.touches("app.archive.*")`, condition.Unknown},
		{`statement.touches("public.orders.email")`, condition.False},
		{`statement.calls("pg_catalog.low*") && statement.calls("now")`, condition.True},
		{`statement.calls("pg_catalog.now")`, condition.Unknown},
		{`statement.calls("pg_sleep")`, condition.False},
		{`"pg_catalog.now" in statement.functions`, condition.Unknown},
		{`now.hour("UTC") == 1 && now.minute("UTC") == 30`, condition.True},
		{`now.hour("Europe/Berlin") == 3`, condition.True},
		{`now.weekday("Europe/Berlin") == 7 && now.weekday("America/Los_Angeles") == 6`, condition.True},
		{`now.date("America/Los_Angeles") == "2026-03-28" && now.time("America/Los_Angeles") == "18:30"`, condition.True},
		{`now.year("UTC") == 2026 && now.month("UTC") == 3 && now.day("UTC") == 29`, condition.True},
		{`now.time("Europe/Berlin") >= "09:00" && now.time("Europe/Berlin") < "17:00"`, condition.False},
		{`now.hour(identity.claims.zoneinfo) == 10`, condition.True},
		{`now < timestamp("2026-04-01T00:00:00Z")`, condition.True},
		{`now.getHours("Europe/Berlin") == 3`, condition.True},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			in := testInput()
			c, problems := condition.Compile(condition.KindRule, tt.expr)
			if c == nil {
				t.Fatal(problems)
			}
			if got, err := c.Eval(&in); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

func TestEvalToken(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want condition.Value
	}{
		{`token.iss == "https://login.example.com" && token.sub in ["u-17"]`, condition.True},
		{`token.sub != "u-17"`, condition.False},
		{`"postern" in token.aud`, condition.True},
		{`token.email.lower().endsWith("@example.com")`, condition.True},
		{`token.n == 5`, condition.True},
		{`token.nested.a.b == "c"`, condition.True},
		{`token["sub"] == "u-17"`, condition.True},
		{`token.aud == "postern"`, condition.False},
		{`has(token.groups) && "dba" in token.groups`, condition.False},
		{`token.groups == "dba"`, condition.Error},
		{`now < timestamp("2027-01-01T00:00:00Z")`, condition.True},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			in := testInput()
			c, problems := condition.Compile(condition.KindIdentity, tt.expr)
			if c == nil {
				t.Fatal(problems)
			}
			if got, err := c.Eval(&in); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// TestOpaque: what an opaque statement does not mention is unknown.
func TestOpaque(t *testing.T) {
	in := testInput()
	in.Facts = &policylang.Facts{Command: "DO", Commands: []string{"DO"}, Class: policylang.ClassFunction, Filtered: true, Opaque: true}
	for _, tt := range []struct {
		expr string
		want condition.Value
	}{
		{`statement.opaque`, condition.True},
		{`statement.read_only`, condition.False},
		{`statement.command == "DO"`, condition.True},
		{`"DO" in statement.commands`, condition.True},
		{`"DROP DATABASE" in statement.commands`, condition.Unknown},
		{`statement.commands.exists(c, c.startsWith("DROP"))`, condition.Unknown},
		{`statement.commands.all(c, c == "SELECT")`, condition.False},
		{`size(statement.relations) == 0`, condition.Unknown},
		{`statement.reads("secret.*")`, condition.Unknown},
		{`!statement.reads("secret.*")`, condition.Unknown},
		{`statement.reads("secret.*") && !statement.opaque`, condition.False},
		{`statement.writes`, condition.Unknown},
		{`statement.filtered`, condition.Unknown},
		{`statement.within("public.*")`, condition.Unknown},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			c, problems := condition.Compile(condition.KindRule, tt.expr)
			if c == nil {
				t.Fatal(problems)
			}
			if got, err := c.Eval(&in); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// TestErrors: an error says what failed, and never a value of the statement or
// of a claim.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{`identity.claims.missing == "x"`, "no such key: missing"},
		{`identity.claims[statement.text] == "x"`, "no such key"},
		{`int(statement.text) > 0`, "a value cannot be converted"},
		{`timestamp(statement.text) < now`, "a value cannot be converted"},
		{`statement.parameters / (statement.limit + 1) > 0`, "division by zero"},
		{`statement.parameters % (statement.limit + 1) > 0`, "division by zero"},
		{`9223372036854775807 + statement.parameters > 0`, "a number overflows"},
		{`identity.claims.team > 5`, "a value is of the wrong type"},
		{`identity.groups[7] == "x"`, "an index is out of range"},
		{`identity.name.in_cidr("10.0.0.0/8")`, "not an address"},
		{`session.client_addr.in_cidr(identity.name)`, "not a network"},
		{`statement.reads(identity.name + ".a.b")`, "not a glob"},
		{`now.hour(identity.name) > 0`, "not a time zone"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			in := testInput()
			c, problems := condition.Compile(condition.KindRule, tt.expr)
			if c == nil {
				t.Fatal(problems)
			}
			got, err := c.Eval(&in)
			if got != condition.Error || err == nil || err.Error() != tt.want {
				t.Fatalf("got %s with error %v, want error %q", got, err, tt.want)
			}
		})
	}
}

// TestIterations: facts of unusual size stop an evaluation, with an error.
func TestIterations(t *testing.T) {
	names := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf("s.f%d", i)
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		expr  string
		count int
		want  condition.Value
		err   string
	}{
		{"few", `statement.functions.exists(a, statement.functions.exists(b, a + b == "x"))`, 90, condition.False, ""},
		{"nested", `statement.functions.exists(a, statement.functions.exists(b, a + b == "x"))`, 120, condition.Error, "there are too many iterations"},
		{"over what a loop made", `[statement.functions.map(f, f)].exists(m, m.exists(x, m.exists(y, x + y == "x")))`, 120, condition.Error, "there are too many iterations"},
		{"oversized", `statement.functions.exists(f, f.startsWith("x"))`, 50_000, condition.Error, "the statement is too large for a condition with exists, all, map or filter"},
		{"one look at each", `statement.calls("x.*")`, 50_000, condition.False, ""},
		{"an equality is no loop", `statement.functions.exists(f, f == "x.y")`, 50_000, condition.False, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := condition.Compile(condition.KindRule, tt.expr)
			if c == nil {
				t.Fatal(problems)
			}
			in := testInput()
			in.Facts.Functions = names(tt.count)
			got, err := c.Eval(&in)
			if got != tt.want || tt.err != "" && err.Error() != tt.err {
				t.Errorf("got %s with error %v, want %s %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestMissing: a condition over what is not there errs.
func TestMissing(t *testing.T) {
	for _, expr := range []string{`identity.name == "ana"`, `session.tls`, `statement.writes`, `identity.name + session.role + statement.text == ""`} {
		c, problems := condition.Compile(condition.KindRule, expr)
		if c == nil {
			t.Fatal(problems)
		}
		if got, err := c.Eval(&condition.Input{}); got != condition.Error || err == nil {
			t.Errorf("%s gives %s with error %v", expr, got, err)
		}
	}
}

func TestExpression(t *testing.T) {
	in := testInput()
	name, problems := condition.CompileExpression(condition.KindNameFrom, `token.email.lower()`)
	if name == nil {
		t.Fatal(problems)
	}
	if got, err := name.String(&in); got != "ana@example.com" || err != nil {
		t.Errorf("name %q, %v", got, err)
	}
	if _, err := name.Strings(&in); err == nil {
		t.Error("a string is taken for a list")
	}
	groups, problems := condition.CompileExpression(condition.KindGroupsFrom, `token.aud.filter(a, a != "x").map(a, "from-" + a)`)
	if groups == nil {
		t.Fatal(problems)
	}
	if got, err := groups.Strings(&in); strings.Join(got, " ") != "from-postern" || err != nil {
		t.Errorf("groups %q, %v", got, err)
	}
	if _, err := groups.String(&in); err == nil {
		t.Error("a list is taken for a string")
	}
}

// TestDeclarations: everything declared has documentation, and its examples
// compile.
func TestDeclarations(t *testing.T) {
	l := condition.Declarations()
	for _, v := range l.Variables {
		if v.Doc == "" || len(v.Kinds) == 0 {
			t.Errorf("variable %s is not documented", v.Name)
		}
		for _, f := range v.Fields {
			if f.Doc == "" || f.Type == "" {
				t.Errorf("field %s.%s is not documented", v.Name, f.Name)
			}
		}
	}
	for _, f := range l.Functions {
		expr, kind := f.Example, condition.KindRule
		switch {
		case strings.Contains(f.Signature, " int"):
			expr += " == 1"
		case strings.HasSuffix(f.Signature, ") string"):
			expr += ` == ""`
		}
		if strings.HasPrefix(expr, "token") {
			kind = condition.KindIdentity
		}
		if problems := condition.Check(kind, expr); f.Doc == "" || len(problems) > 0 {
			t.Errorf("function %s: %q, example %s: %v", f.Name, f.Doc, expr, problems)
		}
	}
}

// TestNoAllocation: the common conditions cost no allocation.
func TestNoAllocation(t *testing.T) {
	in := testInput()
	for _, expr := range []string{
		`"oncall" in identity.groups && statement.writes && !statement.read_only`,
		`statement.command in ["UPDATE", "DELETE"] && statement.commands.exists(c, c == "UPDATE")`,
		`session.client_addr.in_cidr("10.0.0.0/8") && statement.writes_to("public.orders")`,
		`now.hour("Europe/Berlin") == 3 && now.weekday("Europe/Berlin") > 5`,
	} {
		c, problems := condition.Compile(condition.KindRule, expr)
		if c == nil {
			t.Fatal(problems)
		}
		if n := testing.AllocsPerRun(100, func() {
			if v, _ := c.Eval(&in); v != condition.True {
				t.Fatalf("%s is %s", expr, v)
			}
		}); n > 0 {
			t.Errorf("%s allocates %v times", expr, n)
		}
	}
}
