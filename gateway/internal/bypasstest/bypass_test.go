// Package bypasstest runs the bypass corpus of testacc/bypass: straight
// against PostgreSQL, where every attack must succeed, and through a gateway,
// where none may.
//
// By default each test runs a sample of the cases on each major of PostgreSQL.
// -args -long runs all of them, -pg 18 on one major; POSTERN_BYPASS those whose name
// contains its value. POSTERN_BYPASS_CORPUS names a directory of other cases to
// run instead.
//
// testdata/known.txt lists the cases that are known to fail, in all tests or in
// one, each with its reason. What no longer fails must leave the list.
package bypasstest

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/testacc/bypass"
)

// cases returns the cases to run on a major: one in so many attacks, and twice
// as many of the others, unless -long or POSTERN_BYPASS says otherwise. Each
// major has a sample of its own.
func cases(t *testing.T, every int) []bypass.Case {
	t.Helper()
	want := os.Getenv("POSTERN_BYPASS")
	all := must(bypass.Corpus())(t)
	everything := *long
	if dir := os.Getenv("POSTERN_BYPASS_CORPUS"); dir != "" {
		all, everything = must(bypass.Read(os.DirFS(dir)))(t), true
	}
	offset := len(t.Name()) // differs from test to test
	if strings.HasSuffix(t.Name(), "18") {
		offset += every / 2
	}
	var out []bypass.Case
	for i, c := range all {
		i += offset
		sampled := i%every == 0 || !c.Goal.Attack() && i%(every/2) == 0
		if want == "" && (everything || sampled) || want != "" && strings.Contains(c.ID(), want) {
			out = append(out, c)
		}
	}
	return out
}

// known returns the cases that are known to fail, and why.
func known(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	name, _, _ := strings.Cut(t.Name(), "/")
	for line := range strings.Lines(string(must(os.ReadFile("testdata/known.txt"))(t))) {
		if id, reason, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			out[strings.TrimPrefix(id, name+" ")] = reason
		}
	}
	return out
}

// play plays the cases and logs their outcomes; one that is not acceptable, and
// not known, fails the test.
func play(t *testing.T, r *bypass.Runner, cases []bypass.Case, known map[string]string, one func(context.Context, bypass.Case) bypass.Result, acceptable func(bypass.Result) bool) {
	t.Helper()
	tally := bypass.Tally{}
	started := time.Now()
	err := r.RunAll(t.Context(), cases, 2, one, func(res bypass.Result) {
		tally.Add(res)
		reason, excused := known[strings.SplitN(res.Case.ID(), "+", 2)[0]]
		switch {
		case excused:
			t.Logf("%s: %s, as is known: %s", res.Case.ID(), res.Outcome, reason)
		case !acceptable(res):
			t.Errorf("%s (%s) as %s: %s: %s\n\t%s", res.Case.ID(), strings.TrimSuffix(res.Case.Title, "."), res.Case.Role,
				res.Outcome, res.Detail, strings.Join(res.Transcript, "\n\t"))
		}
	})
	if err != nil {
		t.Error(err)
	}
	var table strings.Builder
	if err := tally.WriteTable(&table); err != nil {
		t.Error(err)
	}
	t.Logf("%d cases in %v\n%s", len(cases), time.Since(started).Round(time.Second), table.String())
}

// open makes the runner's databases until the test ends.
func open(t *testing.T, r *bypass.Runner) *bypass.Runner {
	t.Helper()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

// TestStraight is the poison control: without a gateway each attack succeeds,
// and none seems to that was not made.
func TestStraight(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		r := open(t, newRunner(c))
		wants := map[bypass.Goal]bypass.Outcome{
			bypass.Reveal: bypass.Revealed, bypass.Execute: bypass.Executed,
			bypass.Allow: bypass.Served, bypass.Serve: bypass.Revealed, bypass.Control: bypass.Alive,
		}
		play(t, r, cases(t, 24), nil, r.Run, func(res bypass.Result) bool {
			return res.Outcome == wants[res.Case.Goal] || res.Outcome == bypass.Skipped || res.Case.Unproven
		})
		play(t, r, idle(cases(t, 24)), nil, r.Run, func(res bypass.Result) bool { return !res.Outcome.Failure() })
	})
}

// idle returns the cases that have an effect, without what brings it about.
func idle(cases []bypass.Case) []bypass.Case {
	var out []bypass.Case
	for _, c := range cases {
		if c.Effect == "" {
			continue
		}
		c.Steps = slices.DeleteFunc(slices.Clone(c.Steps), func(s bypass.Step) bool { return s.Verb != bypass.Connect })
		out = append(out, c)
	}
	return out
}

// gatewayRunner returns a runner against a gateway that enforces what cases
// ask for, changed by edit.
func gatewayRunner(t *testing.T, cluster *pgtest.Cluster, edit func(*policylang.Policy)) *bypass.Runner {
	t.Helper()
	b := newBench(t, cluster)
	r := newRunner(cluster)
	r.Target = b.target
	r.Ignore = regexp.MustCompile(`Decision d_[0-9a-f]+`)
	r.Use = func(_ context.Context, want bypass.Policy) error {
		p := b.policy(want)
		if edit != nil {
			edit(p)
		}
		return b.enforce(p)
	}
	return r
}

// holds reports whether the gateway did what it must.
func holds(res bypass.Result) bool { return !res.Outcome.Failure() }

// TestGateway holds a gateway to the corpus.
func TestGateway(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		r := open(t, gatewayRunner(t, c, nil))
		play(t, r, cases(t, 6), known(t), r.Run, holds)
	})
}

// TestGatewayExtended does so with every statement sent by the extended
// protocol, its results as text and in binary.
func TestGatewayExtended(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		r := open(t, gatewayRunner(t, c, nil))
		var out []bypass.Case
		for i, k := range cases(t, 24) {
			out = append(out, k.Extended(i%2 == 0))
		}
		play(t, r, out, known(t), r.Run, holds)
	})
}

// TestRulesAlone holds a gateway to the corpus' second policy where nothing is
// masked: rules must see through what masking would refuse anyway.
func TestRulesAlone(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		r := open(t, gatewayRunner(t, c, func(p *policylang.Policy) { p.MaskingPolicies = nil }))
		play(t, r, slices.DeleteFunc(cases(t, 24), func(k bypass.Case) bool { return k.Goal != bypass.Execute }), known(t), r.Run, holds)
	})
}

// TestTwoWorlds compares a gateway's answers before two databases that differ
// in protected values alone: any difference is a leak.
func TestTwoWorlds(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		here := open(t, gatewayRunner(t, c, nil))
		play(t, here, cases(t, 24), known(t), compare(t, here), holds)
	})
}

// TestTwoWorldsStraight is its poison control: a bare server's answers differ.
func TestTwoWorldsStraight(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		here := open(t, newRunner(c))
		differ := 0
		reveals := slices.DeleteFunc(cases(t, 24), func(k bypass.Case) bool { return k.Goal != bypass.Reveal || k.Unproven })
		play(t, here, reveals, nil, compare(t, here), func(res bypass.Result) bool {
			if res.Outcome == bypass.Revealed {
				differ++
			}
			return true
		})
		if differ < len(reveals)*3/4 { // some attacks are after other things than values
			t.Errorf("of %d attacks that reveal, %d show a difference", len(reveals), differ)
		}
	})
}

// compare returns what compares the runner's world with another.
func compare(t *testing.T, here *bypass.Runner) func(context.Context, bypass.Case) bypass.Result {
	t.Helper()
	there := open(t, &bypass.Runner{
		Server: here.Server, Target: here.Target, Directory: here.Directory, Use: here.Use, Ignore: here.Ignore, Rewrite: bypass.Elsewhere,
	})
	return func(ctx context.Context, c bypass.Case) bypass.Result { return here.Compare(ctx, c, there) }
}
