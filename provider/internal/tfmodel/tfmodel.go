// Package tfmodel turns Terraform values into objects of the policy language
// and back, and a problem's path into an attribute path.
//
// Terraform's attributes have the names of the objects' canonical encoding, so
// one conversion by name serves every kind and no kind has a second model to
// keep in step. Where the two differ in shape there is one rule: a list of
// objects with a "name" in the policy language is a map keyed by that name in
// Terraform (the issuers of a gateway). One name is reserved by Terraform and has
// another there: count is counting.
//
// # Null, default and empty
//
// The canonical encoding knows no null: an attribute that was left out is its
// default there. [Read] gives back null for an attribute that need not be
// written, and leaves alone what the prior state already says in other words,
// so that refreshing never shows a difference that has no meaning.
//
// # Unknown
//
// Unknown values are kept out of Go values altogether: [Decode] says which
// attributes hold one, and a caller that goes on must not draw conclusions
// from what is missing.
package tfmodel

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

// Decoded is what a Terraform object says.
type Decoded struct {
	// Object is built from the attributes that are known. It is complete only
	// if Unknown is empty.
	Object policylang.Object
	// Unknown names the top-level attributes that are unknown or hold
	// something unknown, sorted.
	Unknown []string
}

// Known reports whether nothing in the object is unknown.
func (d Decoded) Known() bool { return len(d.Unknown) == 0 }

// Decode reads an object of the kind from its attributes. Attributes that the
// kind does not have are those of the Terraform resource alone and are listed
// in except; any other is an error, as is a value of the wrong type: both mean
// that a schema and the policy language disagree.
func Decode(kind policylang.Kind, attributes map[string]attr.Value, except ...string) (Decoded, error) {
	var d Decoded
	members := make(map[string]any, len(attributes))
	for name, value := range attributes {
		if slices.Contains(except, name) || name == "name" {
			continue
		}
		member, known, err := decodeValue(value)
		if err != nil {
			return Decoded{}, fmt.Errorf("attribute %q: %w", name, err)
		}
		if !known {
			d.Unknown = append(d.Unknown, name)
		}
		if member != nil {
			members[memberName(name)] = member
		}
	}
	name, err := decodeName(attributes["name"], &d)
	if err != nil {
		return Decoded{}, err
	}
	slices.Sort(d.Unknown)
	d.Object, err = parse(kind, name, members)
	return d, err
}

// The one attribute that Terraform keeps for itself, and its name there.
const (
	reservedName  = "count"
	terraformName = "counting"
)

// memberName is the policy language's name of a Terraform attribute.
func memberName(attribute string) string {
	if attribute == terraformName {
		return reservedName
	}
	return attribute
}

// attributeName is the inverse of memberName.
func attributeName(member string) string {
	if member == reservedName {
		return terraformName
	}
	return member
}

func decodeName(value attr.Value, d *Decoded) (string, error) {
	if value == nil {
		return "", nil
	}
	name, ok := value.(types.String)
	if !ok {
		return "", fmt.Errorf("attribute \"name\" is a %T", value)
	}
	if name.IsUnknown() {
		d.Unknown = append(d.Unknown, "name")
	}
	return name.ValueString(), nil
}

// Plain returns a value as encoding/json decodes it, and whether all of it is
// known. Maps, which mean lists in a policy, are not for it.
func Plain(value attr.Value) (decoded any, known bool, err error) { return decodeValue(value) }

// decodeValue returns nil for null. A collection that holds something unknown
// is returned without it.
func decodeValue(value attr.Value) (decoded any, known bool, err error) {
	if value.IsUnknown() {
		return nil, false, nil
	}
	if value.IsNull() {
		return nil, true, nil
	}
	switch v := value.(type) {
	case types.String:
		return v.ValueString(), true, nil
	case types.Int64:
		return v.ValueInt64(), true, nil
	case types.Bool:
		return v.ValueBool(), true, nil
	case types.Set:
		return decodeElements(v.Elements())
	case types.List:
		return decodeElements(v.Elements())
	case types.Object:
		return decodeMembers(v.Attributes())
	case types.Map:
		return decodeKeyed(v.Elements())
	}
	return nil, false, fmt.Errorf("a %T has no place in a policy", value)
}

func decodeElements(elements []attr.Value) (any, bool, error) {
	out, known := make([]any, 0, len(elements)), true
	for _, element := range elements {
		v, k, err := decodeValue(element)
		if err != nil {
			return nil, false, err
		}
		known = known && k
		if v != nil {
			out = append(out, v)
		}
	}
	return out, known, nil
}

func decodeMembers(attributes map[string]attr.Value) (map[string]any, bool, error) {
	out, known := make(map[string]any, len(attributes)), true
	for name, value := range attributes {
		v, k, err := decodeValue(value)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		known = known && k
		if v != nil {
			out[name] = v
		}
	}
	return out, known, nil
}

// decodeKeyed turns a map keyed by name into a list of objects with a name.
func decodeKeyed(elements map[string]attr.Value) (any, bool, error) {
	out, known := make([]any, 0, len(elements)), true
	for _, name := range sortedKeys(elements) {
		element := elements[name]
		object, ok := element.(types.Object)
		if !ok {
			return nil, false, fmt.Errorf("%s: a map of %T has no place in a policy", name, element)
		}
		members, k, err := decodeMembers(object.Attributes())
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		known = known && k && !object.IsUnknown()
		members["name"] = name
		out = append(out, members)
	}
	return out, known, nil
}

// parse goes by way of JSON, which alone knows the objects' member names.
func parse(kind policylang.Kind, name string, members map[string]any) (policylang.Object, error) {
	data, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", kind, name, err)
	}
	return policylang.ParseDefinition(kind, name, data)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// result makes an error of diagnostics.
func result[T attr.Value](value T, diags diag.Diagnostics) (attr.Value, error) {
	for _, d := range diags.Errors() {
		return nil, fmt.Errorf("%s: %s", d.Summary(), d.Detail())
	}
	return value, nil
}
