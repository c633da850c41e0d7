package main

import (
	_ "embed" // policy_docs.md
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/policylang/reference"
	"github.com/posternhq/postern/policylang/statement"
)

// languageGuide is what the reference stands behind.
//
//go:embed policy_docs.md
var languageGuide string

func policyDocsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "docs",
		Short: "Print the documentation of the policy language",
		Long: `Print the documentation of the policy language as Markdown: a guide, every block
and attribute of policy files, everything that conditions may mention, and the
functions of PostgreSQL that do more than compute. The reference is made from what
this version reads and checks.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			return out.show(referenceData(), func() error { return out.print(languageGuide + referenceText()) })
		},
	}
}

// attributeData is an attribute as JSON has it.
type attributeData struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Required bool     `json:"required"`
	Default  string   `json:"default,omitempty"`
	Values   []string `json:"values,omitempty"`
	Doc      string   `json:"doc"`
}

// functionData is a function with effects as JSON has it.
type functionData struct {
	Name   string `json:"name"`
	Class  string `json:"class"`
	Opaque bool   `json:"opaque"`
	Doc    string `json:"doc"`
}

// docsData is the result of `postern policy docs` as JSON has it.
type docsData struct {
	Blocks      map[string][]attributeData `json:"blocks"`
	Expressions condition.Language         `json:"expressions"`
	Functions   []functionData             `json:"functions"`
}

func referenceData() docsData {
	d := docsData{Blocks: map[string][]attributeData{}, Expressions: condition.Declarations()}
	for _, block := range documentedBlocks() {
		for _, a := range reference.Attributes(block.kind) {
			d.Blocks[string(block.kind)] = append(d.Blocks[string(block.kind)], attributeData{
				Name: a.Name, Type: string(a.Type), Required: a.Required, Default: a.Default, Values: a.Values, Doc: a.Doc,
			})
		}
	}
	for _, g := range statement.FunctionGroups() {
		for _, name := range g.Names {
			d.Functions = append(d.Functions, functionData{name, string(g.Class), g.Opaque, g.Doc})
		}
	}
	return d
}

// documentedBlock is a block of policy files with what it is for.
type documentedBlock struct {
	kind policylang.Kind
	doc  string
}

func documentedBlocks() []documentedBlock {
	return []documentedBlock{
		{policylang.KindGateway, "A gateway: where its PostgreSQL is, whose tokens it accepts, and what happens to a statement that no rule matches. It has one `upstream` block and an `issuer` block for each issuer, with a name of its own."},
		{policylang.KindIdentity, "Maps verified tokens to a subject: a person, a service or an agent."},
		{policylang.KindQueryRule, "Decides about statements. The order of rules never matters."},
		{policylang.KindMaskingPolicy, "Names columns whose values are masked for everybody but those for whom `unless` is true."},
		{policylang.KindApprovalGroup, "Names who may approve held statements."},
		{"test", "One request and the decision that is wanted; `postern policy test` runs it. Tests are no part of the policy and do not change its digest. What `expect` does not mention is not compared."},
	}
}

// referenceText is the language's reference as Markdown.
func referenceText() string {
	var b strings.Builder
	b.WriteString("## Blocks\n\nEvery block has one name in quotes, unique among its kind. A policy file holds plain values only; Terraform resources have the same attributes.\n")
	for _, block := range documentedBlocks() {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", block.kind, block.doc)
		attributeTable(&b, reference.Attributes(block.kind))
	}
	expressionReference(&b, condition.Declarations())
	functionGroups(&b, statement.FunctionGroups())
	return b.String()
}

func attributeTable(b *strings.Builder, attributes []reference.Attribute) {
	b.WriteString("| attribute | type | |\n|---|---|---|\n")
	for _, a := range attributes {
		doc := a.Doc
		switch {
		case a.Required:
			doc = "**Required.** " + doc
		case a.Default != "":
			doc += " Default: `" + a.Default + "`."
		}
		if len(a.Values) > 0 {
			doc += " One of `" + strings.Join(a.Values, "`, `") + "`."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", a.Name, a.Type, tableCell(doc))
	}
}

func expressionReference(b *strings.Builder, l condition.Language) {
	b.WriteString("\n## Conditions\n\nConditions are written in CEL, with its standard operators, functions and macros. Beside these, they may mention:\n")
	for _, v := range l.Variables {
		fmt.Fprintf(b, "\n### `%s`\n\n%s In: %s.\n", v.Name, v.Doc, kindNames(v.Kinds))
		fieldTable(b, v.Name+".", v.Fields)
	}
	for _, t := range l.Types {
		fmt.Fprintf(b, "\n### %s\n\n%s\n", t.Name, t.Doc)
		fieldTable(b, "", t.Fields)
	}
	b.WriteString("\n### Functions\n\n| function | | example |\n|---|---|---|\n")
	for _, f := range l.Functions {
		fmt.Fprintf(b, "| `%s` | %s | `%s` |\n", f.Signature, tableCell(f.Doc), f.Example)
	}
}

// functionGroups lists the functions of PostgreSQL that do more than compute.
func functionGroups(b *strings.Builder, groups []statement.FunctionGroup) {
	b.WriteString("\n## Functions with effects\n\nCalls of these functions count for more than their arguments. Where they are opaque, the text does not show what they read or do. Every other function that PostgreSQL brings along only computes or looks at something.\n")
	b.WriteString("\n| functions | class | what they do |\n|---|---|---|\n")
	for _, g := range groups {
		class := "`" + string(g.Class) + "`"
		if g.Opaque {
			class += ", opaque"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", strings.Join(g.Names, "` `"), class, tableCell(g.Doc))
	}
}

// kindNames names the attributes that hold expressions of the kinds.
func kindNames(kinds []condition.Kind) string {
	attributes := map[condition.Kind]string{
		condition.KindRule:       "query_rule.when",
		condition.KindMask:       "masking_policy.unless",
		condition.KindIdentity:   "identity.when",
		condition.KindNameFrom:   "identity.name_from",
		condition.KindGroupsFrom: "identity.groups_from",
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = "`" + attributes[k] + "`"
	}
	return strings.Join(names, ", ")
}

func fieldTable(b *strings.Builder, prefix string, fields []condition.FieldDoc) {
	if len(fields) == 0 {
		return
	}
	b.WriteString("\n| field | type | |\n|---|---|---|\n")
	for _, f := range fields {
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, f.Name, tableCell(f.Type), tableCell(f.Doc))
	}
}

// tableCell makes text fit for a cell of a Markdown table.
func tableCell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
