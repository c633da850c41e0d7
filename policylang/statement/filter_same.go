package statement

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// canonical writes an expression such that two that mean the same by their
// form alone are equal: without positions, qualifiers of the target, casts and
// neutral operands. Constants are written as ? if plain.
func (f rowFilter) canonical(n *ast.Node, plain bool) string {
	var b strings.Builder
	f.write(&b, ast.Unwrap(n), plain)
	return b.String()
}

func (f rowFilter) write(b *strings.Builder, m any, plain bool) {
	if m == nil || !f.step() {
		b.WriteString("-")
		return
	}
	switch m := m.(type) {
	case *ast.ColumnRef:
		names, _ := columnNames(m)
		if len(names) > 1 && names[len(names)-2] == f.target.name {
			names = names[len(names)-1:]
		}
		b.WriteString("column " + strings.Join(names, "\x00") + ";")
		return
	case *ast.A_Const:
		if plain {
			b.WriteString("?")
			return
		}
	case *ast.TypeCast:
		f.write(b, ast.Unwrap(m.GetArg()), plain)
		return
	case *ast.A_Expr:
		if kept := neutral(m); kept != nil {
			f.c.literal = true
			f.write(b, ast.Unwrap(kept), plain)
			return
		}
	}
	message, ok := m.(protoreflect.ProtoMessage)
	if !ok {
		return
	}
	f.writeMessage(b, message.ProtoReflect(), plain)
}

func (f rowFilter) writeMessage(b *strings.Builder, m protoreflect.Message, plain bool) {
	b.WriteString(string(m.Descriptor().Name()))
	b.WriteByte('(')
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Name() == "location" || !m.Has(fd) {
			continue
		}
		b.WriteString(string(fd.Name()))
		b.WriteByte(' ')
		switch v := m.Get(fd); {
		case fd.IsList():
			for j := range v.List().Len() {
				f.writeValue(b, fd, v.List().Get(j), plain)
			}
		default:
			f.writeValue(b, fd, v, plain)
		}
		b.WriteByte(';')
	}
	b.WriteByte(')')
}

func (f rowFilter) writeValue(b *strings.Builder, fd protoreflect.FieldDescriptor, v protoreflect.Value, plain bool) {
	if fd.Kind() != protoreflect.MessageKind {
		b.WriteString(v.String())
		b.WriteByte(',')
		return
	}
	switch m := v.Message().Interface().(type) {
	case *ast.Node:
		f.write(b, ast.Unwrap(m), plain)
	default:
		f.write(b, m, plain)
	}
}

// neutral returns the operand that x + 0, x * 1 and their kin are equal to, or
// nil.
func neutral(m *ast.A_Expr) *ast.Node {
	if m.GetKind() != ast.A_Expr_Kind_AEXPR_OP || m.GetRexpr() == nil {
		return nil
	}
	_, op := qualifiedName(m.GetName())
	if m.GetLexpr() == nil {
		if op == "+" {
			return m.GetRexpr()
		}
		return nil
	}
	for _, side := range []struct{ kept, constant *ast.Node }{{m.GetLexpr(), m.GetRexpr()}, {m.GetRexpr(), m.GetLexpr()}} {
		k, ok := ast.Unwrap(side.constant).(*ast.A_Const)
		if !ok || k.GetIsnull() {
			continue
		}
		left := side.kept == m.GetLexpr()
		switch {
		case k.GetIval() != nil && k.GetIval().GetIval() == 0 && (op == "+" || op == "-" && left),
			k.GetIval() != nil && k.GetIval().GetIval() == 1 && (op == "*" || op == "/" && left),
			k.GetSval() != nil && k.GetSval().GetSval() == "" && op == "||":
			return side.kept
		}
	}
	return nil
}

// same reports whether two expressions are one by their form. Where constants
// make the difference, the facts depend on them.
func (f rowFilter) same(a, b *ast.Node) bool {
	if a == nil || b == nil {
		return false
	}
	if f.canonical(a, true) != f.canonical(b, true) {
		return false
	}
	exact := f.canonical(a, false)
	if strings.Contains(exact, "A_Const") {
		f.c.literal = true
	}
	return exact == f.canonical(b, false)
}
