package reference_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/reference"
)

// TestAttributes compares the documented attributes with the fields of the
// model: neither may have one that the other has not.
func TestAttributes(t *testing.T) {
	for kind, object := range map[policylang.Kind]any{
		policylang.KindGateway:       policylang.Gateway{},
		policylang.KindIdentity:      policylang.Identity{},
		policylang.KindQueryRule:     policylang.QueryRule{},
		policylang.KindMaskingPolicy: policylang.MaskingPolicy{},
		policylang.KindApprovalGroup: policylang.ApprovalGroup{},
		"test":                       policylang.Test{},
	} {
		var documented []string
		for _, a := range reference.Attributes(kind) {
			documented = append(documented, a.Name)
			if !strings.HasSuffix(a.Doc, ".") {
				t.Errorf("%s.%s: %q is no sentence", kind, a.Name, a.Doc)
			}
			if a.Default != "" && a.Required {
				t.Errorf("%s.%s is required and has a default", kind, a.Name)
			}
			if v := strings.Trim(a.Default, `"`); len(a.Values) > 0 && v != "" && !slices.Contains(a.Values, v) {
				t.Errorf("%s.%s: the default %s is not among the values", kind, a.Name, a.Default)
			}
		}
		want := modelNames(reflect.TypeOf(object), "")
		slices.Sort(documented)
		slices.Sort(want)
		if diff := cmp.Diff(want, documented); diff != "" {
			t.Errorf("%s: (-model +documented)\n%s", kind, diff)
		}
	}
	if got := reference.Attributes("user"); got != nil {
		t.Errorf("attributes of an unknown kind: %v", got)
	}
}

func modelNames(typ reflect.Type, prefix string) []string {
	var names []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		switch {
		case name == "-" || f.Name == "Name":
		case inner.Kind() == reflect.Struct:
			names = append(names, modelNames(inner, prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// TestAttributeValues takes every documented value of every enumeration and
// wants no problem about it, and one about another value.
func TestAttributeValues(t *testing.T) {
	for _, a := range reference.Attributes(policylang.KindMaskingPolicy) {
		for _, v := range append(slices.Clone(a.Values), "nonsense") {
			m := policylang.MaskingPolicy{Name: "m", Columns: []string{"a.b.c"}, Transform: policylang.TransformPartial}
			if a.Name == "unit" {
				m.Transform = policylang.TransformTruncate
			}
			field := reflect.ValueOf(&m).Elem().FieldByNameFunc(func(name string) bool {
				f, _ := reflect.TypeFor[policylang.MaskingPolicy]().FieldByName(name)
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				return tag == a.Name
			})
			if len(a.Values) == 0 {
				continue
			}
			if field.Kind() == reflect.Slice {
				field.Set(reflect.ValueOf([]string{v}))
			} else {
				field.SetString(v)
			}
			p := policylang.Policy{MaskingPolicies: []policylang.MaskingPolicy{m}}
			if got := policylang.HasErrors(p.Validate()); got != (v == "nonsense") {
				t.Errorf("%s = %q: problems %v", a.Name, v, p.Validate())
			}
		}
	}
}
