package condition

import (
	"errors"
	"fmt"
	"strings"
)

var errNotBool = errors.New("the condition gave no boolean")

// describe says why an evaluation failed, without any value of the statement
// or of a claim.
func describe(err error, source string) error {
	if errors.Is(err, errOversized) {
		return errOversized
	}
	message := err.Error()
	if key, ok := strings.CutPrefix(message, "no such key: "); ok {
		if strings.Contains(source, key) {
			return fmt.Errorf("no such key: %s", key)
		}
		return errors.New("no such key")
	}
	for _, m := range []struct{ has, says string }{
		{"interrupted", "there are too many iterations"},
		{"no such attribute", "no such attribute"},
		{"no such overload", "a value is of the wrong type"},
		{"unsupported conversion", "a value is of the wrong type"},
		{"type conversion error", "a value cannot be converted"},
		{"invalid RFC 3339", "a value cannot be converted"},
		{"invalid duration", "a value cannot be converted"},
		{"divi", "division by zero"},
		{"modulus", "division by zero"},
		{"overflow", "a number overflows"},
		{"index", "an index is out of range"},
		{"not an address", "not an address"},
		{"not a network", "not a network"},
		{"not a glob", "not a glob"},
		{"not a time zone", "not a time zone"},
		{"error parsing regexp", "not a regular expression"},
	} {
		if strings.Contains(message, m.has) {
			return errors.New(m.says)
		}
	}
	return errors.New("the condition could not be evaluated")
}
