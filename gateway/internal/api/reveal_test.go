package api

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestReveal(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "select 'né'\n\tfrom t", "select 'né'\n\tfrom t"},
		{"nothing", "", ""},
		{"right-to-left override", "a\u202eb", "a‹U+202E›b"},
		{"isolates", "\u2066x\u2069", "‹U+2066›x‹U+2069›"},
		{"zero width", "dr\u200bop", "dr‹U+200B›op"},
		{"a carriage return hides a line", "drop table x\rselect 1", "drop table x‹U+000D›select 1"},
		{"terminal escapes", "\x1b[2J\x7f", "‹U+001B›[2J‹U+007F›"},
		{"spaces that are not", "a\u00a0b\u3000c", "a‹U+00A0›b‹U+3000›c"},
		{"a filler that is a letter", "a\u3164b", "a‹U+3164›b"},
		{"variation selectors", "a\ufe0f\U000e0101", "a‹U+FE0F›‹U+E0101›"},
		{"tags", "\U000e0041", "‹U+E0041›"},
		{"not UTF-8", "a\xffb", "a‹byte FF›b"},
		{"a real replacement character", "\ufffd", "\ufffd"},
	} {
		if got := RevealText(tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzReveal(f *testing.F) {
	f.Add("select 1 \u202e\xff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var plain strings.Builder
		for _, s := range Reveal(text) {
			if s.Text == "" || !utf8.ValidString(s.Text) {
				t.Fatalf("span %q", s.Text)
			}
			if !s.Hidden {
				plain.WriteString(s.Text)
			}
		}
		shown := plain.String()
		for _, r := range shown {
			if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q shows %U", text, r)
			}
		}
		if len(shown) == len(text) && shown != text {
			t.Fatalf("%q became %q", text, shown)
		}
	})
}
