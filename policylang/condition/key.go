package condition

import (
	"github.com/posternhq/postern/policylang"
)

// Key is something that facts, a subject and session, or a token have, and that
// a conjunct may need, see [Conjunct.Keys].
type Key struct {
	Source string // "statement.command", "token.sub", "reads.name"
	Value  string // empty stands for a value that is not known
}

// globKeys are the keys of a function of the statement with a glob: the last
// part if it is literal, else the schema if that is, else that there is
// anything at all. within holds for statements without relations: it has none.
func globKeys(name string, g policylang.Glob) []Key {
	if name == "within" {
		return nil
	}
	if name == "touches" {
		if table, ok := g.Literal(1); ok {
			return []Key{{name + ".name", table}, {name + ".name", ""}}
		}
		return []Key{{name + ".any", ""}}
	}
	if last, ok := g.Literal(1); ok {
		return []Key{{name + ".name", last}}
	}
	if schema, ok := g.Literal(0); ok {
		return []Key{{name + ".schema", schema}, {name + ".schema", ""}}
	}
	return []Key{{name + ".any", ""}}
}

// FactKeys appends the keys that a statement's facts have, some perhaps twice.
// They are worth nothing for facts that are opaque: see [Opaque].
func FactKeys(into []Key, f *policylang.Facts) []Key {
	into = append(into,
		Key{"statement.command", f.Command},
		Key{"statement.class", string(f.Class)},
		Key{"statement.fingerprint", f.Fingerprint},
		Key{"statement.shape", f.Shape},
		Key{"statement.text", f.Text},
		flagKey("statement.read_only", f.ReadOnly),
		flagKey("statement.writes", f.Writes),
		flagKey("statement.ddl", f.DDL),
		flagKey("statement.filtered", f.Filtered),
		flagKey("statement.opaque", opaque(f)),
	)
	for _, c := range f.Commands {
		into = append(into, Key{"statement.commands", c})
	}
	into = relationKeys(into, f)
	into = functionKeys(into, f)
	return columnKeys(into, f)
}

// Opaque reports whether a statement may do more than its facts say.
func Opaque(f *policylang.Facts) bool { return opaque(f) }

func flagKey(source string, b bool) Key {
	if b {
		return Key{source, "true"}
	}
	return Key{source, "false"}
}

func relationKeys(into []Key, f *policylang.Facts) []Key {
	read, write := readVerbs(), writeVerbs()
	for i := range f.Relations {
		r := &f.Relations[i]
		if read.has(r.Verb) {
			into = append(into, Key{"reads.name", r.Name}, Key{"reads.schema", r.Schema}, Key{"reads.any", ""})
		}
		if write.has(r.Verb) {
			into = append(into, Key{"writes_to.name", r.Name}, Key{"writes_to.schema", r.Schema}, Key{"writes_to.any", ""})
		}
	}
	return into
}

func functionKeys(into []Key, f *policylang.Facts) []Key {
	for _, name := range f.Functions {
		schema, fn := splitFunction(name)
		into = append(into, Key{"statement.functions", name}, Key{"calls.name", fn}, Key{"calls.schema", schema}, Key{"calls.any", ""})
		if schema == "" {
			into = append(into, Key{"statement.functions", ""})
		}
	}
	return into
}

func columnKeys(into []Key, f *policylang.Facts) []Key {
	for _, name := range f.Columns {
		_, table, _ := splitColumn(name)
		into = append(into, Key{"statement.columns", name}, Key{"touches.name", table}, Key{"touches.any", ""})
		if partialColumn(name) {
			into = append(into, Key{"statement.columns", ""})
		}
	}
	return into
}

// SessionKeys appends the keys that a subject and session have.
func SessionKeys(into []Key, in *Input) []Key {
	into = fieldKeys(into, "identity", identityFields(), in, in.Subject != nil)
	return fieldKeys(into, "session", sessionFields(), in, in.Session != nil)
}

func fieldKeys(into []Key, variable string, fields []field, in *Input, present bool) []Key {
	if !present {
		return into
	}
	for _, f := range fields {
		name := variable + "." + f.name
		switch {
		case f.text != nil:
			s, _ := f.text(in)
			into = append(into, Key{name, s})
		case f.flag != nil:
			into = append(into, flagKey(name, f.flag(in) == True))
		case f.list != nil:
			for _, item := range f.list(in).items {
				into = append(into, Key{name, item})
			}
		}
	}
	return into
}

// TokenKeys appends the keys that a token's claims have.
func TokenKeys(into []Key, claims map[string]any) []Key {
	for claim, v := range claims {
		if s, ok := v.(string); ok {
			into = append(into, Key{"token." + claim, s})
		}
	}
	return into
}

func (vs verbs) has(v policylang.Verb) bool {
	for _, w := range vs {
		if v == w {
			return true
		}
	}
	return false
}

// AppendConstants appends the constants that the conjunct compares fields with,
// each with its field.
func (c *Conjunct) AppendConstants(into []Key) []Key { return constants(c.node, into) }

func constants(n node, into []Key) []Key {
	switch n := n.(type) {
	case textNode:
		for _, v := range n.values {
			into = append(into, Key{n.source.name, v})
		}
	case listNode:
		for _, v := range n.values {
			into = append(into, Key{n.source.name, v})
		}
	case notNode:
		into = constants(n.of, into)
	case andNode:
		for _, of := range n {
			into = constants(of, into)
		}
	case orNode:
		for _, of := range n {
			into = constants(of, into)
		}
	}
	return into
}
