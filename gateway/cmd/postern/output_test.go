package main

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
)

func TestTable(t *testing.T) {
	rows := newTable("name", "effect")
	rows.row("engineers_read", cell{"allow", styleGreen})
	rows.row("né", cell{"deny\n\x1b[2J", styleRed})
	tests := []struct {
		name string
		out  output
		want string
	}{
		{"terminal", output{terminal: true}, "NAME            EFFECT\nengineers_read  allow\nné              deny\\n\\x1b[2J\n"},
		{"colour", output{terminal: true, colour: true}, "\x1b[2mNAME\x1b[0m            \x1b[2mEFFECT\x1b[0m\n" +
			"engineers_read  \x1b[32mallow\x1b[0m\nné              \x1b[31mdeny\\n\\x1b[2J\x1b[0m\n"},
		{"pipe", output{}, "engineers_read\tallow\nné\tdeny\\n\\x1b[2J\n"},
		{"json", output{json: true}, "[\n  \"<&>\"\n]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			tt.out.w = &got
			if err := tt.out.showTable([]string{"<&>"}, rows); err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("got  %q\nwant %q", got.String(), tt.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ text, want, lines string }{
		{"select 'né'", "select 'né'", "select 'né'"},
		{"a\nb\tc\r", `a\nb\tc\r`, "a\nb\tc\\r"},
		{"a\x1b[31mb\x00\x7f", `a\x1b[31mb\x00\x7f`, `a\x1b[31mb\x00\x7f`},
		{"a\u202eb\u200b\u00a0", `a\u202eb\u200b\u00a0`, `a\u202eb\u200b\u00a0`},
		{"bad \xff \uFFFD", "bad \\xff \uFFFD", "bad \\xff \uFFFD"},
	}
	for _, tt := range tests {
		if got := printable(tt.text); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.text, got, tt.want)
		}
		if got := printableLines(tt.text); got != tt.lines {
			t.Errorf("printableLines(%q) = %q, want %q", tt.text, got, tt.lines)
		}
	}
}

func TestOutputOf(t *testing.T) {
	tests := []struct {
		args []string
		json bool
		err  string
	}{
		{[]string{}, false, ""},
		{[]string{"-o", "json"}, true, ""},
		{[]string{"-o", "yaml"}, false, `output format "yaml" is not known, want table or json`},
	}
	for _, tt := range tests {
		var out *output
		cmd := &cobra.Command{Use: "x", SilenceUsage: true, SilenceErrors: true, RunE: func(cmd *cobra.Command, _ []string) (err error) {
			out, err = outputOf(cmd)
			return err
		}}
		addOutputFlag(cmd)
		cmd.SetArgs(tt.args)
		err := cmd.Execute()
		if got := errorText(err); got != tt.err {
			t.Errorf("%q: error %q, want %q", tt.args, got, tt.err)
		}
		if err == nil && out.json != tt.json {
			t.Errorf("%q: json is %t", tt.args, out.json)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
