package control

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
)

// decide says what would happen to requests by a policy: for publishers that
// have no SQL parser, before they publish. Nothing that runs is decided here.
// Callers wait for each other, so that gateways in the same process keep most
// of the processors.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, c *caller) error {
	var in api.DecisionsInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if len(in.Tests) > api.MaxDecisions {
		return invalid("%d requests are more than %d", len(in.Tests), api.MaxDecisions)
	}
	policy, err := s.policyOf(r, &in, c)
	if err != nil {
		return err
	}
	select {
	case s.deciding <- struct{}{}:
		defer func() { <-s.deciding }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	schemas := schemaReader{texts: in.Schemas, read: map[string]schema{}}
	report, problems := scenario.Run(policy, in.Tests, scenario.Options{
		Schema: schemas.schema,
		Only:   func(*policylang.Test) bool { return r.Context().Err() == nil },
	})
	if err := r.Context().Err(); err != nil {
		return err
	}
	if report == nil {
		i := slices.IndexFunc(problems, func(p policylang.Problem) bool { return p.Severity == policylang.SeverityError })
		return invalid("the policy does not compile: %s", problems[i].Error())
	}
	answer(w, http.StatusOK, decisions(report))
	return nil
}

// policyOf is the policy that the input gives, or names by its digest.
func (s *Server) policyOf(r *http.Request, in *api.DecisionsInput, c *caller) (policylang.Policy, error) {
	switch {
	case (in.Bundle == "") == (len(in.Policy) == 0):
		return policylang.Policy{}, invalid("give either bundle or policy")
	case in.Bundle == "":
		p, err := policylang.ParseCanonical(in.Policy)
		if err != nil {
			return policylang.Policy{}, invalid("the policy cannot be read: %s", err)
		}
		return p, nil
	}
	allowed, err := s.mayRead(r.Context(), c, in.Bundle)
	if err != nil {
		return policylang.Policy{}, err
	}
	if !allowed {
		return policylang.Policy{}, missing("bundle " + strconv.Quote(in.Bundle))
	}
	sealed, err := s.store.Bundle(r.Context(), in.Bundle)
	if err != nil {
		return policylang.Policy{}, bundleError(err, in.Bundle)
	}
	inside, err := bundle.InspectUnverified(sealed)
	if err != nil {
		return policylang.Policy{}, fmt.Errorf("read bundle %s: %w", in.Bundle, err)
	}
	return inside.Policy, nil
}

// schemaReader reads each of the schemas once.
type schemaReader struct {
	texts map[string]string
	read  map[string]schema
}

type schema struct {
	catalog  *pgcatalog.Catalog
	problems []policylang.Problem
}

func (s schemaReader) schema(t *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
	if known, ok := s.read[t.Schema]; ok {
		return known.catalog, known.problems
	}
	known := s.parse(t.Schema)
	s.read[t.Schema] = known
	return known.catalog, known.problems
}

func (s schemaReader) parse(name string) schema {
	text, ok := s.texts[name]
	if !ok {
		return schema{problems: []policylang.Problem{{Severity: policylang.SeverityError, Summary: fmt.Sprintf("there is no schema %q", name)}}}
	}
	base, err := scenario.Baseline()
	if err != nil {
		return schema{problems: []policylang.Problem{{Severity: policylang.SeverityError, Summary: err.Error()}}}
	}
	catalog, problems := scenario.ReadSchema(name, text, base)
	return schema{catalog, problems}
}

func decisions(report *scenario.Report) api.Decisions {
	out := api.Decisions{Decisions: make([]api.Decision, len(report.Results))}
	for i := range report.Results {
		out.Decisions[i] = decision(&report.Results[i])
	}
	return out
}

func decision(r *scenario.Result) api.Decision {
	d := api.Decision{Test: r.Test, Passed: r.Passed, Error: r.Error, Notes: r.Notes}
	for _, difference := range r.Differences {
		d.Differences = append(d.Differences, api.DecisionDifference(difference))
	}
	o := r.Outcome
	if o == nil {
		return d
	}
	d.Subject, d.Identity, d.Effect, d.ByDefault, d.Rules = o.Subject, o.Identity, o.Effect, o.ByDefault, o.Rules
	d.Message, d.Hint, d.Refused, d.Observed = o.Message, o.Hint, o.Refused, o.Observed
	d.ApprovalGroups, d.HoldMode = o.ApprovalGroups, o.HoldMode
	d.MaxRows, d.ReadOnly, d.RequireReason = o.MaxRows, o.ReadOnly, o.RequireReason
	if o.StatementTimeout > 0 {
		d.StatementTimeout = o.StatementTimeout.String()
	}
	for _, c := range o.Columns {
		d.Columns = append(d.Columns, api.DecisionColumn(c))
	}
	return d
}
