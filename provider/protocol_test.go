package provider_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/posternhq/postern/provider"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// protocol drives the provider as Terraform does, without a Terraform: plan
// and apply take milliseconds, and unknown values are easily had.
type protocol struct {
	t      *testing.T
	server tfprotov6.ProviderServer
	schema *tfprotov6.GetProviderSchemaResponse
}

// resourceState is a resource as Terraform keeps it.
type resourceState struct {
	value   tftypes.Value
	private []byte
}

// attributes are values by attribute: nil, bool, int, string, []string (a set
// or list), map[string]any (an object or map), or unknown.
type attributes map[string]any

// unknown stands for a value that is not known yet.
type unknown struct{}

func (l *lab) protocol(t *testing.T) *protocol {
	t.Helper()
	return l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": fakecontrol.Token, "signing_key": l.key.Secret()})
}

// protocolWith configures the provider by the attributes alone.
func (l *lab) protocolWith(t *testing.T, config attributes) *protocol {
	t.Helper()
	p, diags := startProtocol(t, config)
	if text := errorsOf(diags); text != "" {
		t.Fatalf("configure: %s", text)
	}
	return p
}

func startProtocol(t *testing.T, config attributes) (*protocol, []*tfprotov6.Diagnostic) {
	t.Helper()
	for _, name := range []string{"POSTERN_ENDPOINT", "POSTERN_TOKEN", "POSTERN_CA_FILE", "POSTERN_SIGNING_KEY"} {
		if _, set := config["env:"+name]; !set {
			t.Setenv(name, "")
		}
	}
	p := &protocol{t: t, server: providerserver.NewProtocol6(provider.NewImpatient("0.1.0", 5*time.Millisecond, 50*time.Millisecond)())()}
	schema, err := p.server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p.schema = schema
	if text := errorsOf(schema.Diagnostics); text != "" {
		t.Fatalf("schema: %s", text)
	}
	ty := schema.Provider.ValueType()
	for name, v := range config {
		if env, ok := strings.CutPrefix(name, "env:"); ok {
			text, _ := v.(string)
			t.Setenv(env, text)
		}
	}
	resp, err := p.server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: p.encode(ty, p.object(ty, config))})
	if err != nil {
		t.Fatal(err)
	}
	return p, resp.Diagnostics
}

// planned is the outcome of a plan.
type planned struct {
	value           tftypes.Value
	private         []byte
	requiresReplace bool
	errors          string
	warnings        string
}

// validate returns the errors and the paths they are on.
func (p *protocol) validate(typeName string, config attributes) string {
	p.t.Helper()
	ty := p.typeOf(typeName)
	resp, err := p.server.ValidateResourceConfig(p.t.Context(), &tfprotov6.ValidateResourceConfigRequest{
		TypeName: typeName, Config: p.encode(ty, p.object(ty, config)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return errorsOf(resp.Diagnostics)
}

// plan plans a change from prior, which may be nil, to config, which may be nil
// to destroy.
func (p *protocol) plan(typeName string, prior *resourceState, config attributes) planned {
	p.t.Helper()
	ty := p.typeOf(typeName)
	before, private := tftypes.NewValue(ty, nil), []byte(nil)
	if prior != nil {
		before, private = prior.value, prior.private
	}
	desired, proposed := tftypes.NewValue(ty, nil), tftypes.NewValue(ty, nil)
	if config != nil {
		desired = p.object(ty, config)
		proposed = p.propose(typeName, before, desired)
	}
	resp, err := p.server.PlanResourceChange(p.t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: typeName, PriorState: p.encode(ty, before), ProposedNewState: p.encode(ty, proposed),
		Config: p.encode(ty, desired), PriorPrivate: private,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	out := planned{
		private: resp.PlannedPrivate, requiresReplace: len(resp.RequiresReplace) > 0,
		errors: errorsOf(resp.Diagnostics), warnings: warningsOf(resp.Diagnostics),
	}
	if resp.PlannedState != nil {
		out.value = p.decode(ty, resp.PlannedState)
	}
	return out
}

// propose merges as Terraform does: what is not configured and computed keeps
// its prior value.
func (p *protocol) propose(typeName string, before, desired tftypes.Value) tftypes.Value {
	p.t.Helper()
	var old, now map[string]tftypes.Value
	must(p.t, desired.As(&now))
	if !before.IsNull() {
		must(p.t, before.As(&old))
	}
	merged := maps.Clone(now)
	for _, a := range p.schema.ResourceSchemas[typeName].Block.Attributes {
		if v, ok := old[a.Name]; ok && a.Computed && now[a.Name].IsNull() {
			merged[a.Name] = v
		}
	}
	return tftypes.NewValue(p.typeOf(typeName), merged)
}

// apply plans and applies. Like Terraform, it insists that the new state
// agrees with what was known in the plan.
func (p *protocol) apply(typeName string, prior *resourceState, config attributes) (*resourceState, string) {
	p.t.Helper()
	plan := p.plan(typeName, prior, config)
	if plan.errors != "" {
		return prior, plan.errors
	}
	return p.applyPlan(typeName, prior, config, plan)
}

func (p *protocol) applyPlan(typeName string, prior *resourceState, config attributes, plan planned) (*resourceState, string) {
	p.t.Helper()
	ty := p.typeOf(typeName)
	before := tftypes.NewValue(ty, nil)
	if prior != nil {
		before = prior.value
	}
	desired := tftypes.NewValue(ty, nil)
	if config != nil {
		desired = p.object(ty, config)
	}
	resp, err := p.server.ApplyResourceChange(p.t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: typeName, PriorState: p.encode(ty, before), PlannedState: p.encode(ty, plan.value),
		Config: p.encode(ty, desired), PlannedPrivate: plan.private,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	state := p.decode(ty, resp.NewState)
	failed := errorsOf(resp.Diagnostics)
	if failed == "" {
		p.consistent(plan.value, state)
	}
	if state.IsNull() {
		return nil, failed
	}
	return &resourceState{value: state, private: resp.Private}, failed
}

// consistent fails the test if state differs from a known value of the plan.
func (p *protocol) consistent(plan, state tftypes.Value) {
	p.t.Helper()
	if plan.IsNull() {
		return
	}
	diffs, err := plan.Diff(state)
	must(p.t, err)
	for _, d := range diffs {
		if d.Value1 != nil && d.Value1.IsFullyKnown() {
			p.t.Errorf("provider produced inconsistent result after apply: %s", d)
		}
	}
}

// refresh reads the resource. It returns nil if the resource is gone.
func (p *protocol) refresh(typeName string, s *resourceState) (*resourceState, string) {
	p.t.Helper()
	ty := p.typeOf(typeName)
	resp, err := p.server.ReadResource(p.t.Context(), &tfprotov6.ReadResourceRequest{
		TypeName: typeName, CurrentState: p.encode(ty, s.value), Private: s.private,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	state := p.decode(ty, resp.NewState)
	if state.IsNull() {
		return nil, errorsOf(resp.Diagnostics)
	}
	return &resourceState{value: state, private: resp.Private}, errorsOf(resp.Diagnostics)
}

// mustApply applies what must succeed.
func (p *protocol) mustApply(typeName string, prior *resourceState, config attributes) *resourceState {
	p.t.Helper()
	s, failed := p.apply(typeName, prior, config)
	if failed != "" {
		p.t.Fatalf("apply %s: %s", typeName, failed)
	}
	return s
}

// mustRefresh reads what must be there.
func (p *protocol) mustRefresh(typeName string, s *resourceState) *resourceState {
	p.t.Helper()
	s, failed := p.refresh(typeName, s)
	if failed != "" || s == nil {
		p.t.Fatalf("refresh %s: gone, or %s", typeName, failed)
	}
	return s
}

func (p *protocol) typeOf(typeName string) tftypes.Type {
	p.t.Helper()
	s, ok := p.schema.ResourceSchemas[typeName]
	if !ok {
		p.t.Fatalf("no resource %s", typeName)
	}
	return s.ValueType()
}

func (p *protocol) encode(ty tftypes.Type, v tftypes.Value) *tfprotov6.DynamicValue {
	p.t.Helper()
	out, err := tfprotov6.NewDynamicValue(ty, v)
	must(p.t, err)
	return &out
}

func (p *protocol) decode(ty tftypes.Type, v *tfprotov6.DynamicValue) tftypes.Value {
	p.t.Helper()
	out, err := v.Unmarshal(ty)
	must(p.t, err)
	return out
}

// object makes a value of the type; attributes that are not given are null.
func (p *protocol) object(ty tftypes.Type, v any) tftypes.Value {
	p.t.Helper()
	switch v := v.(type) {
	case nil:
		return tftypes.NewValue(ty, nil)
	case unknown:
		return tftypes.NewValue(ty, tftypes.UnknownValue)
	case tftypes.Value:
		return convertValue(p.t, ty, v)
	case attributes:
		return p.object(ty, map[string]any(v))
	case map[string]any:
		return p.mapping(ty, v)
	case []string:
		return p.sequence(ty, v)
	case stages:
		return p.lists(ty, v)
	}
	return tftypes.NewValue(ty, v)
}

func (p *protocol) mapping(ty tftypes.Type, v map[string]any) tftypes.Value {
	p.t.Helper()
	out := map[string]tftypes.Value{}
	switch ty := ty.(type) {
	case tftypes.Object:
		for name, t := range ty.AttributeTypes {
			out[name] = p.object(t, v[name])
		}
	case tftypes.Map:
		for name, element := range v {
			out[name] = p.object(ty.ElementType, element)
		}
	default:
		p.t.Fatalf("a map cannot be a %s", ty)
	}
	return tftypes.NewValue(ty, out)
}

// stages is a list of sets.
type stages [][]string

func (p *protocol) lists(ty tftypes.Type, v stages) tftypes.Value {
	p.t.Helper()
	list, ok := ty.(tftypes.List)
	if !ok {
		p.t.Fatalf("stages cannot be a %s", ty)
	}
	out := make([]tftypes.Value, len(v))
	for i, stage := range v {
		out[i] = p.sequence(list.ElementType, stage)
	}
	return tftypes.NewValue(ty, out)
}

func (p *protocol) sequence(ty tftypes.Type, v []string) tftypes.Value {
	p.t.Helper()
	out := make([]tftypes.Value, len(v))
	for i, s := range v {
		out[i] = tftypes.NewValue(tftypes.String, s)
	}
	return tftypes.NewValue(ty, out)
}

// convertValue converts an object to a type with fewer attributes, as Terraform
// does where a resource is given as a whole.
func convertValue(t *testing.T, ty tftypes.Type, v tftypes.Value) tftypes.Value {
	t.Helper()
	want, ok := ty.(tftypes.Object)
	if !ok {
		return v
	}
	var have map[string]tftypes.Value
	must(t, v.As(&have))
	out := map[string]tftypes.Value{}
	for name := range want.AttributeTypes {
		out[name] = have[name]
	}
	return tftypes.NewValue(ty, out)
}

// withAttribute returns the object with a top-level attribute replaced.
func withAttribute(t *testing.T, v tftypes.Value, name string, attribute tftypes.Value) tftypes.Value {
	t.Helper()
	var all map[string]tftypes.Value
	must(t, v.As(&all))
	all[name] = attribute
	return tftypes.NewValue(v.Type(), all)
}

// get returns a top-level attribute.
func get(t *testing.T, v tftypes.Value, name string) tftypes.Value {
	t.Helper()
	var all map[string]tftypes.Value
	must(t, v.As(&all))
	return all[name]
}

// text returns a top-level string attribute: "?" if it is unknown, and "-" if
// it is null.
func text(t *testing.T, v tftypes.Value, name string) string {
	t.Helper()
	a := get(t, v, name)
	switch {
	case !a.IsKnown():
		return "?"
	case a.IsNull():
		return "-"
	}
	var s string
	must(t, a.As(&s))
	return s
}

func errorsOf(diags []*tfprotov6.Diagnostic) string {
	return messages(diags, tfprotov6.DiagnosticSeverityError)
}

func warningsOf(diags []*tfprotov6.Diagnostic) string {
	return messages(diags, tfprotov6.DiagnosticSeverityWarning)
}

func messages(diags []*tfprotov6.Diagnostic, severity tfprotov6.DiagnosticSeverity) string {
	var out []string
	for _, d := range diags {
		if d.Severity == severity {
			out = append(out, d.Attribute.String()+" | "+d.Summary+"\n"+d.Detail)
		}
	}
	return strings.Join(out, "\n\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
