package evidence

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posternhq/postern/policylang"
)

// Version is the version of records.
const Version = 1

// Kind says what a record is about.
type Kind string

// The kinds of record.
const (
	KindSessionStart  Kind = "session_start" // a client was let in
	KindSessionEnd    Kind = "session_end"   // its session ended; StmtNo is the count of its statements
	KindStatement     Kind = "statement"     // a statement that was allowed
	KindDenied        Kind = "denied"        // a statement, or a login, that was refused
	KindHeld          Kind = "held"          // a statement began to wait for approval
	KindApproval      Kind = "approval"      // what became of the wait
	KindImpersonation Kind = "impersonation" // a sign that a credential is used by another than its owner; Reason says which
	KindAdmin         Kind = "admin"         // somebody or something changed what the gateway enforces
	KindEvidenceRead  Kind = "evidence_read" // somebody read evidence
	KindJournal       Kind = "journal"       // the journal about itself; Command says what
	KindHeartbeat     Kind = "heartbeat"     // nothing happened for a while
)

// Kinds lists the kinds.
func Kinds() []Kind {
	return []Kind{
		KindSessionStart, KindSessionEnd, KindStatement, KindDenied, KindHeld, KindApproval,
		KindImpersonation, KindAdmin, KindEvidenceRead, KindJournal, KindHeartbeat,
	}
}

// Outcome says what became of what a record is about.
type Outcome string

// The outcomes. A statement that is recorded before it is forwarded has a
// record with OutcomeStarted, and another of the same number when it is done.
const (
	OutcomeStarted   Outcome = "started"   // about to be forwarded
	OutcomeCompleted Outcome = "completed" // the server ran it
	OutcomeFailed    Outcome = "failed"    // the server refused it or gave up
	OutcomeRefused   Outcome = "refused"   // the gateway refused it
	OutcomeCancelled Outcome = "cancelled" // the client, a limit or a policy change cancelled it
	OutcomeUnknown   Outcome = "unknown"   // the connection was lost before the server answered
	OutcomeApproved  Outcome = "approved"  // of a held statement
	OutcomeExpired   Outcome = "expired"   // of a held statement
	OutcomeWithdrawn Outcome = "withdrawn" // of a held statement whose client left
)

// The commands of records of KindJournal.
const (
	JournalOpened    = "opened"    // a process began to write; sessions without an end were cut off before
	JournalRecovered = "recovered" // as opened, after a crash or failure; Bytes were lost at the end
	JournalClosed    = "closed"    // the process stopped in good order
	JournalRedacted  = "redacted"  // private parts of Rows records were erased
)

// Record is one event. Empty fields are not written. V, Seq, Origin, SQLBytes,
// SQLSHA256 and Redacted are set by readers: [Journal.Append] writes its own.
//
// A record's JSON is flat. SQL and Params are its private part, which can be
// erased while every proof still verifies: see the package comment.
type Record struct {
	V      int       `json:"v"`      // Version
	Seq    uint64    `json:"seq"`    // counts the journal's records from 1
	Origin string    `json:"origin"` // the journal's name
	Time   time.Time `json:"time"`   // UTC, microseconds; when it is written if zero
	Kind   Kind      `json:"kind"`

	// Who.
	Identity        string   `json:"identity,omitempty"`    // the subject's name in the policy
	Issuer          string   `json:"issuer,omitempty"`      // the token's iss
	Subject         string   `json:"subject,omitempty"`     // the token's sub; with Issuer it is who this really is
	Groups          []string `json:"groups,omitempty"`      // sorted
	AuthMethod      string   `json:"auth_method,omitempty"` // "token", "certificate", "scram", "oauthbearer"
	Actor           string   `json:"actor,omitempty"`       // the agent that acted for the identity
	ClientAddr      string   `json:"client_addr,omitempty"` // without port
	ApplicationName string   `json:"application_name,omitempty"`

	// Where.
	Gateway  string `json:"gateway,omitempty"`
	Server   string `json:"server,omitempty"` // host:port of the upstream
	Database string `json:"database,omitempty"`
	Role     string `json:"role,omitempty"`    // PostgreSQL role of the session
	Session  string `json:"session,omitempty"` // policylang.Session.ID
	StmtNo   uint64 `json:"stmt_no,omitempty"` // counts the session's statements from 1; records of one statement share it
	Txn      string `json:"txn,omitempty"`     // transaction status after it: "I", "T" or "E"

	// What.
	Command     string           `json:"command,omitempty"` // command tag
	Class       policylang.Class `json:"class,omitempty"`
	Fingerprint string           `json:"fingerprint,omitempty"`
	Shape       string           `json:"shape,omitempty"` // the text without constants and comments
	Relations   []Relation       `json:"relations,omitempty"`
	Functions   []string         `json:"functions,omitempty"`
	Protocol    string           `json:"protocol,omitempty"` // "simple", "extended", "function"
	Parse       string           `json:"parse,omitempty"`    // "opaque" if some of the text could not be read

	// Private.
	SQL    string  `json:"sql,omitempty"`    // the exact text; cut when long, and then SQLBytes is set
	Params []Param `json:"params,omitempty"` // values of $1, $2 and so on

	SQLBytes  int64  `json:"sql_bytes,omitempty"`  // length of the whole text, if SQL is not all of it
	SQLSHA256 string `json:"sql_sha256,omitempty"` // of the whole text, hexadecimal, if SQL is not all of it

	// Decision.
	Effect    policylang.Effect `json:"effect,omitempty"`
	Rules     []string          `json:"rules,omitempty"`     // that decided; sorted
	Bundle    string            `json:"bundle,omitempty"`    // digest of the bundle that decided
	Approval  string            `json:"approval,omitempty"`  // id of the request for approval
	Approvers []string          `json:"approvers,omitempty"` // who approved, or refused
	Reason    string            `json:"reason,omitempty"`    // why: the client's words, an approver's, or a refusal's code
	Observed  []Observation     `json:"observed,omitempty"`  // what rules in observe mode would have done

	// Result.
	Outcome    Outcome  `json:"outcome,omitempty"`
	SQLState   string   `json:"sqlstate,omitempty"` // of an error
	Rows       int64    `json:"rows,omitempty"`     // returned or affected
	Bytes      int64    `json:"bytes,omitempty"`    // sent to the client
	DurationUS int64    `json:"duration_us,omitempty"`
	HeldUS     int64    `json:"held_us,omitempty"` // spent waiting for approval
	Masked     []string `json:"masked,omitempty"`  // names of masked result columns

	TraceID string `json:"trace_id,omitempty"` // W3C trace id, 32 hexadecimal digits

	// Fixed, if it is set, is written in place of Kind, of who and where but for
	// StmtNo and Txn, of what, and of the decision; Bundle is still to be set.
	Fixed *Fixed `json:"-"`

	// Redacted says that the record had a private part, which was erased.
	Redacted bool `json:"redacted,omitempty"`
}

// Relation is a relation that a statement mentions.
type Relation struct {
	Name    string          `json:"name"` // "schema.name", or "name" if the schema is not known
	Verb    policylang.Verb `json:"verb"`
	Columns []string        `json:"columns,omitempty"`
}

// Observation is what a rule in observe mode would have done.
type Observation struct {
	Rule   string            `json:"rule"`
	Effect policylang.Effect `json:"effect"`
}

// Param is the value of one parameter, as the client sent it. In JSON it is
// null, a string if it is text, or {"base64":"…"} if it is binary; one that
// was cut or is not UTF-8 is {"base64":"…","bytes":N,"text":true}.
type Param struct {
	Value  []byte // nil is NULL; Append keeps no reference to it
	Binary bool   // sent in binary format
	Bytes  int64  // length of the whole value if Value was cut, else 0
}

type wireParam struct {
	Base64 string `json:"base64"`
	Bytes  int64  `json:"bytes"`
	Text   bool   `json:"text"`
}

// UnmarshalJSON reads a parameter as records hold it.
func (p *Param) UnmarshalJSON(data []byte) error {
	*p = Param{}
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("read parameter: %w", err)
		}
		p.Value = []byte(s)
		return nil
	}
	if string(data) == "null" {
		return nil
	}
	var w wireParam
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("read parameter: %w", err)
	}
	value, err := base64.StdEncoding.DecodeString(w.Base64)
	if err != nil {
		return fmt.Errorf("read parameter: %w", err)
	}
	*p = Param{Binary: !w.Text, Value: value, Bytes: w.Bytes}
	return nil
}

// MarshalJSON writes a parameter as records hold it.
func (p Param) MarshalJSON() ([]byte, error) { return appendParam(nil, &p, len(p.Value)), nil }
