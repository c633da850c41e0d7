package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// part is one of the bundle's maps of objects.
type part struct {
	attribute  string
	kind       policylang.Kind
	attributes map[string]schema.Attribute
}

func parts() []part {
	return []part{
		{"approval_groups", policylang.KindApprovalGroup, approvalGroupAttributes()},
		{"gateways", policylang.KindGateway, gatewayAttributes()},
		{"identities", policylang.KindIdentity, identityAttributes()},
		{"masking_policies", policylang.KindMaskingPolicy, maskingPolicyAttributes()},
		{"query_rules", policylang.KindQueryRule, queryRuleAttributes()},
	}
}

func partOf(kind policylang.Kind) part {
	all := parts()
	return all[slices.IndexFunc(all, func(p part) bool { return p.kind == kind })]
}

func (p part) schema() schema.Attribute {
	inputs := asInputs(p.attributes)
	inputs["name"] = schema.StringAttribute{
		Optional:            true,
		MarkdownDescription: "Name, which must be the key; it may be left out.",
	}
	return schema.MapNestedAttribute{
		Optional: true,
		MarkdownDescription: fmt.Sprintf("Objects of kind `%s`, keyed by name: `postern_%s` resources as a whole, or objects with the same attributes.",
			p.kind, p.kind),
		NestedObject: schema.NestedAttributeObject{Attributes: inputs},
	}
}

// asInputs makes attributes of a resource into those of a nested object. They
// have no default of their own, since a provider must not rewrite what stands
// in a collection: the policy language knows the defaults. None is required:
// the framework takes what is within an unknown object for missing, and compile
// finds what really is.
func asInputs(attributes map[string]schema.Attribute) map[string]schema.Attribute {
	out := make(map[string]schema.Attribute, len(attributes)+1)
	for name, a := range attributes {
		out[name] = asInput(a)
	}
	return out
}

func asInput(a schema.Attribute) schema.Attribute {
	switch a := a.(type) {
	case schema.StringAttribute:
		a.Required, a.Optional, a.Computed, a.Default = false, true, false, nil
		return a
	case schema.Int64Attribute:
		a.Required, a.Optional, a.Computed, a.Default = false, true, false, nil
		return a
	case schema.SetAttribute:
		a.Required, a.Optional = false, true
		return a
	case schema.SingleNestedAttribute:
		a.Required, a.Optional, a.Attributes = false, true, asInputs(a.Attributes)
		return a
	case schema.MapNestedAttribute:
		a.NestedObject.Attributes = asInputs(a.NestedObject.Attributes)
		return a
	}
	return a
}

// inputs are the objects that a bundle is made of.
type inputs struct {
	policy policylang.Policy
	known  bool // nothing is unknown: policy is complete
}

// gather reads the bundle's maps. What is known of an incomplete bundle is
// checked object by object here; a complete one is compiled, which checks more.
func (r *bundleResource) gather(ctx context.Context, attributes map[string]attr.Value, diags *diag.Diagnostics) inputs {
	in := inputs{known: true}
	var objects []tfmodel.Decoded
	for _, p := range parts() {
		collection, ok := attributes[p.attribute].(types.Map)
		if !ok || collection.IsUnknown() {
			in.known = false
			continue
		}
		elements := collection.Elements()
		for _, key := range slices.Sorted(maps.Keys(elements)) {
			d, ok := p.decode(key, elements[key], diags)
			if !ok {
				in.known = false
				continue
			}
			in.known = in.known && d.Known()
			in.policy.Add(d.Object)
			objects = append(objects, d)
		}
	}
	r.include(ctx, attributes["includes"], &in, diags)
	in.policy = in.policy.Sorted()
	if !in.known {
		for _, d := range objects {
			reportInBundle(d.Object, onlyErrors(checkObject(d)), diags)
		}
	}
	return in
}

// decode reads one element. It fails if nothing at all is known of it.
func (p part) decode(key string, element attr.Value, diags *diag.Diagnostics) (tfmodel.Decoded, bool) {
	at := path.Root(p.attribute)
	object, ok := element.(types.Object)
	if !ok || object.IsUnknown() {
		return tfmodel.Decoded{}, false
	}
	values := maps.Clone(object.Attributes())
	if name, ok := values["name"].(types.String); ok && !name.IsNull() && !name.IsUnknown() && name.ValueString() != key {
		diags.AddAttributeError(at, "The key differs from the name",
			fmt.Sprintf("The %s %q stands under the key %q. Key it by its name, or leave the name out.", words(p.kind), name.ValueString(), key))
		return tfmodel.Decoded{}, false
	}
	values["name"] = types.StringValue(key)
	d, err := tfmodel.Decode(p.kind, values)
	if err != nil {
		diags.AddAttributeError(at, "The "+words(p.kind)+" cannot be read", explain(err)+" Please report this.")
		return tfmodel.Decoded{}, false
	}
	return d, true
}

// imported is the state of a bundle of which only the digest was known.
func imported(p policylang.Policy, diags *diag.Diagnostics) map[string]attr.Value {
	out := map[string]attr.Value{"manifest": manifest(&p, diags)}
	elements := map[policylang.Kind]map[string]attr.Value{}
	for _, o := range p.Objects() {
		of := partOf(o.ObjectKind())
		values, err := tfmodel.Read(o, modelOf(of.attributes), nil)
		if err != nil {
			diags.AddError("The bundle cannot be imported", explain(err))
			return nil
		}
		values["name"] = types.StringValue(o.ObjectName())
		element, d := types.ObjectValue(of.elementType().AttrTypes, values)
		diags.Append(d...)
		if elements[of.kind] == nil {
			elements[of.kind] = map[string]attr.Value{}
		}
		elements[of.kind][o.ObjectName()] = element
	}
	for _, of := range parts() {
		value := types.MapNull(of.elementType())
		if objects := elements[of.kind]; objects != nil {
			var d diag.Diagnostics
			value, d = types.MapValue(of.elementType(), objects)
			diags.Append(d...)
		}
		out[of.attribute] = value
	}
	return out
}

func (p part) elementType() types.ObjectType {
	out := map[string]attr.Type{"name": types.StringType}
	for name, a := range p.attributes {
		out[name] = a.GetType()
	}
	return types.ObjectType{AttrTypes: out}
}
