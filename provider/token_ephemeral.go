package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/provider/internal/client"
)

// tokenEphemeral is a database credential of minutes, which is in no plan and no
// state.
type tokenEphemeral struct {
	session *session
}

var _ ephemeral.EphemeralResourceWithConfigure = (*tokenEphemeral)(nil)

func newTokenEphemeralResource() ephemeral.EphemeralResource { return &tokenEphemeral{} }

type tokenModel struct {
	Gateway      types.String `tfsdk:"gateway"`
	SubjectToken types.String `tfsdk:"subject_token"`
	ActorToken   types.String `tfsdk:"actor_token"`
	Token        types.String `tfsdk:"token"`
	Username     types.String `tfsdk:"username"`
	Subject      types.String `tfsdk:"subject"`
	Address      types.String `tfsdk:"address"`
	ExpiresAt    types.String `tfsdk:"expires_at"`
}

// Metadata implements ephemeral.EphemeralResource.
func (e *tokenEphemeral) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_token"
}

// Schema implements ephemeral.EphemeralResource.
func (e *tokenEphemeral) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A database credential: the password with which a provider for PostgreSQL logs in at a gateway, in no plan and no state. " +
			"The control plane mints it for whoever a token of an identity provider is of, if the gateway's policy knows them, and it lives for minutes. Terraform 1.10 or later.",
		Attributes: map[string]schema.Attribute{
			"gateway": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Gateway that the credential is for. It is good at no other.",
			},
			"subject_token": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				MarkdownDescription: "OpenID Connect token of whom the credential is for, such as the pipeline's. The provider's own `token` unless set, which must then be one.",
			},
			"actor_token": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				MarkdownDescription: "OpenID Connect token of an agent that acts for the subject.",
			},
			"token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The credential: the password.",
			},
			"username": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "PostgreSQL role to log in as.",
			},
			"subject": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Whose it is, by the gateway's policy.",
			},
			"address": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Where the gateway is, as `host:port`; empty if the control plane was not told.",
			},
			"expires_at": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Until when a connection can be opened with it (RFC 3339).",
			},
		},
	}
}

// Configure implements ephemeral.EphemeralResourceWithConfigure.
func (e *tokenEphemeral) Configure(_ context.Context, req ephemeral.ConfigureRequest, resp *ephemeral.ConfigureResponse) {
	e.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Open implements ephemeral.EphemeralResource.
func (e *tokenEphemeral) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var m tokenModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !e.session.connected(&resp.Diagnostics) {
		return
	}
	c, err := e.session.client.Credential(ctx, client.CredentialRequest{
		Gateway: m.Gateway.ValueString(), SubjectToken: m.SubjectToken.ValueString(), ActorToken: m.ActorToken.ValueString(),
	})
	if err != nil {
		resp.Diagnostics.AddError("Cannot mint a credential for gateway "+m.Gateway.ValueString(), explain(err))
		return
	}
	m.Token, m.Username, m.Subject, m.Address = types.StringValue(c.Token), types.StringValue(c.DatabaseRole), types.StringValue(c.Subject), types.StringValue(c.Address)
	m.ExpiresAt = types.StringValue(e.session.now().Add(time.Duration(c.ExpiresIn) * time.Second).UTC().Format(time.RFC3339))
	resp.Diagnostics.Append(resp.Result.Set(ctx, m)...)
}
