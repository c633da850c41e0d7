package source

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/posternhq/postern/policylang"
)

// Write returns the text of a policy file that says what p says, formatted, with
// the objects in canonical order and without what is default anyway. Parsing
// it gives a policy with p's digest. Text must be in Unicode normal form C,
// which is how HCL and Terraform read it.
func Write(p policylang.Policy) []byte {
	sorted := p.Sorted()
	var b strings.Builder
	for i, o := range sorted.Objects() {
		if i > 0 {
			b.WriteByte('\n')
		}
		v := reflect.ValueOf(o).Elem()
		fmt.Fprintf(&b, "%s %s {\n", o.ObjectKind(), quote(o.ObjectName()))
		writeBody(&b, v, reflect.ValueOf(defaults(o)).Elem())
		b.WriteString("}\n")
	}
	return hclwrite.Format([]byte(b.String()))
}

// defaults returns the object as it would be if only what has no default were
// set.
func defaults(o policylang.Object) policylang.Object {
	var p policylang.Policy
	switch o := o.(type) {
	case *policylang.Gateway:
		p.Add(&policylang.Gateway{})
	case *policylang.Identity:
		p.Add(&policylang.Identity{})
	case *policylang.QueryRule:
		p.Add(&policylang.QueryRule{Effect: o.Effect})
	case *policylang.MaskingPolicy:
		p.Add(&policylang.MaskingPolicy{Transform: o.Transform})
	case *policylang.ApprovalGroup:
		p.Add(&policylang.ApprovalGroup{})
	}
	sorted := p.Sorted()
	d := sorted.Objects()[0]
	// Effect and Transform choose other defaults, but have none themselves.
	switch d := d.(type) {
	case *policylang.QueryRule:
		d.Effect = ""
	case *policylang.MaskingPolicy:
		d.Transform = ""
	}
	return d
}

// writeBody writes the fields of v that differ from those of unset: attributes
// first, then blocks.
func writeBody(b *strings.Builder, v, unset reflect.Value) {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		if value := v.Field(f.index); !f.isBlock() && !same(value, unset.Field(f.index)) {
			fmt.Fprintf(b, "%s = %s\n", f.name, literal(value))
		}
	}
	for _, f := range fields {
		value := v.Field(f.index)
		switch {
		case !f.isBlock():
		case f.labelled():
			for i := range value.Len() {
				element := value.Index(i)
				fmt.Fprintf(b, "%s %s {\n", f.name, quote(element.FieldByName("Name").String()))
				writeBody(b, element, reflect.Zero(element.Type()))
				b.WriteString("}\n")
			}
		case !same(value, unset.Field(f.index)):
			fmt.Fprintf(b, "%s {\n", f.name)
			writeBody(b, value, unset.Field(f.index))
			b.WriteString("}\n")
		}
	}
}

func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func literal(v reflect.Value) string {
	switch v.Kind() { //nolint:exhaustive // the model has no other kinds of field
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Slice:
		elements := make([]string, v.Len())
		for i := range elements {
			elements[i] = quote(v.Index(i).String())
		}
		return "[" + strings.Join(elements, ", ") + "]"
	}
	return writeText(v.String())
}

// writeText writes lines as a heredoc where that is exact and reads better.
func writeText(s string) string {
	const marker = "EOT"
	if strings.Count(s, "\n") < 2 || !strings.HasSuffix(s, "\n") || holdsEscape(s) || strings.ContainsFunc(s, unprintable) {
		return quote(s)
	}
	flush := false // a line at the margin keeps the others' indentation when they are moved
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if strings.TrimSpace(line) == marker {
			return quote(s)
		}
		flush = flush || line != "" && strings.TrimSpace(line[:1]) != ""
	}
	if !flush {
		return "<<" + marker + "\n" + escapeTemplate(s) + marker
	}
	var b strings.Builder
	b.WriteString("<<-" + marker + "\n")
	for line := range strings.SplitAfterSeq(escapeTemplate(s), "\n") {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String() + "  " + marker
}

func unprintable(r rune) bool { return r != '\n' && r != '\t' && !strconv.IsPrint(r) }

// escapeTemplate doubles what would start an interpolation. A value that holds
// the doubled form itself cannot be written this way.
func escapeTemplate(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

func holdsEscape(s string) bool { return strings.Contains(s, "$${") || strings.Contains(s, "%%{") }

// quote writes a quoted template that means s.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case (r == '$' || r == '%') && i+1 < len(runes) && runes[i+1] == '{':
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
