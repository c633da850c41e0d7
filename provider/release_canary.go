package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/float64validator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider/internal/client"
)

// canaryModel is the attribute canary of a release.
type canaryModel struct {
	Stages       [][]string
	Observe      string
	MaxErrorRate float64
}

// What a canary is unless it says otherwise.
const (
	defaultObserve      = time.Minute
	defaultMaxErrorRate = 0.05
)

func canaryAttribute() schema.Attribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Gateways that must prove the bundle before this one runs it. All releases are signed when it starts, those that go back too: " +
			"the control plane carries the rollout out, and can sign nothing. If a stage fails, every gateway of the rollout goes back to what it ran, and apply fails.",
		Attributes: map[string]schema.Attribute{
			"stages": schema.ListAttribute{
				ElementType:         types.SetType{ElemType: types.StringType},
				Optional:            true,
				MarkdownDescription: "Names of gateways, stage by stage; this release's own gateway comes last by itself. It must be set. The bundle must declare all of them.",
			},
			"observe": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "How long a stage is watched once all its processes enforce the bundle; `1m` unless set.",
			},
			"max_error_rate": schema.Float64Attribute{
				Optional:            true,
				MarkdownDescription: "Share of statements, from 0 to 1, that may be denied or fail while a stage is watched; `0.05` unless set.",
				Validators:          []validator.Float64{float64validator.Between(0, 1)},
			},
		},
	}
}

// canary reads the attribute. It is nil if the release has none, and false if
// something in it is unknown or wrong.
func (m *releaseModel) canary(ctx context.Context, diags *diag.Diagnostics) (*canaryModel, bool) {
	if m.Canary.IsNull() {
		return nil, true
	}
	var raw struct {
		Stages       types.List    `tfsdk:"stages"`
		Observe      types.String  `tfsdk:"observe"`
		MaxErrorRate types.Float64 `tfsdk:"max_error_rate"`
	}
	v, err := m.Canary.ToTerraformValue(ctx)
	if m.Canary.IsUnknown() || err == nil && !v.IsFullyKnown() {
		return nil, false
	}
	diags.Append(m.Canary.As(ctx, &raw, basetypes.ObjectAsOptions{})...)
	c := &canaryModel{Observe: defaultObserve.String(), MaxErrorRate: defaultMaxErrorRate}
	diags.Append(raw.Stages.ElementsAs(ctx, &c.Stages, false)...)
	if text := raw.Observe.ValueString(); text != "" {
		c.Observe = text
	}
	if !raw.MaxErrorRate.IsNull() {
		c.MaxErrorRate = raw.MaxErrorRate.ValueFloat64()
	}
	c.check(m.Gateway.ValueString(), diags)
	return c, !diags.HasError()
}

func (c *canaryModel) check(own string, diags *diag.Diagnostics) {
	wrong := func(summary, detail string) { diags.AddAttributeError(path.Root("canary"), summary, detail) }
	if d, err := time.ParseDuration(c.Observe); err != nil || d < 0 {
		wrong(fmt.Sprintf("observe cannot be %q", c.Observe), `Write a duration as in "10m".`)
	}
	if len(c.Stages) == 0 {
		wrong("stages is missing", `Name the gateways that go first, as in stages = [["orders-canary"]].`)
	}
	seen := map[string]bool{own: true}
	for _, stage := range c.Stages {
		if len(stage) == 0 {
			wrong("A stage has no gateway", "Name one, or leave the stage out.")
		}
		for _, gateway := range stage {
			if seen[gateway] {
				wrong(fmt.Sprintf("Gateway %q is there twice", gateway), "Every gateway is in one stage; this release's own comes last by itself.")
			}
			seen[gateway] = true
		}
	}
}

// planCanary checks what can be checked of a canary before it starts.
func (r *releaseResource) planCanary(ctx context.Context, plan releaseModel, diags *diag.Diagnostics) {
	c, known := plan.canary(ctx, diags)
	if c == nil || !known {
		return
	}
	for _, stage := range c.Stages {
		for _, gateway := range stage {
			other := plan
			other.Gateway = types.StringValue(gateway)
			r.hasGateway(ctx, other, diags)
		}
	}
}

// rollOut has the control plane release to the canaries first and to the
// release's own gateway at last, and returns when that is done.
func (r *releaseResource) rollOut(ctx context.Context, plan releaseModel, c *canaryModel, signer *bundle.PrivateKey, diags *diag.Diagnostics) bool {
	wait, d := plan.Timeouts.Update(ctx, defaultTimeout)
	diags.Append(d...)
	in := client.Rollout{
		Observe: c.Observe, Timeout: wait.String(), MaxErrorRate: c.MaxErrorRate, MinInstances: max(1, plan.MinGateways.ValueInt64()),
	}
	for _, gateways := range append(c.Stages, []string{plan.Gateway.ValueString()}) {
		stage, err := r.signStage(ctx, plan, gateways, signer)
		if err != nil {
			diags.AddAttributeError(path.Root("canary"), "The rollout cannot be signed", explain(err))
			return false
		}
		if len(stage.Releases) > 0 {
			in.Stages = append(in.Stages, stage)
		}
	}
	status, err := r.session.client.RollOut(ctx, plan.Gateway.ValueString(), in)
	switch {
	case err != nil && status.Status == "":
		diags.AddAttributeError(path.Root("canary"), fmt.Sprintf("The rollout to gateway %q cannot start", plan.Gateway.ValueString()), explain(err)+" Nothing was released.")
	case err != nil:
		diags.AddAttributeError(path.Root("canary"), fmt.Sprintf("The rollout %q was left running", status.ID),
			explain(err)+" It goes on by itself; to stop it, run: postern release rollout stop "+status.ID)
	case status.Status != client.RolloutDone:
		diags.AddAttributeError(path.Root("canary"), fmt.Sprintf("The canaries of gateway %q did not prove the bundle", plan.Gateway.ValueString()),
			explain(errors.New(status.Reason))+" What was live on the gateways of the rollout is live again.")
	}
	return !diags.HasError()
}

// signStage signs what each gateway of a stage is to run, and what undoes it. A
// gateway that runs the bundle already has proven it.
func (r *releaseResource) signStage(ctx context.Context, plan releaseModel, gateways []string, signer *bundle.PrivateKey) (client.RolloutStage, error) {
	var stage client.RolloutStage
	for _, gateway := range gateways {
		live, _, err := r.session.live(ctx, gateway)
		if err != nil {
			return stage, err
		}
		if live.Bundle == plan.Bundle.ValueString() && gateway != plan.Gateway.ValueString() {
			continue
		}
		next := bundle.Release{
			Gateway: gateway, Bundle: plan.Bundle.ValueString(), Predecessor: live.Bundle,
			Revision: live.Revision + 1, Time: r.session.now(), Note: plan.Note.ValueString(),
		}
		var one client.RolloutRelease
		if one.Signed, err = bundle.SealRelease(next, signer); err != nil {
			return stage, err
		}
		if live.Bundle != "" {
			undo := next
			undo.Bundle, undo.Predecessor, undo.Revision, undo.Note = live.Bundle, next.Bundle, next.Revision+1, "the rollout was stopped"
			if one.Undo, err = bundle.SealRelease(undo, signer); err != nil {
				return stage, err
			}
		}
		stage.Releases = append(stage.Releases, one)
	}
	return stage, nil
}
