package provider

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider/internal/client"
)

// releaseResource says which bundle a gateway must run. It is the one resource
// that changes what is enforced. See release_plan.go for what it plans, and
// release_wait.go for how it waits until gateways follow.
type releaseResource struct {
	session *session
}

var (
	_ resource.ResourceWithConfigure   = (*releaseResource)(nil)
	_ resource.ResourceWithIdentity    = (*releaseResource)(nil)
	_ resource.ResourceWithImportState = (*releaseResource)(nil)
	_ resource.ResourceWithModifyPlan  = (*releaseResource)(nil)
)

func newReleaseResource() resource.Resource { return &releaseResource{} }

// What on_drift and on_destroy may be.
const (
	onDriftFail      = "fail"
	onDriftOverwrite = "overwrite"

	onDestroyKeepLive = "keep_live"
	onDestroyDenyAll  = "deny_all"
)

// defaultTimeout bounds the wait for gateways.
const defaultTimeout = 2 * time.Minute

type releaseModel struct {
	Gateway            types.String   `tfsdk:"gateway"`
	Bundle             types.String   `tfsdk:"bundle"`
	Note               types.String   `tfsdk:"note"`
	MinGateways        types.Int64    `tfsdk:"min_gateways"`
	OnDrift            types.String   `tfsdk:"on_drift"`
	Supersedes         types.String   `tfsdk:"supersedes"`
	DeletionProtection types.Bool     `tfsdk:"deletion_protection"`
	OnDestroy          types.String   `tfsdk:"on_destroy"`
	LiveBundle         types.String   `tfsdk:"live_bundle"`
	Predecessor        types.String   `tfsdk:"predecessor"`
	Revision           types.Int64    `tfsdk:"revision"`
	Changes            types.List     `tfsdk:"changes"`
	Acknowledged       types.Bool     `tfsdk:"acknowledged"`
	SigningKeyID       types.String   `tfsdk:"signing_key_id"`
	Canary             types.Object   `tfsdk:"canary"`
	SigningKey         types.String   `tfsdk:"signing_key_wo"`
	SigningKeyVersion  types.Int64    `tfsdk:"signing_key_wo_version"`
	Timeouts           timeouts.Value `tfsdk:"timeouts"`
}

// Metadata implements resource.Resource.
func (r *releaseResource) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_release"
}

// Schema implements resource.Resource.
func (r *releaseResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A release: which bundle a gateway must run. The provider signs it and the control plane only stores it. " +
			"Publishing is one step that succeeds only if what is live is still what the plan saw, and apply returns once the gateways enforce the bundle.",
		Attributes: map[string]schema.Attribute{
			"gateway": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the gateway.",
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
			"bundle": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Digest of the bundle to run. An older one rolls back, under a new revision.",
			},
			"note": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Why, for people who read the history; at most 1,024 bytes. It is signed with the next release: to change it alone releases nothing.",
				Validators:          []validator.String{stringvalidator.LengthAtMost(1024)},
			},
			"min_gateways": schema.Int64Attribute{
				Optional:            true,
				Computed:            true,
				Default:             int64default.StaticInt64(1),
				MarkdownDescription: "Apply returns once all of the gateway's processes that were seen in the last 60 seconds enforce the bundle, and at least this many; `1` unless set. With `0` it does not wait where no process runs yet.",
				Validators:          []validator.Int64{int64validator.AtLeast(0)},
			},
			"on_drift": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Default:             stringdefault.StaticString(onDriftFail),
				MarkdownDescription: "What to do where somebody else released another bundle since: `fail` the plan (unless set), or `overwrite` it.",
				Validators:          []validator.String{stringvalidator.OneOf(onDriftFail, onDriftOverwrite)},
			},
			"supersedes": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Digest of the one bundle of somebody else's that this release may replace, be it on first creation or after drift.",
			},
			"deletion_protection": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				Default:             booldefault.StaticBool(false),
				MarkdownDescription: "Whether to refuse to destroy or replace this release; `false` unless set.",
			},
			"on_destroy": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Default:             stringdefault.StaticString(onDestroyKeepLive),
				MarkdownDescription: "What becomes of the gateway when this is destroyed: `keep_live` (unless set) leaves the bundle in force, `deny_all` releases one that refuses everybody.",
				Validators:          []validator.String{stringvalidator.OneOf(onDestroyKeepLive, onDestroyDenyAll)},
			},
			"live_bundle": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Digest of the bundle that is live. It differs from `bundle` if somebody else released another one.",
			},
			"predecessor": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Digest of the bundle that was live before; empty for a gateway's first release.",
			},
			"revision": schema.Int64Attribute{
				Computed:            true,
				MarkdownDescription: "Revision of the live release. It only grows.",
			},
			"changes": schema.ListAttribute{
				ElementType:         types.StringType,
				Computed:            true,
				MarkdownDescription: "What the last release changed: objects added (`+`), removed (`-`) and changed (`~`).",
			},
			"acknowledged": schema.BoolAttribute{
				Computed:            true,
				MarkdownDescription: "Whether the gateways said that they enforce the bundle. It is false after an apply that gave up waiting; the next one waits again.",
			},
			"signing_key_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Id of the key that signed the last release of this resource. Where the provider signs with another one, the bundle is released again.",
			},
		},
		Blocks: map[string]schema.Block{
			"timeouts": timeouts.Block(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long to wait for gateways; `2m` unless set.",
				UpdateDescription: "How long to wait for gateways; `2m` unless set.",
				DeleteDescription: "With `deny_all`, how long to wait for gateways; `2m` unless set.",
			}),
		},
	}
	resp.Schema.Attributes["canary"] = canaryAttribute()
	maps.Copy(resp.Schema.Attributes, signingKeyAttributes())
}

// IdentitySchema implements resource.ResourceWithIdentity.
func (r *releaseResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identitySchema("gateway", "Name of the gateway.")
}

// Configure implements resource.ResourceWithConfigure.
func (r *releaseResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// Create implements resource.Resource. Should gateways not follow in time, the
// resource is not created as far as Terraform is concerned: a resource that was
// created badly would be destroyed first on the next apply. That one finds its
// own bundle live, and only waits.
func (r *releaseResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan releaseModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	wait, d := plan.Timeouts.Create(ctx, defaultTimeout)
	resp.Diagnostics.Append(d...)
	if resp.Diagnostics.HasError() || !r.session.connected(&resp.Diagnostics) {
		return
	}
	live, exists, err := r.session.live(ctx, plan.Gateway.ValueString())
	if err != nil {
		failRelease(plan, err, &resp.Diagnostics)
		return
	}
	if exists && !r.mayReplace(plan, live, &resp.Diagnostics) {
		return
	}
	if live.Bundle == plan.Bundle.ValueString() {
		r.released(ctx, &plan, live, live.Bundle, &resp.Diagnostics)
		plan.SigningKeyID = r.ours(live)
	} else if signer := r.session.signerOf(ctx, req.Config, &resp.Diagnostics); !r.publish(ctx, &plan, live.Bundle, signer, &resp.Diagnostics) {
		return
	}
	if err := r.awaitGateways(ctx, plan, wait); err != nil {
		failWaiting(plan, err, &resp.Diagnostics)
		return
	}
	plan.Acknowledged = types.BoolValue(true)
	setIdentity(ctx, resp.Identity, "gateway", plan.Gateway.ValueString(), &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
}

// Read implements resource.Resource. What is live goes into live_bundle, never
// into bundle: that is what was asked for.
func (r *releaseResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state releaseModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() || !r.session.connected(&resp.Diagnostics) {
		return
	}
	setIdentity(ctx, resp.Identity, "gateway", state.Gateway.ValueString(), &resp.Diagnostics) // what is gone has one too
	live, exists, err := r.session.live(ctx, state.Gateway.ValueString())
	switch {
	case err != nil:
		failRelease(state, err, &resp.Diagnostics)
		return
	case !exists:
		resp.State.RemoveResource(ctx)
		return
	}
	if state.Bundle.IsNull() {
		state.imported(live.Bundle)
		state.SigningKeyID = r.ours(live)
	}
	state.LiveBundle = types.StringValue(live.Bundle)
	state.Predecessor = types.StringValue(live.Predecessor)
	state.Revision = types.Int64Value(int64(live.Revision))
	resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
}

// imported fills in what is not known of a release that was only named.
func (m *releaseModel) imported(bundle string) {
	m.Bundle = types.StringValue(bundle)
	m.MinGateways = types.Int64Value(1)
	m.OnDrift = types.StringValue(onDriftFail)
	m.OnDestroy = types.StringValue(onDestroyKeepLive)
	m.DeletionProtection = types.BoolValue(false)
	m.Acknowledged = types.BoolValue(true)
	m.Changes = types.ListValueMust(types.StringType, []attr.Value{})
}

// Update implements resource.Resource.
func (r *releaseResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state releaseModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	wait, d := plan.Timeouts.Update(ctx, defaultTimeout)
	resp.Diagnostics.Append(d...)
	if resp.Diagnostics.HasError() || !r.session.connected(&resp.Diagnostics) {
		return
	}
	publishes := plan.publishes(state)
	if publishes {
		signer := r.session.signerOf(ctx, req.Config, &resp.Diagnostics)
		if !r.publish(ctx, &plan, state.LiveBundle.ValueString(), signer, &resp.Diagnostics) {
			return
		}
	}
	if publishes || !state.Acknowledged.ValueBool() {
		err := r.awaitGateways(ctx, plan, wait)
		if err != nil {
			failWaiting(plan, err, &resp.Diagnostics)
		}
		plan.Acknowledged = types.BoolValue(err == nil)
	}
	setIdentity(ctx, resp.Identity, "gateway", plan.Gateway.ValueString(), &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
}

// Delete implements resource.Resource.
func (r *releaseResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state releaseModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	wait, d := state.Timeouts.Delete(ctx, defaultTimeout)
	resp.Diagnostics.Append(d...)
	if resp.Diagnostics.HasError() || !destroyable(state, &resp.Diagnostics) || !state.denies() {
		return
	}
	if !r.session.connected(&resp.Diagnostics) || state.drifted() && !r.mayOverwrite(state, state, &resp.Diagnostics) {
		return
	}
	digest, ok := r.uploadDenyAll(ctx, state, &resp.Diagnostics)
	if !ok {
		return
	}
	denied := state
	denied.Canary = types.ObjectNull(state.Canary.AttributeTypes(ctx)) // who is refused proves nothing
	denied.Bundle, denied.Note = types.StringValue(digest), types.StringValue("postern_release was destroyed with on_destroy = \"deny_all\"")
	if state.LiveBundle.ValueString() != digest && !r.publish(ctx, &denied, state.LiveBundle.ValueString(), r.session.signer, &resp.Diagnostics) {
		return
	}
	if err := r.awaitGateways(ctx, denied, wait); err != nil {
		failWaiting(denied, err, &resp.Diagnostics)
	}
}

// ImportState implements resource.ResourceWithImportState. The id is the
// gateway's name.
func (r *releaseResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("gateway"), path.Root("gateway"), req, resp)
}

// publishes reports whether an update has something to release: another bundle
// than is live, or the same with another key.
func (m *releaseModel) publishes(state releaseModel) bool {
	return !m.Bundle.Equal(state.LiveBundle) || !m.SigningKeyVersion.Equal(state.SigningKeyVersion) || !m.SigningKeyID.Equal(state.SigningKeyID)
}

// ours is the key that signed a release which this resource takes over, null if
// it is not the provider's: what somebody else has signed is left alone.
func (r *releaseResource) ours(live client.Release) types.String {
	key := signedBy(live)
	if r.session.signer == nil || key.ValueString() != r.session.signer.PublicKey().ID() {
		return types.StringNull()
	}
	return key
}

// signedBy is the id of the key that signed a release.
func signedBy(live client.Release) types.String {
	u, err := bundle.InspectUnverified(live.Signed)
	if err != nil {
		return types.StringNull()
	}
	return types.StringValue(u.KeyID)
}

// publish signs and publishes plan.Bundle, provided that expected is live, and
// fills in what is known then.
func (r *releaseResource) publish(ctx context.Context, plan *releaseModel, expected string, signer *bundle.PrivateKey, diags *diag.Diagnostics) bool {
	gateway := plan.Gateway.ValueString()
	live, _, err := r.session.live(ctx, gateway)
	switch {
	case err != nil:
		failRelease(*plan, err, diags)
		return false
	case live.Bundle != expected:
		failStale(*plan, live, diags)
		return false
	case !canSign(signer, diags) || !r.hasGateway(ctx, *plan, diags):
		return false
	}
	canary, known := plan.canary(ctx, diags)
	switch {
	case !known:
		return false
	case canary == nil:
		live, err = r.publishNow(ctx, plan, live, signer)
	case r.rollOut(ctx, *plan, canary, signer, diags):
		live, _, err = r.session.live(ctx, gateway)
	default:
		return false
	}
	if err != nil {
		failPublish(*plan, err, diags)
		return false
	}
	r.released(ctx, plan, live, expected, diags)
	return !diags.HasError()
}

// publishNow releases in one step what is to follow live.
func (r *releaseResource) publishNow(ctx context.Context, plan *releaseModel, live client.Release, signer *bundle.PrivateKey) (client.Release, error) {
	gateway := plan.Gateway.ValueString()
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: gateway, Bundle: plan.Bundle.ValueString(), Predecessor: live.Bundle,
		Revision: live.Revision + 1, Time: r.session.now(), Note: plan.Note.ValueString(),
	}, signer)
	if err != nil {
		return client.Release{}, err
	}
	return r.session.client.Publish(ctx, gateway, live.Bundle, signed)
}

// released fills in what is known once plan.Bundle is live.
func (r *releaseResource) released(ctx context.Context, plan *releaseModel, live client.Release, before string, diags *diag.Diagnostics) {
	plan.LiveBundle = types.StringValue(live.Bundle)
	plan.Predecessor = types.StringValue(live.Predecessor)
	plan.Revision = types.Int64Value(int64(live.Revision))
	plan.SigningKeyID = signedBy(live)
	if plan.Changes.IsUnknown() {
		plan.Changes = r.changes(ctx, before, plan.Bundle.ValueString(), diags)
	}
	if plan.Changes.IsUnknown() { // what was live is nowhere to be found
		plan.Changes = types.ListNull(types.StringType)
	}
}

// uploadDenyAll makes and uploads a bundle that refuses everybody on the
// gateway, from what is live there.
func (r *releaseResource) uploadDenyAll(ctx context.Context, state releaseModel, diags *diag.Diagnostics) (digest string, ok bool) {
	if !canSign(r.session.signer, diags) {
		return "", false
	}
	live, err := r.session.policy(ctx, state.LiveBundle.ValueString())
	if err != nil {
		diags.AddError("The live bundle cannot be read", explain(err))
		return "", false
	}
	g, found := live.Gateway(state.Gateway.ValueString())
	if !found {
		diags.AddError("The live bundle has no such gateway",
			fmt.Sprintf("Nothing that refuses everybody can be made of it for %q. Set on_destroy = \"keep_live\".", state.Gateway.ValueString()))
		return "", false
	}
	denied := *g
	denied.DefaultEffect, denied.Unparsed = policylang.EffectDeny, "deny"
	p := policylang.Policy{Gateways: []policylang.Gateway{denied}}
	digest, err = p.Digest()
	if err != nil {
		diags.AddError("The bundle that denies all cannot be made", explain(err))
		return "", false
	}
	sealed, err := bundle.Seal(&p, r.session.signer)
	if err == nil {
		err = r.session.client.PutBundle(ctx, digest, sealed)
	}
	if err != nil {
		diags.AddError("The bundle that denies all cannot be uploaded", explain(err))
		return "", false
	}
	return digest, true
}

// destroyable reports whether the release may be destroyed, and says so if it
// may not.
func destroyable(m releaseModel, diags *diag.Diagnostics) bool {
	if m.DeletionProtection.ValueBool() {
		diags.AddError(fmt.Sprintf("The release of gateway %q is protected from deletion", m.Gateway.ValueString()),
			"Set deletion_protection = false and apply that first.")
		return false
	}
	return true
}
