package bypass

import (
	"encoding/binary"
	"strings"
	"testing"
)

// received returns a play of a case that has received these bytes.
func playOf(c Case, raw []byte) *play {
	got := &conn{raw: raw}
	for {
		if _, ok, err := got.next(); !ok || err != nil {
			break
		}
	}
	return &play{c: &c, fill: strings.NewReplacer(), conns: map[string]*conn{"": got}, order: []string{""}}
}

func rowOf(values ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(v))), v...)
	}
	return appendMessage(nil, 'D', body)
}

func TestRevealed(t *testing.T) {
	const value = "alice@secret.example"
	leak := Case{Leaks: []string{value}}
	tests := map[string]struct {
		c    Case
		raw  []byte
		want bool
	}{
		"plain":              {leak, rowOf(value), true},
		"in an error":        {leak, appendMessage(nil, 'E', []byte("MKey (email)=("+value+")\x00\x00")), true},
		"in a notification":  {leak, appendMessage(nil, 'A', []byte("\x00\x00\x00\x01z\x00"+value+"\x00")), true},
		"in a parameter":     {leak, appendMessage(nil, 'S', []byte("application_name\x00"+value+"\x00")), true},
		"before a message":   {leak, []byte(value), true},
		"capitals":           {leak, rowOf(strings.ToUpper(value)), true},
		"reversed":           {leak, rowOf("elpmaxe.terces@ecila"), true},
		"hexadecimal":        {leak, rowOf(`\x616c696365407365637265742e6578616d706c65`), true},
		"base64":             {leak, rowOf("YWxpY2VAc2VjcmV0LmV4YW1wbGU="), true},
		"base64, shifted":    {leak, rowOf("eGFsaWNlQHNlY3JldC5leGFtcGxl"), true},
		"another's value":    {Case{Leaks: []string{"x"}}, rowOf("bob@secret.example"), true},
		"masked":             {leak, rowOf("*****"), false},
		"nothing":            {leak, nil, false},
		"short, encoded":     {Case{Leaks: []string{"alice"}}, rowOf("ecila"), false},
		"cell":               {Case{Cells: []string{"97"}}, rowOf("1", "97"), true},
		"part of a cell":     {Case{Cells: []string{"97"}}, rowOf("1970"), false},
		"cell, binary":       {Case{Cells: []string{"97"}}, rowOf("\x00\x00\x00\x61"), true},
		"cell, binary truth": {Case{Cells: []string{"t"}}, rowOf("\x01"), true},
		"row":                {Case{Rows: true}, rowOf(), true},
		"no row":             {Case{Rows: true}, appendMessage(nil, 'C', []byte("SELECT 0\x00")), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := playOf(tt.c, tt.raw).revealed(); (got != "") != tt.want {
				t.Errorf("revealed = %q", got)
			}
		})
	}
}

// TestOwnText: what the client sent itself is no secret when it comes back.
func TestOwnText(t *testing.T) {
	p := playOf(Case{}, rowOf("bob@secret.example"))
	p.sent.WriteString("SELECT 'bob@secret.example'")
	if got := p.revealed(); got != "" {
		t.Errorf("revealed = %q", got)
	}
}

func TestSameButMasked(t *testing.T) {
	c := Case{Goal: Serve, Masked: []int{2}}
	straight := playOf(c, rowOf("1", "alice@secret.example", "x"))
	for name, tt := range map[string]struct {
		row  []byte
		want bool
	}{
		"masked":         {rowOf("1", "***", "x"), true},
		"other value":    {rowOf("1", "***", "y"), false},
		"missing column": {rowOf("1", "***"), false},
		"no row":         {nil, false},
		"malformed":      {appendMessage(nil, 'D', []byte{0, 3, 0}), false},
	} {
		if got := sameButMasked(playOf(c, tt.row), straight); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestExecuted(t *testing.T) {
	for name, tt := range map[string]struct {
		p    *play
		want Outcome
	}{
		"effect":    {&play{c: &Case{Effect: "x"}, equals: true}, Executed},
		"no effect": {&play{c: &Case{Effect: "x"}}, Refused},
		"tag":       {playOf(Case{Accepted: "LOCK"}, appendMessage(nil, 'C', []byte("LOCK TABLE\x00"))), Executed},
		"other tag": {playOf(Case{Accepted: "LOCK"}, appendMessage(nil, 'C', []byte("BEGIN\x00"))), Refused},
	} {
		result := Result{Outcome: Refused}
		tt.p.judgeExecute(&result)
		if result.Outcome != tt.want {
			t.Errorf("%s: %s", name, result.Outcome)
		}
	}
}

func TestExtended(t *testing.T) {
	c := Case{Name: "n", Steps: []Step{
		{Verb: Query, Text: "SELECT 1"}, {Verb: Query, Text: "SELECT 1; SELECT 2"}, {Verb: Query, Text: "COPY t FROM STDIN", Feed: new(string)},
	}}
	e := c.Extended(true)
	if e.Name != "n+extended+binary" || e.Steps[0].Verb != Send || e.Steps[1].Verb != Query || e.Steps[2].Verb != Query || c.Steps[0].Verb != Query {
		t.Errorf("extended %+v, of %+v", e, c)
	}
}

func TestElsewhere(t *testing.T) {
	for _, s := range secrets() {
		if got := Elsewhere(s); got == s || !strings.Contains(s, "@") && got[len(got)-4:] != s[len(s)-4:] {
			t.Errorf("Elsewhere(%q) = %q", s, got)
		}
	}
}

func TestTable(t *testing.T) {
	tally := Tally{}
	tally.Add(Result{Case: Case{Category: "copy"}, Outcome: Refused})
	tally.Add(Result{Case: Case{Category: "copy"}, Outcome: Revealed})
	tally.Add(Result{Case: Case{Category: "wire"}, Outcome: Served})
	var b strings.Builder
	if err := tally.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[2], "| copy ") || !strings.HasPrefix(lines[4], "| all ") || tally.Failures() != 1 {
		t.Errorf("%d failures\n%s", tally.Failures(), b.String())
	}
}
