package condition

import (
	"time"

	"github.com/posternhq/postern/policylang"
)

// Input is what a condition is evaluated over. Which fields are needed depends
// on the condition's [Kind]. What it points to is only read, but an Input
// itself is for one goroutine at a time.
type Input struct {
	Subject   *policylang.Subject // the variable identity
	Delegated bool                // Subject is the agent that acts for another
	Session   *policylang.Session // the variable session
	Facts     *policylang.Facts   // the variable statement
	Now       time.Time           // the variable now
	Token     map[string]any      // the variable token

	failure error // the first of the evaluation that is under way
}

// fail notes why a part of a condition failed.
func (in *Input) fail(err error) Value {
	if in.failure == nil {
		in.failure = err
	}
	return Error
}

// Deps is a set of the variables that a condition mentions.
type Deps uint8

// The variables, and the one field that facts of alike statements differ in.
const (
	DependsIdentity Deps = 1 << iota
	DependsSession
	DependsStatement
	DependsToken
	DependsNow
	DependsText // the field statement.text
)

// Has reports whether any variable of other is in the set.
func (d Deps) Has(other Deps) bool { return d&other != 0 }

// opaque reports whether the statement may do more than its facts say, so that
// what they do not mention is unknown rather than absent.
func opaque(f *policylang.Facts) bool { return f.Opaque || f.Class == "" }
