package source_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang/source"
)

// BenchmarkParse reads a file of 1,000 rules.
func BenchmarkParse(b *testing.B) {
	var src strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&src, "query_rule \"rule_%d\" {\n  when   = \"'group_%d' in identity.groups && statement.reads('app_%d.*')\"\n  effect = \"allow\"\n}\n\n", i, i, i)
	}
	b.SetBytes(int64(src.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := source.Parse("p.hcl", []byte(src.String())); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
