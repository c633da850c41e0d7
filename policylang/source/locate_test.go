package source_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/source"
)

// TestLocateInsideText points at the word BAD in a condition's value and
// expects the position where BAD stands in the file.
func TestLocateInsideText(t *testing.T) {
	tests := map[string]string{
		"quoted":                  `when = "a && BAD"`,
		"quoted after escapes":    `when = "\"\\\t\u00e9\U0001F600\n $${ %%{ BAD"`,
		"quoted after characters": `when = "é😀 — BAD"`,
		"before a decomposed one": "when = \"BAD e\u0301\"",
		"heredoc":                 "when = <<EOT\na &&\n  BAD\nEOT",
		"flush heredoc":           "when = <<-EOT\n    a &&\n\n      BAD\n  EOT",
		"flush heredoc first":     "when = <<-EOT\n    BAD\n  EOT",
		"heredoc after template":  "when = <<EOT\n$${x} %%{y} \\n \"\n é BAD\nEOT",
		"windows line ends":       "when = <<-EOT\r\n    a &&\r\n      BAD\r\n  EOT",
	}
	for name, attribute := range tests {
		t.Run(name, func(t *testing.T) {
			src := "query_rule \"r\" {\n  effect = \"allow\"\n  " + attribute + "\n}\n"
			f, problems := source.Parse("p.hcl", []byte(src))
			if len(problems) > 0 {
				t.Fatal(report(f, problems))
			}
			offset := strings.Index(f.Policy.QueryRules[0].When, "BAD")
			got := f.Locate([]policylang.Problem{{
				Path:    policylang.Path{Kind: policylang.KindQueryRule, Name: "r", Attr: "when", Offset: offset, Length: 3},
				Summary: "bad",
			}})
			line, col := lineAndColumn(src, strings.Index(src, "BAD"))
			want := fmt.Sprintf("%d:%d-%d:%d", line, col, line, col+3)
			if g := fmt.Sprintf("%d:%d-%d:%d", got[0].Line, got[0].Col, got[0].EndLine, got[0].EndCol); g != want {
				t.Errorf("position %s, want %s\n%s", g, want, f.Excerpt(got[0]))
			}
		})
	}
}

func lineAndColumn(src string, offset int) (line, col int) {
	before := src[:offset]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
}

func TestLocate(t *testing.T) {
	const src = `gateway "orders" {
  upstream {
    host = "db"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
}

masking_policy "m" {
  columns   = ["a.b.c", "d.e.f"]
  transform = 5
}
`
	f, told := source.Parse("p.hcl", []byte(src))
	if len(told) != 1 {
		t.Fatal(report(f, told))
	}
	tests := []struct {
		name string
		path policylang.Path
		want string // "" if the problem is left out
	}{
		{"attribute", policylang.Path{Kind: "gateway", Name: "orders", Attr: "upstream.host"}, "p.hcl:3:12"},
		{"absent attribute of a block", policylang.Path{Kind: "gateway", Name: "orders", Attr: "upstream.port"}, "p.hcl:2:3"},
		{"absent attribute", policylang.Path{Kind: "gateway", Name: "orders", Attr: "default_effect"}, "p.hcl:1:9"},
		{"attribute of a named block", policylang.Path{Kind: "gateway", Name: "orders", Attr: "issuer.corp.audience"}, "p.hcl:7:16"},
		{"element", policylang.Path{Kind: "masking_policy", Name: "m", Attr: "columns[1]"}, "p.hcl:12:25"},
		{"absent element", policylang.Path{Kind: "masking_policy", Name: "m", Attr: "columns[7]"}, "p.hcl:12:15"},
		{"object", policylang.Path{Kind: "masking_policy", Name: "m"}, "p.hcl:11:16"},
		{"absent object", policylang.Path{Kind: "masking_policy", Name: "x", Attr: "columns"}, "p.hcl:0:0"},
		{"whole policy", policylang.Path{}, "p.hcl:0:0"},
		{"value that could not be read", policylang.Path{Kind: "masking_policy", Name: "m", Attr: "transform"}, ""},
		{"offset beyond the value", policylang.Path{Kind: "gateway", Name: "orders", Attr: "upstream.host", Offset: 99, Length: 9}, "p.hcl:3:15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, p := range f.Locate([]policylang.Problem{{Path: tt.path, Summary: "x"}}) {
				got = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
			}
			if got != tt.want {
				t.Errorf("position %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLocateToldOnce reports a structural problem through Parse, and the same
// again as a compiler would.
func TestLocateToldOnce(t *testing.T) {
	f, problems := source.Parse("p.hcl", []byte("query_rule \"r\" {\n  when = \"true\"\n}\n"))
	if len(problems) != 1 {
		t.Fatal(report(f, problems))
	}
	if again := f.Locate(f.Policy.Validate()); len(again) > 0 {
		t.Errorf("told again: %v", again)
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", 500)
	f, problems := source.Parse("p.hcl", []byte("query_rule \"r\" {\n\twhen = \"true\"\n\teffect = \"\u202eal\u200bow\"\n\tmessage = \""+long+"\"\n\tmod = \"\"\n}\n"))
	got := report(f, problems)
	if !strings.Contains(got, "  3 │ \teffect = \"�al�ow\"\n    │ \t         ^^^^^^^^\n") {
		t.Errorf("excerpt:\n%s", got)
	}
	at := f.Locate([]policylang.Problem{{Path: policylang.Path{Kind: "query_rule", Name: "r", Attr: "message", Offset: 480, Length: 2}, Summary: "x"}})
	excerpt := f.Excerpt(at[0])
	if len([]rune(excerpt)) > 400 || !strings.Contains(excerpt, "^^\n") || strings.Contains(excerpt, "^^^") {
		t.Errorf("excerpt of a long line:\n%s", excerpt)
	}
}
