package source_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/posternhq/postern/policylang/source"
)

func TestParseFS(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const rule = "query_rule \"r\" {\n  when   = \"true\"\n  effect = \"hold\"\n  approval_group = \"dba\"\n}\n"
	const group = "approval_group \"dba\" {\n  members = [\"ana\"]\n}\n"
	tests := []struct {
		name     string
		files    fstest.MapFS
		patterns []string
		want     string
	}{
		{"files refer to one another", fstest.MapFS{"a.postern.hcl": file(rule), "b.postern.hcl": file(group), "c.hcl": file("nonsense")}, nil, ""},
		{
			"a duplicate names the first",
			fstest.MapFS{"a.postern.hcl": file(rule), "b.postern.hcl": file(group + rule)},
			nil,
			`b.postern.hcl:4:12: a second query_rule is named "r" (The first one is at a.postern.hcl:1:12. Rename or remove one of them)`,
		},
		{"no file", fstest.MapFS{}, nil, `*.postern.hcl: no policy file is there (Policy files are named *.postern.hcl)`},
		{"a bad pattern", fstest.MapFS{}, []string{"["}, `[: the pattern is malformed`},
		{"a directory", fstest.MapFS{"d.postern.hcl/x": file("")}, nil, `d.postern.hcl: cannot read the file`},
		{"several patterns", fstest.MapFS{"a.postern.hcl": file(rule), "more/b.postern.hcl": file(group)}, []string{"*.postern.hcl", "more/*.postern.hcl", "*.hcl"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := source.ParseFS(tt.files, tt.patterns...)
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
			}
			if g := strings.Join(got, "\n"); !strings.HasPrefix(g, tt.want) || tt.want == "" && g != "" {
				t.Errorf("problems:\n%s\nwant:\n%s", g, tt.want)
			}
		})
	}
}

// TestHostile gives the parser what would exhaust it. Each must end at once
// with a clear problem.
func TestHostile(t *testing.T) {
	const n = 20_000
	inside := func(s string) string { return "query_rule \"r\" {\n  when = " + s + "\n}\n" }
	tests := []struct{ name, src, want string }{
		{"parentheses", inside(strings.Repeat("(", n)), "nested too deeply"},
		{"lists", inside(strings.Repeat("[", n) + strings.Repeat("]", n)), "nested too deeply"},
		{"blocks", strings.Repeat("a {\n", n), "nested too deeply"},
		{"templates", inside(strings.Repeat(`"${`, n)), "nested too deeply"},
		{"negations", inside(strings.Repeat("!", n) + "true"), "nested too deeply"},
		{"signs", inside(strings.Repeat("-", n) + "1"), "nested too deeply"},
		{"choices", inside(strings.Repeat("a ? b : ", n) + "c"), "nested too deeply"},
		{"size", strings.Repeat("# comment\n", 1<<19), "larger than"},
		{"not UTF-8", inside("\"\xff\xfe\""), "character encoding"},
		{"NUL", inside("\"a\x00b\""), "not valid UTF-8 text"},
		{"NUL escape", inside(`"a\u0000b"`), "not valid UTF-8 text"},
		{"control characters", "\x01\x02\x03", "no meaning here"},
		{"huge number", "query_rule \"r\" {\n  max_rows = 1e999999999\n}\n", ""},
		{"long name", "query_rule \"" + strings.Repeat("x", n) + "\" {\n}\n", "cannot be a name"},
		{"byte order mark", "\xef\xbb\xbf" + inside(`"true"`), "effect is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, problems := source.Parse("p.hcl", []byte(tt.src))
			if f == nil || len(problems) == 0 || len(problems) > 100 {
				t.Fatalf("%d problems", len(problems))
			}
			if got := report(f, problems); !strings.Contains(got, tt.want) {
				t.Errorf("problems %.2000s\nwant %q", got, tt.want)
			}
		})
	}
}
