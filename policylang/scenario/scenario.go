// Package scenario runs tests of a policy: a request each, and the decision
// that is wanted. It decides as a gateway does, with the same parser, the same
// analysis of columns and the same compiled policy, over the catalog of a
// database that a schema file describes.
//
//	report, problems := scenario.Run(policy, tests, scenario.Options{Schema: read})
//	for _, result := range report.Results { ... }
//	report.Coverage // which rules no test ever matched
//
// Tests come from the test blocks of policy files (package source) or from
// scenario files, see [ReadFile]. [ReadSchema] makes a catalog of DDL.
// [WriteJUnit] and [WriteSARIF] write what other tools read.
//
// What a test cannot show: what the database itself refuses (privileges, row
// security), settings that the gateway refuses to have changed, and what results
// look like. The package does no I/O; its functions are safe for concurrent use.
package scenario

import (
	"fmt"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Options says how tests are run. The zero Options runs every test and has no
// schemas.
type Options struct {
	// Schema returns the catalog that a test names with its attribute schema.
	// It is called for each test that names one.
	Schema func(t *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem)
	// Only chooses the tests to run; nil runs all.
	Only func(t *policylang.Test) bool
}

// Report is what became of the tests.
type Report struct {
	Results  []Result   `json:"tests"` // in the order of the tests
	Coverage []Coverage `json:"coverage"`
}

// Failed counts the tests that failed.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Results {
		if !r.Results[i].Passed {
			n++
		}
	}
	return n
}

// Result is what became of one test.
type Result struct {
	Test        string       `json:"test"`
	Passed      bool         `json:"passed"`
	Differences []Difference `json:"differences,omitempty"`
	Error       string       `json:"error,omitempty"` // why it could not be run
	Notes       []string     `json:"notes,omitempty"` // what a reader should know besides
	Outcome     *Outcome     `json:"outcome,omitempty"`
}

// Difference is one expectation that was not met.
type Difference struct {
	Attribute string `json:"attribute"` // as "expect.effect"
	Want      string `json:"want"`
	Got       string `json:"got"`
}

// Run runs the tests against a policy. The problems are the policy's own; with
// an error among them no test is run and the report is nil.
func Run(p policylang.Policy, tests []policylang.Test, o Options) (*Report, []policylang.Problem) {
	r := runner{policy: p, options: o, programs: map[string]*compile.Program{}}
	program, problems := compile.Compile(p, "")
	if program == nil {
		return nil, problems
	}
	r.programs[""] = program
	r.coverage = newCoverage(program.Policy())
	report := &Report{Results: []Result{}}
	for i := range tests {
		if o.Only == nil || o.Only(&tests[i]) {
			report.Results = append(report.Results, r.run(&tests[i]))
		}
	}
	report.Coverage = r.coverage.list()
	return report, problems
}

// Ask is [Run] for one request without expectations: what would happen to it.
func Ask(p policylang.Policy, t *policylang.Test, o Options) (*Outcome, []string, error) {
	r := runner{policy: p, options: o, programs: map[string]*compile.Program{}}
	return r.ask(t)
}

// runner runs tests against one policy.
type runner struct {
	policy   policylang.Policy
	options  Options
	programs map[string]*compile.Program // by gateway
	coverage *coverage
}

func (r *runner) run(t *policylang.Test) Result {
	result := Result{Test: t.Name}
	outcome, notes, err := r.ask(t)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	result.Outcome, result.Notes = outcome, notes
	r.coverage.add(t, outcome)
	result.Differences = compare(t, outcome)
	result.Passed = len(result.Differences) == 0
	return result
}

// ask decides the request of a test.
func (r *runner) ask(t *policylang.Test) (*Outcome, []string, error) {
	program, err := r.program(t.Gateway)
	if err != nil {
		return nil, nil, err
	}
	now, err := testTime(t.Now)
	if err != nil {
		return nil, nil, err
	}
	q := request{test: t, program: program, now: now}
	if refused := q.identify(); refused != nil {
		return refused, nil, nil
	}
	if q.subject == nil {
		return nil, nil, fmt.Errorf("no identity is named %q", t.Identity)
	}
	if t.Schema != "" {
		if q.catalog, err = r.schema(t); err != nil {
			return nil, nil, err
		}
	}
	if err := q.connect(); err != nil {
		return nil, nil, err
	}
	return q.decide()
}

// program compiles the policy for a gateway. Without a name it is the policy's
// only gateway, if it has just one.
func (r *runner) program(gateway string) (*compile.Program, error) {
	switch gateways := r.policy.Gateways; {
	case gateway == "" && len(gateways) == 1:
		gateway = gateways[0].Name
	case gateway == "" && len(gateways) > 1:
		return nil, fmt.Errorf("the policy has %d gateways: say which one is asked", len(gateways))
	}
	if p, ok := r.programs[gateway]; ok {
		return p, nil
	}
	p, problems := compile.Compile(r.policy, gateway)
	if p == nil {
		for _, problem := range problems {
			if problem.Severity == policylang.SeverityError {
				return nil, problem
			}
		}
	}
	r.programs[gateway] = p
	return p, nil
}

func (r *runner) schema(t *policylang.Test) (*pgcatalog.Catalog, error) {
	if r.options.Schema == nil {
		return nil, fmt.Errorf("the schema %q is not at hand", t.Schema)
	}
	cat, problems := r.options.Schema(t)
	for _, p := range problems {
		if p.Severity == policylang.SeverityError {
			return nil, p
		}
	}
	return cat, nil
}

// testTime is a test's time.
func testTime(now string) (time.Time, error) {
	if now == "" {
		return time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC), nil
	}
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the test's time: %w", err)
	}
	return at, nil
}
