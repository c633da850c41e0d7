package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang/source"
	"github.com/posternhq/postern/provider/internal/client"
)

type bundleDataSource struct {
	session *session
}

var _ datasource.DataSourceWithConfigure = (*bundleDataSource)(nil)

func newBundleDataSource() datasource.DataSource { return &bundleDataSource{} }

type bundleDataModel struct {
	Digest       types.String `tfsdk:"digest"`
	Manifest     types.Map    `tfsdk:"manifest"`
	SigningKeyID types.String `tfsdk:"signing_key_id"`
	Policy       types.String `tfsdk:"policy"`
}

// Metadata implements datasource.DataSource.
func (d *bundleDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_bundle"
}

// Schema implements datasource.DataSource.
func (d *bundleDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A bundle on the control plane: what is in it.",
		Attributes: map[string]schema.Attribute{
			"digest": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "The bundle's digest. The content is checked against it.",
			},
			"manifest": schema.MapAttribute{
				ElementType:         types.StringType,
				Computed:            true,
				MarkdownDescription: "Digest of each object in the bundle, keyed by kind and name as in `query_rule.engineers_read`.",
			},
			"signing_key_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Which key the bundle says it was signed by. Gateways verify that; this does not.",
			},
			"policy": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The policy as a policy file (`*.postern.hcl`).",
			},
		},
	}
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *bundleDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Read implements datasource.DataSource.
func (d *bundleDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m bundleDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !d.session.connected(&resp.Diagnostics) {
		return
	}
	digest := m.Digest.ValueString()
	sealed, err := d.session.client.Bundle(ctx, digest)
	if errors.Is(err, client.ErrNotFound) {
		resp.Diagnostics.AddAttributeError(path.Root("digest"), "There is no such bundle", "The control plane has no bundle "+digest+".")
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read the bundle "+digest, explain(err))
		return
	}
	u, err := inspectBundle(sealed, digest)
	if err != nil {
		resp.Diagnostics.AddError("Cannot read the bundle "+digest, explain(err))
		return
	}
	m.Manifest = manifest(&u.Policy, &resp.Diagnostics)
	m.SigningKeyID = types.StringValue(u.KeyID)
	m.Policy = types.StringValue(string(source.Write(u.Policy)))
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}
