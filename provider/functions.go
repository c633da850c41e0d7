package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// conditionProblems is the function condition_problems.
type conditionProblems struct{}

func newConditionProblemsFunction() function.Function { return conditionProblems{} }

// Metadata implements function.Function.
func (conditionProblems) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "condition_problems"
}

// Definition implements function.Function.
func (conditionProblems) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "What is wrong with a condition",
		MarkdownDescription: "Returns what is wrong with an expression of the policy language, and an empty list if nothing is. " +
			"It serves the `validation` of a module's variables.",
		Parameters: []function.Parameter{
			function.StringParameter{
				Name:                "attribute",
				MarkdownDescription: "What the expression is for: `query_rule.when`, `masking_policy.unless`, `identity.when`, `identity.name_from` or `identity.groups_from`.",
			},
			function.StringParameter{
				Name:                "expression",
				MarkdownDescription: "The expression (CEL).",
			},
		},
		Return: function.ListReturn{ElementType: types.StringType},
	}
}

// Run implements function.Function.
func (conditionProblems) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var attribute, text string
	resp.Error = req.Arguments.Get(ctx, &attribute, &text)
	if resp.Error != nil {
		return
	}
	kind, ok := expressionKind(attribute)
	if !ok {
		resp.Error = function.NewArgumentFuncError(0, fmt.Sprintf("No expression is called %q.", attribute))
		return
	}
	problems := []attr.Value{}
	for _, p := range condition.Check(kind, text) {
		summary, detail := tfmodel.Message(p, text)
		problems = append(problems, types.StringValue(summary+"\n\n"+detail))
	}
	list, diags := types.ListValue(types.StringType, problems)
	resp.Error = function.ConcatFuncErrors(function.FuncErrorFromDiags(ctx, diags), resp.Result.Set(ctx, list))
}

// expressionKind finds an expression by kind of object and attribute.
func expressionKind(attribute string) (condition.Kind, bool) {
	for _, kind := range policylang.Kinds() {
		for _, e := range expressions(kind) {
			if attribute == string(kind)+"."+e.attribute {
				return e.kind, true
			}
		}
	}
	return "", false
}

// columnMatches is the function column_matches.
type columnMatches struct{}

func newColumnMatchesFunction() function.Function { return columnMatches{} }

// Metadata implements function.Function.
func (columnMatches) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "column_matches"
}

// Definition implements function.Function.
func (columnMatches) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary:             "Whether a masking policy's pattern matches a column",
		MarkdownDescription: "Returns whether a pattern, as in `columns` of `postern_masking_policy`, matches a column.",
		Parameters: []function.Parameter{
			function.StringParameter{
				Name:                "pattern",
				MarkdownDescription: "Pattern, as in `*.*.ssn`.",
			},
			function.StringParameter{
				Name:                "column",
				MarkdownDescription: "Column as `schema.table.column`; double quotes keep a part as it is.",
			},
		},
		Return: function.BoolReturn{},
	}
}

// columnParts is the number of parts of a column's full name.
const columnParts = 3

// Run implements function.Function.
func (columnMatches) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var pattern, column string
	resp.Error = req.Arguments.Get(ctx, &pattern, &column)
	if resp.Error != nil {
		return
	}
	glob, err := policylang.ParseGlob(pattern, columnParts)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, explain(err))
		return
	}
	name, err := policylang.ParseGlob(column, columnParts)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(1, explain(err))
		return
	}
	parts := make([]string, columnParts)
	for i := range parts {
		part, ok := name.Literal(i)
		if !ok {
			resp.Error = function.NewArgumentFuncError(1, fmt.Sprintf("%q is not the full name of a column: write schema.table.column.", column))
			return
		}
		parts[i] = part
	}
	resp.Error = resp.Result.Set(ctx, glob.Match(false, parts...))
}
