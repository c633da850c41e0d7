package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/posternhq/postern/policylang"
)

// The rules that a SARIF log refers to.
const (
	ruleProblem   = "policy-problem"
	ruleTest      = "policy-test"
	ruleUncovered = "policy-uncovered"
)

// The shape of a SARIF log, version 2.1.0 (OASIS), as far as it is used.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string       `json:"id"`
		Text sarifMessage `json:"shortDescription"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
)

// WriteSARIF writes problems, failed tests and rules that no test matched as a
// SARIF log, which code hosts show beside the lines. The report may be nil.
// Files are named as in the problems, which should be relative to the root of
// the repository.
func WriteSARIF(w io.Writer, version string, problems []policylang.Problem, r *Report, at Locator) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "postern", Version: version, InformationURI: "https://github.com/posternhq/postern",
			Rules: []sarifRule{
				{ruleProblem, sarifMessage{"Something is wrong with the policy"}},
				{ruleTest, sarifMessage{"A test of the policy fails"}},
				{ruleUncovered, sarifMessage{"No test shows what an object of the policy does"}},
			},
		}},
		Results: []sarifResult{},
	}
	for _, p := range problems {
		run.Results = append(run.Results, problemResult(p))
	}
	if r != nil {
		run.Results = append(run.Results, reportResults(r, at)...)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}})
	if err != nil {
		return fmt.Errorf("write SARIF log: %w", err)
	}
	return nil
}

func problemResult(p policylang.Problem) sarifResult {
	level := "error"
	if p.Severity == policylang.SeverityWarning {
		level = "warning"
	}
	text := p.Summary + "."
	if p.Suggestion != "" {
		text += fmt.Sprintf(" Did you mean %q?", p.Suggestion)
	}
	if p.Advice != "" {
		text += " " + p.Advice
	}
	result := sarifResult{RuleID: ruleProblem, Level: level, Message: sarifMessage{text}}
	if p.File != "" {
		result.Locations = location(p.File, p.Line, p.Col, p.EndLine, p.EndCol)
	}
	return result
}

func reportResults(r *Report, at Locator) []sarifResult {
	var out []sarifResult
	for i := range r.Results {
		result := &r.Results[i]
		if result.Passed {
			continue
		}
		file, line, col := at(policylang.Path{Kind: "test", Name: result.Test})
		text := fmt.Sprintf("Test %q fails: %s.", result.Test, result.Summary())
		out = append(out, sarifResult{ruleTest, "error", sarifMessage{text}, location(file, line, col, 0, 0)})
	}
	for _, c := range r.Coverage {
		if len(c.Tests) > 0 {
			continue
		}
		file, line, col := at(c.Path())
		text := fmt.Sprintf("No test shows what %s %q does.", strings.ReplaceAll(string(c.Kind), "_", " "), c.Name)
		out = append(out, sarifResult{ruleUncovered, "note", sarifMessage{text}, location(file, line, col, 0, 0)})
	}
	return out
}

func location(file string, line, col, endLine, endCol int) []sarifLocation {
	if file == "" {
		return nil
	}
	l := sarifLocation{sarifPhysical{Artifact: sarifArtifact{path.Clean(strings.ReplaceAll(file, `\`, "/"))}}}
	if line > 0 {
		l.Physical.Region = &sarifRegion{line, col, endLine, endCol}
	}
	return []sarifLocation{l}
}
