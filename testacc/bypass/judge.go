package bypass

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Outcome is what became of a case.
type Outcome string

// The outcomes. Of an attack that failed, Refused and Withheld say how.
const (
	Refused  Outcome = "refused"        // the attack got an error
	Withheld Outcome = "withheld"       // the attack was served, without what it was after
	Revealed Outcome = "revealed"       // the attack learned a protected value
	Executed Outcome = "executed"       // the attack did what is denied
	Served   Outcome = "served"         // the honest statement was served
	Denied   Outcome = "falsely denied" // the honest statement got an error
	Differs  Outcome = "differs"        // the honest statement was served otherwise than it should
	Alive    Outcome = "alive"          // the control did no harm
	Skipped  Outcome = "skipped"
	Broken   Outcome = "broken" // no answer, or the case could not be run
)

// Failure reports whether a gateway must not let it come to this.
func (o Outcome) Failure() bool {
	switch o {
	case Revealed, Executed, Denied, Differs, Broken:
		return true
	case Refused, Withheld, Served, Alive, Skipped:
	}
	return false
}

// Result is a case's outcome.
type Result struct {
	Case       Case
	Outcome    Outcome
	Detail     string   // what was revealed, refused or different
	Transcript []string // of the target's answers
	Took       time.Duration
}

// judge plays a case as its goal wants, and decides.
func (r *Runner) judge(ctx context.Context, c *Case, result *Result) error {
	p, err := r.perform(ctx, c, &r.Target, c.Guesses[0])
	if err != nil {
		return err
	}
	result.Transcript = p.transcript(c.Guesses[0])
	if p.hung != "" {
		return fmt.Errorf("no answer within %v to %q", r.Patience, p.hung)
	}
	result.Outcome, result.Detail = Withheld, p.refusal()
	if result.Detail != "" {
		result.Outcome = Refused
	}
	switch c.Goal {
	case Reveal:
		if c.Oracle() {
			return r.judgeOracle(ctx, p, result)
		}
		p.judgeReveal(result)
	case Execute:
		p.judgeExecute(result)
	case Allow, Serve:
		return r.judgeHonest(ctx, p, result)
	case Control:
		return r.judgeControl(ctx, p, result)
	}
	return nil
}

func (p *play) judgeReveal(result *Result) {
	if what := p.revealed(); what != "" {
		result.Outcome, result.Detail = Revealed, what
	}
}

func (p *play) judgeExecute(result *Result) {
	if p.equals {
		result.Outcome, result.Detail = Executed, "the effect took place"
	}
	if p.c.Accepted == "" {
		return
	}
	for _, r := range p.all() {
		if tag := zeroTerminated(r.body); r.kind == 'C' && strings.HasPrefix(tag, p.c.Accepted) {
			result.Outcome, result.Detail = Executed, tag
		}
	}
}

// judgeOracle plays the other guess and compares.
func (r *Runner) judgeOracle(ctx context.Context, first *play, result *Result) error {
	second, err := r.perform(ctx, first.c, &r.Target, first.c.Guesses[1])
	if err != nil {
		return err
	}
	if second.hung != "" {
		return fmt.Errorf("no answer within %v to %q", r.Patience, second.hung)
	}
	a, b := r.comparable(first.transcript(first.c.Guesses[0])), r.comparable(second.transcript(first.c.Guesses[1]))
	if slices.Equal(a, b) || first.refusal() != "" && slices.Equal(first.kinds(), second.kinds()) {
		return nil
	}
	result.Outcome, result.Detail = Revealed, "the guesses are answered differently: "+firstDifference(a, b)
	return nil
}

// judgeHonest plays the case straight, too, and compares.
func (r *Runner) judgeHonest(ctx context.Context, p *play, result *Result) error {
	straight, err := r.perform(ctx, p.c, &r.Server, "")
	if err != nil {
		return err
	}
	got, want := p.transcript(""), straight.transcript("")
	switch {
	case p.revealed() != "":
		result.Outcome, result.Detail = Revealed, p.revealed()
	case p.c.Goal == Allow && slices.Equal(got, want), p.c.Goal == Serve && p.refusal() == "" && sameButMasked(p, straight):
		result.Outcome, result.Detail = Served, ""
	case p.refusal() != straight.refusal():
		result.Outcome, result.Detail = Denied, p.refusal()
		if p.refusal() == "" {
			result.Detail = "no error, where the server has one"
		}
	default:
		result.Outcome, result.Detail = Differs, firstDifference(got, want)
	}
	return nil
}

// sameButMasked compares the rows of two plays outside of the masked columns.
func sameButMasked(p, straight *play) bool {
	rows := func(p *play) []reply {
		return slices.DeleteFunc(p.all(), func(r reply) bool { return r.kind != 'D' })
	}
	a, b := rows(p), rows(straight)
	return len(a) > 0 && slices.EqualFunc(a, b, func(x, y reply) bool {
		got, ok1 := x.values()
		want, ok2 := y.values()
		if !ok1 || !ok2 || len(got) != len(want) {
			return false
		}
		for i := range got {
			if !slices.Contains(p.c.Masked, i+1) && !bytes.Equal(got[i], want[i]) {
				return false
			}
		}
		return true
	})
}

// judgeControl asks whether the target still serves.
func (r *Runner) judgeControl(ctx context.Context, p *play, result *Result) error {
	probe := &Case{Role: p.c.Role, Goal: Reveal, Steps: []Step{{Verb: Query, Text: "SELECT 1"}}}
	after, err := r.perform(ctx, probe, &r.Target, "")
	if err != nil {
		return err
	}
	if after.hung != "" || !slices.ContainsFunc(after.all(), func(r reply) bool { return r.kind == 'D' }) {
		return fmt.Errorf("it serves nobody afterwards: %s", after.refusal())
	}
	result.Outcome = Alive
	return nil
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("%.200s, against %.200s", x, y)
		}
	}
	return "none"
}

// revealed says what the play learned that the case was after, or any other
// protected value.
func (p *play) revealed() string {
	for _, leak := range p.c.Leaks {
		if how := p.received(p.expand(leak)); how != "" {
			return how
		}
	}
	for _, r := range p.all() {
		values, _ := r.values()
		if p.c.Rows && r.kind == 'D' {
			return "a row"
		}
		for _, v := range values {
			for _, cell := range p.c.Cells {
				if v != nil && isCell(v, cell) {
					return fmt.Sprintf("the value %q", cell)
				}
			}
		}
	}
	return p.secret()
}

// isCell reports whether a row's value is a text, or the integer or truth value
// that it spells, in binary.
func isCell(v []byte, text string) bool {
	if string(v) == text || text == "t" && string(v) == "\x01" || text == "f" && string(v) == "\x00" {
		return true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false
	}
	switch len(v) {
	case 4:
		return int32(binary.BigEndian.Uint32(v)) == int32(n)
	case 8:
		return int64(binary.BigEndian.Uint64(v)) == n || math.Float64frombits(binary.BigEndian.Uint64(v)) == float64(n)
	}
	return false
}

// secret says which protected value was received that the client did not send
// itself.
func (p *play) secret() string {
	sent := p.sent.String()
	for _, s := range secrets() {
		if strings.Contains(sent, s) {
			continue
		}
		if how := p.received(s); how != "" {
			return how
		}
	}
	return ""
}

// shortest is the length from which on a text is also looked for in other
// encodings: shorter ones turn up by chance.
const shortest = 8

// received says in what form a text was received.
func (p *play) received(text string) string {
	for _, name := range p.order {
		raw := p.conns[name].raw
		for _, form := range forms(text) {
			if at := bytes.Index(raw, []byte(form.text)); at >= 0 {
				return fmt.Sprintf("%s%s", strconv.Quote(form.text), form.name)
			}
		}
	}
	return ""
}

type form struct{ text, name string }

// forms returns a text and its common encodings.
func forms(s string) []form {
	out := []form{{s, ""}}
	if len(s) < shortest {
		return out
	}
	reversed := []byte(s)
	slices.Reverse(reversed)
	wide := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		wide = append(wide, s[i], 0)
	}
	out = append(out,
		form{strings.ToUpper(s), " in capitals"}, form{strings.ToLower(s), " in small letters"},
		form{string(reversed), " reversed"}, form{string(wide), " in UTF-16"},
		form{hex.EncodeToString([]byte(s)), " in hexadecimal"}, form{strings.ToUpper(hex.EncodeToString([]byte(s))), " in hexadecimal"},
	)
	for skip := range 3 { // the text may start at any of three places in base64's groups
		whole := (len(s) - skip) / 3 * 3
		if whole > 0 {
			out = append(out, form{base64.StdEncoding.EncodeToString([]byte(s[skip : skip+whole])), " in base64"})
		}
	}
	return out
}
