package condition

// Value is what a condition gives: true, false, or neither. It follows CEL's
// own logic of unknown and erring operands: what is certain wins (false && x is
// false, true || x is true), then Unknown wins over Error.
//
// Unknown and Error are both uncertain: whoever asks counts them as it is safe,
// as a match for what restricts and as none for what grants.
type Value uint8

// The values. The zero Value is False.
const (
	False Value = iota
	True
	Unknown // the facts do not say: a schema that is not resolved, an opaque statement
	Error   // evaluation failed: a missing claim, a division by zero, too high a cost
)

// String returns the value's name in lower case.
func (v Value) String() string {
	switch v {
	case False:
		return "false"
	case True:
		return "true"
	case Unknown:
		return "unknown"
	case Error:
		return "error"
	}
	return "invalid"
}

// MarshalText encodes the value by its name.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// And is CEL's && of two values.
func (v Value) And(w Value) Value {
	switch {
	case v == False || w == False:
		return False
	case v == Unknown || w == Unknown:
		return Unknown
	case v == Error || w == Error:
		return Error
	}
	return True
}

// Or is CEL's || of two values.
func (v Value) Or(w Value) Value { return v.Not().And(w.Not()).Not() }

// Not is CEL's ! of a value.
func (v Value) Not() Value {
	switch v {
	case False:
		return True
	case True:
		return False
	case Unknown, Error:
	}
	return v
}

// valueOf returns True or False.
func valueOf(b bool) Value {
	if b {
		return True
	}
	return False
}

// certainIf returns v if the facts are complete, and Unknown if not.
func certainIf(complete bool, v Value) Value {
	if complete {
		return v
	}
	return Unknown
}
