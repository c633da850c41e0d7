package provider

import (
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// expression is an attribute that is written in CEL.
type expression struct {
	attribute string
	kind      condition.Kind
}

func expressions(kind policylang.Kind) []expression {
	switch kind {
	case policylang.KindIdentity:
		return []expression{
			{"when", condition.KindIdentity},
			{"name_from", condition.KindNameFrom},
			{"groups_from", condition.KindGroupsFrom},
		}
	case policylang.KindQueryRule:
		return []expression{{"when", condition.KindRule}}
	case policylang.KindMaskingPolicy:
		return []expression{{"unless", condition.KindMask}}
	case policylang.KindGateway, policylang.KindApprovalGroup:
	}
	return nil
}

// checkObject returns what is wrong with an object by itself: its structure and
// its expressions, but not what it refers to. Attributes that are unknown are
// in d.Unknown, and nothing is concluded from them.
func checkObject(d tfmodel.Decoded) []policylang.Problem {
	problems := structuralProblems(d)
	for _, e := range expressions(d.Object.ObjectKind()) {
		text := tfmodel.Expression(d.Object, e.attribute)
		if text == "" || slices.Contains(d.Unknown, e.attribute) {
			continue
		}
		for _, p := range condition.Check(e.kind, text) {
			p.Path.Kind, p.Path.Name, p.Path.Attr = d.Object.ObjectKind(), d.Object.ObjectName(), e.attribute
			problems = append(problems, p)
		}
	}
	return problems
}

// structuralProblems validates a policy of the object alone, in which whatever
// it refers to exists.
func structuralProblems(d tfmodel.Decoded) []policylang.Problem {
	if slices.ContainsFunc(d.Unknown, func(name string) bool { return slices.Contains(decisive(), name) }) {
		return nil
	}
	var p policylang.Policy
	p.Add(d.Object)
	if r, ok := d.Object.(*policylang.QueryRule); ok && r.ApprovalGroup != "" {
		p.Add(&policylang.ApprovalGroup{Name: r.ApprovalGroup, Members: []string{"anybody"}})
	}
	return slices.DeleteFunc(p.Validate(), func(problem policylang.Problem) bool {
		return problem.Path.Kind != d.Object.ObjectKind() || slices.Contains(d.Unknown, tfmodel.Top(problem.Path.Attr))
	})
}

// decisive lists the attributes that decide what others may be. While one of
// them is unknown, only expressions are checked.
func decisive() []string {
	return []string{
		"effect", "transform", "members", "required", "upstream",
		"max_rows", "statement_timeout", "read_only", "require_reason",
	}
}

// report shows the problems on the attributes of an object's resource.
func report(object policylang.Object, problems []policylang.Problem, diags *diag.Diagnostics) {
	for _, p := range problems {
		at := path.Root(tfmodel.Top(p.Path.Attr))
		diags.Append(tfmodel.Diagnostic(at, p, tfmodel.Expression(object, p.Path.Attr)))
	}
}

// onlyErrors leaves out warnings.
func onlyErrors(problems []policylang.Problem) []policylang.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p policylang.Problem) bool {
		return p.Severity == policylang.SeverityWarning
	})
}
