package bypass

import (
	"regexp"
	"strings"
	"testing"
)

func TestCorpus(t *testing.T) {
	cases, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	shared := regexp.MustCompile(`(DROP|REASSIGN) OWNED|ALTER SYSTEM|(?m)^GRANT \w+ TO`)
	goals := map[Goal]int{}
	for _, c := range cases {
		goals[c.Goal]++
		if !name.MatchString(c.Name) || !name.MatchString(c.Category) {
			t.Errorf("%s: not a name", c.ID())
		}
		if !strings.HasSuffix(c.Title, ".") && !strings.HasSuffix(c.Title, "?") {
			t.Errorf("%s: the title %q is not a sentence", c.ID(), c.Title)
		}
		if c.Oracle() && !strings.Contains(c.allText(), "{GUESS}") {
			t.Errorf("%s: nothing guesses", c.ID())
		}
		if !c.Alone && shared.MatchString(c.allText()) {
			t.Errorf("%s: what it reaches is shared by all databases: it must run alone", c.ID())
		}
	}
	for _, g := range []Goal{Reveal, Execute, Allow, Serve, Control} {
		if goals[g] == 0 {
			t.Errorf("no case is to %s", g)
		}
	}
}

func (c *Case) allText() string {
	var b strings.Builder
	for _, s := range c.Steps {
		b.WriteString(s.Text)
		for _, m := range s.Messages {
			b.WriteString(m.text + strings.Join(m.args, " "))
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	const text = `What it is about.

-- first --
# The title.
# A remark.
as app
versions 14-17
setup CREATE TABLE t (
	  a int)
protect public.t.a
query "SELECT\r1"
query@c2 COPY t FROM STDIN
feed "1\n"
send
	parse s1(23,25): SELECT $1::int, ':'
	bind portal=p statement=s1 results=1,0 "a b" "="
	execute p max=2
	sync
sleep 20ms
leak x
cell 7
`
	cases, err := Parse("some", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c := cases[0]
	if c.ID() != "some/first" || c.Title != "The title." || c.Role != "app" || c.Goal != Reveal || !c.Versions.Has(15) || c.Versions.Has(18) {
		t.Errorf("case %+v", c)
	}
	if c.Setup[0] != "CREATE TABLE t (\n  a int)" {
		t.Errorf("setup %q", c.Setup[0])
	}
	if c.Steps[0].Text != "SELECT\r1" || c.Steps[1].Conn != "c2" || *c.Steps[1].Feed != "1\n" {
		t.Errorf("steps %+v", c.Steps)
	}
	bind := c.Steps[2].Messages[1]
	if len(bind.args) != 2 || bind.args[0] != "a b" || bind.args[1] != "=" || bind.options["results"] != "1,0" {
		t.Errorf("bind %+v", bind)
	}
	if parse := c.Steps[2].Messages[0]; parse.name != "s1" || parse.text != "SELECT $1::int, ':'" || parse.options["types"] != "23,25" {
		t.Errorf("parse %+v", parse)
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"no title":         {"query SELECT 1\nsame", "no title"},
		"no step":          {"# A.\nsame", "no step"},
		"nothing decides":  {"# A.\nquery SELECT 1", "what decides"},
		"two goals":        {"# A.\nquery SELECT 1\nsame\nleak x", "to allow and to reveal"},
		"unknown verb":     {"# A.\nfrob x\nsame", `unknown verb "frob"`},
		"one guess":        {"# A.\nquery {GUESS}\nguess x", "one guess"},
		"three guesses":    {"# A.\nquery {GUESS}\nguess x\nguess y\nguess z", "third guess"},
		"feed alone":       {"# A.\nfeed x\nsame", "feed does not follow"},
		"effect and tag":   {"# A.\nquery x\neffect SELECT 1\nequals 1\naccepted DO", "effect or a tag"},
		"masked zero":      {"# A.\nquery x\nmasked 0", "not a column's position"},
		"versions":         {"# A.\nversions x-y\nquery x\nsame", "range of majors"},
		"unknown message":  {"# A.\nsend\n\tshout\nsame", `unknown message "shout"`},
		"describe nothing": {"# A.\nsend\n\tdescribe\nsame", "describe what"},
		"bad argument":     {"# A.\nsend\n\tbind naked\nsame", "neither an option nor quoted"},
		"open quote":       {"# A.\nconnect options=\"x\nquery x\nsame", "read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("c", []byte("-- n --\n"+tt.text+"\n"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Parse("c", []byte("-- n --\n# A.\nquery x\nsame\n-- n --\n# A.\nquery x\nsame\n")); err == nil {
		t.Error("two cases of a name")
	}
}

func TestExpand(t *testing.T) {
	r := strings.NewReplacer("{DB}", "d1")
	for in, want := range map[string]string{
		"SELECT 1":             "SELECT 1",
		"{DB}.t":               "d1.t",
		"{3*ab}c":              "abababc",
		"{2*''||}x":            "''||''||x",
		"'{}'::json {0*x}":     "'{}'::json ",
		"'{\"a\":1}' {1,2} {*": "'{\"a\":1}' {1,2} {*",
	} {
		if got := expand(in, r); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# A.\nquery SELECT 1\nsame\n")
	f.Add("# A.\nsend\n\tparse s(1): x\n\tbind portal=p \"x\"\n\tsync\nmasked 1 2\n")
	f.Add("# A.\nconnect user=a options=\"-c x=y\"\nguess a\nguess b\n")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := Parse("c", []byte("-- n --\n"+text))
		if err != nil && cases != nil {
			t.Error("cases beside an error")
		}
		for _, c := range cases {
			if c.Goal == "" || len(c.Steps) == 0 {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}
