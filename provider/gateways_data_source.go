package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/provider/internal/client"
)

type gatewaysDataSource struct {
	session *session
}

var _ datasource.DataSourceWithConfigure = (*gatewaysDataSource)(nil)

func newGatewaysDataSource() datasource.DataSource { return &gatewaysDataSource{} }

type gatewaysDataModel struct {
	Gateways map[string]gatewayDataModel `tfsdk:"gateways"`
}

type gatewayDataModel struct {
	Bundle    types.String                `tfsdk:"bundle"`
	Revision  types.Int64                 `tfsdk:"revision"`
	Processes map[string]processDataModel `tfsdk:"processes"`
}

type processDataModel struct {
	Version   types.String `tfsdk:"version"`
	Bundle    types.String `tfsdk:"bundle"`
	Revision  types.Int64  `tfsdk:"revision"`
	Enforces  types.Bool   `tfsdk:"enforces"`
	Error     types.String `tfsdk:"error"`
	Sessions  types.Int64  `tfsdk:"sessions"`
	StartedAt types.String `tfsdk:"started_at"`
	SeenAt    types.String `tfsdk:"seen_at"`
}

// Metadata implements datasource.DataSource.
func (d *gatewaysDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_gateways"
}

// Schema implements datasource.DataSource.
func (d *gatewaysDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	processes := schema.MapNestedAttribute{
		Computed:            true,
		MarkdownDescription: "The gateway's processes, as they gave account of themselves last.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"version":    schema.StringAttribute{Computed: true, MarkdownDescription: "Version of Postern."},
			"bundle":     schema.StringAttribute{Computed: true, MarkdownDescription: "Digest of the bundle that it enforces; empty if none."},
			"revision":   schema.Int64Attribute{Computed: true, MarkdownDescription: "Revision that it enforces; `0` if none."},
			"enforces":   schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether it enforces what is live and was seen in the last 60 seconds."},
			"error":      schema.StringAttribute{Computed: true, MarkdownDescription: "Why it does not follow; empty if it does."},
			"sessions":   schema.Int64Attribute{Computed: true, MarkdownDescription: "Client sessions."},
			"started_at": schema.StringAttribute{Computed: true, MarkdownDescription: "When it started (RFC 3339)."},
			"seen_at":    schema.StringAttribute{Computed: true, MarkdownDescription: "When it was seen last (RFC 3339)."},
		}},
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "Which gateway must run what, and which process does.",
		Attributes: map[string]schema.Attribute{
			"gateways": schema.MapNestedAttribute{
				Computed:            true,
				MarkdownDescription: "The gateways that the control plane has heard of, keyed by name.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"bundle":    schema.StringAttribute{Computed: true, MarkdownDescription: "Digest of the live bundle; empty if none was released."},
					"revision":  schema.Int64Attribute{Computed: true, MarkdownDescription: "Revision of the live release; `0` if there is none."},
					"processes": processes,
				}},
			},
		},
	}
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *gatewaysDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Read implements datasource.DataSource.
func (d *gatewaysDataSource) Read(ctx context.Context, _ datasource.ReadRequest, resp *datasource.ReadResponse) {
	if !d.session.connected(&resp.Diagnostics) {
		return
	}
	names, err := d.session.client.Gateways(ctx)
	if err != nil {
		resp.Diagnostics.AddError("Cannot list the gateways", explain(err))
		return
	}
	m := gatewaysDataModel{Gateways: make(map[string]gatewayDataModel, len(names))}
	for _, name := range names {
		g, err := d.gateway(ctx, name)
		if err != nil {
			resp.Diagnostics.AddError(fmt.Sprintf("Cannot read gateway %q", name), explain(err))
			return
		}
		m.Gateways[name] = g
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

func (d *gatewaysDataSource) gateway(ctx context.Context, name string) (gatewayDataModel, error) {
	live, _, err := d.session.live(ctx, name)
	if err != nil {
		return gatewayDataModel{}, err
	}
	instances, now, err := d.session.client.Instances(ctx, name)
	if err != nil {
		return gatewayDataModel{}, err
	}
	g := gatewayDataModel{
		Bundle:    types.StringValue(live.Bundle),
		Revision:  types.Int64Value(int64(live.Revision)),
		Processes: make(map[string]processDataModel, len(instances)),
	}
	for _, i := range instances {
		f := follow([]client.Instance{i}, now, live.Revision, live.Bundle)
		g.Processes[i.Instance] = processDataModel{
			Version:   types.StringValue(i.Version),
			Bundle:    types.StringValue(i.Bundle),
			Revision:  types.Int64Value(int64(i.Revision)),
			Enforces:  types.BoolValue(live.Revision > 0 && f.enforcing == 1),
			Error:     types.StringValue(i.Error),
			Sessions:  types.Int64Value(i.Sessions),
			StartedAt: types.StringValue(i.StartedAt.UTC().Format(time.RFC3339)),
			SeenAt:    types.StringValue(i.SeenAt.UTC().Format(time.RFC3339)),
		}
	}
	return g, nil
}
