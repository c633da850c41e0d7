package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// compile compiles the whole policy and reports every problem.
func (r *bundleResource) compile(in inputs, diags *diag.Diagnostics) (digest types.String, contents types.Map) {
	digest, contents = types.StringUnknown(), types.MapUnknown(types.StringType)
	program, problems := compile.Compile(in.policy, "")
	for _, p := range problems {
		reportInBundle(find(in.policy, p.Path), []policylang.Problem{p}, diags)
	}
	if program == nil || policylang.HasErrors(problems) {
		return digest, contents
	}
	if r.session != nil {
		r.session.policies.put(program.Digest(), in.policy)
	}
	return types.StringValue(program.Digest()), manifest(&in.policy, diags)
}

// find returns the object that a problem is about, or nil.
func find(p policylang.Policy, at policylang.Path) policylang.Object {
	for _, o := range p.Objects() {
		if o.ObjectKind() == at.Kind && o.ObjectName() == at.Name {
			return o
		}
	}
	return nil
}

// reportInBundle shows problems on the bundle's map that has the object, and
// names it.
func reportInBundle(object policylang.Object, problems []policylang.Problem, diags *diag.Diagnostics) {
	for _, problem := range problems {
		at, expression := path.Empty(), ""
		if object != nil {
			at, expression = path.Root(partOf(object.ObjectKind()).attribute), tfmodel.Expression(object, problem.Path.Attr)
		}
		problem.Summary = problem.Path.String() + ": " + problem.Summary
		problem.Path.Attr = ""
		diags.Append(tfmodel.Diagnostic(at, problem, expression))
	}
}

// manifest is the digest of each object, by kind and name.
func manifest(p *policylang.Policy, diags *diag.Diagnostics) types.Map {
	digests := map[string]attr.Value{}
	for _, o := range p.Objects() {
		_, digest := describe(o, diags)
		digests[policylang.Path{Kind: o.ObjectKind(), Name: o.ObjectName()}.String()] = digest
	}
	out, d := types.MapValue(types.StringType, digests)
	diags.Append(d...)
	return out
}
