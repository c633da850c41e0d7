package lineage

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Codes of refusals. They are stable.
const (
	CodePredicate    = "masked_in_predicate" // a masked column decides which rows there are
	CodeOrder        = "masked_in_order"     // … or their order
	CodeGroup        = "masked_in_group"     // … or how they are grouped
	CodeFallible     = "masked_may_fail"     // an error would tell about a masked value
	CodeLaundering   = "masked_written"      // a masked value would be stored where it is not masked
	CodeOpaque       = "opaque"              // code that cannot be read
	CodeExplain      = "masked_in_explain"   // a plan would tell about masked values
	CodeUnknown      = "unknown_name"        // a relation, column, type or function that the catalog does not have
	CodeAmbiguous    = "ambiguous_name"
	CodeHides        = "hides_masked"  // a temporary relation stands before one with masked columns
	CodeServer       = "server_access" // files, programs and settings of the server
	CodeUnsupported  = "unsupported"   // no rule for this construct or statement
	CodeTooComplex   = "too_complex"
	CodeUnknownState = "unknown_state" // the search_path is not known
	CodeInternal     = "internal"      // a fault of Postern's own
)

// Refusal says why a statement may not run for an identity to whom values are
// masked. Message and Hint are for the client and hold names, but no constant
// of the statement and no value. A nil *Refusal refuses nothing.
type Refusal struct {
	Code     string // one of the codes above
	Message  string // one line, lower case, no final period
	Hint     string // complete sentences; may be empty
	Position int    // 1-based character of the statement's text; 0 if unknown

	// SQLSTATE is that of PostgreSQL's own error for a name that there is not, or
	// that is ambiguous; empty for what is refused for another reason.
	SQLSTATE string
}

// SQLSTATEs of names that mean nothing, or too much.
const (
	undefinedTable    = "42P01"
	undefinedColumn   = "42703"
	undefinedFunction = "42883"
	undefinedObject   = "42704"
	ambiguousColumn   = "42702"
)

// undefined refuses a name as PostgreSQL itself does.
func (a *analyzer) undefined(sqlstate string, location int32, hint, format string, args ...any) {
	if a.refusal != nil {
		return
	}
	code := CodeUnknown
	if sqlstate == ambiguousColumn {
		code = CodeAmbiguous
	}
	a.refuse(code, location, hint, format, args...)
	a.refusal.SQLSTATE = sqlstate
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// refuse records the first reason to refuse the statement. Stored code (a
// view's definition) is not refused: what it returns becomes unknowable.
func (a *analyzer) refuse(code string, location int32, hint, format string, args ...any) {
	if a.refusal != nil {
		return
	}
	if len(a.body.calls) > 0 {
		location = a.body.site
	}
	a.refusal = &Refusal{
		Code:     code,
		Message:  fmt.Sprintf(format, args...),
		Hint:     hint,
		Position: a.position(location),
	}
}

// position turns a byte offset into the text that was parsed into a character
// of the statement's own text.
func (a *analyzer) position(location int32) int {
	offset := int(location) - a.offset
	if location < 0 || offset < 0 || offset > len(a.text) {
		return 0
	}
	return utf8.RuneCountInString(a.text[:offset]) + 1
}

// opaque refuses code that cannot be read. In stored code it is let pass: the
// caller labels its result as depending on everything.
func (a *analyzer) opaque(location int32, what string) {
	a.tainted = true
	if a.stored {
		return
	}
	a.refuse(CodeOpaque, location,
		"While values are masked for you, only code that Postern can read or knows may run. Ask for the masking policies to be lifted, or rewrite the statement without it.",
		"%s cannot be read, and might show or store masked values", what)
}

// describe names a column of a label and the policies that mask it, as
// "email is masked for you (policy customer_pii)".
func (a *analyzer) describe(l label) string {
	if len(l.columns) == 0 {
		return "this value is hidden from you"
	}
	name := a.shortName(l.columns[0])
	policies := a.prot.policies(l.columns[:1])
	switch len(policies) {
	case 0:
		return fmt.Sprintf("%s is masked for you", name)
	case 1:
		return fmt.Sprintf("%s is masked for you (policy %s)", name, policies[0])
	}
	return fmt.Sprintf("%s is masked for you (policies %s)", name, strings.Join(policies, ", "))
}

// shortName returns a column's name without its table's.
func (a *analyzer) shortName(id pgcatalog.ColumnID) string {
	name := a.cat.ColumnName(id)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// use is a way in which a value decides something besides being shown.
type use int

const (
	usePredicate use = iota
	useOrder
	useGroup
	useFallible
)

// denied returns the part of a label that policies do not allow the use of.
func (a *analyzer) denied(l label, u use) label {
	if l.bottom() || l.all {
		return l
	}
	var out []pgcatalog.ColumnID
	for _, id := range l.columns {
		if a.prot.knob(id, u) != policylang.KnobAllow {
			out = append(out, id)
		}
	}
	return label{columns: out, derived: l.derived}
}

// control is told that a value labelled l decides something: clause says
// where. It refuses unless the policies allow it. Control inside stored code is
// the administrator's own doing.
func (a *analyzer) control(l label, u use, clause string, location int32) {
	if l.bottom() || a.stored || (l.definition && u != usePredicate) {
		return
	}
	l = a.denied(l, u)
	if l.bottom() {
		return
	}
	code, hint := CodePredicate, a.predicateHint(l)
	switch u {
	case usePredicate:
	case useOrder:
		code, hint = CodeOrder, "Order by another column, or ask to be exempted from the policy."
	case useGroup:
		code, hint = CodeGroup, "Group by another column, or ask to be exempted from the policy."
	case useFallible:
		if a.refusal == nil {
			a.mayFail = l
		}
		a.refuse(CodeFallible, location,
			"Show the column itself, or ask to be exempted from the policy.",
			"%s and may not be used in %s, which can fail depending on the value", a.describe(l), clause)
		return
	}
	a.refuse(code, location, hint, "%s and may not be used in %s", a.describe(l), clause)
}

func (a *analyzer) predicateHint(l label) string {
	if !l.all && len(l.columns) > 0 {
		equality := true
		for _, id := range l.columns {
			equality = equality && a.prot.knob(id, usePredicate) == policylang.KnobEquality
		}
		if equality {
			return "Compare it with = to one known value in WHERE, or ask to be exempted from the policy."
		}
	}
	return "Show it, but filter and join by other columns, or ask to be exempted from the policy."
}
