package source

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/posternhq/postern/policylang"
)

// testBlock is the type of the blocks that hold tests.
const testBlock = "test"

// read adds one file.
func (r *reader) read(filename string, src []byte) {
	if len(src) > maxSize {
		r.add(tooLarge(filename))
		r.file.partial = true
		return
	}
	t := newText(filename, src)
	r.file.texts[filename] = t
	blocks, syntax := r.parse(t)
	for _, b := range blocks {
		r.topBlock(t, b)
	}
	r.addSyntax(syntax)
}

// topBlock reads one object or test.
func (r *reader) topBlock(t *text, b *hclsyntax.Block) {
	kind := b.Type
	if !slices.Contains(topBlocks(), kind) {
		p := t.problem(rangeSpan(b.TypeRange), fmt.Sprintf("there is no block named %q", kind),
			"The blocks are "+strings.Join(topBlocks(), ", ")+".")
		p.Suggestion = policylang.Suggest(kind, topBlocks())
		r.add(p)
		if kind = p.Suggestion; kind == "" {
			return
		}
	}
	into := newTop(kind)
	name, named := r.label(t, b, kind)
	d := &decoder{reader: r, text: t, kind: policylang.Kind(kind), name: name}
	header := placeKey{kind: d.kind, name: name}
	first, duplicate := r.file.places[header]
	if duplicate {
		p := t.problem(labelSpan(b), fmt.Sprintf("a second %s is named %q", kind, name), "The first one is at "+first.String()+". Rename or remove one of them.")
		p.Path = policylang.Path{Kind: d.kind, Name: name}
		r.add(p)
	}
	d.unrecorded = duplicate || !named
	d.record("", labelSpan(b), nil)
	v := reflect.ValueOf(into).Elem()
	v.FieldByName("Name").SetString(name)
	d.body(b.Body, v, "")
	if !d.unrecorded {
		r.keep(into)
	}
}

// topBlocks lists the types of block that a file can hold.
func topBlocks() []string {
	var names []string
	for _, k := range policylang.Kinds() {
		names = append(names, string(k))
	}
	return append(names, testBlock)
}

// newTop returns a pointer to what a block of that type is read into.
func newTop(kind string) any {
	switch policylang.Kind(kind) {
	case policylang.KindGateway:
		return new(policylang.Gateway)
	case policylang.KindIdentity:
		return new(policylang.Identity)
	case policylang.KindQueryRule:
		return new(policylang.QueryRule)
	case policylang.KindMaskingPolicy:
		return new(policylang.MaskingPolicy)
	case policylang.KindApprovalGroup:
		return new(policylang.ApprovalGroup)
	}
	return new(policylang.Test)
}

func (r *reader) keep(read any) {
	switch read := read.(type) {
	case policylang.Object:
		r.file.Policy.Add(read)
	case *policylang.Test:
		r.file.Tests = append(r.file.Tests, *read)
	}
}

// label returns the block's one label.
func (r *reader) label(t *text, b *hclsyntax.Block, kind string) (string, bool) {
	switch len(b.Labels) {
	case 0:
		r.add(t.problem(rangeSpan(b.TypeRange), fmt.Sprintf("the %s has no name", kind), fmt.Sprintf(`Write %s "name" { ... }.`, kind)))
		return "", false
	case 1:
		return b.Labels[0], true
	}
	r.add(t.problem(rangeSpan(b.LabelRanges[1]), fmt.Sprintf("a %s has one name only", kind), "Remove what stands behind the first name."))
	return b.Labels[0], true
}

// labelSpan is where a block's name stands, or its type if it has none.
func labelSpan(b *hclsyntax.Block) span {
	if len(b.LabelRanges) > 0 {
		return rangeSpan(b.LabelRanges[0])
	}
	return rangeSpan(b.TypeRange)
}

// decoder reads the body of one object or test.
type decoder struct {
	*reader
	text       *text
	kind       policylang.Kind
	name       string
	unrecorded bool // the object is not kept, so its places are not either
}

// problem adds a problem of an attribute, standing at s.
func (d *decoder) problem(attr string, s span, summary, advice string) {
	d.suggest(attr, s, summary, advice, "")
}

// suggest adds a problem with a name that was perhaps meant.
func (d *decoder) suggest(attr string, s span, summary, advice, suggestion string) {
	p := d.text.problem(s, summary, advice)
	p.Path = policylang.Path{Kind: d.kind, Name: d.name, Attr: attr}
	p.Suggestion = suggestion
	d.add(p)
}

func (d *decoder) record(attr string, s span, expr hclsyntax.Expression) {
	if !d.unrecorded {
		d.file.places[placeKey{d.kind, d.name, attr}] = place{d.text, s, expr}
	}
}

// fail notes that an attribute could not be read and that this was told.
func (d *decoder) fail(attr string) {
	if !d.unrecorded {
		d.file.broken[placeKey{d.kind, d.name, attr}] = true
	}
}

// failField does the same for a field with all that is in it.
func (d *decoder) failField(f field, prefix string) {
	d.fail(prefix + f.name)
	if f.isBlock() && !f.labelled() {
		for _, inner := range fieldsOf(f.typ) {
			d.failField(inner, prefix+f.name+".")
		}
	}
}

// body reads attributes and blocks into the struct v. The prefix is the path
// of v in the object, ending in a dot, or empty.
func (d *decoder) body(body *hclsyntax.Body, v reflect.Value, prefix string) {
	fields := fieldsOf(v.Type())
	for _, a := range attributes(body) {
		d.attribute(a, v, fields, prefix)
	}
	for _, b := range body.Blocks {
		d.block(b, v, fields, prefix)
	}
}

func (d *decoder) attribute(a *hclsyntax.Attribute, v reflect.Value, fields []field, prefix string) {
	attr := prefix + a.Name
	f, ok := fieldNamed(fields, a.Name)
	switch {
	case !ok:
		d.unknown(a.Name, rangeSpan(a.NameRange), "attribute", fields, prefix)
	case f.isBlock():
		d.problem(attr, rangeSpan(a.NameRange), a.Name+" is a block, not an attribute", "Remove the equals sign: "+f.example()+".")
		d.failField(f, prefix)
	default:
		d.record(attr, rangeSpan(a.Expr.Range()), a.Expr)
		if !d.value(a.Expr, v.Field(f.index), attr) {
			d.fail(attr)
			standIn(v.Field(f.index))
		}
	}
}

func (d *decoder) block(b *hclsyntax.Block, v reflect.Value, fields []field, prefix string) {
	f, ok := fieldNamed(fields, b.Type)
	switch {
	case !ok:
		d.unknown(b.Type, rangeSpan(b.TypeRange), "block", fields, prefix)
	case !f.isBlock():
		d.problem(prefix+b.Type, rangeSpan(b.TypeRange), b.Type+" is an attribute, not a block", "Write "+f.example()+".")
		d.fail(prefix + b.Type)
	case f.labelled():
		d.labelledBlock(b, v.Field(f.index), prefix)
	default:
		d.singleBlock(b, v.Field(f.index), prefix)
	}
}

func (d *decoder) singleBlock(b *hclsyntax.Block, v reflect.Value, prefix string) {
	attr := prefix + b.Type
	if len(b.Labels) > 0 {
		d.problem(attr, rangeSpan(b.LabelRanges[0]), b.Type+" blocks have no name", "Remove the name.")
	}
	if _, dup := d.file.places[placeKey{d.kind, d.name, attr}]; dup && !d.unrecorded {
		d.problem(attr, rangeSpan(b.TypeRange), fmt.Sprintf("a second %s block", b.Type), "Put everything into one block.")
		return
	}
	d.record(attr, rangeSpan(b.TypeRange), nil)
	d.body(b.Body, v, attr+".")
}

// labelledBlock appends an element to v, a slice of structs with a Name.
func (d *decoder) labelledBlock(b *hclsyntax.Block, v reflect.Value, prefix string) {
	name, named := d.label(d.text, b, b.Type)
	attr := prefix + b.Type + "." + name
	element := reflect.New(v.Type().Elem()).Elem()
	element.FieldByName("Name").SetString(name)
	if first, dup := d.file.places[placeKey{d.kind, d.name, attr}]; dup && !d.unrecorded {
		d.problem(attr, labelSpan(b), fmt.Sprintf("a second %s is named %q", b.Type, name), "The first one is at "+first.String()+". Rename or remove one of them.")
		return
	}
	d.record(attr, labelSpan(b), nil)
	d.body(b.Body, element, attr+".")
	if named {
		v.Set(reflect.Append(v, element))
	}
}

// unknown reports an attribute or block that does not exist. Where the name
// that was probably meant is told, its absence is not told as well.
func (d *decoder) unknown(name string, s span, what string, fields []field, prefix string) {
	names := fieldNames(fields)
	suggestion := policylang.Suggest(name, names)
	d.suggest(prefix+name, s, fmt.Sprintf("there is no %s named %q here", what, name), d.whereTo(name, names, prefix), suggestion)
	if f, ok := fieldNamed(fields, suggestion); ok {
		d.failField(f, prefix)
	}
}

// whereTo says where an attribute of that name belongs, if anywhere.
func (d *decoder) whereTo(name string, names []string, prefix string) string {
	for _, kind := range topBlocks() {
		if f, ok := fieldNamed(fieldsOf(reflect.TypeOf(newTop(kind)).Elem()), name); ok && (kind != string(d.kind) || prefix != "") {
			return fmt.Sprintf("%s belongs to %s.", f.name, kind)
		}
	}
	return "Possible here: " + strings.Join(names, ", ") + "."
}

// attributes returns a body's attributes in the order of the file.
func attributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range body.Attributes {
		if a != nil {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.NameRange.Start.Byte, b.NameRange.Start.Byte)
	})
	return out
}
