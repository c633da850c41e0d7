package condition

import (
	"fmt"

	"github.com/google/cel-go/cel"
)

// Language is what expressions may mention, for documentation.
type Language struct {
	Variables []VariableDoc `json:"variables"`
	Types     []TypeDoc     `json:"types"`
	Functions []FunctionDoc `json:"functions"`
}

// VariableDoc documents a variable.
type VariableDoc struct {
	Name   string     `json:"name"`
	Type   string     `json:"type"`
	Kinds  []Kind     `json:"kinds"` // where it may be mentioned
	Doc    string     `json:"doc"`
	Fields []FieldDoc `json:"fields,omitempty"`
}

// TypeDoc documents a type that is no variable's.
type TypeDoc struct {
	Name   string     `json:"name"`
	Doc    string     `json:"doc"`
	Fields []FieldDoc `json:"fields"`
}

// FieldDoc documents a field.
type FieldDoc struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Doc  string `json:"doc"`
}

// FunctionDoc documents a function beside CEL's standard ones.
type FunctionDoc struct {
	Name      string `json:"name"`
	Signature string `json:"signature"`
	Doc       string `json:"doc"`
	Example   string `json:"example"`
}

// Declarations documents everything that expressions may mention beside CEL's
// standard library. The reference in the documentation is made from it.
func Declarations() Language {
	var l Language
	for _, v := range variables() {
		d := VariableDoc{Name: v.name, Type: typeName(v.typ), Doc: v.doc}
		for _, k := range kinds() {
			for _, allowed := range k.variables() {
				if allowed.name == v.name {
					d.Kinds = append(d.Kinds, k)
				}
			}
		}
		for _, f := range v.fields {
			d.Fields = append(d.Fields, FieldDoc{Name: f.name, Type: typeName(f.celType()), Doc: f.doc})
		}
		l.Variables = append(l.Variables, d)
	}
	relation := TypeDoc{Name: "relation", Doc: "An element of `statement.relations`."}
	for _, f := range relationFields() {
		relation.Fields = append(relation.Fields, FieldDoc{Name: f.name, Type: "string", Doc: f.doc})
	}
	l.Types = append(l.Types, relation)
	l.Functions = functionDocs()
	return l
}

func functionDocs() []FunctionDoc {
	var docs []FunctionDoc
	for _, m := range members() {
		receiver := "statement"
		if m.receiver == identityTypeName {
			receiver = "identity"
		}
		docs = append(docs, FunctionDoc{
			Name:      m.name,
			Signature: fmt.Sprintf("%s.%s(%s string) bool", receiver, m.name, m.argument),
			Doc:       m.doc,
			Example:   m.example,
		})
	}
	docs = append(docs,
		FunctionDoc{
			Name: "in_cidr", Signature: "string.in_cidr(network string) bool", Example: `session.client_addr.in_cidr("10.0.0.0/8")`,
			Doc: "Whether an address is in a network. A text that is no address makes the condition err.",
		},
		FunctionDoc{
			Name: "glob", Signature: "string.glob(pattern string) bool", Example: `session.database.glob("orders_*")`,
			Doc: "Whether the pattern matches the whole text; * stands for any run of characters.",
		},
		FunctionDoc{
			Name: "lower", Signature: "string.lower() string", Example: `token.email.lower()`,
			Doc: "The text with ASCII letters in lower case.",
		},
	)
	for _, c := range clocks() {
		d := FunctionDoc{Name: c.name, Doc: c.doc, Signature: fmt.Sprintf("timestamp.%s(zone string) int", c.name), Example: fmt.Sprintf(`now.%s("Europe/Berlin")`, c.name)}
		if c.text != nil {
			d.Signature = fmt.Sprintf("timestamp.%s(zone string) string", c.name)
		}
		docs = append(docs, d)
	}
	return docs
}

// typeName names a type as the reference writes it.
func typeName(t *cel.Type) string {
	switch s := cel.FormatCELType(t); s {
	case identityTypeName:
		return "identity"
	case sessionTypeName:
		return "session"
	case statementTypeName:
		return "statement"
	case "list(" + relationTypeName + ")":
		return "list(relation)"
	default:
		return s
	}
}
