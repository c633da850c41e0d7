package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

type releaseDataSource struct {
	session *session
}

var _ datasource.DataSourceWithConfigure = (*releaseDataSource)(nil)

func newReleaseDataSource() datasource.DataSource { return &releaseDataSource{} }

type releaseDataModel struct {
	Gateway     types.String `tfsdk:"gateway"`
	Bundle      types.String `tfsdk:"bundle"`
	Predecessor types.String `tfsdk:"predecessor"`
	Revision    types.Int64  `tfsdk:"revision"`
	ReleasedBy  types.String `tfsdk:"released_by"`
	ReleasedAt  types.String `tfsdk:"released_at"`
	Note        types.String `tfsdk:"note"`
}

// Metadata implements datasource.DataSource.
func (d *releaseDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_release"
}

// Schema implements datasource.DataSource.
func (d *releaseDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "What is live on a gateway, whoever released it.",
		Attributes: map[string]schema.Attribute{
			"gateway": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the gateway.",
			},
			"bundle": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Digest of the live bundle. To promote it, release it to another gateway.",
			},
			"predecessor": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Digest of the bundle that was live before; empty for a gateway's first release.",
			},
			"revision": schema.Int64Attribute{
				Computed:            true,
				MarkdownDescription: "Revision of the live release.",
			},
			"released_by": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Who published it, by the control plane's account.",
			},
			"released_at": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "When it was published (RFC 3339), by the control plane's account.",
			},
			"note": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Why, as its publisher put it.",
			},
		},
	}
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *releaseDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Read implements datasource.DataSource.
func (d *releaseDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m releaseDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !d.session.connected(&resp.Diagnostics) {
		return
	}
	gateway := m.Gateway.ValueString()
	live, exists, err := d.session.live(ctx, gateway)
	switch {
	case err != nil:
		resp.Diagnostics.AddError(fmt.Sprintf("Cannot read what is live on gateway %q", gateway), explain(err))
		return
	case !exists:
		resp.Diagnostics.AddAttributeError(path.Root("gateway"), "Nothing is live on the gateway",
			fmt.Sprintf("No bundle was ever released to %q.", gateway))
		return
	}
	m.Bundle = types.StringValue(live.Bundle)
	m.Predecessor = types.StringValue(live.Predecessor)
	m.Revision = types.Int64Value(int64(live.Revision))
	m.ReleasedBy = types.StringValue(live.ReleasedBy)
	m.ReleasedAt = types.StringValue(live.ReleasedAt.UTC().Format(time.RFC3339))
	m.Note = types.StringValue(live.Note)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}
