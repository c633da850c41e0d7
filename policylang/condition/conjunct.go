package condition

import "errors"

// Conjunct is one operand of a condition's outermost &&.
type Conjunct struct {
	node node
	deps Deps
	id   string
	keys []Key

	// Offset and Length are the bytes of the expression that it comes from.
	// Negated says that it is the opposite of what they say: the ! stands
	// before a bracket around several, as in !(a || b).
	Offset, Length int
	Negated        bool
}

// ID is equal for conjuncts that mean the same over the same variables,
// whatever expression they come from.
func (c *Conjunct) ID() string { return c.id }

// Deps returns the variables that the conjunct mentions.
func (c *Conjunct) Deps() Deps { return c.deps }

// Keys returns keys without which the conjunct is surely false or erring: the
// facts of a statement that is not opaque (or a subject and session, or a
// token) must have one of them, see [FactKeys]. It is nil if nothing of the
// kind is known. Only a conjunct that is false for want of a claim may err
// where it has none of its keys.
func (c *Conjunct) Keys() []Key { return c.keys }

// FalseKeys is the opposite of Keys, for conjuncts over subject and session:
// keys without any of which the conjunct is surely true. It is nil if nothing
// of the kind is known.
func (c *Conjunct) FalseKeys() []Key {
	if n, ok := c.node.(notNode); ok {
		return n.of.keys()
	}
	return nil
}

// Eval evaluates the conjunct. The error is set if and only if the value is
// Error. It never holds a value of the statement or of a claim.
func (c *Conjunct) Eval(in *Input) (Value, error) {
	if err := c.deps.missing(in); err != nil {
		return Error, err
	}
	in.failure = nil
	if v := c.node.eval(in); v != Error {
		return v, nil
	}
	return Error, in.failure
}

var (
	errNoIdentity  = errors.New("there is no identity")
	errNoSession   = errors.New("there is no session")
	errNoStatement = errors.New("there is no statement")
)

// missing returns an error if the input lacks a variable of the set.
func (d Deps) missing(in *Input) error {
	switch {
	case d.Has(DependsIdentity) && in.Subject == nil:
		return errNoIdentity
	case d.Has(DependsSession) && in.Session == nil:
		return errNoSession
	case d.Has(DependsStatement) && in.Facts == nil:
		return errNoStatement
	}
	return nil
}
