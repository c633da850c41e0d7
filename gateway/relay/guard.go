package relay

import (
	"bytes"
	"context"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// Guard decides what a session may execute. The client loop calls Read,
// Unknown, Decide, Stale and Refresh; the upstream loop calls Columns, Checked,
// Finished, Flush, Settled and Payloads; so one of each group may run at the same time as one of the other.
type Guard interface {
	// Read analyses a text. It must not wait.
	Read(sql string) (*Text, *refusal.Refusal)
	// Unknown stands for a statement whose text the session has never seen: a
	// prepared statement, a cursor or a function called by its OID.
	Unknown(command string) *Statement
	// Decide is asked before a Parse, Query, Bind, Execute or FunctionCall is
	// forwarded. It may wait for an approval; the context ends when the client
	// leaves or cancels. For StageParse the permit may be nil.
	Decide(ctx context.Context, ask *Ask) (*Permit, *refusal.Refusal)
	// Columns is told the columns of a permitted statement's result (Index
	// counts the statements of a text) and returns how to rewrite its rows, nil
	// for not at all. A refusal ends the session.
	Columns(p *Permit, index int, fields []Field) (RowRewriter, *refusal.Refusal)
	// Checked tells what the server answered to a permit's Check: the first
	// column of its row, or the SQLSTATE of the error by which it failed.
	Checked(p *Permit, answer string, passed bool)
	// Finished reports what became of a permitted statement.
	Finished(p *Permit, o Outcome)
	// Flush makes durable what Finished reported. It is called before the
	// bytes of the response are released; an error ends the session.
	Flush() error
	// Settled says that no transaction is open: what was reported by Finished is
	// committed or rolled back. It is called before the client is told.
	Settled()
	// Payloads reports whether the payloads of notifications may pass: what
	// another session put into them is not known.
	Payloads() bool
	// Stale returns a query that the session must answer before the next text
	// is analysed, empty if none, and Refresh gives its rows: nil if it failed.
	Stale() (sql string)
	Refresh(rows [][]string)
}

// Text is an analysed text: the statements of a Query or Parse.
type Text struct {
	SQL        string
	Statements []*Statement
}

// Effect is what a statement does to the names of a session.
type Effect uint8

// The effects.
const (
	EffectNone          Effect = iota
	EffectPrepare              // names Inner as a prepared statement
	EffectExecute              // runs a prepared statement
	EffectDeallocate           // forgets a prepared statement
	EffectDeallocateAll        // forgets all of them
	EffectDeclare              // names Inner as a cursor
	EffectFetch                // reads from a cursor
	EffectCloseCursor          // forgets a cursor
)

// Statement is one statement of a text.
type Statement struct {
	Effect Effect
	Name   string     // for Effect
	Inner  *Statement // for EffectPrepare and EffectDeclare
	CopyIn bool       // it is a COPY FROM STDIN
	Exits  bool       // it may end a transaction that has failed
	Data   any        // the guard's
}

// Nothing is what an EXECUTE of a text without a statement runs, which the
// protocol can prepare: no guard has read it.
var Nothing = &Statement{}

// Stage says which message asks.
type Stage uint8

// The stages.
const (
	StageParse    Stage = iota // nothing runs yet: refuse what no parameters could allow
	StageQuery                 // a simple Query is about to run
	StageBind                  // parameters are known; immutable functions run at Bind
	StageExecute               // a portal is about to run, or to go on
	StageFunction              // a FunctionCall is about to run
)

// Ask asks whether statements may run.
type Ask struct {
	Stage   Stage
	Text    *Text
	Targets []*Statement // what each statement runs: itself, or for EXECUTE and FETCH the statement named, or Nothing
	Types   []uint32     // of parameters, as the client declares them, for StageParse; 0 is left open
	Bound   *Bound       // parameters, from StageBind on
	Permit  *Permit      // the Bind's, for StageExecute
	CanWait bool         // a hold may wait: the session is idle and nothing runs ahead

	// CanCheck says that the permit may have a Check: what an Execute runs is one
	// statement, which copies nothing in. In front of a Query there is none: a
	// transaction that a message of the extended protocol begins is not ended by
	// a Query's end.
	CanCheck bool
}

// Bound is the parameters of a Bind or FunctionCall. It is the guard's to keep.
type Bound struct {
	Formats []int16 // as sent: none, one for all, or one each
	Values  [][]byte
}

// Permit lets statements run. The guard makes it and must not change the
// exported fields afterwards.
type Permit struct {
	Fenced  bool          // rows may pass only after Columns has been asked
	Tainted bool          // errors and notices may hold protected values: they are scrubbed
	CopyOut bool          // COPY data may pass although the permit is Fenced
	Copy    CopyRewriter  // rewrites COPY data; nil if it passes as it is
	Check   *Check        // asked of the server first; nil if nothing is
	MaxRows int64         // 0: no limit
	Timeout time.Duration // 0: no limit
	Memo    *Memo         // of the same statement's last execution; nil without one
	Data    any           // the guard's
}

// Check is a query that the server is asked in front of an Execute, in the
// session itself: after the Bind, which locks what the statement reads, and in
// the same transaction. If it fails, the server skips the execution and undoes
// what the transaction did, and the client gets the refusal.
type Check struct {
	Name    string   // of the SQL, which differs with it
	SQL     string   // one statement
	Args    [][]byte // its parameters, in text
	Fails   string   // the SQLSTATE by which it fails
	Refusal *refusal.Refusal
}

// Memo remembers how a statement's result was described, so that it need not
// be read again while the server says the same. The zero Memo remembers
// nothing. It belongs to one session.
type Memo struct {
	body   []byte // of the RowDescription
	fields *[]Field
}

// read reads a RowDescription's body. The same description gives the same
// fields.
func (m *Memo) read(body []byte) (*[]Field, error) {
	if m != nil && m.fields != nil && bytes.Equal(m.body, body) {
		return m.fields, nil
	}
	fields, err := decodeFields(body)
	if err != nil {
		return nil, err
	}
	if m != nil {
		m.body, m.fields = append(m.body[:0], body...), &fields
	}
	return &fields, nil
}

// Field describes one column of a result.
type Field struct {
	Name     string
	TableOID uint32
	Attnum   int16
	TypeOID  uint32
	TypeMod  int32
	Format   int16 // 0 text, 1 binary
}

// RowRewriter rewrites the bodies of DataRow messages.
type RowRewriter interface {
	// AppendRow appends the rewritten body to dst. An error ends the session.
	AppendRow(dst, body []byte) ([]byte, error)
}

// CopyRewriter rewrites the bodies of CopyData messages from the server.
type CopyRewriter interface {
	// Append appends the rewritten body to dst. An error ends the session.
	Append(dst, body []byte) ([]byte, error)
}

// OutcomeKind says how a permitted statement ended.
type OutcomeKind uint8

// The kinds of outcome.
const (
	OutcomeDone      OutcomeKind = iota // with a command tag
	OutcomeSuspended                    // the portal has more rows
	OutcomeFailed                       // with an SQLSTATE
	OutcomeSkipped                      // the server skipped it after an earlier error
	OutcomeRunning                      // a part of its response is about to be released
	OutcomeLost                         // the connection broke first
)

// Outcome is what became of one statement.
type Outcome struct {
	Index    int // of the statement in its text
	Kind     OutcomeKind
	Tag      string // command tag, for OutcomeDone
	SQLSTATE string // for OutcomeFailed
	Rows     int64
	Bytes    int64 // of rows, as the server sent them
}
