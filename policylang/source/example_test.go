package source_test

import (
	"fmt"
	"testing/fstest"

	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/source"
)

// Problems of the text, of the model and of conditions all come with their
// place in the files.
func Example() {
	files := fstest.MapFS{"orders.postern.hcl": {Data: []byte(`query_rule "reads" {
  when   = "statement.readonly"
  effect = "alow"
}
`)}}
	file, problems := source.ParseFS(files)
	_, more := compile.Compile(file.Policy, "")
	problems = append(problems, file.Locate(more)...)
	source.Sort(problems)
	for _, p := range problems {
		fmt.Printf("%s:%d:%d: %s; did you mean %q?\n%s", p.File, p.Line, p.Col, p.Summary, p.Suggestion, file.Excerpt(p))
	}
	// Output:
	// orders.postern.hcl:2:23: statement has no field "readonly"; did you mean "read_only"?
	//   2 │   when   = "statement.readonly"
	//     │                       ^^^^^^^^
	// orders.postern.hcl:3:12: effect cannot be "alow"; did you mean "allow"?
	//   3 │   effect = "alow"
	//     │            ^^^^^^
}
