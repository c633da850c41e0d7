package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// rollbackAction releases again what a gateway ran before.
type rollbackAction struct {
	session *session
}

var _ action.ActionWithConfigure = (*rollbackAction)(nil)

func newRollbackAction() action.Action { return &rollbackAction{} }

type rollbackModel struct {
	Gateway types.String `tfsdk:"gateway"`
	Bundle  types.String `tfsdk:"bundle"`
	Note    types.String `tfsdk:"note"`
}

// Metadata implements action.Action.
func (a *rollbackAction) Metadata(_ context.Context, req action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_rollback"
}

// Schema implements action.Action.
func (a *rollbackAction) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Releases again what a gateway ran before, under a new revision, and returns when the gateway enforces it. " +
			"It changes no resource: the next plan of its `postern_release` says what is live. Terraform 1.14 or later.",
		Attributes: map[string]schema.Attribute{
			"gateway": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the gateway.",
			},
			"bundle": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Digest of the bundle to go back to; what was live before unless set.",
			},
			"note": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Why, for people who read the history; at most 1,024 bytes.",
				Validators:          []validator.String{stringvalidator.LengthBetween(1, 1024)},
			},
		},
	}
}

// Configure implements action.ActionWithConfigure.
func (a *rollbackAction) Configure(_ context.Context, req action.ConfigureRequest, resp *action.ConfigureResponse) {
	a.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Invoke implements action.Action.
func (a *rollbackAction) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var m rollbackModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !a.session.connected(&resp.Diagnostics) {
		return
	}
	plan, live := a.plan(ctx, m, &resp.Diagnostics)
	release := releaseResource{session: a.session}
	if resp.Diagnostics.HasError() || !release.publish(ctx, &plan, live, a.session.signer, &resp.Diagnostics) {
		return
	}
	resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf("Released revision %d; waiting for the gateway.", plan.Revision.ValueInt64())})
	if err := release.awaitGateways(ctx, plan, defaultTimeout); err != nil {
		failWaiting(plan, err, &resp.Diagnostics)
	}
}

// plan is the release that the action makes, and the digest of what is live.
func (a *rollbackAction) plan(ctx context.Context, m rollbackModel, diags *diag.Diagnostics) (plan releaseModel, live string) {
	plan = releaseModel{
		Gateway: m.Gateway, Bundle: m.Bundle, Note: m.Note, MinGateways: types.Int64Value(1),
		Changes: types.ListNull(types.StringType), Timeouts: timeouts.Value{},
	}
	now, exists, err := a.session.live(ctx, m.Gateway.ValueString())
	if err != nil {
		failRelease(plan, err, diags)
		return plan, ""
	}
	if m.Bundle.IsNull() {
		plan.Bundle = types.StringValue(now.Predecessor)
	}
	switch {
	case !exists, plan.Bundle.ValueString() == "":
		diags.AddError(fmt.Sprintf("Gateway %q has nothing to go back to", m.Gateway.ValueString()), "Nothing was released to it before what is live.")
	case plan.Bundle.ValueString() == now.Bundle:
		diags.AddError("The bundle is live already", fmt.Sprintf("Gateway %q must run %s as it is.", m.Gateway.ValueString(), account(now)))
	}
	return plan, now.Bundle
}
