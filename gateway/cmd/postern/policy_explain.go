package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
)

func policyExplainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [PATH...]",
		Short: "Show what decides a statement, and what nearly did",
		Long: `Show what would happen to a statement: which rules match, which nearly do and which
part of their condition keeps them from it, which limits apply, and which columns
are masked. The statement is read from --sql, or from the standard input with
--sql -. The schema file, needed to know what is masked, is DDL as
pg_dump --schema-only writes it.`,
		Example: `  postern policy explain --identity ana --sql 'delete from orders' policies/
  postern policy explain --token claims.json --schema schema.sql --sql - < query.sql`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyExplain(cmd, args, o)
		},
	}
	addGatewayFlag(cmd, &o.test.Gateway)
	f := cmd.Flags()
	f.StringVar(&o.test.Identity, "identity", "", "identity that asks")
	f.StringVar(&o.token, "token", "", "file with the claims of the token of whoever asks (JSON)")
	f.StringVar(&o.test.Actor, "actor", "", "identity of the agent that acts")
	f.StringVar(&o.test.SQL, "sql", "", "statement, or - for the standard input")
	f.StringVar(&o.schema, "schema", "", "file with the DDL of the database")
	f.StringVar(&o.test.Now, "now", "", "time, as 2006-01-02T15:04:05Z")
	f.StringVar(&o.test.Session.Database, "database", "", "database of the connection")
	f.StringVar(&o.test.Session.Role, "role", "", "role of the connection")
	f.StringSliceVar(&o.test.Session.SearchPath, "search-path", nil, "search path of the connection, in order")
	f.StringSliceVar(&o.test.Session.Signs, "signs", nil, "signs that the credential is used by another than its owner")
	f.StringVar(&o.test.Session.ClientAddr, "client-addr", "", "address of the client")
	f.StringVar(&o.test.Session.ApplicationName, "application-name", "", "application name of the client")
	f.StringVar(&o.test.Session.Reason, "reason", "", "reason that the client gave")
	f.BoolVar(&o.test.Session.TLS, "tls", false, "the client's connection is encrypted")
	mustRegister(cmd.MarkFlagRequired("sql"))
	mustRegister(cmd.RegisterFlagCompletionFunc("identity", completeNames(policylang.KindIdentity)))
	mustRegister(cmd.RegisterFlagCompletionFunc("actor", completeNames(policylang.KindIdentity)))
	cmd.MarkFlagsOneRequired("identity", "token")
	return cmd
}

type explainOptions struct {
	test   policylang.Test
	token  string
	schema string
}

// explainData is the result of `postern policy explain` as JSON has it.
type explainData struct {
	*scenario.Outcome
	Notes      []string              `json:"notes,omitempty"`
	Statements []compile.Explanation `json:"statements"`
}

func runPolicyExplain(cmd *cobra.Command, paths []string, o explainOptions) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	if err := o.complete(cmd.InOrStdin()); err != nil {
		return err
	}
	file, _, err := mustLoadPolicy(cmd, paths, o.test.Gateway)
	if err != nil {
		return err
	}
	if err := o.validate(&file.Policy); err != nil {
		return err
	}
	schemas := newSchemaFiles(func(policylang.Path) (string, int, int) { return "", 0, 0 })
	outcome, notes, err := scenario.Ask(file.Policy, &o.test, scenario.Options{
		Schema: func(*policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
			return schemas.read(filepath.ToSlash(o.schema))
		},
	})
	if err != nil {
		return err
	}
	return out.show(explainData{outcome, notes, outcome.Explanations}, func() error {
		return out.print(explainText(out, outcome, notes))
	})
}

// complete reads what the options only name.
func (o *explainOptions) complete(stdin io.Reader) error {
	if o.test.SQL == "-" {
		sql, err := readAll(stdin, "the standard input", maxPolicyFile)
		if err != nil {
			return fmt.Errorf("read statement: %w", err)
		}
		o.test.SQL = string(sql)
	}
	o.test.Schema = o.schema
	if o.token == "" {
		return nil
	}
	data, err := readBounded(o.token, maxClaimsFile)
	if err != nil {
		return fmt.Errorf("read token's claims: %w", err)
	}
	if err := json.Unmarshal(data, &o.test.Token); err != nil {
		return errors.New("read token's claims: the file is no JSON object") // the decoder's error may quote a claim
	}
	return nil
}

// validate reports what is wrong with the request, in terms of the flags.
func (o *explainOptions) validate(p *policylang.Policy) error {
	request := o.test
	request.Name, request.Schema, request.Expect = "explain", "", policylang.Expect{Effect: policylang.EffectAllow}
	var errs []error
	for _, problem := range request.Validate(p) {
		flag := strings.NewReplacer("session.", "", "_", "-").Replace(problem.Path.Attr)
		problem.Path = policylang.Path{}
		errs = append(errs, fmt.Errorf("--%s: %s", flag, strings.TrimPrefix(problem.Error(), problem.Path.String()+": ")))
	}
	return errors.Join(errs...)
}

func explainText(out *output, o *scenario.Outcome, notes []string) string {
	var b strings.Builder
	effect := string(o.Effect)
	fmt.Fprintf(&b, "%s  %s\n", out.paint(effectStyle(effect), strings.ToUpper(effect)), printable("decided by "+decidedBy(o)))
	detail := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-16s %s\n", name, printable(value))
		}
	}
	detail("subject", o.Subject)
	detail("message", o.Message)
	detail("hint", o.Hint)
	if o.Position > 0 {
		detail("position", fmt.Sprintf("character %d of the statement", o.Position))
	}
	detail("approval groups", strings.Join(o.ApprovalGroups, ", "))
	detail("hold mode", o.HoldMode)
	detail("limits", limitsText(o))
	detail("cannot be read", strings.Join(o.Unread, ", "))
	detail("observed", strings.Join(o.Observed, ", "))
	for _, e := range o.Errors {
		detail("failed", e)
	}
	for _, n := range notes {
		detail("note", n)
	}
	for i, x := range o.Explanations {
		if len(o.Explanations) > 1 {
			fmt.Fprintf(&b, "\n%s\n", out.paint(styleBold, fmt.Sprintf("statement %d", i+1)))
		}
		explainStatement(&b, out, x)
	}
	explainColumns(&b, out, o.Columns)
	return b.String()
}

func limitsText(o *scenario.Outcome) string {
	var parts []string
	if o.MaxRows > 0 {
		parts = append(parts, fmt.Sprintf("at most %d rows", o.MaxRows))
	}
	if o.StatementTimeout > 0 {
		parts = append(parts, "at most "+o.StatementTimeout.String())
	}
	if o.ReadOnly {
		parts = append(parts, "read only")
	}
	if o.RequireReason {
		parts = append(parts, "a reason is required")
	}
	return strings.Join(parts, ", ")
}

// explainStatement shows the rules that matched, each with its condition taken
// apart, and then those that nearly did.
func explainStatement(b *strings.Builder, out *output, x compile.Explanation) {
	for _, side := range x.Sides {
		if len(x.Sides) > 1 {
			fmt.Fprintf(b, "\n  as %s: %s\n", printable(side.Subject), out.paint(effectStyle(string(side.Decision.Effect)), string(side.Decision.Effect)))
		}
		for _, rule := range side.Rules {
			explainRule(b, out, rule)
		}
		if side.Omitted > 0 {
			fmt.Fprintf(b, "\n  %s\n", out.paint(styleFaint, fmt.Sprintf("and %s further away", plural(side.Omitted, "rule"))))
		}
	}
}

func explainRule(b *strings.Builder, out *output, rule compile.RuleTrace) {
	verdict := out.paint(styleFaint, "does not match")
	switch {
	case rule.Matched && rule.Value != condition.True:
		verdict = out.paint(effectStyle(string(rule.Effect)), "matches") + ", since it cannot be ruled out"
	case rule.Matched:
		verdict = out.paint(effectStyle(string(rule.Effect)), "matches")
	case rule.Near:
		verdict = out.paint(styleYellow, "nearly matches")
	}
	mode := ""
	if rule.Mode == policylang.ModeObserve {
		mode = " (observed only)"
	}
	fmt.Fprintf(b, "\n  %s %q %s%s\n", rule.Effect, rule.Rule, verdict, mode)
	for _, c := range rule.Conjuncts {
		value := out.paint(valueStyle(c.Value), fmt.Sprintf("%-7s", c.Value))
		fmt.Fprintf(b, "    %s  %s\n", value, printable(strings.Join(strings.Fields(c.Text), " ")))
		if c.Error != "" {
			fmt.Fprintf(b, "             %s\n", out.paint(styleRed, printable(c.Error)))
		}
	}
}

func valueStyle(v condition.Value) style {
	switch v {
	case condition.True:
		return styleGreen
	case condition.False:
		return styleRed
	case condition.Unknown, condition.Error:
	}
	return styleYellow
}

func explainColumns(b *strings.Builder, out *output, columns []scenario.Column) {
	if len(columns) == 0 {
		return
	}
	b.WriteString("\n")
	t := newTable("column", "shown as", "policies")
	for _, c := range columns {
		shown, s := "it is", styleGreen
		switch c.Action {
		case "mask":
			shown, s = c.Transform, styleYellow
		case "redact":
			shown, s = "nothing", styleRed
		}
		t.row(c.Name, cell{shown, s}, strings.Join(c.Policies, ", "))
	}
	b.WriteString(t.String(out))
}
