package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
	"github.com/posternhq/postern/provider/internal/policydiff"
)

// ModifyPlan implements resource.ResourceWithModifyPlan. It compares with what
// is live rather than with what was asked for last, so that a rollback by
// somebody else is seen and put right.
//
// Terraform plans once more while it applies, and the two plans must agree. So
// an update is planned from the prior state, which is part of the plan, and not
// from what is live at the moment; the revision is left open.
func (r *releaseResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var plan, state releaseModel
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	}
	if req.Plan.Raw.IsNull() {
		if destroyable(state, &resp.Diagnostics) && state.denies() && state.drifted() {
			r.mayOverwrite(state, state, &resp.Diagnostics)
		}
		return
	}
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if !plan.Bundle.IsUnknown() && r.session != nil && r.session.client != nil {
		r.planCanary(ctx, plan, &resp.Diagnostics)
	}
	switch {
	case req.State.Raw.IsNull():
		r.planCreate(ctx, &plan, &resp.Diagnostics)
	case !plan.Gateway.Equal(state.Gateway):
		// Terraform plans the replacement by itself next.
		destroyable(state, &resp.Diagnostics)
		plan.planPublish("")
	default:
		r.planUpdate(ctx, &plan, state, &resp.Diagnostics)
	}
	resp.Diagnostics.Append(resp.Plan.Set(ctx, plan)...)
}

// planPublish plans a release in place of the bundle that is live. Where that
// is not known it is empty, and predecessor is left open.
func (m *releaseModel) planPublish(predecessor string) {
	m.LiveBundle = m.Bundle
	m.Predecessor = types.StringUnknown()
	if predecessor != "" {
		m.Predecessor = types.StringValue(predecessor)
	}
	m.Revision, m.SigningKeyID = types.Int64Unknown(), types.StringUnknown()
	m.Changes = types.ListUnknown(types.StringType)
	m.Acknowledged = types.BoolValue(true)
}

// drifted reports whether somebody else released another bundle since.
func (m *releaseModel) drifted() bool { return !m.LiveBundle.Equal(m.Bundle) }

// denies reports whether destroying the release releases a bundle that refuses
// everybody.
func (m *releaseModel) denies() bool { return m.OnDestroy.ValueString() == onDestroyDenyAll }

func (r *releaseResource) planCreate(ctx context.Context, plan *releaseModel, diags *diag.Diagnostics) {
	plan.planPublish("")
	if plan.Gateway.IsUnknown() || plan.Bundle.IsUnknown() || r.session == nil || r.session.client == nil {
		return
	}
	live, exists, err := r.session.live(ctx, plan.Gateway.ValueString())
	switch {
	case err != nil:
		failRelease(*plan, err, diags)
	case !r.hasGateway(ctx, *plan, diags):
	case !exists:
		plan.Changes = r.changes(ctx, "", plan.Bundle.ValueString(), diags)
	case r.mayReplace(*plan, live, diags):
		plan.Changes = r.changes(ctx, live.Bundle, plan.Bundle.ValueString(), diags)
		r.announce(*plan, diags)
	}
}

func (r *releaseResource) planUpdate(ctx context.Context, plan *releaseModel, state releaseModel, diags *diag.Diagnostics) {
	plan.SigningKeyID = r.nextKey(*plan, state)
	if !plan.publishes(state) {
		plan.LiveBundle, plan.Predecessor, plan.Revision, plan.Changes = state.LiveBundle, state.Predecessor, state.Revision, state.Changes
		plan.Acknowledged = types.BoolValue(true)
		return
	}
	live := state.LiveBundle.ValueString()
	plan.planPublish(live)
	if state.drifted() && !r.mayOverwrite(*plan, state, diags) {
		return
	}
	if plan.Bundle.IsUnknown() || r.session == nil || r.session.client == nil || !r.hasGateway(ctx, *plan, diags) {
		return
	}
	plan.Changes = r.changes(ctx, live, plan.Bundle.ValueString(), diags)
	r.announce(*plan, diags)
}

// nextKey is the key that an update should have signed with. Another key of the
// provider's takes the last one's place; a write-only key has a version for
// that; and what this resource has not signed it leaves alone.
func (r *releaseResource) nextKey(plan, state releaseModel) types.String {
	if r.session == nil || r.session.signer == nil || state.SigningKeyID.IsNull() || !plan.SigningKeyVersion.IsNull() {
		return state.SigningKeyID
	}
	return types.StringValue(r.session.signer.PublicKey().ID())
}

// mayReplace reports whether a first release may replace what is live, and says
// so if it may not.
func (r *releaseResource) mayReplace(plan releaseModel, live client.Release, diags *diag.Diagnostics) bool {
	if live.Bundle == plan.Bundle.ValueString() || live.Bundle == plan.Supersedes.ValueString() {
		return true
	}
	gateway := plan.Gateway.ValueString()
	diags.AddAttributeError(path.Root("gateway"), fmt.Sprintf("Gateway %q has a live policy already", gateway),
		fmt.Sprintf("It runs %s, which this state does not know and will not overwrite.\n\n"+
			"To manage it here, run: terraform import postern_release.<name> %s\n\n"+
			"To replace it, set supersedes = %q.", account(live), gateway, live.Bundle))
	return false
}

// mayOverwrite reports whether an update may replace what somebody else
// released, and says so either way.
func (r *releaseResource) mayOverwrite(plan, state releaseModel, diags *diag.Diagnostics) bool {
	live := state.LiveBundle.ValueString()
	summary := fmt.Sprintf("Somebody else released another bundle to gateway %q", plan.Gateway.ValueString())
	what := fmt.Sprintf("It runs bundle %s at revision %d. This resource released %s.", live, state.Revision.ValueInt64(), state.Bundle.ValueString())
	if plan.OnDrift.ValueString() == onDriftOverwrite || plan.Supersedes.ValueString() == live {
		diags.AddAttributeWarning(path.Root("bundle"), summary, what+" That will be replaced.")
		return true
	}
	diags.AddAttributeError(path.Root("bundle"), summary, fmt.Sprintf("%s\n\n"+
		"To replace that one, set supersedes = %q; to replace whatever is found, set on_drift = \"overwrite\".\n\n"+
		"To keep it, release it from here: set bundle = %q.", what, live, live))
	return false
}

// hasGateway reports whether the bundle is for the gateway, which would refuse
// it otherwise, and says so if it is not. A bundle that is nowhere to be found
// yet is looked at when it is released.
func (r *releaseResource) hasGateway(ctx context.Context, plan releaseModel, diags *diag.Diagnostics) bool {
	p, ok := r.lookup(ctx, plan.Bundle.ValueString(), diags)
	if !ok {
		return !diags.HasError()
	}
	name := plan.Gateway.ValueString()
	if _, ok := p.Gateway(name); ok {
		return true
	}
	names := make([]string, len(p.Gateways))
	for i := range p.Gateways {
		names[i] = p.Gateways[i].Name
	}
	detail := fmt.Sprintf("Bundle %s declares: %s.", plan.Bundle.ValueString(), orNone(strings.Join(names, ", ")))
	if meant := policylang.Suggest(name, names); meant != "" {
		detail += fmt.Sprintf(" Did you mean %q?", meant)
	}
	diags.AddAttributeError(path.Root("bundle"), fmt.Sprintf("The bundle has no gateway %q", name), detail)
	return false
}

func orNone(list string) string {
	if list == "" {
		return "none"
	}
	return list
}

// changes compares two bundles. It is unknown if one of them is nowhere to be
// found, as before a bundle of another provider configuration is uploaded.
func (r *releaseResource) changes(ctx context.Context, from, to string, diags *diag.Diagnostics) types.List {
	unknown := types.ListUnknown(types.StringType)
	before, ok := r.lookup(ctx, from, diags)
	if !ok {
		return unknown
	}
	after, ok := r.lookup(ctx, to, diags)
	if !ok {
		return unknown
	}
	list, err := policydiff.Compare(before, after)
	if err != nil {
		diags.AddError("The bundles cannot be compared", explain(err))
		return unknown
	}
	lines := make([]attr.Value, len(list))
	for i, c := range list {
		lines[i] = types.StringValue(c.String())
	}
	value, d := types.ListValue(types.StringType, lines)
	diags.Append(d...)
	return value
}

func (r *releaseResource) lookup(ctx context.Context, digest string, diags *diag.Diagnostics) (policylang.Policy, bool) {
	if digest == "" {
		return policylang.Policy{}, true
	}
	p, err := r.session.policy(ctx, digest)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		diags.AddError("The bundle "+digest+" cannot be read", explain(err))
	}
	return p, err == nil
}

// announce warns of what the release changes on a gateway that has a policy.
func (r *releaseResource) announce(plan releaseModel, diags *diag.Diagnostics) {
	if plan.Changes.IsUnknown() || len(plan.Changes.Elements()) == 0 {
		return
	}
	var lines []string
	for _, v := range plan.Changes.Elements() {
		if line, ok := v.(types.String); ok {
			lines = append(lines, "  "+line.ValueString())
		}
	}
	diags.AddAttributeWarning(path.Root("bundle"),
		fmt.Sprintf("This changes the live policy of gateway %q", plan.Gateway.ValueString()),
		strings.Join(lines, "\n"))
}
