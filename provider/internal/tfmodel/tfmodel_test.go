package tfmodel_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

func str(s string) attr.Value { return types.StringValue(s) }

func set(values ...attr.Value) attr.Value { return types.SetValueMust(types.StringType, values) }

func TestDecode(t *testing.T) {
	issuer := types.ObjectType{AttrTypes: map[string]attr.Type{"url": types.StringType, "audience": types.StringType}}
	upstream := map[string]attr.Type{"host": types.StringType, "port": types.Int64Type}
	tests := []struct {
		name    string
		kind    policylang.Kind
		in      map[string]attr.Value
		want    policylang.Object
		unknown []string
	}{
		{
			"null is left out", policylang.KindIdentity,
			map[string]attr.Value{"name": str("ana"), "kind": str("human"), "database_role": types.StringNull()},
			&policylang.Identity{Name: "ana", Kind: "human", Groups: []string{}}, nil,
		},
		{
			"unknown is named, at any depth", policylang.KindGateway,
			map[string]attr.Value{
				"name": types.StringUnknown(), "unparsed": types.StringUnknown(),
				"upstream": types.ObjectValueMust(upstream, map[string]attr.Value{"host": types.StringUnknown(), "port": types.Int64Value(5433)}),
				"issuer":   types.MapValueMust(issuer, map[string]attr.Value{"corp": types.ObjectUnknown(issuer.AttrTypes)}),
			},
			&policylang.Gateway{
				DefaultEffect: "deny", Unparsed: "deny",
				Upstream: policylang.Upstream{Port: 5433, TLS: "verify-full", CatalogRole: "postern"},
				Issuers:  []policylang.Issuer{{Name: "corp"}},
			},
			[]string{"issuer", "name", "unparsed", "upstream"},
		},
		{
			"an unknown element of a set", policylang.KindApprovalGroup,
			map[string]attr.Value{"name": str("dba"), "members": set(str("b"), types.StringUnknown(), str("a"))},
			&policylang.ApprovalGroup{Name: "dba", Members: []string{"a", "b"}, Required: 1, ExpiresIn: "15m"},
			[]string{"members"},
		},
		{
			"a map keyed by name", policylang.KindGateway,
			map[string]attr.Value{
				"name": str("orders"),
				"issuer": types.MapValueMust(issuer, map[string]attr.Value{
					"b": types.ObjectValueMust(issuer.AttrTypes, map[string]attr.Value{"url": str("https://b"), "audience": str("x")}),
					"a": types.ObjectValueMust(issuer.AttrTypes, map[string]attr.Value{"url": str("https://a"), "audience": str("x")}),
				}),
			},
			&policylang.Gateway{
				Name: "orders", DefaultEffect: "deny", Unparsed: "deny",
				Upstream: policylang.Upstream{Port: 5432, TLS: "verify-full", CatalogRole: "postern"},
				Issuers:  []policylang.Issuer{{Name: "a", URL: "https://a", Audience: "x"}, {Name: "b", URL: "https://b", Audience: "x"}},
			},
			nil,
		},
		{
			"the name that Terraform reserves", policylang.KindMaskingPolicy,
			map[string]attr.Value{"name": str("m"), "counting": str("allow"), "transform": str("hash"), "digest": types.StringUnknown()},
			&policylang.MaskingPolicy{
				Name: "m", Columns: []string{}, Transform: "hash", Mode: "enforce", Predicates: "deny", Order: "deny", Group: "deny", Count: "allow",
			},
			nil,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := tfmodel.Decode(test.kind, test.in, "digest")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Object); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.unknown, got.Unknown); diff != "" || got.Known() != (len(test.unknown) == 0) {
				t.Errorf("unknown (-want +got):\n%s", diff)
			}
		})
	}
}

// A schema that disagrees with the policy language is found out.
func TestDecodeDisagreement(t *testing.T) {
	for name, in := range map[string]map[string]attr.Value{
		"an attribute that there is not": {"nonsense": str("x")},
		"a value of another type":        {"groups": str("x")},
		"a type without a place":         {"kind": types.Float64Value(1)},
	} {
		if d, err := tfmodel.Decode(policylang.KindIdentity, in); err == nil {
			t.Errorf("%s: decoded to %+v", name, d.Object)
		}
	}
}

func maskingSchema() map[string]tfmodel.Attribute {
	return map[string]tfmodel.Attribute{
		"columns":    {Type: types.SetType{ElemType: types.StringType}},
		"transform":  {Type: types.StringType},
		"unless":     {Type: types.StringType},
		"mode":       {Type: types.StringType, Default: true},
		"keep_first": {Type: types.Int64Type},
		"keep_last":  {Type: types.Int64Type},
		"format":     {Type: types.StringType},
		"counting":   {Type: types.StringType, Default: true},
		"digest":     {Type: types.StringType},
	}
}

func TestRead(t *testing.T) {
	object := &policylang.MaskingPolicy{Name: "m", Columns: []string{"b", "a"}, Transform: policylang.TransformPartial, KeepLast: 4}
	fresh := map[string]attr.Value{
		"columns": set(str("a"), str("b")), "transform": str("partial"), "unless": types.StringNull(), "mode": str("enforce"),
		"keep_first": types.Int64Null(), "keep_last": types.Int64Value(4), "format": types.StringNull(), "counting": str("deny"),
	}
	with := func(over map[string]attr.Value) map[string]attr.Value {
		out := map[string]attr.Value{}
		for k, v := range fresh {
			out[k] = v
		}
		for k, v := range over {
			out[k] = v
		}
		return out
	}
	tests := []struct {
		name        string
		prior, want map[string]attr.Value
	}{
		{"on import, what is at its default is null or written out as the schema has it", nil, fresh},
		{"what means the same stays", with(map[string]attr.Value{"unless": str(""), "keep_first": types.Int64Value(0), "format": str("text")}), with(map[string]attr.Value{"unless": str(""), "keep_first": types.Int64Value(0), "format": str("text")})},
		{"what differs is replaced", with(map[string]attr.Value{"unless": str("true"), "keep_last": types.Int64Value(2), "mode": str("observe"), "counting": str("allow")}), fresh},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := tfmodel.Read(object, maskingSchema(), test.prior)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
		})
	}
}

// What is read decodes to the same object, whatever it is.
func TestReadDecode(t *testing.T) {
	issuer := types.ObjectType{AttrTypes: map[string]attr.Type{"url": types.StringType, "audience": types.StringType}}
	schema := map[string]tfmodel.Attribute{
		"default_effect": {Type: types.StringType, Default: true},
		"unparsed":       {Type: types.StringType},
		"upstream": {Type: types.ObjectType{AttrTypes: map[string]attr.Type{
			"host": types.StringType, "port": types.Int64Type, "tls": types.StringType, "ca": types.StringType,
			"credentials": types.StringType, "catalog_role": types.StringType,
			"login": types.StringType, "session_table": types.BoolType,
			"fallback_hosts": types.ListType{ElemType: types.StringType}, "target_session_attrs": types.StringType,
		}}},
		"issuer": {Type: types.MapType{ElemType: issuer}},
	}
	for _, g := range []policylang.Gateway{
		{Name: "g"},
		{Name: "g", Upstream: policylang.Upstream{Host: "h", Port: 5432, TLS: "verify-full"}},
		{Name: "g", Upstream: policylang.Upstream{Host: "h", FallbackHosts: []string{"z", "a:1"}, TargetSessionAttrs: policylang.AttrsStandby}},
		{Name: "g", DefaultEffect: "allow", Unparsed: "allow", Upstream: policylang.Upstream{Host: "h", Port: 1, TLS: "require", CA: "/c", Credentials: "env:X", CatalogRole: "r"}},
		{Name: "g", Upstream: policylang.Upstream{Host: "h", Login: policylang.LoginCertificate, SessionTable: true}},
		{Name: "g", Upstream: policylang.Upstream{Host: "h", Login: policylang.LoginPassword}},
		{Name: "g", Upstream: policylang.Upstream{Host: "h", Login: policylang.LoginCertificate, Credentials: "env:X"}},
		{Name: "g", Issuers: []policylang.Issuer{{Name: "corp.eu", URL: "https://x", Audience: "a"}, {Name: "b"}}},
	} {
		values, err := tfmodel.Read(&g, schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		values["name"] = str("g")
		d, err := tfmodel.Decode(policylang.KindGateway, values)
		if err != nil {
			t.Fatal(err)
		}
		want, err := policylang.Definition(&g)
		if err != nil {
			t.Fatal(err)
		}
		got, err := policylang.Definition(d.Object)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestTop(t *testing.T) {
	for attribute, want := range map[string]string{
		"": "name", "when": "when", "upstream.host": "upstream", "issuer.corp.eu.url": "issuer", "columns[1]": "columns", "count": "counting",
	} {
		if got := tfmodel.Top(attribute); got != want {
			t.Errorf("%q is at %s, want %s", attribute, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	tests := []struct {
		name            string
		problem         policylang.Problem
		expression      string
		summary, detail string
	}{
		{
			"in an expression",
			policylang.Problem{Summary: "undefined field \"grups\"", Suggestion: "groups", Path: policylang.Path{Attr: "when", Offset: 19, Length: 5}},
			"'dba' in identity. grups",
			"Undefined field \"grups\"",
			"    'dba' in identity. grups\n                       ^^^^^\n\nDid you mean \"groups\"?",
		},
		{
			"on a later line, with tabs and wide characters",
			policylang.Problem{Summary: "x", Path: policylang.Path{Attr: "when", Offset: len("true &&\n\t'é' == "), Length: 1}},
			"true &&\n\t'é' == y\n&& true",
			"X",
			"      'é' == y\n             ^",
		},
		{
			"at the end",
			policylang.Problem{Summary: "x", Path: policylang.Path{Attr: "when", Offset: 99, Length: 99}},
			"true &&",
			"X",
			"    true &&\n           ^",
		},
		{
			"of an attribute, which keeps its name",
			policylang.Problem{Summary: "when is missing", Advice: "Write it.", Path: policylang.Path{Attr: "when"}},
			"",
			"when is missing", "Write it.",
		},
		{
			"of a nested attribute, which is named",
			policylang.Problem{Summary: "url must be https", Advice: "Write it.", Path: policylang.Path{Attr: "issuer.corp.url"}},
			"",
			"issuer.corp.url: url must be https", "Write it.",
		},
		{
			"about a variable of the language",
			policylang.Problem{Summary: "statement has no field \"x\"", Advice: "Write it.", Path: policylang.Path{Attr: "when"}},
			"",
			"statement has no field \"x\"", "Write it.",
		},
		{
			"without advice",
			policylang.Problem{Summary: "it is wrong", Path: policylang.Path{Kind: "gateway", Name: "g"}},
			"",
			"It is wrong", "In gateway.g.",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			summary, detail := tfmodel.Message(test.problem, test.expression)
			if summary != test.summary {
				t.Errorf("summary is %q", summary)
			}
			if diff := cmp.Diff(test.detail, detail); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
		})
	}
}
