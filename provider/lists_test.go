package provider_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// What Terraform 1.12 and 1.14 ask for is tested by the protocol alone.

func (p *protocol) identityType(typeName string) tftypes.Type {
	p.t.Helper()
	resp, err := p.server.GetResourceIdentitySchemas(p.t.Context(), &tfprotov6.GetResourceIdentitySchemasRequest{})
	must(p.t, err)
	return resp.IdentitySchemas[typeName].ValueType()
}

// identityOf returns the one string that an identity is.
func (p *protocol) identityOf(typeName string, data *tfprotov6.ResourceIdentityData) string {
	p.t.Helper()
	var members map[string]tftypes.Value
	must(p.t, p.decode(p.identityType(typeName), data.IdentityData).As(&members))
	var out string
	for _, v := range members {
		must(p.t, v.As(&out))
	}
	return out
}

// list returns the identities, the values and the errors.
func (p *protocol) list(typeName string, config attributes, limit int64, whole bool) (identities []string, values []tftypes.Value, failed string) {
	p.t.Helper()
	server, ok := p.server.(tfprotov6.ListResourceServer)
	if !ok {
		p.t.Fatal("the provider lists nothing")
	}
	ty := p.schema.ListResourceSchemas[typeName].ValueType()
	stream, err := server.ListResource(p.t.Context(), &tfprotov6.ListResourceRequest{
		TypeName: typeName, Config: p.encode(ty, p.object(ty, config)), Limit: limit, IncludeResource: whole,
	})
	must(p.t, err)
	for r := range stream.Results {
		failed += errorsOf(r.Diagnostics)
		if r.Identity != nil && r.Identity.IdentityData != nil && failed == "" {
			identities = append(identities, p.identityOf(typeName, r.Identity))
		}
		if r.Resource != nil && whole {
			values = append(values, p.decode(p.typeOf(typeName), r.Resource))
		}
	}
	return identities, values, failed
}

func TestListDrafts(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	for _, name := range []string{"payments.a", "payments.b"} {
		l.control.PutObject(&policylang.QueryRule{Name: name, When: "true", Effect: policylang.EffectDeny})
	}
	for _, tt := range []struct {
		config attributes
		limit  int64
		want   []string
	}{
		{attributes{}, 100, []string{"payments.a", "payments.b", "x"}},
		{attributes{}, 2, []string{"payments.a", "payments.b"}},
		{attributes{"name_prefix": "x"}, 100, []string{"x"}},
		{attributes{"name_prefix": "y"}, 100, nil},
	} {
		got, values, failed := p.list("postern_query_rule", tt.config, tt.limit, true)
		if failed != "" || !slices.Equal(got, tt.want) || len(values) != len(tt.want) {
			t.Errorf("list %v gives %v and %d values (%s)", tt.config, got, len(values), failed)
		}
		// What is listed whole is what a refresh of it shows.
		if i := slices.Index(got, "x"); i >= 0 && !values[i].Equal(state.value) {
			t.Errorf("listed\n%s\nstate\n%s", values[i], state.value)
		}
	}
	if got, _, failed := p.list("postern_gateway", attributes{}, 100, false); failed != "" || got != nil {
		t.Errorf("gateways are %v (%s)", got, failed)
	}
}

func TestListBundlesAndReleases(t *testing.T) {
	l := newLab(t)
	digest := l.control.Publish("orders", simplePolicy("orders", "read"), l.other, "")
	l.control.SetProcesses("idle", fakecontrol.Process{Name: "p1"})
	p := l.protocol(t)
	for typeName, want := range map[string]string{"postern_bundle": digest, "postern_release": "orders"} {
		if got, _, failed := p.list(typeName, attributes{}, 100, false); failed != "" || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v (%s)", typeName, got, failed)
		}
	}
	stranger := l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": "pst_wrong"})
	for _, typeName := range []string{"postern_query_rule", "postern_bundle", "postern_release"} {
		if _, _, failed := stranger.list(typeName, attributes{}, 100, false); !strings.Contains(failed, "401") {
			t.Errorf("%s: %q", typeName, failed)
		}
	}
}

// A resource can be imported by its identity.
func TestImportByIdentity(t *testing.T) {
	l := newLab(t)
	l.control.PutObject(&policylang.QueryRule{Name: "x", When: "true", Effect: policylang.EffectDeny})
	digest := l.control.Publish("orders", simplePolicy("orders", "read"), l.other, "")
	p := l.protocol(t)
	for typeName, id := range map[string][2]string{
		"postern_query_rule": {"name", "x"}, "postern_bundle": {"digest", digest}, "postern_release": {"gateway", "orders"},
	} {
		ty := p.identityType(typeName)
		resp, err := p.server.ImportResourceState(t.Context(), &tfprotov6.ImportResourceStateRequest{
			TypeName: typeName,
			Identity: &tfprotov6.ResourceIdentityData{IdentityData: p.encode(ty, p.object(ty, map[string]any{id[0]: id[1]}))},
		})
		must(t, err)
		if failed := errorsOf(resp.Diagnostics); failed != "" || len(resp.ImportedResources) != 1 {
			t.Fatalf("%s: %s", typeName, failed)
		}
		imported := resp.ImportedResources[0]
		state := p.mustRefresh(typeName, &resourceState{value: p.decode(p.typeOf(typeName), imported.State), private: imported.Private})
		if got := text(t, state.value, id[0]); got != id[1] {
			t.Errorf("%s: imported %s", typeName, got)
		}
	}
}

// invoke runs the rollback action and returns its progress and errors.
func (p *protocol) invoke(config attributes) (progress, failed string) {
	p.t.Helper()
	server, ok := p.server.(tfprotov6.ActionServer)
	if !ok {
		p.t.Fatal("the provider has no actions")
	}
	ty := p.schema.ActionSchemas["postern_rollback"].Schema.ValueType()
	stream, err := server.InvokeAction(p.t.Context(), &tfprotov6.InvokeActionRequest{ActionType: "postern_rollback", Config: p.encode(ty, p.object(ty, config))})
	must(p.t, err)
	for event := range stream.Events {
		switch e := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			progress += e.Message
		case tfprotov6.CompletedInvokeActionEventType:
			failed += errorsOf(e.Diagnostics)
		}
	}
	return progress, failed
}

func TestRollbackAction(t *testing.T) {
	p := newPublisher(t)
	config := attributes{"gateway": "orders", "note": "at night"}
	_, failed := p.invoke(config)
	wantError(t, failed, `Gateway "orders" has nothing to go back to`)
	first, second := p.upload("statement.read_only"), ""
	p.mustPublish(first, nil)
	second = p.upload("true")
	p.mustPublish(second, nil)

	progress, failed := p.invoke(config)
	if failed != "" || !strings.Contains(progress, "Released revision 3") {
		t.Fatalf("%s%s", progress, failed)
	}
	if live := p.l.control.Live("orders"); live.Bundle != first || live.Note != "at night" {
		t.Errorf("live is %+v", live)
	}
	_, failed = p.invoke(attributes{"gateway": "orders", "note": "n", "bundle": first})
	wantError(t, failed, "The bundle is live already")
	if _, failed = p.invoke(attributes{"gateway": "orders", "note": "n", "bundle": second}); failed != "" {
		t.Error(failed)
	}
	p.l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1", Error: "too old"})
	_, failed = p.invoke(config)
	wantError(t, failed, "does not enforce revision 5 yet", "too old")
	// The next plan of the release says what was done.
	wantError(t, p.publish(second, nil), "Somebody else released another bundle")
}
