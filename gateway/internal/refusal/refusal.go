// Package refusal is the one table of what a gateway says to a client that it
// refuses: for each reason a stable code, an SQLSTATE and a hint. A refusal's
// text never carries a literal of the query or a value of a row.
package refusal

import (
	"fmt"

	"github.com/jackc/pgproto3/v2"
)

// Code names a reason for refusing. Codes are stable: clients, evidence,
// metrics and docs/errors.md use them.
type Code string

// The reasons for refusing.
const (
	PolicyDenied        Code = "policy_denied"
	ApprovalRefused     Code = "approval_refused"
	ApprovalExpired     Code = "approval_expired"
	ApprovalRequired    Code = "approval_required"
	ApprovalUnavailable Code = "approval_unavailable"
	ApprovalWithdrawn   Code = "approval_withdrawn"
	Masked              Code = "masked"
	LookupLimit         Code = "lookup_limit"
	UndefinedName       Code = "undefined_name"
	MaskBreach          Code = "mask_breach"
	CatalogUnavailable  Code = "catalog_unavailable"
	SchemaChanged       Code = "schema_changed"
	Unparsed            Code = "unparsed"
	Cancelled           Code = "cancelled"
	TooLarge            Code = "too_large"
	MessageTooLarge     Code = "message_too_large"
	TooComplex          Code = "too_complex"
	BadEncoding         Code = "bad_encoding"
	SettingRefused      Code = "setting_refused"
	ReservedName        Code = "reserved_name"
	RowLimit            Code = "row_limit"
	TimeLimit           Code = "time_limit"
	ReadOnly            Code = "read_only"
	ReasonRequired      Code = "reason_required"
	Protocol            Code = "protocol"
	TLSRequired         Code = "tls_required"
	NoToken             Code = "no_token"
	TokenRefused        Code = "token_refused"
	NoIdentity          Code = "no_identity"
	AmbiguousIdentity   Code = "ambiguous_identity"
	RoleMismatch        Code = "role_mismatch"
	NoPolicy            Code = "no_policy"
	UpstreamUnavailable Code = "upstream_unavailable"
	UpstreamLost        Code = "upstream_lost"
	EvidenceUnavailable Code = "evidence_unavailable"
	IdentityRemoved     Code = "identity_removed"
	SessionExpired      Code = "session_expired"
	IdleTimeout         Code = "idle_timeout"
	LoginTimeout        Code = "login_timeout"
	ClientStuck         Code = "client_stuck"
	UpstreamStuck       Code = "upstream_stuck"
	Revoked             Code = "revoked"
	ShuttingDown        Code = "shutting_down"
	TooManyConnections  Code = "too_many_connections"
	TooManyOfIdentity   Code = "too_many_identity_connections"
	Replication         Code = "replication"
	StartupParameter    Code = "startup_parameter"
)

// Entry is a row of the table.
type Entry struct {
	Code     Code
	SQLSTATE string // PostgreSQL appendix A
	Cause    string // what it means, for the documentation
	Hint     string // what to do, if the refusal has no better hint
}

// Table returns every reason, in the order of the documentation.
func Table() []Entry {
	return []Entry{
		{PolicyDenied, "42501", "a rule denies the statement, or none allows it", "Ask the owner of the policy, or see: postern policy explain."},
		{ApprovalRefused, "42501", "an approver refused the held statement", "Ask the approver for the reason."},
		{ApprovalExpired, "42501", "nobody approved the held statement in time", "Run the statement again when an approver is there."},
		{ApprovalRequired, "42501", "the statement waits for approval and the client does not", "Run the same statement again once it is approved."},
		{ApprovalUnavailable, "57P03", "approval is needed and the control plane cannot be reached", "Try again later; nothing was executed."},
		{ApprovalWithdrawn, "57014", "the held statement was cancelled before it was approved", "Run it again to ask again."},
		{Cancelled, "57014", "the client cancelled the statement before it was sent to the database", "Run it again."},
		{Masked, "42501", "the statement uses a masked column in a way that would reveal it", "Select the column itself, or ask for the group that sees it."},
		{LookupLimit, "42501", "the identity has compared masked columns with values as often as it may in an hour", "Wait, or ask to be exempted from the policy."},
		{UndefinedName, "42P01", "the statement names a relation, column, type or function that the database does not have; the SQLSTATE is PostgreSQL's own for that", ""},
		{MaskBreach, "58000", "a result did not have the shape that masking expected; the session was ended", "Report this to the owner of the gateway."},
		{CatalogUnavailable, "57P03", "the gateway cannot read the database's catalog, which masking needs", "Try again later; nothing was executed."},
		{SchemaChanged, "40001", "the schema changed while a statement was about to run whose masked columns were followed by what it was before; nothing was executed", "Run it again, with the transaction that it was in."},
		{Unparsed, "42601", "the gateway cannot read the statement as PostgreSQL would", "Check the statement's syntax."},
		{TooLarge, "54000", "the statement is larger than the gateway's limit (--max-statement)", "Send it in smaller parts, or its data as parameters or by COPY."},
		{MessageTooLarge, "54000", "a message is larger than the gateway's limit (--max-message); the session was ended", "Send it in smaller parts, or use COPY."},
		{TooComplex, "54001", "the statement nests deeper, or holds more statements, than the gateway's limit (--max-nesting)", "Write it with less nesting, or as several texts."},
		{BadEncoding, "22021", "text is not valid UTF-8 or holds a zero byte", "Send UTF-8; client_encoding must stay UTF8."},
		{SettingRefused, "42501", "the parameter may not be changed through the gateway", "Leave it as it is, or have the owner of the database set it for the role: ALTER ROLE ... SET."},
		{ReservedName, "42939", "the name is reserved for the gateway", "Use a name that does not start with _postern."},
		{RowLimit, "54000", "the result has more rows than a rule allows", "Add a LIMIT or a narrower WHERE."},
		{TimeLimit, "57014", "the statement ran longer than a rule allows", "Narrow the statement."},
		{ReadOnly, "25006", "a rule allows only statements that provably change nothing", "Use a statement that only reads, or ask the owner of the policy."},
		{ReasonRequired, "42501", "a rule wants a reason for this statement", "Say why: SET postern.reason = 'ticket and purpose'."},
		{Protocol, "08P01", "the client broke the wire protocol; the session was ended", "Update the client's driver; if it is recent, report what it sent to the owner of the gateway."},
		{TLSRequired, "28000", "the listener takes no plaintext connection", "Connect with sslmode=verify-full."},
		{NoToken, "28P01", "the client sent no token", "Use a token as the password: run postern login."},
		{TokenRefused, "28P01", "the token was refused", "Get a fresh one: run postern login."},
		{NoIdentity, "28000", "the token is valid but no identity of the policy matches it", "Ask the owner of the policy to add you."},
		{AmbiguousIdentity, "28000", "two identities of the policy match the token", "Tell the owner of the policy: their conditions overlap."},
		{RoleMismatch, "28000", "the requested database role is not the identity's", "Connect as the role that the message names."},
		{NoPolicy, "57P03", "the gateway has no verified policy yet and refuses everybody", "Release a policy to the gateway."},
		{UpstreamUnavailable, "08001", "the gateway cannot connect to the database", "Try again later."},
		{UpstreamLost, "08006", "the connection to the database broke", "Connect again; the statement's outcome is unknown if one was running."},
		{EvidenceUnavailable, "58030", "evidence cannot be written, so nothing is executed", "Tell the owner of the gateway: its evidence directory needs attention."},
		{IdentityRemoved, "57P01", "the policy no longer has this identity", "Ask the owner of the policy."},
		{SessionExpired, "57P01", "the session reached its longest time (--session-time)", "Connect again with a fresh token: run postern login."},
		{IdleTimeout, "57P05", "the client sent nothing for longer than the gateway allows (--idle-time)", "Connect again; have a pool close connections that it does not use."},
		{LoginTimeout, "57014", "the login took longer than the gateway allows (--login-time)", "Try again; if it happens often, tell the owner of the gateway."},
		{ClientStuck, "08006", "the client took nothing of its results for longer than the gateway waits (--stuck-time)", "Read results as they come, or fetch them in parts with a cursor."},
		{UpstreamStuck, "08006", "the database took nothing of what was sent for longer than the gateway waits (--stuck-time)", "Connect again; the statement's outcome is unknown if one was running."},
		{Revoked, "57P01", "the credential, its subject or the session was revoked", "Sign in again: run postern login; or ask who revoked it."},
		{ShuttingDown, "57P01", "the gateway is shutting down", "Connect again."},
		{TooManyConnections, "53300", "the gateway's limit of connections is reached (--max-connections)", "Close connections that are not used."},
		{TooManyOfIdentity, "53300", "the identity's limit of connections is reached (--max-identity-connections)", "Close connections that are not used, or use a pool."},
		{Replication, "0A000", "replication connections do not pass the gateway", "Connect to the database itself with a role for replication."},
		{StartupParameter, "08P01", "a startup parameter is malformed, duplicated or may not be set", "Leave it out of the connection string, or give it once."},
	}
}

// Lookup returns the table's entry for a code.
func Lookup(code Code) (Entry, bool) {
	for _, e := range Table() {
		if e.Code == code {
			return e, true
		}
	}
	return Entry{}, false
}

// Refusal is one refusal on its way to a client. It is an error.
type Refusal struct {
	Code     Code
	SQLSTATE string // the table's unless set, for errors that stand in for PostgreSQL's own
	Message  string
	Detail   string
	Hint     string // the table's unless set
	Position int    // in characters from 1 into the statement; 0 unknown
}

// New returns a refusal with the table's SQLSTATE and hint.
func New(code Code, format string, args ...any) *Refusal {
	r := &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
	if e, ok := Lookup(code); ok {
		r.SQLSTATE, r.Hint = e.SQLSTATE, e.Hint
	} else {
		r.SQLSTATE = "XX000"
	}
	return r
}

// WithHint returns r with another hint.
func (r *Refusal) WithHint(format string, args ...any) *Refusal {
	r.Hint = fmt.Sprintf(format, args...)
	return r
}

// Error returns the code and the message.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

// AppendError appends the refusal as an ErrorResponse of severity ERROR.
func (r *Refusal) AppendError(dst []byte) []byte { return r.append(dst, "ERROR") }

// AppendFatal appends the refusal as an ErrorResponse of severity FATAL.
func (r *Refusal) AppendFatal(dst []byte) []byte { return r.append(dst, "FATAL") }

func (r *Refusal) append(dst []byte, severity string) []byte {
	msg := pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: r.SQLSTATE,
		Message: r.Message, Detail: r.Detail, Hint: r.Hint, Position: int32(r.Position),
	}
	out, err := msg.Encode(dst)
	if err != nil { // only a message over 1 GiB cannot be encoded
		return dst
	}
	return out
}
