package statement

import (
	"strconv"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// SessionEffectKind is what a statement does to the state of its session.
type SessionEffectKind int

// The kinds of session effect. The zero SessionEffectKind is NoEffect.
const (
	NoEffect           SessionEffectKind = iota
	Begin                                // BEGIN, START TRANSACTION
	Commit                               // COMMIT, END; Value "chain" for AND CHAIN
	Rollback                             // ROLLBACK, ABORT; Value "chain" for AND CHAIN
	Savepoint                            // Name
	RollbackTo                           // Name
	Release                              // Name
	PrepareTransaction                   // Name
	CommitPrepared                       // Name
	RollbackPrepared                     // Name
	Set                                  // Name is the parameter, Value what it is set to if that is one constant; Local
	SetTransaction                       // SET TRANSACTION; Name "session" for SET SESSION CHARACTERISTICS
	SetConstraints                       // SET CONSTRAINTS
	Reset                                // Name is the parameter; RESET and SET … TO DEFAULT; Local
	ResetAll                             // RESET ALL
	Show                                 // Name is the parameter, or "all"
	Prepare                              // Name, Inner
	Execute                              // Name
	Deallocate                           // Name, or "" for ALL
	Declare                              // Name, Inner
	Fetch                                // Name
	Move                                 // Name
	CloseCursor                          // Name, or "" for ALL
	Discard                              // Value "all", "plans", "sequences" or "temp"
	Listen                               // Name
	Notify                               // Name
	Unlisten                             // Name, or "" for *
	Explain                              // Inner; Value "analyze" if it runs
	Copy                                 // Value "in" or "out"; Name "program" or "file" if not the client; Inner for COPY (query)
	CreateTableExecute                   // CREATE TABLE … AS EXECUTE: Name is the prepared statement
)

// SessionEffect is what a statement does to the state of its session, beyond
// what its facts say. Names are as the server has them: folded and cut.
// Parameters are in lower case.
type SessionEffect struct {
	Kind  SessionEffectKind
	Name  string
	Value string
	Local bool       // SET LOCAL
	Inner *Statement // the statement that is prepared, declared, explained or copied
}

// sessionEffect returns the effect of a statement with that text, at that
// offset.
func sessionEffect(m any, text string, offset int, r reading) SessionEffect {
	switch m := m.(type) {
	case *ast.TransactionStmt:
		return transactionEffect(m)
	case *ast.VariableSetStmt:
		return settingEffect(m)
	case *ast.VariableShowStmt:
		return SessionEffect{Kind: Show, Name: foldWord(m.GetName())}
	case *ast.ConstraintsSetStmt:
		return SessionEffect{Kind: SetConstraints}
	case *ast.PrepareStmt:
		return SessionEffect{Kind: Prepare, Name: m.GetName(), Inner: inner(m.GetQuery(), m, text, offset, r)}
	case *ast.ExecuteStmt:
		return SessionEffect{Kind: Execute, Name: m.GetName()}
	case *ast.DeallocateStmt:
		return SessionEffect{Kind: Deallocate, Name: m.GetName()}
	case *ast.DeclareCursorStmt:
		return SessionEffect{Kind: Declare, Name: m.GetPortalname(), Inner: inner(m.GetQuery(), m, text, offset, r)}
	case *ast.FetchStmt:
		if m.GetIsmove() {
			return SessionEffect{Kind: Move, Name: m.GetPortalname()}
		}
		return SessionEffect{Kind: Fetch, Name: m.GetPortalname()}
	case *ast.ClosePortalStmt:
		return SessionEffect{Kind: CloseCursor, Name: m.GetPortalname()}
	case *ast.DiscardStmt:
		return SessionEffect{Kind: Discard, Value: discarded(m.GetTarget())}
	case *ast.ListenStmt:
		return SessionEffect{Kind: Listen, Name: m.GetConditionname()}
	case *ast.NotifyStmt:
		return SessionEffect{Kind: Notify, Name: m.GetConditionname()}
	case *ast.UnlistenStmt:
		return SessionEffect{Kind: Unlisten, Name: m.GetConditionname()}
	case *ast.ExplainStmt:
		e := SessionEffect{Kind: Explain, Inner: inner(m.GetQuery(), m, text, offset, r)}
		if runs(m) {
			e.Value = "analyze"
		}
		return e
	case *ast.CopyStmt:
		return copyEffect(m, text, offset, r)
	case *ast.CreateTableAsStmt:
		if x, ok := ast.Unwrap(m.GetQuery()).(*ast.ExecuteStmt); ok {
			return SessionEffect{Kind: CreateTableExecute, Name: x.GetName()}
		}
	}
	return SessionEffect{}
}

func transactionEffect(m *ast.TransactionStmt) SessionEffect {
	chain := ""
	if m.GetChain() {
		chain = "chain"
	}
	switch m.GetKind() {
	case ast.TransactionStmtKind_TRANS_STMT_BEGIN, ast.TransactionStmtKind_TRANS_STMT_START:
		return SessionEffect{Kind: Begin}
	case ast.TransactionStmtKind_TRANS_STMT_COMMIT:
		return SessionEffect{Kind: Commit, Value: chain}
	case ast.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		return SessionEffect{Kind: Rollback, Value: chain}
	case ast.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return SessionEffect{Kind: Savepoint, Name: m.GetSavepointName()}
	case ast.TransactionStmtKind_TRANS_STMT_RELEASE:
		return SessionEffect{Kind: Release, Name: m.GetSavepointName()}
	case ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return SessionEffect{Kind: RollbackTo, Name: m.GetSavepointName()}
	case ast.TransactionStmtKind_TRANS_STMT_PREPARE:
		return SessionEffect{Kind: PrepareTransaction, Name: m.GetGid()}
	case ast.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		return SessionEffect{Kind: CommitPrepared, Name: m.GetGid()}
	case ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		return SessionEffect{Kind: RollbackPrepared, Name: m.GetGid()}
	case ast.TransactionStmtKind_TRANSACTION_STMT_KIND_UNDEFINED:
	}
	return SessionEffect{}
}

// parameterName returns the parameter that a SET or RESET names: their names
// have no case.
func parameterName(m *ast.VariableSetStmt) string { return foldWord(m.GetName()) }

func settingEffect(m *ast.VariableSetStmt) SessionEffect {
	e := SessionEffect{Kind: Set, Name: parameterName(m), Local: m.GetIsLocal()}
	switch m.GetKind() {
	case ast.VariableSetKind_VAR_RESET, ast.VariableSetKind_VAR_SET_DEFAULT:
		e.Kind = Reset
	case ast.VariableSetKind_VAR_RESET_ALL:
		return SessionEffect{Kind: ResetAll}
	case ast.VariableSetKind_VAR_SET_MULTI:
		e.Kind, e.Name = SetTransaction, ""
		if !setsTransaction(m) {
			e.Name = "session"
		}
	case ast.VariableSetKind_VAR_SET_VALUE:
		if len(m.GetArgs()) == 1 {
			e.Value = settingValue(m.GetArgs()[0])
		}
	case ast.VariableSetKind_VAR_SET_CURRENT, ast.VariableSetKind_VARIABLE_SET_KIND_UNDEFINED:
	}
	return e
}

// settingValue returns the text of a constant that a parameter is set to, or
// "".
func settingValue(n *ast.Node) string {
	k, ok := ast.Unwrap(n).(*ast.A_Const)
	switch {
	case !ok || k.GetIsnull():
		return ""
	case k.GetSval() != nil:
		return k.GetSval().GetSval()
	case k.GetIval() != nil:
		return strconv.Itoa(int(k.GetIval().GetIval()))
	case k.GetFval() != nil:
		return k.GetFval().GetFval()
	}
	return ""
}

func discarded(m ast.DiscardMode) string {
	switch m {
	case ast.DiscardMode_DISCARD_PLANS:
		return "plans"
	case ast.DiscardMode_DISCARD_SEQUENCES:
		return "sequences"
	case ast.DiscardMode_DISCARD_TEMP:
		return "temp"
	case ast.DiscardMode_DISCARD_ALL, ast.DiscardMode_DISCARD_MODE_UNDEFINED:
	}
	return "all"
}

func copyEffect(m *ast.CopyStmt, text string, offset int, r reading) SessionEffect {
	e := SessionEffect{Kind: Copy, Value: "out"}
	if m.GetIsFrom() {
		e.Value = "in"
	}
	switch {
	case m.GetIsProgram():
		e.Name = "program"
	case m.GetFilename() != "":
		e.Name = "file"
	}
	if m.GetQuery() != nil {
		e.Inner = inner(m.GetQuery(), m, text, offset, r)
	}
	return e
}

// inner reads the statement that another holds.
func inner(n *ast.Node, holder any, text string, offset int, r reading) *Statement {
	start, end := innerText(holder, text)
	part, at := trim(text, start, end)
	st := readNested(n, part, offset+at, r)
	return &st
}

// innerText finds the text of the statement that another holds: behind the AS
// of PREPARE, the FOR of DECLARE, the options of EXPLAIN, in the brackets of
// COPY.
func innerText(holder any, text string) (start, end int) {
	r := newBodyReader(text)
	all := span{1, len(r.tokens) - 1}
	switch holder.(type) {
	case *ast.PrepareStmt:
		return r.behind(r.find(all, "as")), len(text)
	case *ast.DeclareCursorStmt:
		return r.behind(r.find(all, "for")), len(text)
	case *ast.CopyStmt:
		r.at = 2 // COPY (
		if end := r.find(span{2, all.to}, ")"); end > 0 {
			return r.behind(1), r.tokens[end].start
		}
	case *ast.ExplainStmt:
		return r.behindOptions(), len(text)
	}
	return 0, len(text)
}

// behind returns where the text behind a token starts.
func (r *bodyReader) behind(at int) int {
	if at < 0 {
		return 0
	}
	return r.tokens[at].end
}

// behindOptions returns where the text behind EXPLAIN and its options starts.
func (r *bodyReader) behindOptions() int {
	r.at = 1
	if r.is(r.token(), "(") && !r.isQuery(r.ahead(1)) {
		return r.behind(r.find(span{2, len(r.tokens) - 1}, ")"))
	}
	for r.isAny("analyze", "analyse", "verbose") {
		r.at++
	}
	return r.behind(r.at - 1)
}
