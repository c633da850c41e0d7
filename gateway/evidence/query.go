package evidence

import (
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
)

// Query says which records to find. Each field that is set must match; the zero
// Query matches every record.
type Query struct {
	From, To time.Time // of From and later, before To
	AfterSeq uint64    // only records after this one

	Identity string // the identity, or the agent that acted for it
	Session  string
	Database string
	Role     string
	Kinds    []Kind // any of them
	Effect   policylang.Effect
	Rule     string // one of the rules that decided
	Outcome  Outcome
	Command  string // as in "SELECT"; in any case
	Relation string // "schema.name", or "name" in any schema
	Approval string
	Text     string // part of the statement's shape or text, in any case

	Newest bool // newest first
	Limit  int  // at most so many records; 0 is no limit
}

// Match reports whether a record is wanted, whatever the Limit.
func (q *Query) Match(r *Record) bool {
	return (q.From.IsZero() || !r.Time.Before(q.From)) &&
		(q.To.IsZero() || r.Time.Before(q.To)) &&
		r.Seq > q.AfterSeq &&
		(q.Identity == "" || q.Identity == r.Identity || q.Identity == r.Actor) &&
		matches(q.Session, r.Session) &&
		matches(q.Database, r.Database) &&
		matches(q.Role, r.Role) &&
		(len(q.Kinds) == 0 || slices.Contains(q.Kinds, r.Kind)) &&
		matches(q.Effect, r.Effect) &&
		(q.Rule == "" || slices.Contains(r.Rules, q.Rule)) &&
		matches(q.Outcome, r.Outcome) &&
		(q.Command == "" || strings.EqualFold(q.Command, r.Command)) &&
		(q.Relation == "" || slices.ContainsFunc(r.Relations, func(rel Relation) bool { return sameRelation(q.Relation, rel.Name) })) &&
		matches(q.Approval, r.Approval) &&
		(q.Text == "" || containsFold(r.Shape, q.Text) || containsFold(r.SQL, q.Text))
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

func matches[T ~string](want, have T) bool { return want == "" || want == have }

// sameRelation compares names of which either may lack its schema: then it may
// be the other.
func sameRelation(want, have string) bool {
	wantSchema, wantName := splitRelation(want)
	haveSchema, haveName := splitRelation(have)
	return wantName == haveName && (wantSchema == "" || haveSchema == "" || wantSchema == haveSchema)
}

func splitRelation(name string) (schema, relation string) {
	if i := strings.IndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// mayMatch reports whether a frame may hold a record that matches.
func (q *Query) mayMatch(h *frameHeader) bool {
	return h.kind == frameRecords &&
		(q.From.IsZero() || h.to >= q.From.UnixMicro()) &&
		(q.To.IsZero() || h.from <= q.To.UnixMicro()) &&
		h.first+uint64(h.count)-1 > q.AfterSeq
}
