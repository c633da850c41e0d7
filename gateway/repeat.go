package gateway

import (
	"slices"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
)

// settled is what was made of a statement that was sent by itself and allowed.
// It holds for as long as everything that it was made from is the same: see
// guard.repeated.
type settled struct {
	view     *view
	info     *policylang.Session
	masks    *policylang.MaskSet
	facts    *policylang.Facts // with names resolved
	shared   bool              // it holds for texts that differ in constants, too
	decision *policylang.Decision

	made   execution       // but for what differs each time
	permit *relay.Permit   // for a Bind, which runs none of it
	known  *string         // the snapshot by which the permit's Check asks
	memo   relay.Memo      // of the upstream loop
	plan   *planned        // of the upstream loop; nil until it is made
	record evidence.Record // but for what differs each time
}

// planned is how the rows of a result are rewritten.
type planned struct {
	fields   *relay.Field // the first of those that were announced
	count    int
	rewriter relay.RowRewriter
}

// repeated returns what was made of a statement before, nil if it must be
// considered: it never was, or the policy, what the policy makes of the session
// at this moment, its masks, the catalog or the search path (with which the
// analyses are forgotten) are not what they were.
func (g *guard) repeated(ask *relay.Ask, now time.Time) *settled {
	if len(ask.Targets) != 1 || ask.Targets[0] != ask.Text.Statements[0] || g.unsettled.Load() || g.seen != nil {
		return nil
	}
	k, ok := ask.Targets[0].Data.(*known)
	if !ok {
		return nil
	}
	v := g.view.Load()
	s := g.analyses.settled[k.facts]
	if s == nil && k.facts.Origin != nil && !v.evaluator.Textual() {
		if s = g.analyses.settled[k.facts.Origin]; s != nil && !s.shared {
			s = nil
		}
	}
	if s == nil || s.view != v || s.info != g.info || s.masks != v.evaluator.Masks(now) {
		return nil
	}
	if cat := g.server.catalogs.Current(g.info.Database); cat == nil || cat != s.made.catalog {
		return nil
	}
	if v.evaluator.Decide(s.facts, now) != s.decision || !g.holds(s, ask) {
		return nil
	}
	return s
}

// settle remembers what was made of a statement, unless it has a life of its
// own: those that are recorded before they run, that set parameters, whose rows
// are copied, or for which the server is asked each time.
func (g *guard) settle(x *execution, ask *relay.Ask) {
	if len(ask.Targets) != 1 || ask.Targets[0] != ask.Text.Statements[0] || x.catalog == nil || x.catalog != x.base || g.unsettled.Load() || g.seen != nil {
		return
	}
	c := &x.statements[0]
	if c.statement == nil || c.copy != nil || c.decision == nil || c.decision.Effect != policylang.EffectAllow || setsParameter(c.known) ||
		c.facts.Class == policylang.ClassDDL || c.facts.Class == policylang.ClassRole || !g.assertable(x, c, ask) {
		return
	}
	s := &settled{
		view: x.view, info: g.info, masks: x.masks, facts: c.facts, decision: c.decision,
		shared: constantsDoNotMatter(c),
	}
	s.made = *x
	s.made.bound, s.made.statements, s.made.strict = nil, []considered{*c}, true
	s.made.statements[0].number = 0
	s.permit = s.made.permit()
	s.permit.Memo = &s.memo
	s.record = *g.statementRecord(&s.made, &s.made.statements[0])
	s.record.Masked = maskedNames(c)
	s.record.Fixed = evidence.Fix(&s.record)
	if g.analyses.settled == nil || len(g.analyses.settled) >= maxSessionTexts {
		g.analyses.settled = map[*policylang.Facts]*settled{}
	}
	form := c.known.facts
	if s.shared && form.Origin != nil && !x.view.evaluator.Textual() {
		form = form.Origin
	}
	g.analyses.settled[form] = s
}

// assertable reports whether what a statement rests on, if anything, can be
// asserted each time that it runs. Guesses are counted each time, too.
func (g *guard) assertable(x *execution, c *considered, ask *relay.Ask) bool {
	return !restsOnDefinitions(c) || x.assertion != nil && g.asksAlong(c, ask) && c.analysis.Equality == 0
}

// holds reports whether what was made of a statement may be asserted along with
// it, so that nobody need be asked first.
func (g *guard) holds(s *settled, ask *relay.Ask) bool {
	a := s.made.assertion
	return a == nil || ask.Stage == relay.StageParse || ask.CanCheck && g.readsCommitted() && a.Fresh() && !g.making.Load()
}

// again permits a statement as it was permitted before.
func (g *guard) again(s *settled, ask *relay.Ask, now time.Time) *relay.Permit {
	switch ask.Stage {
	case relay.StageParse:
		return nil
	case relay.StageBind:
		return s.permit
	default:
	}
	k, _ := ask.Targets[0].Data.(*known) // as repeated has seen
	made := &struct {
		permit    relay.Permit
		execution execution
		statement [1]considered
	}{permit: *s.permit, execution: s.made, statement: [1]considered{s.made.statements[0]}}
	x := &made.execution
	x.settled, x.sql, x.bound, x.started, x.statements = s, ask.Text.SQL, ask.Bound, now, made.statement[:]
	x.statements[0].known, x.statements[0].number, x.epoch = k, g.nextNumber(), g.setting.epoch
	made.permit.Data, made.permit.Check = x, s.check()
	g.noteEffects(k)
	return &made.permit
}

// constantsDoNotMatter reports whether what was made of a statement holds for
// every text of its form: nothing in it comes near a column that is masked,
// whatever its constants are.
func constantsDoNotMatter(c *considered) bool {
	if c.guarding == nil || c.guarding.Empty() {
		return true
	}
	if c.facts.Opaque || c.analysis == nil || c.analysis.Tainted || c.analysis.Copy != nil {
		return c.facts.Transaction
	}
	for _, name := range c.facts.Functions {
		if !slices.Contains(plainFunctions, name) {
			return false
		}
	}
	for _, rel := range c.facts.Relations {
		if c.guarding.Names(rel.Name) {
			return false
		}
	}
	return true
}

// plainFunctions compute from their arguments alone, and take no text for a
// name.
var plainFunctions = []string{
	"pg_catalog.avg", "pg_catalog.count", "pg_catalog.lower", "pg_catalog.max", "pg_catalog.min", "pg_catalog.now",
	"pg_catalog.sum", "pg_catalog.upper",
}

// maskedNames lists the masked columns of a statement's result.
func maskedNames(c *considered) []string {
	if c.analysis == nil {
		return nil
	}
	var names []string
	for _, col := range c.analysis.Columns {
		if len(col.Policies) > 0 {
			names = append(names, col.Name)
		}
	}
	return names
}
