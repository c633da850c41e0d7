package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// draft is the resource of one kind of object. The control plane stores it; no
// gateway reads it there, so that writing and removing it one by one is
// harmless.
type draft struct {
	kind        policylang.Kind
	description string
	attributes  map[string]schema.Attribute // those of the policy language, without name
	session     *session
}

var (
	_ resource.ResourceWithConfigure      = (*draft)(nil)
	_ resource.ResourceWithIdentity       = (*draft)(nil)
	_ resource.ResourceWithImportState    = (*draft)(nil)
	_ resource.ResourceWithModifyPlan     = (*draft)(nil)
	_ resource.ResourceWithValidateConfig = (*draft)(nil)
)

// etagKey is where private state keeps the version of the object that was seen
// last. It is no attribute: every update would show it as unknown.
const etagKey = "etag"

// computed lists the attributes that are not the policy language's.
func computed() []string { return []string{"definition", "digest"} }

// Metadata implements resource.Resource.
func (d *draft) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_" + string(d.kind)
}

// Schema implements resource.Resource.
func (d *draft) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	attributes := maps.Clone(d.attributes)
	attributes["name"] = schema.StringAttribute{
		Required:            true,
		MarkdownDescription: "Name, unique among its kind: letters, digits, `_`, `-` and `.`. Another name makes another object.",
		PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
	}
	attributes["definition"] = schema.StringAttribute{
		Computed:            true,
		MarkdownDescription: "Canonical encoding as JSON, with defaults written out. Known at plan.",
	}
	attributes["digest"] = schema.StringAttribute{
		Computed:            true,
		MarkdownDescription: "`sha256:` and the SHA-256 of `definition`. Known at plan.",
	}
	resp.Schema = schema.Schema{MarkdownDescription: d.description, Attributes: attributes}
}

// IdentitySchema implements resource.ResourceWithIdentity.
func (d *draft) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identitySchema("name", "Name of the "+words(d.kind)+".")
}

// Configure implements resource.ResourceWithConfigure.
func (d *draft) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	d.session = sessionOf(req.ProviderData, &resp.Diagnostics)
}

// ValidateConfig implements resource.ResourceWithValidateConfig. Even required
// attributes may be unknown here.
func (d *draft) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var config types.Object
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	decoded, ok := d.decode(config, &resp.Diagnostics)
	if !ok {
		return
	}
	report(decoded.Object, checkObject(decoded), &resp.Diagnostics)
}

// ModifyPlan implements resource.ResourceWithModifyPlan: it computes the
// definition and its digest, and checks what was not known before.
func (d *draft) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	decoded, ok := d.decode(plan, &resp.Diagnostics)
	if !ok {
		return
	}
	report(decoded.Object, onlyErrors(checkObject(decoded)), &resp.Diagnostics)
	definition, digest := types.StringUnknown(), types.StringUnknown()
	if decoded.Known() {
		definition, digest = describe(decoded.Object, &resp.Diagnostics)
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("definition"), definition)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("digest"), digest)...)
}

// Create implements resource.Resource.
func (d *draft) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	object, ok := d.complete(plan, &resp.Diagnostics)
	if !ok {
		return
	}
	stored, err := d.session.client.CreateObject(ctx, object)
	if errors.Is(err, client.ErrExists) {
		stored, err = d.adopt(ctx, object, err, &resp.Diagnostics)
	}
	switch {
	case errors.Is(err, client.ErrExists):
		resp.Diagnostics.AddAttributeError(path.Root("name"), fmt.Sprintf("The %s %q exists already", words(d.kind), object.ObjectName()),
			fmt.Sprintf("Choose another name, or take it over with: terraform import postern_%s.<name> %s", d.kind, object.ObjectName()))
		return
	case err != nil:
		d.fail("create", object.ObjectName(), err, &resp.Diagnostics)
		return
	}
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, etagKey, quote(stored.ETag))...)
	setIdentity(ctx, resp.Identity, "name", object.ObjectName(), &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, d.state(ctx, plan, object, &resp.Diagnostics))...)
}

// adopt takes over an object that exists just as it is wanted, and returns
// exists for any other: an apply that was interrupted may have made it, and
// have had no time to remember.
func (d *draft) adopt(ctx context.Context, object policylang.Object, exists error, diags *diag.Diagnostics) (client.Object, error) {
	_, digest := describe(object, diags)
	stored, err := d.session.client.Object(ctx, d.kind, object.ObjectName())
	if err != nil || stored.Digest != digest.ValueString() {
		return client.Object{}, exists
	}
	diags.AddAttributeWarning(path.Root("name"), fmt.Sprintf("The %s %q existed already", words(d.kind), object.ObjectName()),
		"It is just as it is wanted here, as after an apply that was interrupted, and was taken over. If another state manages it, choose another name.")
	return stored, nil
}

// Read implements resource.Resource.
func (d *draft) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state types.Object
	var name types.String
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("name"), &name)...)
	if resp.Diagnostics.HasError() || !d.session.connected(&resp.Diagnostics) {
		return
	}
	setIdentity(ctx, resp.Identity, "name", name.ValueString(), &resp.Diagnostics) // what is gone has one too
	stored, err := d.session.client.Object(ctx, d.kind, name.ValueString())
	if errors.Is(err, client.ErrNotFound) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		d.fail("read", name.ValueString(), err, &resp.Diagnostics)
		return
	}
	object, err := stored.Parse()
	if err != nil {
		d.fail("read", name.ValueString(), fmt.Errorf("%w; a newer provider may have written it", err), &resp.Diagnostics)
		return
	}
	values, err := tfmodel.Read(object, modelOf(d.attributes), state.Attributes())
	if err != nil {
		d.fail("read", name.ValueString(), err, &resp.Diagnostics)
		return
	}
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, etagKey, quote(stored.ETag))...)
	resp.Diagnostics.Append(resp.State.Set(ctx, d.state(ctx, with(ctx, state, values, &resp.Diagnostics), object, &resp.Diagnostics))...)
}

// Update implements resource.Resource.
func (d *draft) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan types.Object
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	private, diags := req.Private.GetKey(ctx, etagKey)
	resp.Diagnostics.Append(diags...)
	object, ok := d.complete(plan, &resp.Diagnostics)
	if !ok {
		return
	}
	stored, err := d.session.client.UpdateObject(ctx, object, unquote(private))
	switch {
	case errors.Is(err, client.ErrChanged):
		resp.Diagnostics.AddError(fmt.Sprintf("The %s %q was changed by somebody else", words(d.kind), object.ObjectName()),
			"It changed since Terraform read it for this plan, and was left as it is. Plan again to see what changed.")
		return
	case errors.Is(err, client.ErrNotFound):
		resp.Diagnostics.AddError(fmt.Sprintf("The %s %q is gone", words(d.kind), object.ObjectName()),
			"It was removed since Terraform read it for this plan. Plan again to create it.")
		return
	case err != nil:
		d.fail("update", object.ObjectName(), err, &resp.Diagnostics)
		return
	}
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, etagKey, quote(stored.ETag))...)
	setIdentity(ctx, resp.Identity, "name", object.ObjectName(), &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, d.state(ctx, plan, object, &resp.Diagnostics))...)
}

// Delete implements resource.Resource. A live bundle has a copy of its own of
// what it was made of, so nothing stands in the way.
func (d *draft) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var name types.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("name"), &name)...)
	if resp.Diagnostics.HasError() || !d.session.connected(&resp.Diagnostics) {
		return
	}
	err := d.session.client.DeleteObject(ctx, d.kind, name.ValueString())
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		d.fail("delete", name.ValueString(), err, &resp.Diagnostics)
	}
}

// ImportState implements resource.ResourceWithImportState. The id is the name.
func (d *draft) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("name"), path.Root("name"), req, resp)
}

func (d *draft) decode(value types.Object, diags *diag.Diagnostics) (tfmodel.Decoded, bool) {
	if diags.HasError() {
		return tfmodel.Decoded{}, false
	}
	decoded, err := tfmodel.Decode(d.kind, value.Attributes(), computed()...)
	if err != nil {
		diags.AddError("The "+words(d.kind)+" cannot be read", err.Error()+". Please report this.")
		return tfmodel.Decoded{}, false
	}
	return decoded, true
}

// complete returns the object to be stored: known as a whole, without problems,
// and with a control plane to store it on.
func (d *draft) complete(plan types.Object, diags *diag.Diagnostics) (policylang.Object, bool) {
	decoded, ok := d.decode(plan, diags)
	if !ok || !d.session.connected(diags) {
		return nil, false
	}
	report(decoded.Object, onlyErrors(checkObject(decoded)), diags)
	return decoded.Object, !diags.HasError()
}

// state is the value with what is computed from the object.
func (d *draft) state(ctx context.Context, value types.Object, object policylang.Object, diags *diag.Diagnostics) types.Object {
	definition, digest := describe(object, diags)
	return with(ctx, value, map[string]attr.Value{"definition": definition, "digest": digest}, diags)
}

func (d *draft) fail(verb, name string, err error, diags *diag.Diagnostics) {
	diags.AddError(fmt.Sprintf("Cannot %s the %s %q", verb, words(d.kind), name), explain(err))
}

// describe returns the object's definition and its digest.
func describe(object policylang.Object, diags *diag.Diagnostics) (definition, digest types.String) {
	data, err := policylang.Definition(object)
	if err != nil {
		diags.AddError("The object cannot be encoded", err.Error()+".")
	}
	return types.StringValue(string(data)), types.StringValue(policylang.DigestBytes(data))
}

// with returns the object with some of its attributes replaced.
func with(ctx context.Context, value types.Object, replaced map[string]attr.Value, diags *diag.Diagnostics) types.Object {
	attributes := maps.Clone(value.Attributes())
	maps.Copy(attributes, replaced)
	out, d := types.ObjectValue(value.AttributeTypes(ctx), attributes)
	diags.Append(d...)
	return out
}

// modelOf tells tfmodel what it needs to know of a schema.
func modelOf(attributes map[string]schema.Attribute) map[string]tfmodel.Attribute {
	out := make(map[string]tfmodel.Attribute, len(attributes))
	for name, a := range attributes {
		out[name] = tfmodel.Attribute{Type: a.GetType(), Default: a.IsComputed()}
	}
	return out
}

// words is a kind as prose has it.
func words(kind policylang.Kind) string {
	switch kind {
	case policylang.KindGateway, policylang.KindIdentity:
	case policylang.KindQueryRule:
		return "query rule"
	case policylang.KindMaskingPolicy:
		return "masking policy"
	case policylang.KindApprovalGroup:
		return "approval group"
	}
	return string(kind)
}

// quote and unquote keep an ETag in private state, which holds JSON.
func quote(etag string) []byte {
	data, err := json.Marshal(etag)
	if err != nil {
		return []byte(`""`) // a string always has JSON
	}
	return data
}

func unquote(data []byte) string {
	var etag string
	if err := json.Unmarshal(data, &etag); err != nil {
		return ""
	}
	return etag
}

// explain makes a sentence of an error.
func explain(err error) string {
	text := []rune(err.Error())
	if len(text) == 0 {
		return ""
	}
	if text[0] >= 'a' && text[0] <= 'z' {
		text[0] -= 'a' - 'A'
	}
	if !slices.Contains([]rune(".!?)"), text[len(text)-1]) {
		text = append(text, '.')
	}
	return string(text)
}
