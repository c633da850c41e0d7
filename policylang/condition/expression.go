package condition

import (
	"errors"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/posternhq/postern/policylang"
)

// Expression is a compiled expression over token that gives a string or a list
// of strings: name_from and groups_from.
type Expression struct {
	program program
	source  string
}

// CompileExpression compiles an expression of [KindNameFrom] or
// [KindGroupsFrom]. With any problem that is an error the expression is nil.
func CompileExpression(kind Kind, expr string) (*Expression, []policylang.Problem) {
	return new(Compiler).CompileExpression(kind, expr)
}

var (
	errNotString  = errors.New("the expression gave no string")
	errNotStrings = errors.New("the expression gave no list of strings")
)

// String evaluates the expression to a string. The error holds no claim.
func (x *Expression) String(in *Input) (string, error) {
	v, err := x.eval(in)
	if err != nil {
		return "", err
	}
	s, ok := v.(types.String)
	if !ok {
		return "", errNotString
	}
	return string(s), nil
}

// Strings evaluates the expression to a list of strings, all of which must be
// strings. The error holds no claim.
func (x *Expression) Strings(in *Input) ([]string, error) {
	v, err := x.eval(in)
	if err != nil {
		return nil, err
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, errNotStrings
	}
	var out []string
	for it := list.Iterator(); it.HasNext() == types.True; {
		s, ok := it.Next().(types.String)
		if !ok {
			return nil, errNotStrings
		}
		out = append(out, string(s))
	}
	return out, nil
}

func (x *Expression) eval(in *Input) (ref.Val, error) {
	v, err := x.program.run(in)
	if err != nil {
		return nil, describe(err, x.source)
	}
	return v, nil
}
