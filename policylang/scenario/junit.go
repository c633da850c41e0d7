package scenario

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/posternhq/postern/policylang"
)

// Locator tells where an object or a test stands. Line 0 means that it is not
// known.
type Locator func(policylang.Path) (file string, line, col int)

// The shape of JUnit's XML as CI systems read it.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitMessage `xml:"failure"`
		Error   *junitMessage `xml:"error"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML.
func WriteJUnit(w io.Writer, suite string, r *Report, at Locator) error {
	out := junitSuites{Suite: junitSuite{Name: suite, Tests: len(r.Results)}}
	for i := range r.Results {
		result := &r.Results[i]
		c := junitCase{Class: suite, Name: result.Test}
		c.File, c.Line, _ = at(policylang.Path{Kind: "test", Name: result.Test})
		switch {
		case result.Error != "":
			out.Suite.Errors++
			c.Error = &junitMessage{Message: result.Error}
		case !result.Passed:
			out.Suite.Failures++
			c.Failure = &junitMessage{Message: result.Summary(), Text: result.Diff()}
		}
		out.Suite.Cases = append(out.Suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

// Summary says in one line why the test failed, or "".
func (r *Result) Summary() string {
	if r.Error != "" {
		return r.Error
	}
	attributes := make([]string, len(r.Differences))
	for i, d := range r.Differences {
		attributes[i] = fmt.Sprintf("%s is %s, want %s", strings.TrimPrefix(d.Attribute, "expect."), d.Got, d.Want)
	}
	return strings.Join(attributes, "; ")
}

// Diff shows the differences line by line, what is wanted marked with - and
// what came with +.
func (r *Result) Diff() string {
	var b strings.Builder
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "%s\n- %s\n+ %s\n", d.Attribute, d.Want, d.Got)
	}
	return b.String()
}
