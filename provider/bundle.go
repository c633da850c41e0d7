package provider

import (
	"context"
	"errors"
	"maps"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider/internal/client"
)

// bundleResource compiles objects into one policy and uploads it, signed and
// immutable, under its digest. What a gateway runs is postern_release's to say.
type bundleResource struct {
	session *session
}

var (
	_ resource.ResourceWithConfigure   = (*bundleResource)(nil)
	_ resource.ResourceWithIdentity    = (*bundleResource)(nil)
	_ resource.ResourceWithImportState = (*bundleResource)(nil)
	_ resource.ResourceWithModifyPlan  = (*bundleResource)(nil)
)

func newBundleResource() resource.Resource { return &bundleResource{} }

// Metadata implements resource.Resource.
func (r *bundleResource) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_bundle"
	resp.ResourceBehavior.MutableIdentity = true // another policy has another digest
}

// IdentitySchema implements resource.ResourceWithIdentity.
func (r *bundleResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identitySchema("digest", "Digest of the bundle.")
}

// Schema implements resource.Resource.
func (r *bundleResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	attributes := map[string]schema.Attribute{
		"digest": schema.StringAttribute{
			Computed:            true,
			MarkdownDescription: "`sha256:` and the SHA-256 of the policy's canonical encoding. Known at plan unless an input is unknown, and the same at the gateway.",
		},
		"manifest": schema.MapAttribute{
			ElementType:         types.StringType,
			Computed:            true,
			MarkdownDescription: "Digest of each object in the bundle, keyed by kind and name as in `query_rule.engineers_read`.",
		},
		"signing_key_id": schema.StringAttribute{
			Computed:            true,
			MarkdownDescription: "Which key signed the bundle.",
		},
	}
	attributes["includes"] = schema.MapAttribute{
		ElementType: types.StringType,
		Optional:    true,
		MarkdownDescription: "Digests of bundles that others uploaded, keyed by the namespace that each owns. " +
			"All of their objects must be named within it, as `payments.refunds` is within `payments`, and no object of this bundle may be.",
	}
	for _, p := range parts() {
		attributes[p.attribute] = p.schema()
	}
	maps.Copy(attributes, signingKeyAttributes())
	attributes["tests"] = testsAttribute()
	attributes["schemas"] = schema.MapAttribute{
		ElementType:         types.StringType,
		Optional:            true,
		MarkdownDescription: "Schemas of databases for the tests, as DDL that `pg_dump --schema-only` writes, keyed by a name for them.",
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A bundle: a whole policy, compiled at plan and uploaded signed and immutable under its digest. " +
			"It takes objects as maps keyed by name, and touches no traffic: see `postern_release`.\n\n" +
			"A resource with `for_each` is such a map already, so that `query_rules = postern_query_rule.this` works where its keys are the names.",
		Attributes: attributes,
	}
}

// Configure implements resource.ResourceWithConfigure.
func (r *bundleResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// ModifyPlan implements resource.ResourceWithModifyPlan: it compiles the policy,
// so that nothing that does not compile is ever planned.
func (r *bundleResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	in := r.gather(ctx, plan.Attributes(), &resp.Diagnostics)
	digest, manifest := types.StringUnknown(), types.MapUnknown(types.StringType)
	if in.known && !resp.Diagnostics.HasError() {
		digest, manifest = r.compile(in, &resp.Diagnostics)
	}
	if in.known && !resp.Diagnostics.HasError() {
		r.runTests(ctx, plan.Attributes(), in.policy, &resp.Diagnostics)
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("digest"), digest)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("manifest"), manifest)...)

	key := r.plannedKey(ctx, req, digest, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("signing_key_id"), key)...)
}

// plannedKey is the id of the key that signs. A plan can be made without a key,
// and says so only if there is something to sign.
func (r *bundleResource) plannedKey(ctx context.Context, req resource.ModifyPlanRequest, digest types.String, diags *diag.Diagnostics) types.String {
	if key := r.session.signerOf(ctx, req.Config, diags); key != nil {
		return types.StringValue(key.PublicKey().ID())
	}
	if req.State.Raw.IsNull() {
		return types.StringUnknown()
	}
	var state, plan struct {
		digest, key types.String
		version     types.Int64
	}
	diags.Append(req.State.GetAttribute(ctx, path.Root("digest"), &state.digest)...)
	diags.Append(req.State.GetAttribute(ctx, path.Root("signing_key_id"), &state.key)...)
	diags.Append(req.State.GetAttribute(ctx, path.Root(signingKeyVersion), &state.version)...)
	diags.Append(req.Plan.GetAttribute(ctx, path.Root(signingKeyVersion), &plan.version)...)
	if digest.Equal(state.digest) && plan.version.Equal(state.version) && !state.key.IsNull() {
		return state.key
	}
	return types.StringUnknown()
}

// Create implements resource.Resource.
func (r *bundleResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if state, ok := r.upload(ctx, plan, req.Config, &resp.Diagnostics); ok {
		setDigestIdentity(ctx, resp.Identity, state, &resp.Diagnostics)
		resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
	}
}

// Update implements resource.Resource. The old bundle stays where it is: it may
// be live, and rolling back needs it.
func (r *bundleResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	// Other words for the same policy need no other bundle.
	if sameAttributes(plan, state, "digest", "signing_key_id") {
		r.test(ctx, plan, &resp.Diagnostics)
		if resp.Diagnostics.HasError() {
			return
		}
		setDigestIdentity(ctx, resp.Identity, plan, &resp.Diagnostics)
		resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
		return
	}
	if state, ok := r.upload(ctx, plan, req.Config, &resp.Diagnostics); ok {
		setDigestIdentity(ctx, resp.Identity, state, &resp.Diagnostics)
		resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
	}
}

// test runs the tests of what is planned: some of them may have been unknown
// then.
func (r *bundleResource) test(ctx context.Context, plan types.Object, diags *diag.Diagnostics) {
	in := r.gather(ctx, plan.Attributes(), diags)
	if !diags.HasError() {
		r.runTests(ctx, plan.Attributes(), in.policy, diags)
	}
}

func sameAttributes(a, b types.Object, names ...string) bool {
	for _, name := range names {
		if !a.Attributes()[name].Equal(b.Attributes()[name]) {
			return false
		}
	}
	return true
}

// upload seals and stores what is planned, and returns the state.
func (r *bundleResource) upload(ctx context.Context, plan types.Object, config tfsdk.Config, diags *diag.Diagnostics) (types.Object, bool) {
	if diags.HasError() || !r.session.connected(diags) {
		return types.Object{}, false
	}
	signer := r.session.signerOf(ctx, config, diags)
	if !canSign(signer, diags) {
		return types.Object{}, false
	}
	in := r.gather(ctx, plan.Attributes(), diags)
	if diags.HasError() {
		return types.Object{}, false
	}
	var found diag.Diagnostics
	digest, manifest := r.compile(in, &found)
	diags.Append(found.Errors()...) // the plan had the warnings
	if !diags.HasError() {
		r.runTests(ctx, plan.Attributes(), in.policy, diags)
	}
	if diags.HasError() {
		return types.Object{}, false
	}
	sealed, err := bundle.Seal(&in.policy, signer)
	if err != nil {
		diags.AddError("The bundle cannot be sealed", explain(err))
		return types.Object{}, false
	}
	if err := r.session.client.PutBundle(ctx, digest.ValueString(), sealed); err != nil {
		diags.AddError("The bundle cannot be uploaded", explain(err))
		return types.Object{}, false
	}
	state := with(ctx, plan, map[string]attr.Value{
		"digest":         digest,
		"manifest":       manifest,
		"signing_key_id": types.StringValue(signer.PublicKey().ID()),
	}, diags)
	return state, !diags.HasError()
}

// Read implements resource.Resource. It reads no input back: a bundle is what
// its digest says, or it is not there.
func (r *bundleResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state types.Object
	var digest types.String
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("digest"), &digest)...)
	if resp.Diagnostics.HasError() || !r.session.connected(&resp.Diagnostics) {
		return
	}
	setIdentity(ctx, resp.Identity, "digest", digest.ValueString(), &resp.Diagnostics) // what is gone has one too
	sealed, err := r.session.client.Bundle(ctx, digest.ValueString())
	if errors.Is(err, client.ErrNotFound) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read the bundle "+digest.ValueString(), explain(err))
		return
	}
	u, err := inspectBundle(sealed, digest.ValueString())
	if err != nil {
		resp.Diagnostics.AddWarning("The control plane's copy of the bundle is damaged", explain(err)+" It will be uploaded again.")
		resp.State.RemoveResource(ctx)
		return
	}
	r.session.policies.put(u.Digest, u.Policy)
	replaced := map[string]attr.Value{"signing_key_id": types.StringValue(u.KeyID)}
	if state.Attributes()["manifest"].IsNull() {
		maps.Copy(replaced, imported(u.Policy, &resp.Diagnostics))
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, with(ctx, state, replaced, &resp.Diagnostics))...)
}

// Delete implements resource.Resource. A bundle that was ever released stays as
// part of history, and one that the token's role may not delete stays too.
func (r *bundleResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var digest types.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("digest"), &digest)...)
	if resp.Diagnostics.HasError() || !r.session.connected(&resp.Diagnostics) {
		return
	}
	err := r.session.client.DeleteBundle(ctx, digest.ValueString())
	if errors.Is(err, client.ErrForbidden) {
		resp.Diagnostics.AddWarning("The bundle "+digest.ValueString()+" stays on the control plane",
			explain(err)+" It is immutable and touches no traffic.")
		return
	}
	if err != nil && !errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrExists) {
		resp.Diagnostics.AddError("Cannot delete the bundle "+digest.ValueString(), explain(err))
	}
}

// ImportState implements resource.ResourceWithImportState. The id is the digest.
func (r *bundleResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("digest"), path.Root("digest"), req, resp)
}
