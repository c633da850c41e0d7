package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// The codes with which a request is refused besides those of lineage.
const (
	RefusedNoIdentity        = "no_identity"
	RefusedAmbiguousIdentity = "ambiguous_identity"
	RefusedToken             = "bad_token"       // the token gives no usable name, groups or actor
	RefusedReadOnly          = "read_only"       // a limit demands that nothing changes
	RefusedReason            = "reason_required" // a limit demands a reason
	RefusedUnparsed          = "unparsed"
	RefusedSetting           = "setting_refused" // a parameter that no client may set
	RefusedEncoding          = "bad_encoding"    // client_encoding to anything but UTF8
)

// The session of a test that says nothing of it.
const (
	testDatabase = "app"
	testSession  = "s_0000000000000000"
)

// request is one test on its way to an outcome.
type request struct {
	test    *policylang.Test
	program *compile.Program
	now     time.Time
	catalog *pgcatalog.Catalog // nil without a schema

	subject   *policylang.Subject
	session   *policylang.Session
	env       lineage.Environment
	evaluator *compile.Evaluator
	masks     *policylang.MaskSet
	guarding  *lineage.Protection // nil without a catalog
	prepared  map[string]*statement.Statement
}

// identify finds the subject. A token that gives none is an outcome of its own:
// the login is refused.
func (q *request) identify() *Outcome {
	t := q.test
	if len(t.Token) == 0 {
		q.subject = q.namedSubject(t.Identity)
	} else {
		subject, err := q.program.Identify(t.Token, q.now)
		if err != nil {
			return refusedLogin(err)
		}
		q.subject = subject
	}
	if q.subject != nil && t.Actor != "" {
		q.subject.Actor = q.namedSubject(t.Actor)
	}
	return nil
}

func refusedLogin(err error) *Outcome {
	code := RefusedToken
	switch {
	case errors.Is(err, compile.ErrBadActor):
	case errors.Is(err, compile.ErrNoIdentity):
		code = RefusedNoIdentity
	case errors.Is(err, compile.ErrAmbiguousIdentity):
		code = RefusedAmbiguousIdentity
	}
	return &Outcome{Effect: policylang.EffectDeny, Refused: code, Message: err.Error()}
}

// namedSubject makes a subject of an identity's own attributes.
func (q *request) namedSubject(name string) *policylang.Subject {
	identities := q.program.Policy().Identities
	i := slices.IndexFunc(identities, func(o policylang.Identity) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	o := &identities[i]
	return &policylang.Subject{
		Name: o.Name, Identity: o.Name, Kind: o.Kind, Groups: slices.Clone(o.Groups), Claims: map[string]any{},
		ID: o.Name, DatabaseRole: cmp.Or(o.DatabaseRole, o.Name), AuthMethod: "token", AuthTime: q.now,
	}
}

// connect makes the session.
func (q *request) connect() error {
	s := &q.test.Session
	addr, err := netip.ParseAddr(cmp.Or(s.ClientAddr, "127.0.0.1"))
	if err != nil {
		return fmt.Errorf("read the client's address: %w", err)
	}
	q.session = &policylang.Session{
		ID: testSession, Database: cmp.Or(s.Database, testDatabase), Role: cmp.Or(s.Role, q.subject.DatabaseRole),
		ClientAddr: addr, ApplicationName: s.ApplicationName, Signs: s.Signs, Reason: s.Reason, Started: q.now, TLS: s.TLS,
	}
	if g := q.program.Gateway(); g != nil {
		q.session.Gateway = g.Name
	}
	q.evaluator = q.program.Evaluator(q.subject, q.session)
	q.masks = q.evaluator.Masks(q.now)
	q.prepared = map[string]*statement.Statement{}
	if q.catalog != nil {
		q.env = lineage.Environment{SearchPath: q.searchPath(), Role: q.session.Role, Database: q.session.Database}
		q.guarding = lineage.Protect(q.catalog, q.masks)
	}
	return nil
}

// searchPath is current_schemas(true) of the session.
func (q *request) searchPath() []string {
	want := q.test.Session.SearchPath
	if want == nil {
		want = []string{"$user", "public"}
	}
	path := []string{"pg_catalog"}
	for _, s := range want {
		if s == "$user" {
			s = q.session.Role
		}
		switch {
		case s == "pg_catalog":
			path = path[1:] // it is where it was put
			path = append(path, s)
		case q.catalog.HasSchema(s) && !slices.Contains(path, s):
			path = append(path, s)
		}
	}
	return path
}

// decide decides the text of the test, one statement after the other.
func (q *request) decide() (*Outcome, []string, error) {
	out := &Outcome{Subject: q.subject.Name, Identity: q.subject.Identity, Effect: policylang.EffectAllow}
	tree, err := statement.Parse(q.test.SQL, statement.Limits{})
	if err != nil {
		return q.unparsed(out, err)
	}
	for i := range tree.Statements {
		out.add(q.statement(&tree.Statements[i]))
	}
	var notes []string
	if q.catalog == nil && len(q.masks.Masks) > 0 && out.Effect != policylang.EffectDeny {
		out.Unfollowed = true
		notes = append(notes, "masking policies apply, but no schema is given: what is masked is not known")
	}
	return out, notes, nil
}

// unparsed decides a text that cannot be read, as a gateway does.
func (q *request) unparsed(out *Outcome, err error) (*Outcome, []string, error) {
	var e *statement.Error
	if g := q.program.Gateway(); errors.As(err, &e) && e.Kind == statement.Syntax && g != nil && g.Unparsed == "allow" {
		facts := &policylang.Facts{
			Text: q.test.SQL, Command: "UNPARSED", Commands: []string{"UNPARSED"}, Class: policylang.ClassFunction, Opaque: true, Limit: -1,
		}
		out.add(q.judge(facts))
		return out, nil, nil
	}
	out.Effect, out.Refused, out.Message = policylang.EffectDeny, RefusedUnparsed, err.Error()
	return out, nil, nil
}

// statement decides one statement.
func (q *request) statement(st *statement.Statement) *Outcome {
	target := st
	switch st.Session.Kind { //nolint:exhaustive // the others leave names of statements alone
	case statement.Prepare, statement.Declare:
		q.prepared[st.Session.Name] = st.Session.Inner
	case statement.Execute, statement.Fetch, statement.Move:
		if inner := q.prepared[st.Session.Name]; inner != nil {
			target = inner
		}
	}
	facts := target.Facts
	if q.catalog != nil {
		facts = lineage.Resolve(facts, q.env, q.catalog)
	}
	out := q.judge(facts)
	q.checkSession(&st.Session, out)
	if out.Effect != policylang.EffectDeny && q.guarding != nil && !facts.Transaction {
		q.follow(target, out)
	}
	return out
}

// checkSession refuses what no session may do to itself, and lets pass what
// only sets parameters if no rule says otherwise.
func (q *request) checkSession(e *statement.SessionEffect, out *Outcome) {
	switch {
	case e.Kind == statement.Set && !statement.MaySet(e.Name, e.Value) && statement.IsEncoding(e.Name):
		out.refuse(RefusedEncoding, "client_encoding must stay UTF8", nil)
	case e.Kind == statement.Set && !statement.MaySet(e.Name, e.Value), e.Kind == statement.Reset && !statement.MayReset(e.Name):
		out.refuse(RefusedSetting, "the parameter "+e.Name+" may not be changed through the gateway", nil)
	case e.Kind.SetsParameters() && out.ByDefault:
		out.Effect, out.Refused, out.Message = policylang.EffectAllow, "", ""
	}
}

// judge decides by facts, and turns limits that refuse into refusals.
func (q *request) judge(facts *policylang.Facts) *Outcome {
	out := newOutcome(q.evaluator.Explain(facts, q.now))
	out.Unread = unread(facts)
	limits := &out.decision.Limits
	switch {
	case out.Effect == policylang.EffectDeny || facts.Transaction:
	case limits.ReadOnly && !facts.ReadOnly:
		out.refuse(RefusedReadOnly, "only statements that provably change nothing are allowed", limits.Rules)
	case limits.RequireReason && q.session.Reason == "":
		out.refuse(RefusedReason, "a reason is required", limits.Rules)
	}
	return out
}

// unread says what makes a statement opaque, so that conditions on what it
// does are uncertain.
func unread(facts *policylang.Facts) []string {
	var out []string
	if facts.Known.Opaque || facts.Opaque && len(facts.Unknown) == 0 {
		out = append(out, facts.Command+" runs what its text does not show")
	}
	for _, name := range facts.Unknown {
		out = append(out, "what "+name+" does")
	}
	return out
}

// follow follows masked columns through a statement.
func (q *request) follow(st *statement.Statement, out *Outcome) {
	if q.guarding.Empty() {
		return
	}
	analysis, refusal := lineage.Analyze(st, q.env, q.catalog, q.guarding)
	if refusal != nil {
		out.refuse(refusal.Code, refusal.Message, nil)
		out.Hint, out.Position = refusal.Hint, refusal.Position
		return
	}
	if !analysis.Rows {
		return
	}
	for _, c := range analysis.Columns {
		column := Column{Name: c.Name, Action: c.Action.String(), Policies: c.Policies}
		if c.Action == lineage.Mask {
			column.Transform = string(c.Transform.Kind)
		}
		out.Columns = append(out.Columns, column)
	}
}
