package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// Tests are run by the control plane, which has the SQL parser that the
// provider does without. They are inputs like any other but for one thing: no
// digest depends on them.

func testsAttribute() schema.Attribute {
	return schema.MapNestedAttribute{
		Optional: true,
		MarkdownDescription: "Tests of the policy, keyed by what each shows. The control plane runs them while Terraform plans, and one that fails fails the plan. " +
			"They are in no bundle.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"gateway":  optionalString("Gateway that is asked. It may be left out if the policy has one."),
			"identity": optionalString("Name of the identity that asks."),
			"token":    optionalString("Verified claims of the token of whoever asks, as JSON: `jsonencode({ sub = \"u-17\" })`."),
			"actor":    optionalString("Name of the identity of the agent that acts for whoever asks."),
			"sql":      optionalString("Text of the statement. It must be set."),
			"schema":   optionalString("Key in `schemas` of the database's schema, which is needed to know what is masked."),
			"now":      optionalString("The time (RFC 3339); noon of 2000-01-01 unless set."),
			"session": schema.SingleNestedAttribute{
				Optional:            true,
				MarkdownDescription: "The connection.",
				Attributes: map[string]schema.Attribute{
					"database":         optionalString("Database; `app` unless set."),
					"role":             optionalString("Role; the subject's database role unless set."),
					"client_addr":      optionalString("Address of the client; `127.0.0.1` unless set."),
					"application_name": optionalString("Name that the client's program gives itself."),
					"reason":           optionalString("Reason that the client gave."),
					"tls":              schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether the client's connection is encrypted."},
				},
			},
			"expect": schema.SingleNestedAttribute{
				Optional:            true,
				MarkdownDescription: "What is wanted. What is left out is not compared.",
				Attributes: map[string]schema.Attribute{
					"effect":            optionalString("`allow`, `deny` or `hold`. A statement that masking refuses is denied."),
					"rules":             optionalNames("Exactly the rules that decide."),
					"message":           optionalString("Part of the message to the client."),
					"approval_groups":   optionalNames("Exactly the groups that must approve."),
					"masked":            optionalNames("Exactly the output columns whose values the client does not see as they are."),
					"unmasked":          optionalNames("Output columns whose values the client sees as they are."),
					"refused":           optionalString("Code with which masking refuses the statement."),
					"observed":          optionalNames("Exactly the rules in observe mode that match."),
					"max_rows":          schema.Int64Attribute{Optional: true, MarkdownDescription: "Limit on rows."},
					"statement_timeout": optionalString("Limit on time, such as `30s`."),
					"read_only":         schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether the transaction must be read-only."},
					"require_reason":    schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether a reason is demanded."},
				},
			},
		}},
	}
}

func optionalString(description string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, MarkdownDescription: description}
}

func optionalNames(description string) schema.SetAttribute {
	return schema.SetAttribute{ElementType: types.StringType, Optional: true, MarkdownDescription: description}
}

// runTests has the tests run, and reports each that fails. Where something that
// they need is unknown they are run at apply.
func (r *bundleResource) runTests(ctx context.Context, attributes map[string]attr.Value, policy policylang.Policy, diags *diag.Diagnostics) {
	q, ok := readTests(attributes, diags)
	if !ok || len(q.Tests) == 0 || r.session == nil || r.session.client == nil {
		return
	}
	for i := range q.Tests {
		reportTest(q.Tests[i].Validate(&policy), diags)
	}
	if diags.HasError() {
		return
	}
	canonical, err := policy.Canonical()
	if err != nil {
		failTests("The policy cannot be tested", explain(err), diags)
		return
	}
	q.Policy = canonical
	decisions, err := r.session.client.Decide(ctx, q)
	if err == nil && len(decisions) != len(q.Tests) {
		err = fmt.Errorf("the control plane answered %d of %d tests", len(decisions), len(q.Tests))
	}
	if err != nil {
		failTests("The tests cannot be run", explain(err), diags)
		return
	}
	for _, d := range decisions {
		if !d.Passed {
			failTests(fmt.Sprintf("The test %q failed", d.Test), verdict(d), diags)
		}
	}
}

// readTests returns false if something in the tests or schemas is unknown, or
// wrong.
func readTests(attributes map[string]attr.Value, diags *diag.Diagnostics) (client.Question, bool) {
	schemas, known := stringsOf(attributes["schemas"])
	q := client.Question{Schemas: schemas}
	tests, ok := attributes["tests"].(types.Map)
	if !ok || tests.IsUnknown() || !known {
		return q, false
	}
	elements := tests.Elements()
	for _, name := range slices.Sorted(maps.Keys(elements)) {
		t, known, err := readTest(name, elements[name])
		if err != nil {
			failTests(fmt.Sprintf("The test %q cannot be read", name), explain(err), diags)
			return q, false
		}
		if !known {
			return q, false
		}
		if _, there := schemas[t.Schema]; t.Schema != "" && !there {
			reportTest([]policylang.Problem{{
				Path:       policylang.Path{Kind: "test", Name: name, Attr: "schema"},
				Summary:    fmt.Sprintf("there is no schema %q", t.Schema),
				Advice:     "Give its DDL in schemas, as in schemas = { " + t.Schema + " = file(\"schema.sql\") }.",
				Suggestion: policylang.Suggest(t.Schema, slices.Sorted(maps.Keys(schemas))),
			}}, diags)
		}
		q.Tests = append(q.Tests, t)
	}
	return q, !diags.HasError()
}

func stringsOf(value attr.Value) (out map[string]string, known bool) {
	texts, ok := value.(types.Map)
	if !ok || texts.IsUnknown() {
		return nil, false
	}
	out = make(map[string]string, len(texts.Elements()))
	for name, v := range texts.Elements() {
		text, ok := v.(types.String)
		if !ok || text.IsUnknown() {
			return nil, false
		}
		out[name] = text.ValueString()
	}
	return out, true
}

// readTest goes by way of JSON, in which the attributes have the same names.
func readTest(name string, value attr.Value) (t policylang.Test, known bool, err error) {
	plain, known, err := tfmodel.Plain(value)
	members, ok := plain.(map[string]any)
	if err != nil || !known || !ok {
		return t, known, err
	}
	if text, ok := members["token"].(string); ok {
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			return t, true, errors.New("token is no JSON object: write jsonencode({ sub = \"u-17\" })") // the decoder's error may quote a claim
		}
		members["token"] = claims
	}
	data, err := json.Marshal(members)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	t.Name = name
	return t, true, err
}

// reportTest shows what is wrong with a test itself.
func reportTest(problems []policylang.Problem, diags *diag.Diagnostics) {
	for _, p := range problems {
		where := fmt.Sprintf("Test %q, %s: ", p.Path.Name, p.Path.Attr)
		p.Path.Attr = ""
		_, detail := tfmodel.Message(p, "")
		failTests(where+p.Summary, detail, diags)
	}
}

// verdict says why a test failed.
func verdict(d client.Decision) string {
	if d.Error != "" {
		return explain(errors.New(d.Error))
	}
	var lines []string
	for _, difference := range d.Differences {
		lines = append(lines, fmt.Sprintf("  %s: want %s, got %s", difference.Attribute, difference.Want, difference.Got))
	}
	by := "by default"
	if len(d.Rules) > 0 {
		by = "by " + strings.Join(d.Rules, ", ")
	}
	if d.Refused != "" {
		by = "because of " + d.Refused
	}
	lines = append(lines, "", fmt.Sprintf("It is decided %s: %s.", by, d.Effect))
	for _, note := range append([]string{d.Message, d.Hint}, d.Notes...) {
		if note != "" {
			lines = append(lines, explain(errors.New(note)))
		}
	}
	return strings.Join(lines, "\n")
}

func failTests(summary, detail string, diags *diag.Diagnostics) {
	diags.AddAttributeError(path.Root("tests"), summary, detail)
}
