package source_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/source"
)

// TestWriteText writes texts of what HCL gives a meaning to, and reads each
// back as it was.
func TestWriteText(t *testing.T) {
	pieces := []string{
		"$", "%", "{", "}", "${", "%{", "$${", "%%{", `\`, `\n`, `"`, "'", "\n", "\n", "\n\n", "\r", "\t", " ", "  ", "    ",
		"EOT", "<<-EOT", "#", "//", "/*", "*/", "é", "😀", "\u200b", "\u2028", "\x7f", "a", "b", "==", "~}",
	}
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 0))
		var text strings.Builder
		for range r.IntN(12) {
			text.WriteString(pieces[r.IntN(len(pieces))])
		}
		want := text.String()
		p := policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", When: want, Effect: policylang.EffectDeny, Message: want}}}
		written := source.Write(p)
		f, _ := source.Parse("p.hcl", written)
		if len(f.Policy.QueryRules) != 1 || f.Policy.QueryRules[0].When != want || f.Policy.QueryRules[0].Message != want {
			t.Fatalf("seed %d: %q is written as\n%s\nand read as %+v", seed, want, written, f.Policy.QueryRules)
		}
		formatted, problems := source.Format("p.hcl", written)
		if string(formatted) != string(written) {
			t.Fatalf("seed %d: formatted:\n%s\nwritten:\n%s\n%v", seed, formatted, written, problems)
		}
	}
}
