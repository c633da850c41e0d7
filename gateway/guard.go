package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// guard answers the relay for one session: it is what each statement goes
// through, from its text to its record.
type guard struct {
	*session

	// Of the client loop.
	env      lineage.Environment
	stale    bool             // the search path must be read again
	seen     *catalog.Session // what the session's transaction has made; nil if nothing
	over     overlay
	pathSet  bool // the search path was set, and a rollback may undo that
	analyses analysisCache
	number   int64 // of the last statement
	setting  isolation

	// Of the upstream loop.
	pending []evidence.Record
	altered bool // the catalog may have been changed by what is not committed yet

	// unsettled says that names may mean something else to this session than the
	// catalog says, until its transaction ends. The upstream loop sets it before
	// the client loop has read the search path again.
	unsettled atomic.Bool

	// committed is the epoch of setting in which the server said that transactions
	// are READ COMMITTED. The upstream loop sets it.
	committed atomic.Uint64

	// making says that the open transaction may have made tables. The client loop
	// sets it, the upstream loop takes it back.
	making atomic.Bool
}

// maxSessionTexts bounds what a session remembers of texts.
const maxSessionTexts = 2000

func newGuard(s *session, searchPath []string) *guard {
	return &guard{
		session: s,
		env:     lineage.Environment{SearchPath: searchPath, Role: s.info.Role, Database: s.info.Database},
		setting: isolation{epoch: 1},
	}
}

// known is what the guard keeps of a statement (relay.Statement.Data).
type known struct {
	statement *statement.Statement // nil if the text could not be parsed, or was never seen
	facts     *policylang.Facts    // from the text alone
}

// Read parses a text into statements.
func (g *guard) Read(sql string) (*relay.Text, *refusal.Refusal) {
	tree, err := g.server.statements.Parse(sql)
	if err != nil {
		return g.unparsed(sql, err)
	}
	text, _ := tree.Derived(describeTree).(*relay.Text) // nothing else is
	return text, nil
}

// describeTree makes the relay's text of a tree.
func describeTree(tree *statement.Tree) any {
	made := &struct { // most texts are of one statement
		text relay.Text
		one  [1]*relay.Statement
	}{}
	made.text.SQL, made.text.Statements = tree.SQL, made.one[:0]
	for i := range tree.Statements {
		made.text.Statements = append(made.text.Statements, describeStatement(&tree.Statements[i]))
	}
	return &made.text
}

// unparsed refuses a text that cannot be read, unless the policy lets such
// texts be decided as opaque ones.
func (g *guard) unparsed(sql string, err error) (*relay.Text, *refusal.Refusal) {
	var e *statement.Error
	if !errors.As(err, &e) {
		return nil, refusal.New(refusal.Unparsed, "the statement cannot be read")
	}
	code := refusal.Unparsed
	switch e.Kind {
	case statement.TooLong:
		code = refusal.TooLarge
	case statement.TooDeep, statement.TooMany:
		code = refusal.TooComplex
	case statement.NotUTF8, statement.NulByte:
		code = refusal.BadEncoding
	case statement.Syntax:
		if g.view.Load().policy.Program.Gateway().Unparsed == "allow" {
			return &relay.Text{SQL: sql, Statements: []*relay.Statement{opaque("UNPARSED", sql)}}, nil
		}
	}
	r := refusal.New(code, "%s", e.Message)
	r.Position = e.Position
	return nil, r
}

// Unknown stands for a statement that the session has never seen.
func (g *guard) Unknown(command string) *relay.Statement { return opaque(command, "") }

// opaque returns a statement of which nothing is known: only a rule that
// allows everything allows it, and nobody with masks may run it.
func opaque(command, sql string) *relay.Statement {
	return &relay.Statement{Exits: true, Data: &known{facts: &policylang.Facts{
		Text: sql, Command: command, Commands: []string{command}, Class: policylang.ClassFunction, Opaque: true, Limit: -1,
	}}}
}

// nothing is an EXECUTE that runs nothing.
var nothing = &known{facts: &policylang.Facts{
	Command: "EXECUTE", Commands: []string{"EXECUTE"}, Class: policylang.ClassMisc, ReadOnly: true, Transaction: true, Limit: -1,
}}

// describeStatement tells the relay what a statement does to names.
func describeStatement(st *statement.Statement) *relay.Statement {
	made := &struct {
		statement relay.Statement
		known     known
	}{known: known{statement: st, facts: st.Facts}}
	out := &made.statement
	out.Name, out.Data = st.Session.Name, &made.known
	if st.Session.Inner != nil {
		out.Inner = describeStatement(st.Session.Inner)
	}
	switch st.Session.Kind {
	case statement.Prepare:
		out.Effect = relay.EffectPrepare
	case statement.Execute:
		out.Effect = relay.EffectExecute
	case statement.Deallocate:
		out.Effect = relay.EffectDeallocate
		if st.Session.Name == "" {
			out.Effect = relay.EffectDeallocateAll
		}
	case statement.Declare:
		out.Effect = relay.EffectDeclare
	case statement.Fetch, statement.Move:
		out.Effect = relay.EffectFetch
	case statement.CloseCursor:
		out.Effect = relay.EffectCloseCursor
	case statement.Discard:
		if st.Session.Value == "all" {
			out.Effect = relay.EffectDeallocateAll
		}
	case statement.Copy:
		out.CopyIn = st.Session.Value == "in"
	case statement.Commit, statement.Rollback, statement.RollbackTo, statement.PrepareTransaction:
		out.Exits = true
	default:
	}
	return out
}

// Stale returns what must be asked of the session before the next text.
func (g *guard) Stale() string {
	switch {
	case !g.stale && g.env.SearchPath != nil: // it is nil where it was asked for in vain, in a failed transaction
		return ""
	case g.making.Load():
		return catalog.SessionSQL
	}
	return catalog.PathSQL
}

// Refresh takes the search path, and the tables that the session's transaction
// has made.
func (g *guard) Refresh(rows [][]string) {
	g.stale = false
	g.analyses.clear()
	g.env.SearchPath, g.seen, g.over = nil, nil, overlay{}
	if rows != nil {
		s := catalog.ReadSession(rows)
		g.env.SearchPath = s.Path
		if !s.Empty() {
			g.seen = s
		}
	}
}

// noteEffects remembers what a permitted statement may change about how the
// next is read.
func (g *guard) noteEffects(k *known) {
	g.setting.note(k)
	if k.statement == nil || k.facts.Opaque {
		g.stale = true
		return
	}
	switch k.statement.Session.Kind {
	case statement.Set, statement.Reset:
		if k.statement.Session.Name == "search_path" {
			g.stale, g.pathSet = true, true
		}
		if k.statement.Session.Name == statement.ReasonParameter {
			g.setReason(k.statement.Session.Value)
		}
	case statement.ResetAll, statement.Discard:
		g.stale = true
	case statement.Commit, statement.Rollback, statement.RollbackTo:
		g.stale = g.stale || g.pathSet
	default:
	}
	switch k.facts.Class {
	case policylang.ClassDDL, policylang.ClassRole:
		g.stale, g.pathSet = true, true
	case policylang.ClassFunction:
		g.stale = true
	case policylang.ClassMisc, policylang.ClassRead, policylang.ClassWrite:
		if slices.ContainsFunc(k.facts.Functions, func(f string) bool { return strings.HasSuffix(f, "set_config") }) {
			g.stale, g.pathSet = true, true
		}
	}
}

// noteOutcome remembers that a statement may have changed the catalog, whether
// it is known to have worked or not.
func (g *guard) noteOutcome(x *execution, c *considered) {
	switch {
	case c.facts.Class == policylang.ClassDDL, c.facts.Class == policylang.ClassRole, c.facts.Command == "COMMIT PREPARED":
		g.altered = true
		if !onlyAdds(c, x.catalog, x.path) && !onlyOwn(c, x.seen) {
			g.unsettled.Store(true)
		}
	}
}

// Settled has the catalog read anew if it may have been changed: only now do
// other connections see the change.
func (g *guard) Settled() {
	g.making.Store(false)
	if g.altered {
		g.altered = false
		g.server.catalogs.Invalidate(g.info.Database)
		g.unsettled.Store(false)
	}
}

// setReason makes a reason the session's, for rules and evidence.
func (g *guard) setReason(reason string) {
	info := *g.info
	info.Reason = reason
	g.info = &info
	v := g.view.Load()
	g.view.Store(&view{policy: v.policy, subject: v.subject, evaluator: v.policy.Program.Evaluator(v.subject, g.info)})
}

// Decide is asked before anything is forwarded that runs, or could.
func (g *guard) Decide(ctx context.Context, ask *relay.Ask) (*relay.Permit, *refusal.Refusal) {
	g.server.decided.Add(1)
	now := g.server.cfg.Clock()
	if s := g.repeated(ask, now); s != nil {
		return g.again(s, ask, now), nil
	}
	x, r := g.consider(ctx, ask)
	if r != nil {
		return nil, g.denied(x, ask, r)
	}
	g.settle(x, ask)
	if ask.Stage == relay.StageParse {
		return nil, nil
	}
	if r := g.hold(ctx, x, ask); r != nil {
		return nil, g.denied(x, ask, r)
	}
	if r := g.spendLookups(x, ask.Stage); r != nil {
		return nil, g.denied(x, ask, r)
	}
	if ask.Stage != relay.StageBind {
		if r := g.recordIntent(ctx, x); r != nil {
			return nil, r
		}
		for _, s := range x.statements {
			g.noteEffects(s.known)
			if x.masked && s.facts.Class == policylang.ClassDDL {
				g.making.Store(true)
			}
		}
	}
	return x.permit(), nil
}

// execution is a permitted text (relay.Permit.Data).
type execution struct {
	view       *view
	sql        string
	bound      *relay.Bound
	statements []considered
	catalog    *pgcatalog.Catalog  // by which names were resolved; nil if it could not be read
	base       *pgcatalog.Catalog  // catalog without what the session's transaction has made
	seen       *catalog.Session    // what that has made
	path       []string            // the session's search path; nil if it is not known
	unknown    bool                // it was refused for a name that is not in the catalog
	changed    bool                // it was refused since the schema has changed
	masks      *policylang.MaskSet // of the session
	masked     bool                // there are any
	detectors  []mask.Detector     // for texts of columns that are not masked
	approval   approval            // by which it passed, if it was held
	started    time.Time
	settled    *settled           // by which it was permitted; nil if it was considered anew
	assertion  *catalog.Assertion // that the server must find to hold; nil if it has been asked, or need not be
	strict     bool               // … in a transaction that is READ COMMITTED
	epoch      uint64             // of the isolation that was set when it was permitted
	overtaken  bool               // the server found that it does not. Of the upstream loop
}

// considered is one statement of a text, with what was decided about it.
type considered struct {
	*known
	number   int64             // of the statement in its session; 0 until it is permitted or denied
	facts    *policylang.Facts // with names resolved
	decision *policylang.Decision
	analysis *lineage.Analysis // nil if no mask applies, or nothing can be shown
	guarding *lineage.Protection
	copy     *mask.Copy // rewrites the rows of COPY … TO; nil if nothing in them is masked
}

// consider decides each statement of a text: the strictest outcome is the
// text's. It waits for nothing but the catalog, which is read anew if it does
// not have a name: somebody else may just have made it.
func (g *guard) consider(ctx context.Context, ask *relay.Ask) (*execution, *refusal.Refusal) {
	x, r := g.considerNow(ctx, ask)
	if r == nil || (!x.unknown && !x.changed) {
		return x, r
	}
	defer relay.Slow(ctx)()
	if r != nil && x.unknown && g.server.catalogs.Renew(g.info.Database, x.base) {
		x, r = g.considerNow(ctx, ask)
	}
	for tries := 0; r != nil && x.changed && tries < 3; tries++ {
		g.server.catalogs.Invalidate(g.info.Database)
		x, r = g.considerNow(ctx, ask)
	}
	return x, r
}

// considerNow considers a text by the catalog as it is known.
func (g *guard) considerNow(ctx context.Context, ask *relay.Ask) (*execution, *refusal.Refusal) {
	now := g.server.cfg.Clock()
	x := &execution{view: g.view.Load(), sql: ask.Text.SQL, bound: ask.Bound, started: now, epoch: g.setting.epoch}
	masks := x.view.evaluator.Masks(now)
	x.masks = masks
	x.masked, x.detectors = len(masks.Masks) > 0, detectorsOf(masks)
	names, r := g.names(ctx, masks)
	if r != nil {
		return x, r
	}
	x.catalog, x.base, x.seen, x.path = names.catalog, names.base, g.seen, g.env.SearchPath
	if x.masked && len(ask.Targets) > 1 {
		if r := onlyData(ask.Text); r != nil {
			return x, r
		}
	}
	if r := names.checkTypes(ask.Types); r != nil {
		return x, r
	}
	for i, target := range ask.Targets {
		// What EXECUTE and FETCH run counts, and so does what they are.
		by := ask.Text.Statements[i]
		for _, s := range []*relay.Statement{by, target} {
			if r := g.checkSession(s); r != nil {
				return x, r
			}
		}
		c, r := g.considerOne(names, target, by)
		if r != nil {
			return x, r
		}
		c.decision = x.view.evaluator.Decide(c.facts, now)
		if c.decision.ByDefault && setsParameter(c.known) {
			c.decision = &policylang.Decision{Effect: policylang.EffectAllow, ByDefault: true, Observed: c.decision.Observed}
		}
		x.statements = append(x.statements, c)
		if c.facts.Transaction {
			continue
		}
		if r := g.judge(c); r != nil {
			return x, r
		}
		if r := x.checkSearched(c.known); r != nil {
			return x, r
		}
		if x.masked {
			if r := g.checkUnsettled(c.known); r != nil {
				return x, r
			}
			if r := names.analyse(g, &x.statements[i], by); r != nil {
				x.unknown = names.unknown
				return x, r
			}
			if r := names.verify(ctx, g, x, ask); r != nil {
				x.changed = names.changed
				return x, r
			}
			if r := g.checkCopy(&x.statements[i]); r != nil {
				return x, r
			}
			if x.statements[i].copy != nil && len(ask.Targets) > 1 {
				return x, refusal.New(refusal.Masked, "with masked columns, COPY may not stand beside other statements").
					WithHint("Send each statement by itself.")
			}
		}
	}
	return x, nil
}

// considerOne finds the facts of what a statement runs.
func (g *guard) considerOne(names *names, target, by *relay.Statement) (considered, *refusal.Refusal) {
	if target == relay.Nothing { // the server does not compute its arguments
		return considered{known: nothing, facts: nothing.facts}, nil
	}
	k, ok := target.Data.(*known)
	if !ok {
		return considered{}, refusal.New(refusal.PolicyDenied, "the statement is not known")
	}
	c := considered{known: k, facts: names.resolve(g, k)}
	if by != target {
		c.facts = withArguments(c.facts, by)
	}
	return c, nil
}

// withArguments adds to the facts of what EXECUTE runs what its arguments call.
func withArguments(facts *policylang.Facts, by *relay.Statement) *policylang.Facts {
	k, ok := by.Data.(*known)
	if !ok || len(k.facts.Functions) == 0 {
		return facts
	}
	out := *facts
	out.Functions = slices.Concat(facts.Functions, k.facts.Functions)
	slices.Sort(out.Functions)
	out.Functions = slices.Compact(out.Functions)
	out.ReadOnly, out.Opaque = false, true
	if out.Class == policylang.ClassRead || out.Class == policylang.ClassMisc || out.Class == policylang.ClassWrite {
		out.Class = policylang.ClassFunction
	}
	return &out
}

// judge turns a decision into a refusal, unless it allows or holds.
func (g *guard) judge(c considered) *refusal.Refusal {
	d := c.decision
	switch d.Effect {
	case policylang.EffectAllow, policylang.EffectHold:
	case policylang.EffectDeny, policylang.EffectLimit:
		return deniedBy(d)
	default:
		return deniedBy(d)
	}
	if d.Limits.ReadOnly && !c.facts.ReadOnly {
		return refusal.New(refusal.ReadOnly, "rule %s allows only statements that provably change nothing", list(d.Limits.Rules))
	}
	if d.Limits.RequireReason && g.info.Reason == "" {
		return refusal.New(refusal.ReasonRequired, "rule %s wants a reason for this statement", list(d.Limits.Rules))
	}
	return nil
}

func deniedBy(d *policylang.Decision) *refusal.Refusal {
	switch {
	case d.ByDefault:
		return refusal.New(refusal.PolicyDenied, "no rule allows this statement")
	case d.Message != "":
		return refusal.New(refusal.PolicyDenied, "denied by rule %s: %s", list(d.Rules), d.Message)
	}
	return refusal.New(refusal.PolicyDenied, "denied by rule %s", list(d.Rules))
}

// checkSession refuses what a session may never do to itself, whatever rules
// say.
func (g *guard) checkSession(s *relay.Statement) *refusal.Refusal {
	k, ok := s.Data.(*known)
	if !ok || k.statement == nil {
		return nil
	}
	e := &k.statement.Session
	switch e.Kind {
	case statement.Set:
		return checkSetting(e.Name, e.Value)
	case statement.Reset:
		if !statement.MayReset(e.Name) {
			return refusedSetting(e.Name)
		}
	default:
		return checkAssigned(k.statement, ownOperators(g.env.SearchPath))
	}
	return nil
}

// checkAssigned refuses to set from inside of a statement, by set_config or in
// a body, what a client may not SET, or what depends on the value.
func checkAssigned(st *statement.Statement, ownOperators bool) *refusal.Refusal {
	if st.Session.Kind.SetsParameters() {
		return nil
	}
	const noValue = "\x00" // none that a parameter could be allowed for
	for _, name := range st.Assigns {
		name, picked := strings.CutPrefix(name, "=")
		switch {
		case name == "*", picked && !ownOperators:
			return refusal.New(refusal.SettingRefused, "the statement may change any parameter").
				WithHint("Name the parameter by a constant, or use SET.")
		case !statement.MaySet(name, noValue):
			return refusedSetting(name)
		}
	}
	return nil
}

// ownOperators reports whether the operators of a text are PostgreSQL's own,
// where it has one: no schema comes before pg_catalog but that for temporary
// objects, in which operators are not looked for.
func ownOperators(path []string) bool {
	for _, schema := range path {
		if !strings.HasPrefix(schema, "pg_temp") {
			return schema == "pg_catalog"
		}
	}
	return false
}

// setsParameter reports whether a statement does no more than set parameters,
// which checkSession has let pass: rules may deny it, and need not allow it.
func setsParameter(k *known) bool {
	return k.statement != nil && k.statement.Session.Kind.SetsParameters()
}

// onlyData refuses a text of several statements that does more than read and
// write rows: in a text, what one statement does to names and settings changes
// how the server reads the next.
func onlyData(t *relay.Text) *refusal.Refusal {
	for _, s := range t.Statements {
		k, ok := s.Data.(*known)
		if !ok || k.statement == nil || s.Effect != relay.EffectNone ||
			(k.facts.Class != policylang.ClassRead && k.facts.Class != policylang.ClassWrite && !k.facts.Transaction) {
			return refusal.New(refusal.Masked, "with masked columns in the database, a text of several statements may only read and write rows").
				WithHint("Send each statement by itself.")
		}
	}
	return nil
}

// permit makes the relay's permit of an execution.
func (x *execution) permit() *relay.Permit {
	p := &relay.Permit{Data: x, Fenced: x.masked, Check: x.check()}
	for _, s := range x.statements {
		if s.decision == nil {
			continue
		}
		l := s.decision.Limits
		if l.MaxRows > 0 && (p.MaxRows == 0 || l.MaxRows < p.MaxRows) {
			p.MaxRows = l.MaxRows
		}
		if l.StatementTimeout > 0 && (p.Timeout == 0 || l.StatementTimeout < p.Timeout) {
			p.Timeout = l.StatementTimeout
		}
		if s.analysis != nil {
			p.Tainted = p.Tainted || s.analysis.Tainted
		}
		if s.copy != nil {
			p.Copy = s.copy
		}
		if x.masked && (s.analysis != nil || (s.guarding != nil && s.guarding.Empty())) {
			p.CopyOut = true
		}
		if x.masked && s.statement != nil && (s.statement.Session.Kind == statement.Commit || s.statement.Session.Kind == statement.SetConstraints) {
			p.Tainted = true // deferred constraints fail with values
		}
	}
	return p
}

func list(names []string) string { return strings.Join(names, ", ") }
