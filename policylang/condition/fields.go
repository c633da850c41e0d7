package condition

import (
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
)

// field is one field of a variable. Exactly one of the getters is set, and
// gives the field's type.
type field struct {
	name   string
	doc    string
	depend Deps // beside the variable

	text    func(*Input) (s string, known bool)
	flag    func(*Input) Value
	number  func(*Input) int64
	moment  func(*Input) time.Time
	list    func(*Input) list
	claims  func(*Input) map[string]any
	related func(*Input) relations
}

// list is a set of strings of which some may not be known in full.
type list struct {
	items   []string
	open    bool              // there may be more
	partial func(string) bool // whether an item is not known in full; nil if all are
}

// relations is a statement's relations.
type relations struct {
	items []policylang.Relation
	open  bool // there may be more
}

func known(get func(*Input) string) func(*Input) (string, bool) {
	return func(in *Input) (string, bool) { return get(in), true }
}

// identityFields are the fields of the variable identity.
func identityFields() []field {
	return []field{
		{name: "name", doc: "The subject's name: the identity's, or what its `name_from` gave.", text: known(func(in *Input) string { return in.Subject.Name })},
		{name: "kind", doc: "`human`, `service` or `agent`.", text: known(func(in *Input) string { return in.Subject.Kind })},
		{name: "groups", doc: "The groups that the subject is a member of. Groups are flat.", list: func(in *Input) list { return list{items: in.Subject.Groups} }},
		{name: "claims", doc: "The verified claims of the subject's token. A claim that is absent makes the condition err: ask `has(identity.claims.x)` first.", claims: func(in *Input) map[string]any { return in.Subject.Claims }},
		{name: "actor", doc: "The name of the agent that acts for the subject; empty if the subject acts itself.", text: known(actorName)},
		{name: "delegated", doc: "Whether an agent acts for a person. It is true both when the statement is decided as the person and when it is decided as the agent.", flag: func(in *Input) Value { return valueOf(in.Delegated || in.Subject.Actor != nil) }},
		{name: "auth_method", doc: "How the subject was authenticated: `token`, `certificate`, `scram` or `oauthbearer`.", text: known(func(in *Input) string { return in.Subject.AuthMethod })},
		{name: "auth_time", doc: "When the subject was authenticated.", moment: func(in *Input) time.Time { return in.Subject.AuthTime }},
	}
}

func actorName(in *Input) string {
	if in.Subject.Actor == nil {
		return ""
	}
	return in.Subject.Actor.Name
}

// sessionFields are the fields of the variable session.
func sessionFields() []field {
	return []field{
		{name: "gateway", doc: "The gateway's name.", text: known(func(in *Input) string { return in.Session.Gateway })},
		{name: "database", doc: "The database that the session is connected to.", text: known(func(in *Input) string { return in.Session.Database })},
		{name: "role", doc: "The PostgreSQL role of the upstream connection.", text: known(func(in *Input) string { return in.Session.Role })},
		{name: "client_addr", doc: "The client's address without its port, as in `10.1.2.3` or `2001:db8::1`; empty if it has none.", text: known(clientAddr)},
		{name: "application_name", doc: "What the client calls itself. It proves nothing.", text: known(func(in *Input) string { return in.Session.ApplicationName })},
		{name: "reason", doc: "Why the client is here, if it said; else empty.", text: known(func(in *Input) string { return in.Session.Reason })},
		{name: "signs", doc: "Signs that the credential is used by another than its owner: `shared_token`, one token from two addresses; `human_from_ci`, a person's from a network of jobs; `human_as_job`, a person's by a program that jobs run; `service_as_person`, a service's by a program that people use. They prove nothing.", list: func(in *Input) list { return list{items: in.Session.Signs} }},
		{name: "started", doc: "When the session started.", moment: func(in *Input) time.Time { return in.Session.Started }},
		{name: "tls", doc: "Whether the client's connection is encrypted.", flag: func(in *Input) Value { return valueOf(in.Session.TLS) }},
	}
}

func clientAddr(in *Input) string {
	if !in.Session.ClientAddr.IsValid() {
		return ""
	}
	return in.Session.ClientAddr.Unmap().WithZone("").String()
}

// statementFields are the fields of the variable statement.
func statementFields() []field {
	return []field{
		{name: "text", doc: "The exact text.", depend: DependsText, text: known(func(in *Input) string { return in.Facts.Text })},
		{name: "shape", doc: "The text with every constant replaced by `?` and comments dropped. Unknown if that cannot be done safely.", text: func(in *Input) (string, bool) { return in.Facts.Shape, in.Facts.Shape != "" || in.Facts.Text == "" }},
		{name: "fingerprint", doc: "16 hexadecimal digits that alike statements share. It groups statements for people; it is not a security key, since statements that differ may share it.", text: func(in *Input) (string, bool) { return in.Facts.Fingerprint, in.Facts.Fingerprint != "" }},
		{name: "command", doc: "PostgreSQL's command tag without counts: `SELECT`, `DROP DATABASE`.", text: known(func(in *Input) string { return in.Facts.Command })},
		{name: "commands", doc: "The command tags of the statement and of all that nest in it.", list: func(in *Input) list { return list{items: in.Facts.Commands, open: opaque(in.Facts)} }},
		{name: "class", doc: "`read`, `write`, `ddl`, `role`, `function` or `misc`: the most dangerous of all that nest in the statement.", text: func(in *Input) (string, bool) { return string(in.Facts.Class), in.Facts.Class != "" }},
		{name: "read_only", doc: "Whether the statement provably changes nothing, neither rows nor the server's state.", flag: func(in *Input) Value { return surelyTrue(in.Facts, in.Facts.ReadOnly) }},
		{name: "writes", doc: "Whether the statement inserts, updates, deletes, truncates or merges.", flag: func(in *Input) Value { return surelyFalse(in.Facts, in.Facts.Writes) }},
		{name: "ddl", doc: "Whether the statement changes the schema, roles or privileges.", flag: func(in *Input) Value { return surelyFalse(in.Facts, in.Facts.DDL) }},
		{name: "filtered", doc: "Whether each UPDATE and DELETE has a WHERE that is not constantly true.", flag: func(in *Input) Value { return surelyTrue(in.Facts, in.Facts.Filtered) }},
		{name: "relations", doc: "The relations that the statement mentions and what it does to them, with what stands behind them: views, partitions, inheritance, rules, foreign-key actions, triggers.", related: func(in *Input) relations { return relations{items: in.Facts.Relations, open: opaque(in.Facts)} }},
		{name: "columns", doc: "The columns read or written, as `schema.table.column`.", list: func(in *Input) list {
			return list{items: in.Facts.Columns, open: opaque(in.Facts), partial: partialColumn}
		}},
		{name: "functions", doc: "The functions called, as `schema.name`.", list: func(in *Input) list {
			return list{items: in.Facts.Functions, open: opaque(in.Facts), partial: partialFunction}
		}},
		{name: "limit", doc: "The LIMIT of the outermost SELECT if it is a constant; -1 if there is none.", number: func(in *Input) int64 { return in.Facts.Limit }},
		{name: "parameters", doc: "The highest parameter number, `$n`.", number: func(in *Input) int64 { return int64(in.Facts.Parameters) }},
		{name: "opaque", doc: "Whether something in the statement cannot be read: dynamic SQL, an unknown function.", flag: func(in *Input) Value { return valueOf(opaque(in.Facts)) }},
	}
}

// surelyTrue is a fact that an opaque statement may falsify.
func surelyTrue(f *policylang.Facts, b bool) Value {
	return certainIf(!b || !opaque(f), valueOf(b))
}

// surelyFalse is a fact that an opaque statement may bring about.
func surelyFalse(f *policylang.Facts, b bool) Value {
	return certainIf(b || !opaque(f), valueOf(b))
}

func partialColumn(c string) bool {
	for rest := c; rest != ""; {
		var part string
		part, rest = cutName(rest)
		if part == "" {
			return true
		}
	}
	return false
}

func partialFunction(f string) bool {
	schema, _ := splitFunction(f)
	return schema == ""
}

// splitFunction splits "schema.name", "name" or ".name"; schema is empty if it
// is not known.
func splitFunction(f string) (schema, name string) {
	i := strings.LastIndexByte(f, '.')
	if i < 0 {
		return "", f
	}
	return f[:i], f[i+1:]
}

// cutName cuts the first part off a dotted name. A part that is not known, *,
// comes back empty. A part in double quotes stands for itself.
func cutName(s string) (part, rest string) {
	if !strings.HasPrefix(s, `"`) {
		part, rest, _ = strings.Cut(s, ".")
		if part == "*" {
			part = ""
		}
		return part, rest
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			i++
			continue
		}
		return strings.ReplaceAll(s[1:i], `""`, `"`), strings.TrimPrefix(s[i+1:], ".")
	}
	return s, ""
}

// splitColumn splits "schema.table.column"; parts not known are empty.
func splitColumn(c string) (schema, table, column string) {
	schema, rest := cutName(c)
	table, rest = cutName(rest)
	column, _ = cutName(rest)
	return schema, table, column
}

// relationFields are the fields of an element of statement.relations.
func relationFields() []relationField {
	return []relationField{
		{name: "schema", doc: "The schema; unknown while no catalog has resolved it.", get: func(r *policylang.Relation) string { return r.Schema }},
		{name: "name", doc: "The relation's name.", get: func(r *policylang.Relation) string { return r.Name }},
		{name: "verb", doc: "`read`, `insert`, `update`, `delete`, `truncate`, `lock`, `create`, `alter`, `drop`, `grant` or `maintain`.", get: func(r *policylang.Relation) string { return string(r.Verb) }},
		{name: "via", doc: "How the statement comes to it: `text` names it, or it stands behind what the text names: `view`, `inheritance`, `foreign_key`, `rule`, `expression` (a stored check, default or row policy) or `trigger`. Where one leads over another, the last in this list counts. One relation may be there in several ways.", get: viaOf},
	}
}

func viaOf(r *policylang.Relation) string {
	if r.Via == "" {
		return "text"
	}
	return string(r.Via)
}

type relationField struct {
	name string
	doc  string
	get  func(*policylang.Relation) string
}
