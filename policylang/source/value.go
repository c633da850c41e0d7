package source

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxName bounds what of a value is repeated in advice, in bytes.
const maxName = 40

// value reads a plain value into v and reports whether that was possible; if
// not, it has added the problem.
func (d *decoder) value(expr hclsyntax.Expression, v reflect.Value, attr string) bool {
	if !d.plain(expr, v.Type(), attr) {
		return false
	}
	switch v.Kind() { //nolint:exhaustive // the model has no other kinds of field
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		v.Set(target)
		return d.value(expr, target.Elem(), attr)
	case reflect.Slice:
		return d.list(expr, v, attr)
	case reflect.Map:
		return d.claims(expr, v, attr)
	}
	val, ok := scalar(expr)
	switch {
	case ok && v.Kind() == reflect.String && val.Type() == cty.String:
		v.SetString(val.AsString())
		return true
	case ok && v.Kind() == reflect.Bool && val.Type() == cty.Bool:
		v.SetBool(val.True())
		return true
	case ok && v.CanInt() && val.Type() == cty.Number:
		return d.integer(val.AsBigFloat(), expr, v, attr)
	}
	return d.mismatch(expr, v.Type(), attr)
}

// standIn gives a number or a truth value that could not be read some value
// that is not zero: the attribute is there, and checks must not miss it.
func standIn(v reflect.Value) {
	switch {
	case v.CanInt() && v.IsZero():
		v.SetInt(1)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	}
}

func (d *decoder) integer(n *big.Float, expr hclsyntax.Expression, v reflect.Value, attr string) bool {
	i, accuracy := n.Int64()
	switch {
	case !n.IsInt():
		return d.mismatch(expr, v.Type(), attr)
	case accuracy != big.Exact || v.OverflowInt(i):
		d.problem(attr, rangeSpan(expr.Range()), attr+" is too large a number", "")
		return false
	}
	v.SetInt(i)
	return true
}

// list reads a list of texts. An element that cannot be read stays in the list
// as "", so that the others keep their places.
func (d *decoder) list(expr hclsyntax.Expression, v reflect.Value, attr string) bool {
	tuple, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return d.mismatch(expr, v.Type(), attr)
	}
	elements := reflect.MakeSlice(v.Type(), len(tuple.Exprs), len(tuple.Exprs))
	for i, e := range tuple.Exprs {
		element := attr + "[" + strconv.Itoa(i) + "]"
		d.record(element, rangeSpan(e.Range()), e)
		if !d.value(e, elements.Index(i), element) {
			d.fail(element)
		}
	}
	v.Set(elements)
	return true
}

// claims reads a map of any plain values, as JSON would give them.
func (d *decoder) claims(expr hclsyntax.Expression, v reflect.Value, attr string) bool {
	if _, ok := expr.(*hclsyntax.ObjectConsExpr); !ok {
		return d.mismatch(expr, v.Type(), attr)
	}
	claims, ok := d.anything(expr, attr).(map[string]any)
	if ok {
		v.Set(reflect.ValueOf(claims))
	}
	return ok
}

// anything returns a plain value as string, float64, bool, []any or
// map[string]any, or nil after adding a problem.
func (d *decoder) anything(expr hclsyntax.Expression, attr string) any {
	if !d.plain(expr, reflect.TypeFor[string](), attr) {
		return nil
	}
	switch e := expr.(type) {
	case *hclsyntax.TupleConsExpr:
		list := make([]any, len(e.Exprs))
		for i, element := range e.Exprs {
			list[i] = d.anything(element, attr)
		}
		return list
	case *hclsyntax.ObjectConsExpr:
		return d.object(e, attr)
	}
	val, ok := scalar(expr)
	switch {
	case ok && val.Type() == cty.String:
		return val.AsString()
	case ok && val.Type() == cty.Bool:
		return val.True()
	case ok && val.Type() == cty.Number:
		f, _ := val.AsBigFloat().Float64()
		if math.IsInf(f, 0) {
			d.problem(attr, rangeSpan(expr.Range()), attr+" has a number that is too large", "Write one of 64 bits, as readers of JSON give it.")
			return nil
		}
		return f
	}
	d.mismatch(expr, reflect.TypeFor[string](), attr)
	return nil
}

func (d *decoder) object(e *hclsyntax.ObjectConsExpr, attr string) map[string]any {
	out := make(map[string]any, len(e.Items))
	for _, item := range e.Items {
		key := hcl.ExprAsKeyword(item.KeyExpr)
		if key == "" {
			val, ok := scalar(unwrapKey(item.KeyExpr))
			if !ok || val.Type() != cty.String {
				d.problem(attr, rangeSpan(item.KeyExpr.Range()), "a key must be a word or text in quotes", "")
				continue
			}
			key = val.AsString()
		}
		if _, dup := out[key]; dup {
			d.problem(attr, rangeSpan(item.KeyExpr.Range()), fmt.Sprintf("a second value for %q", key), "")
		}
		out[key] = d.anything(item.ValueExpr, attr)
	}
	return out
}

func unwrapKey(expr hclsyntax.Expression) hclsyntax.Expression {
	if k, ok := expr.(*hclsyntax.ObjectConsKeyExpr); ok {
		return k.Wrapped
	}
	return expr
}

// plain reports whether expr is a plain value of some type. If it computes
// something, plain adds a problem that says so.
func (d *decoder) plain(expr hclsyntax.Expression, want reflect.Type, attr string) bool {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		if e.Val.IsNull() {
			d.problem(attr, rangeSpan(e.SrcRange), attr+" is null", "Leave the attribute out instead.")
			return false
		}
		return e.Val.IsKnown() // an unknown value stands for a syntax error that was told
	case *hclsyntax.TupleConsExpr, *hclsyntax.ObjectConsExpr, *hclsyntax.UnaryOpExpr:
		return true
	case *hclsyntax.TemplateExpr:
		return d.literalTemplate(e, attr)
	case *hclsyntax.TemplateWrapExpr:
		return d.interpolates(rangeSpan(e.SrcRange), attr)
	case *hclsyntax.ScopeTraversalExpr:
		return d.bareWord(e, want, attr)
	case *hclsyntax.ExprSyntaxError:
		return false
	}
	d.problem(attr, rangeSpan(expr.Range()), attr+" must be a plain value", "A policy file computes nothing. Functions, operators and references belong to Terraform, or to the text of a condition.")
	return false
}

func (d *decoder) literalTemplate(e *hclsyntax.TemplateExpr, attr string) bool {
	for _, part := range e.Parts {
		if _, ok := part.(*hclsyntax.LiteralValueExpr); !ok {
			return d.interpolates(rangeSpan(part.Range()), attr)
		}
	}
	return true
}

func (d *decoder) interpolates(s span, attr string) bool {
	d.problem(attr, s, attr+" must be plain text, without interpolation", "Where the characters ${ or %{ are meant, write $${ or %%{.")
	return false
}

// bareWord reports a word without quotes.
func (d *decoder) bareWord(e *hclsyntax.ScopeTraversalExpr, want reflect.Type, attr string) bool {
	advice := "A policy file has no variables. Text stands in quotes."
	if len(e.Traversal) == 1 && want.Kind() == reflect.String && !secret(attr) {
		advice = fmt.Sprintf("Write %s = %q.", lastName(attr), e.Traversal.RootName())
	}
	d.problem(attr, rangeSpan(e.SrcRange), fmt.Sprintf("%s must be %s", attr, wanted(want)), advice)
	return false
}

func (d *decoder) mismatch(expr hclsyntax.Expression, want reflect.Type, attr string) bool {
	d.problem(attr, rangeSpan(expr.Range()), fmt.Sprintf("%s must be %s, not %s", attr, wanted(want), given(expr)),
		"Write "+d.instead(expr, want, attr)+".")
	return false
}

// instead shows how the attribute is written, with what was given if that is
// plain to see and no secret.
func (d *decoder) instead(expr hclsyntax.Expression, want reflect.Type, attr string) string {
	example := exampleValue(want)
	val, ok := scalar(expr)
	if ok && !secret(attr) && len(d.text.src[expr.Range().Start.Byte:expr.Range().End.Byte]) <= maxName {
		written := string(d.text.src[expr.Range().Start.Byte:expr.Range().End.Byte])
		isText := val.Type() == cty.String
		switch kind := want.Kind(); {
		case kind == reflect.Slice && isText:
			example = "[" + written + "]"
		case kind == reflect.String && !isText:
			example = strconv.Quote(written)
		case isText && isPlain(val.AsString(), want):
			example = val.AsString()
		}
	}
	if strings.HasSuffix(attr, "]") {
		return example
	}
	return lastName(attr) + " = " + example
}

// isPlain reports whether text in quotes would be a value of the type without
// them.
func isPlain(text string, want reflect.Type) bool {
	switch wanted(want) {
	case wanted(reflect.TypeFor[int]()):
		_, err := strconv.Atoi(text)
		return err == nil
	case wanted(reflect.TypeFor[bool]()):
		return text == "true" || text == "false"
	}
	return false
}

// given says in words what an expression is.
func given(expr hclsyntax.Expression) string {
	switch expr.(type) {
	case *hclsyntax.TupleConsExpr:
		return "a list"
	case *hclsyntax.ObjectConsExpr:
		return "a map"
	}
	val, ok := scalar(expr)
	switch {
	case ok && val.Type() == cty.String:
		return "text"
	case ok && val.Type() == cty.Bool:
		return "true or false"
	case ok && val.Type() == cty.Number && !val.AsBigFloat().IsInt():
		return "a fraction"
	case ok && val.Type() == cty.Number:
		return "a number"
	}
	return "this"
}

// scalar returns the value of a plain text, number or truth value.
func scalar(expr hclsyntax.Expression) (cty.Value, bool) {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr, *hclsyntax.TemplateExpr:
	case *hclsyntax.UnaryOpExpr:
		if lit, ok := e.Val.(*hclsyntax.LiteralValueExpr); !ok || lit.Val.Type() != cty.Number || e.Op != hclsyntax.OpNegate {
			return cty.NilVal, false
		}
	default:
		return cty.NilVal, false
	}
	val, diags := expr.Value(nil)
	if diags.HasErrors() || !val.IsKnown() || val.IsNull() {
		return cty.NilVal, false
	}
	return val, true
}

// secret reports whether what stands at attr may be a secret that was written
// where a reference to one belongs.
func secret(attr string) bool { return attr == "upstream.credentials" }

// lastName is the attribute's own name within its block.
func lastName(attr string) string {
	attr, _, _ = strings.Cut(attr, "[")
	return attr[strings.LastIndexByte(attr, '.')+1:]
}
