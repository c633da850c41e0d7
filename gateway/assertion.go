package gateway

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/statement"
)

// An analysis rests on definitions that somebody else may change at any time.
// So the server is asked, before what was analysed runs, whether they are still
// those of the catalog: see docs/adr/0008-definitions-are-asserted-in-the-transaction.md.
//
// Where it can be, the question goes along with the statement, in front of it
// and in its transaction. It fails the statement if the answer is no. So that a
// change of the schema costs nobody an error as long as statements are seconds
// apart, it is asked alone, on a connection of the gateway's own, where it was
// not asked within a second.

// verifyAfter is for how long the definitions that a Bind looked at are taken
// to be what they were when its portal is executed. It has locked the relations.
const verifyAfter = 10 * time.Millisecond

// restsOnDefinitions reports whether an analysis rests on what somebody else may
// replace at any time, or add: a function or a cast that fits better.
func restsOnDefinitions(c *considered) bool {
	a := c.analysis
	return a != nil && (c.facts.Class != policylang.ClassMisc || len(a.Relations)+len(a.Functions) > 0)
}

// verify makes sure that the last of the statements runs by the definitions
// that it was analysed by.
func (n *names) verify(ctx context.Context, g *guard, x *execution, ask *relay.Ask) *refusal.Refusal {
	c := &x.statements[len(x.statements)-1]
	if ask.Stage == relay.StageParse || !restsOnDefinitions(c) {
		return nil // nothing runs yet, or nothing can be swapped
	}
	assertion := g.server.catalogs.Assert(g.info.Database, n.base, c.analysis.Relations)
	along := assertion != nil && g.asksAlong(c, ask)
	if along && g.readsCommitted() && assertion.Fresh() {
		x.assertion, x.strict = assertion, true
		return nil
	}
	e := g.analyses.entry(c.known)
	if ask.Stage != relay.StageExecute || time.Since(e.verified) >= verifyAfter {
		if r := n.verifyNow(ctx, g, assertion); r != nil {
			return r
		}
		e.verified = time.Now()
	}
	if along {
		x.assertion = assertion
	}
	return nil
}

// verifyNow asks the server on another connection.
func (n *names) verifyNow(ctx context.Context, g *guard, a *catalog.Assertion) *refusal.Refusal {
	defer relay.Slow(ctx)()
	same, err := g.server.catalogs.Same(ctx, g.info.Database, a)
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "look at the catalog", slog.Any("error", err))
		return refusal.New(refusal.CatalogUnavailable, "the database's catalog cannot be read, and columns are masked for you")
	}
	if !same {
		n.changed = true
		return refusal.New(refusal.CatalogUnavailable, "the schema changes faster than it can be read")
	}
	return nil
}

// asksAlong reports whether the server may be asked in the session itself: in
// front of a statement that reads or writes rows, while the session sees the
// same schema as everybody.
func (g *guard) asksAlong(c *considered, ask *relay.Ask) bool {
	commands := []string{"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"}
	return ask.CanCheck && c.facts.Class != policylang.ClassDDL && slices.Contains(commands, c.facts.Command) && g.seen == nil && !g.making.Load()
}

// readsCommitted reports whether the server said that transactions are READ
// COMMITTED, and nothing was set since that may have changed that. In others the
// system catalogs are seen as they were when the transaction began.
func (g *guard) readsCommitted() bool { return g.committed.Load() == g.setting.epoch }

// check is what the server is asked along with an execution.
func (x *execution) check() *relay.Check {
	if x.assertion == nil {
		return nil
	}
	q := x.assertion.Question(x.strict)
	return &relay.Check{Name: q.Name, SQL: q.SQL, Args: q.Args, Fails: catalog.ChangedSQLSTATE, Refusal: errSchemaChanged}
}

var errSchemaChanged = refusal.New(refusal.SchemaChanged, "the schema has just been changed, and columns are masked for you")

// check is what the server is asked along with a settled execution, made anew
// when something else must be asked.
func (s *settled) check() *relay.Check {
	if a := s.made.assertion; a != nil && a.Known() != s.known {
		s.known = a.Known()
		s.permit.Check = s.made.check()
	}
	return s.permit.Check
}

// Checked notes what the server answered.
func (g *guard) Checked(p *relay.Permit, answer string, passed bool) {
	x, ok := p.Data.(*execution)
	switch {
	case !ok || x.assertion == nil:
	case passed && x.assertion.Held(answer):
		g.committed.Store(x.epoch)
	default:
		g.committed.Store(0)
		if !passed && answer == catalog.ChangedSQLSTATE {
			x.overtaken = true
			g.server.catalogs.Failed(g.info.Database, x.assertion)
		}
	}
}

// isolation notes what may change how transactions of a session are isolated.
// The client loop owns it.
type isolation struct {
	epoch uint64 // grows when something may have
	local bool   // … until the transaction ends
}

// note notes a statement that is about to run.
func (i *isolation) note(k *known) {
	switch {
	case setsIsolation(k):
		i.epoch++
		i.local = true
	case i.local && k.statement != nil:
		switch k.statement.Session.Kind {
		case statement.Commit, statement.Rollback, statement.RollbackTo, statement.PrepareTransaction:
			i.epoch++
			i.local = k.statement.Session.Kind == statement.RollbackTo
		default:
		}
	}
}

// setsIsolation reports whether a statement may set how transactions are
// isolated.
func setsIsolation(k *known) bool {
	if k.statement == nil || k.facts.Opaque {
		return true
	}
	switch k.statement.Session.Kind {
	case statement.ResetAll, statement.Discard:
		return true
	case statement.Begin, statement.SetTransaction, statement.Set, statement.Reset:
		return mentionsIsolation(k)
	default:
		return slices.ContainsFunc(k.facts.Functions, func(f string) bool { return strings.HasSuffix(f, "set_config") })
	}
}

func mentionsIsolation(k *known) bool {
	const shortBegin = len("BEGIN TRANSACTION;")
	text := k.facts.Text
	return len(text) > shortBegin && strings.Contains(strings.ToLower(text), "isolation")
}
