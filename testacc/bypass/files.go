package bypass

import (
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Setup returns the files that somebody needs who sets a gateway up for the
// corpus: the schema and roles that the runner creates by itself, and the two
// policies as Postern's policy files, to be translated for other gateways.
func Setup() map[string]string {
	out := map[string]string{}
	names, err := fs.Glob(files, "testdata/*.*")
	if err != nil { // the pattern is good
		return nil
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil { // it is embedded
			continue
		}
		out[strings.TrimPrefix(name, "testdata/")] = string(data)
	}
	return out
}

type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes results as JUnit's XML, a suite of one test case each.
func WriteJUnit(w io.Writer, results []Result) error {
	suite := junitSuite{Name: "bypass", Tests: len(results)}
	for i := range results {
		r := &results[i]
		c := junitCase{Class: r.Case.Category, Name: r.Case.Name, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		switch {
		case r.Outcome.Failure():
			suite.Failures++
			c.Failure = &junitMessage{Message: string(r.Outcome), Text: r.Case.Title + "\n" + r.Detail + "\n" + strings.Join(r.Transcript, "\n")}
		case r.Outcome == Skipped:
			suite.Skipped++
			c.Skipped = &junitMessage{Message: r.Detail}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
