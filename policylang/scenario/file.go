package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/posternhq/postern/policylang"
)

// ReadFile reads a scenario file: tests that were written by a program, or that
// do not belong into a policy file. It is one JSON object with a member
// "tests", a list of objects with the names of [policylang.Test]'s encoding:
//
//	{"tests": [
//	  {"name": "ana reads", "identity": "ana", "sql": "select 1", "expect": {"effect": "allow"}}
//	]}
//
// The problems are of the file and of the tests' structure.
func ReadFile(filename string, data []byte, p *policylang.Policy) ([]policylang.Test, []policylang.Problem) {
	var file struct {
		Tests []policylang.Test `json:"tests"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, []policylang.Problem{jsonProblem(filename, data, dec.InputOffset(), err)}
	}
	if dec.More() {
		return nil, []policylang.Problem{jsonProblem(filename, data, dec.InputOffset(), errors.New("more than one JSON value"))}
	}
	var problems []policylang.Problem
	seen := map[string]bool{}
	for i := range file.Tests {
		t := &file.Tests[i]
		for _, problem := range t.Validate(p) {
			problem.File = filename
			problems = append(problems, problem)
		}
		if seen[t.Name] {
			problems = append(problems, policylang.Problem{
				Path: policylang.Path{Kind: "test", Name: t.Name}, File: filename, Summary: fmt.Sprintf("a second test is named %q", t.Name),
			})
		}
		seen[t.Name] = true
	}
	return file.Tests, problems
}

func jsonProblem(filename string, data []byte, offset int64, err error) policylang.Problem {
	p := policylang.Problem{File: filename, Summary: "the scenario file cannot be read: " + err.Error()}
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset - 1 // it counts the byte that is wrong
	case errors.As(err, &wrongType):
		offset = wrongType.Offset
	}
	p.Line, p.Col = lineAndColumn(string(data), int(offset))
	p.EndLine, p.EndCol = p.Line, p.Col
	return p
}
