package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/source"
)

func policyTestCommand() *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests of a policy",
		Long: `Run the test blocks of policy files, and the tests of scenario files. Failures are
shown as what was wanted (-) and what came (+). At the end stand the rules and
masking policies that no test shows at work. The exit status is 0 if all tests
passed.`,
		Example: `  postern policy test
  postern policy test --run 'contractor' -v policies/
  postern policy test --junit report.xml --sarif report.sarif policies/    # in CI`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyTest(cmd, args, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.run, "run", "", "run only tests whose names match the regular expression")
	f.StringArrayVar(&o.scenarios, "scenarios", nil, "scenario file (JSON) with further tests; may be repeated")
	f.StringVar(&o.junit, "junit", "", "file to write a JUnit report to")
	f.StringVar(&o.sarif, "sarif", "", "file to write a SARIF log to")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show tests that passed too")
	f.BoolVar(&o.coverage, "require-coverage", false, "fail if no test shows a rule or masking policy at work")
	return cmd
}

type testOptions struct {
	run       string
	scenarios []string
	junit     string
	sarif     string
	verbose   bool
	coverage  bool
}

// testData is the result of `postern policy test` as JSON has it.
type testData struct {
	Passed   int                 `json:"passed"`
	Failed   int                 `json:"failed"`
	Tests    []scenario.Result   `json:"tests"`
	Coverage []scenario.Coverage `json:"coverage"`
	Problems []problemData       `json:"problems"`
}

func runPolicyTest(cmd *cobra.Command, paths []string, o testOptions) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	run, err := newTestRun(paths, o)
	if err != nil {
		return err
	}
	if policylang.HasErrors(run.problems) {
		return errors.Join(refusePolicy(cmd, run.file, run.problems), run.writeReports(o))
	}
	report := run.report
	data := testData{
		Passed: len(report.Results) - report.Failed(), Failed: report.Failed(),
		Tests: report.Results, Coverage: report.Coverage, Problems: problemsData(run.problems),
	}
	err = out.show(data, func() error { return run.print(out, o.verbose) })
	if err := errors.Join(err, run.writeReports(o)); err != nil {
		return err
	}
	switch uncovered := uncovered(report); {
	case report.Failed() > 0:
		return fmt.Errorf("%s failed", plural(report.Failed(), "test"))
	case len(report.Results) == 0:
		return errors.New("there are no tests to run")
	case o.coverage && len(uncovered) > 0:
		return fmt.Errorf("no test shows %s at work", plural(len(uncovered), "object"))
	}
	return nil
}

// testRun is tests that were run.
type testRun struct {
	file      *source.File
	problems  []policylang.Problem
	report    *scenario.Report
	scenarios map[string]string // scenario files by the names of their tests
}

func newTestRun(paths []string, o testOptions) (*testRun, error) {
	only, err := testFilter(o.run)
	if err != nil {
		return nil, err
	}
	run := &testRun{scenarios: map[string]string{}}
	run.file, _, run.problems, err = loadPolicy(paths, "")
	if err != nil {
		return nil, err
	}
	tests := run.file.Tests
	for _, name := range o.scenarios {
		more, err := run.readScenarios(name)
		if err != nil {
			return nil, err
		}
		tests = append(tests, more...)
	}
	if policylang.HasErrors(run.problems) {
		return run, nil
	}
	schemas := newSchemaFiles(run.at)
	run.report, _ = scenario.Run(run.file.Policy, tests, scenario.Options{Schema: schemas.catalog, Only: only})
	return run, nil
}

func testFilter(expression string) (func(*policylang.Test) bool, error) {
	if expression == "" {
		return nil, nil
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("read --run: %w", err)
	}
	return func(t *policylang.Test) bool { return re.MatchString(t.Name) }, nil
}

func (r *testRun) readScenarios(name string) ([]policylang.Test, error) {
	data, err := readBounded(name, maxSchemaFile)
	if err != nil {
		return nil, fmt.Errorf("read scenarios: %w", err)
	}
	tests, problems := scenario.ReadFile(filepath.ToSlash(name), data, &r.file.Policy)
	r.problems = append(r.problems, problems...)
	for i := range tests {
		r.scenarios[tests[i].Name] = filepath.ToSlash(name)
	}
	return tests, nil
}

// at tells where an object or a test stands.
func (r *testRun) at(p policylang.Path) (file string, line, col int) {
	if name, ok := r.scenarios[p.Name]; ok && p.Kind == "test" {
		return name, 0, 0
	}
	return r.file.Position(p)
}

func (r *testRun) print(out *output, verbose bool) error {
	for i := range r.report.Results {
		result := &r.report.Results[i]
		if result.Passed && !verbose {
			continue
		}
		if err := out.print(r.resultText(out, result)); err != nil {
			return err
		}
	}
	return r.printSummary(out)
}

func (r *testRun) resultText(out *output, result *scenario.Result) string {
	var b strings.Builder
	if result.Passed {
		fmt.Fprintf(&b, "%s  %s\n", out.paint(styleGreen, "ok  "), printable(result.Test))
		return b.String()
	}
	fmt.Fprintf(&b, "%s  %s\n", out.paint(styleRed, "FAIL"), out.paint(styleBold, printable(result.Test)))
	if file, line, col := r.at(policylang.Path{Kind: "test", Name: result.Test}); line > 0 {
		fmt.Fprintf(&b, "      %s\n", out.paint(styleFaint, fmt.Sprintf("%s:%d:%d", printable(file), line, col)))
	}
	if result.Error != "" {
		fmt.Fprintf(&b, "      %s\n", printable(result.Error))
	}
	for _, d := range result.Differences {
		fmt.Fprintf(&b, "      %s\n", d.Attribute)
		fmt.Fprintf(&b, "      %s\n", out.paint(styleRed, "  - "+printable(d.Want)))
		fmt.Fprintf(&b, "      %s\n", out.paint(styleGreen, "  + "+printable(d.Got)))
	}
	for _, line := range reasons(result.Outcome) {
		fmt.Fprintf(&b, "      %s\n", out.paint(styleFaint, printable(line)))
	}
	for _, note := range result.Notes {
		fmt.Fprintf(&b, "      %s\n", out.paint(styleYellow, printable("note: "+note)))
	}
	return b.String()
}

// reasons says in a few lines why an outcome is as it is.
func reasons(o *scenario.Outcome) []string {
	if o == nil {
		return nil
	}
	lines := []string{"decided by " + decidedBy(o)}
	if o.Message != "" {
		lines = append(lines, "message: "+o.Message)
	}
	for _, e := range o.Errors {
		lines = append(lines, "a condition failed: "+e)
	}
	const most = 3
	for _, near := range nearMisses(o.Explanations) {
		if len(lines) < most+2 {
			lines = append(lines, near)
		}
	}
	return lines
}

func decidedBy(o *scenario.Outcome) string {
	switch {
	case o.Refused != "":
		return "a refusal: " + o.Refused
	case o.ByDefault:
		return "the gateway's default_effect: no rule matched"
	case len(o.Rules) == 0:
		return "nothing: the statement is always admitted"
	}
	return strings.Join(o.Rules, ", ")
}

// nearMisses names the rules that a single part of their condition kept from
// matching, and that part.
func nearMisses(explanations []compile.Explanation) []string {
	var lines []string
	for _, x := range explanations {
		for _, side := range x.Sides {
			for _, rule := range side.Rules {
				if !rule.Matched && rule.Near {
					lines = append(lines, fmt.Sprintf("%s %q nearly matched, but not: %s", rule.Effect, rule.Rule, strings.Join(missed(rule), "; ")))
				}
			}
		}
	}
	return lines
}

// missed lists the parts of a rule's condition that were not true.
func missed(rule compile.RuleTrace) []string {
	var parts []string
	for _, c := range rule.Conjuncts {
		if c.Value != condition.True {
			parts = append(parts, strings.Join(strings.Fields(c.Text), " "))
		}
	}
	return parts
}

func (r *testRun) printSummary(out *output) error {
	failed, total := r.report.Failed(), len(r.report.Results)
	verdict := out.paint(styleGreen, plural(total, "test")+" passed")
	if failed > 0 {
		verdict = out.paint(styleRed, fmt.Sprintf("%s, %d failed", plural(total, "test"), failed))
	}
	missing := uncovered(r.report)
	all := len(r.report.Coverage)
	if err := out.printf("%s; %d of %d rules and masking policies shown at work\n", verdict, all-len(missing), all); err != nil {
		return err
	}
	for _, c := range missing {
		file, line, col := r.at(c.Path())
		if err := out.printf("%s %s %q  %s\n", out.paint(styleYellow, "not shown:"), c.Kind, c.Name, out.paint(styleFaint, fmt.Sprintf("%s:%d:%d", file, line, col))); err != nil {
			return err
		}
	}
	return nil
}

func uncovered(r *scenario.Report) []scenario.Coverage {
	var out []scenario.Coverage
	for _, c := range r.Coverage {
		if len(c.Tests) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// writeReports writes the files that other tools read.
func (r *testRun) writeReports(o testOptions) error {
	var errs []error
	if o.junit != "" && r.report != nil {
		errs = append(errs, writeReport(o.junit, func(w io.Writer) error {
			return scenario.WriteJUnit(w, "postern policy", r.report, r.at)
		}))
	}
	if o.sarif != "" {
		errs = append(errs, writeReport(o.sarif, func(w io.Writer) error {
			return scenario.WriteSARIF(w, version, r.problems, r.report, r.at)
		}))
	}
	return errors.Join(errs...)
}

func writeReport(name string, write func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		return err
	}
	if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// schemaFiles reads the schema files that tests name, each once.
type schemaFiles struct {
	at       scenario.Locator
	base     *pgcatalog.Catalog
	catalogs map[string]schemaFile
}

type schemaFile struct {
	catalog  *pgcatalog.Catalog
	problems []policylang.Problem
}

func newSchemaFiles(at scenario.Locator) *schemaFiles {
	return &schemaFiles{at: at, catalogs: map[string]schemaFile{}}
}

// catalog reads the schema file of a test, which lies beside the file that the
// test stands in.
func (s *schemaFiles) catalog(t *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
	file, _, _ := s.at(policylang.Path{Kind: "test", Name: t.Name})
	return s.read(path.Join(path.Dir(file), t.Schema))
}

func (s *schemaFiles) read(name string) (*pgcatalog.Catalog, []policylang.Problem) {
	if f, ok := s.catalogs[name]; ok {
		return f.catalog, f.problems
	}
	var f schemaFile
	data, err := readBounded(filepath.FromSlash(name), maxSchemaFile)
	if err == nil && s.base == nil {
		s.base, err = scenario.Baseline()
	}
	switch {
	case err != nil:
		f.problems = []policylang.Problem{{File: name, Summary: "the schema file cannot be read: " + withoutPath(err)}}
	case strings.HasSuffix(name, ".json"):
		if f.catalog, err = pgcatalog.Decode(data); err != nil {
			f.problems = []policylang.Problem{{File: name, Summary: err.Error()}}
		}
	default:
		f.catalog, f.problems = scenario.ReadSchema(name, string(data), s.base)
	}
	s.catalogs[name] = f
	return f.catalog, f.problems
}

// withoutPath is what went wrong with a file, without its name.
func withoutPath(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
