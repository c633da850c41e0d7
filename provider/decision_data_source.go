package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
)

// decisionDataSource asks what a policy would decide about one statement.
type decisionDataSource struct {
	session *session
}

var _ datasource.DataSourceWithConfigure = (*decisionDataSource)(nil)

func newDecisionDataSource() datasource.DataSource { return &decisionDataSource{} }

type decisionDataModel struct {
	Gateway  types.String `tfsdk:"gateway"`
	Bundle   types.String `tfsdk:"bundle"`
	Identity types.String `tfsdk:"identity"`
	Token    types.String `tfsdk:"token"`
	Actor    types.String `tfsdk:"actor"`
	SQL      types.String `tfsdk:"sql"`
	DDL      types.String `tfsdk:"schema"`
	Database types.String `tfsdk:"database"`
	Reason   types.String `tfsdk:"reason"`
	Now      types.String `tfsdk:"now"`

	Effect           types.String `tfsdk:"effect"`
	Rules            types.Set    `tfsdk:"rules"`
	Message          types.String `tfsdk:"message"`
	Hint             types.String `tfsdk:"hint"`
	Refused          types.String `tfsdk:"refused"`
	ApprovalGroups   types.Set    `tfsdk:"approval_groups"`
	Masked           types.Set    `tfsdk:"masked"`
	MaxRows          types.Int64  `tfsdk:"max_rows"`
	StatementTimeout types.String `tfsdk:"statement_timeout"`
	ReadOnly         types.Bool   `tfsdk:"read_only"`
	RequireReason    types.Bool   `tfsdk:"require_reason"`
}

// Metadata implements datasource.DataSource.
func (d *decisionDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_decision"
}

// Schema implements datasource.DataSource.
func (d *decisionDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	input := func(description string, validators ...validator.String) schema.Attribute {
		return schema.StringAttribute{Optional: true, MarkdownDescription: description, Validators: validators}
	}
	output := func(description string) schema.Attribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	names := func(description string) schema.Attribute {
		return schema.SetAttribute{ElementType: types.StringType, Computed: true, MarkdownDescription: description}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "What would happen to this statement by this identity. The control plane decides it as a gateway would, over the schema that is given; nothing is run.",
		Attributes: map[string]schema.Attribute{
			"gateway": schema.StringAttribute{Required: true, MarkdownDescription: "Gateway that is asked."},
			"bundle":  input("Digest of the bundle that decides; the live one of the gateway unless set."),
			"identity": input("Name of the identity that asks.",
				stringvalidator.AtLeastOneOf(path.MatchRoot("identity"), path.MatchRoot("token"))),
			"token":    input("Verified claims of the token of whoever asks, as JSON."),
			"actor":    input("Name of the identity of the agent that acts for whoever asks."),
			"sql":      schema.StringAttribute{Required: true, MarkdownDescription: "Text of the statement."},
			"schema":   input("The database's schema as DDL, as `pg_dump --schema-only` writes it: needed to know what is masked."),
			"database": input("Database of the connection; `app` unless set."),
			"reason":   input("Reason that the client gave."),
			"now":      input("The time (RFC 3339); noon of 2000-01-01 unless set."),

			"effect":            output("`allow`, `deny` or `hold`."),
			"rules":             names("The rules that decide; none if the gateway's default does."),
			"message":           output("What the client is told."),
			"hint":              output("What the client can do about it."),
			"refused":           output("Code, where something else than a rule refuses, such as masking."),
			"approval_groups":   names("The groups that must approve."),
			"masked":            names("Output columns whose values the client does not see as they are."),
			"max_rows":          schema.Int64Attribute{Computed: true, MarkdownDescription: "Limit on rows; `0` for none."},
			"statement_timeout": output("Limit on time; empty for none."),
			"read_only":         schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether the transaction must be read-only."},
			"require_reason":    schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether a reason is demanded."},
		},
	}
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *decisionDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Read implements datasource.DataSource.
func (d *decisionDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m decisionDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !d.session.connected(&resp.Diagnostics) {
		return
	}
	q, ok := d.question(ctx, m, &resp.Diagnostics)
	if !ok {
		return
	}
	decisions, err := d.session.client.Decide(ctx, q)
	switch {
	case err != nil:
	case len(decisions) != 1:
		err = fmt.Errorf("the control plane gave %d answers to one question", len(decisions))
	case decisions[0].Error != "":
		err = errors.New(decisions[0].Error)
	}
	if err != nil {
		resp.Diagnostics.AddError("The statement cannot be decided", explain(err))
		return
	}
	m.fill(ctx, decisions[0], &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

// ddl is the name of the one schema in a question.
const ddl = "schema"

func (d *decisionDataSource) question(ctx context.Context, m decisionDataModel, diags *diag.Diagnostics) (client.Question, bool) {
	t := policylang.Test{
		Name: "decision", Gateway: m.Gateway.ValueString(), Identity: m.Identity.ValueString(), Actor: m.Actor.ValueString(),
		SQL: m.SQL.ValueString(), Now: m.Now.ValueString(),
		Session: policylang.TestSession{Database: m.Database.ValueString(), Reason: m.Reason.ValueString()},
	}
	q := client.Question{Bundle: m.Bundle.ValueString()}
	if text := m.Token.ValueString(); text != "" && json.Unmarshal([]byte(text), &t.Token) != nil {
		diags.AddAttributeError(path.Root("token"), "The token's claims cannot be read", "Write a JSON object, as in jsonencode({ sub = \"u-17\" }).")
		return q, false
	}
	if text := m.DDL.ValueString(); text != "" {
		t.Schema, q.Schemas = ddl, map[string]string{ddl: text}
	}
	q.Tests = []policylang.Test{t}
	if q.Bundle != "" {
		return q, true
	}
	live, exists, err := d.session.live(ctx, t.Gateway)
	switch {
	case err != nil:
		diags.AddError(fmt.Sprintf("Cannot read what is live on gateway %q", t.Gateway), explain(err))
	case !exists:
		diags.AddAttributeError(path.Root("gateway"), "Nothing is live on the gateway",
			fmt.Sprintf("No bundle was ever released to %q. Set bundle to ask one that is not live.", t.Gateway))
	}
	q.Bundle = live.Bundle
	return q, !diags.HasError()
}

func (m *decisionDataModel) fill(ctx context.Context, d client.Decision, diags *diag.Diagnostics) {
	set := func(names []string) types.Set {
		if names == nil {
			names = []string{}
		}
		value, found := types.SetValueFrom(ctx, types.StringType, names)
		diags.Append(found...)
		return value
	}
	m.Effect, m.Rules = types.StringValue(d.Effect), set(d.Rules)
	m.Message, m.Hint, m.Refused = types.StringValue(d.Message), types.StringValue(d.Hint), types.StringValue(d.Refused)
	m.ApprovalGroups, m.Masked = set(d.ApprovalGroups), set(d.Masked())
	m.MaxRows, m.StatementTimeout = types.Int64Value(d.MaxRows), types.StringValue(d.StatementTimeout)
	m.ReadOnly, m.RequireReason = types.BoolValue(d.ReadOnly), types.BoolValue(d.RequireReason)
}
