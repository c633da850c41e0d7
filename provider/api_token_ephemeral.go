package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/provider/internal/client"
)

// apiTokenEphemeral mints an API token that is in no plan and no state.
type apiTokenEphemeral struct {
	session *session
}

var _ ephemeral.EphemeralResourceWithConfigure = (*apiTokenEphemeral)(nil)

func newAPITokenEphemeralResource() ephemeral.EphemeralResource { return &apiTokenEphemeral{} }

type apiTokenModel struct {
	Name      types.String `tfsdk:"name"`
	Roles     types.Set    `tfsdk:"roles"`
	ExpiresIn types.String `tfsdk:"expires_in"`
	Token     types.String `tfsdk:"token"`
}

// Metadata implements ephemeral.EphemeralResource.
func (e *apiTokenEphemeral) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_api_token"
}

// Schema implements ephemeral.EphemeralResource.
func (e *apiTokenEphemeral) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A new API token of the control plane, in no plan and no state: hand it to a write-only argument, such as that of a secret store. " +
			"Each run mints another one, and it ends by itself. The provider's own token must be of role `admin`. Terraform 1.10 or later.",
		Attributes: map[string]schema.Attribute{
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "What the token is for, as lists of tokens show it.",
			},
			"roles": schema.SetAttribute{
				ElementType:         types.StringType,
				Required:            true,
				MarkdownDescription: "What it may do: `viewer`, `author`, `approver`, `auditor`, `admin`, or `gateway:NAME` for the processes of a gateway.",
				Validators:          []validator.Set{setvalidator.SizeAtLeast(1)},
			},
			"expires_in": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "How long it is good for; `1h` unless set.",
			},
			"token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The token.",
			},
		},
	}
}

// Configure implements ephemeral.EphemeralResourceWithConfigure.
func (e *apiTokenEphemeral) Configure(_ context.Context, req ephemeral.ConfigureRequest, resp *ephemeral.ConfigureResponse) {
	e.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Open implements ephemeral.EphemeralResource.
func (e *apiTokenEphemeral) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var m apiTokenModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !e.session.connected(&resp.Diagnostics) {
		return
	}
	r := client.TokenRequest{Name: m.Name.ValueString(), ExpiresIn: "1h"}
	resp.Diagnostics.Append(m.Roles.ElementsAs(ctx, &r.Roles, false)...)
	if v := m.ExpiresIn.ValueString(); v != "" {
		r.ExpiresIn = v
	}
	if resp.Diagnostics.HasError() {
		return
	}
	token, err := e.session.client.MintToken(ctx, r)
	if err == nil && token == "" {
		err = errors.New("the control plane returned no token")
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot mint the token", explain(err))
		return
	}
	m.Token = types.StringValue(token)
	resp.Diagnostics.Append(resp.Result.Set(ctx, m)...)
}
