package catalog

import (
	"errors"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// errNotKept says that a relation which did not change is not in the earlier
// catalog: everything must be read.
var errNotKept = errors.New("a relation that did not change is not in the earlier catalog")

// reader gathers rows into objects.
type reader struct {
	builder    *pgcatalog.Builder
	members    map[uint32]string // objects of extensions
	types      map[uint32]*pgcatalog.Type
	relations  map[uint32]*pgcatalog.Relation
	lastColumn *pgcatalog.Relation // of the row before

	previous *pgcatalog.Catalog // an earlier catalog to take columns and definitions from; nil if none
	changed  map[uint32]bool    // relations that are not taken from it
	missing  bool               // a relation is in neither
}

func newReader(database string, version int) *reader {
	return &reader{
		builder:   pgcatalog.NewBuilder(database, version),
		members:   map[uint32]string{},
		types:     map[uint32]*pgcatalog.Type{},
		relations: map[uint32]*pgcatalog.Relation{},
	}
}

// build hands everything to the builder. A catalog without its own system
// relations was not read as it should have been.
func (r *reader) build() (*pgcatalog.Builder, error) {
	for _, t := range r.types {
		r.builder.AddType(*t)
	}
	system := false
	for _, rel := range r.relations {
		if r.previous != nil && !r.changed[rel.OID] {
			r.reuse(rel)
		} else {
			r.builder.AddRelation(*rel)
		}
		system = system || (rel.Schema == "pg_catalog" && rel.Name == "pg_class" && len(rel.Columns) > 0)
	}
	if r.missing {
		return nil, errNotKept
	}
	if !system {
		return nil, errors.New("the server returned no system catalog")
	}
	return r.builder, nil
}

// reuse adds a relation with the columns and definition that it had.
func (r *reader) reuse(rel *pgcatalog.Relation) {
	old := r.previous.Relation(rel.OID)
	if old == nil {
		r.missing = true
		return
	}
	rel.Columns, rel.ColumnsVersion, rel.Definition = old.Columns, old.ColumnsVersion, old.Definition
	r.builder.ReuseRelation(*rel)
}

func (r *reader) schema(v row) { r.builder.AddSchema(v.oid(0), v.text(1)) }
func (r *reader) member(v row) { r.members[v.oid(0)] = v.text(1) }
func (r *reader) extension(v row) {
	r.builder.AddExtension(pgcatalog.Extension{Name: v.text(0), Version: v.text(1), Schema: v.text(2)})
}

func (r *reader) dataType(v row) {
	oid := v.oid(0)
	r.types[oid] = &pgcatalog.Type{
		OID: oid, Schema: v.text(1), Name: v.text(2), Kind: pgcatalog.TypeKind(v.char(3)),
		Relation: v.oid(4), Base: v.oid(5), Modifier: v.int32(6), Element: v.oid(7), Array: v.oid(8),
		Input: v.oid(9), Output: v.oid(10), Extension: r.members[oid],
	}
}

func (r *reader) domainCheck(v row) {
	if t := r.types[v.oid(0)]; t != nil {
		t.Checks = append(t.Checks, v.text(1))
	}
}

func (r *reader) function(v row) {
	oid := v.oid(0)
	f := pgcatalog.Function{
		OID: oid, Schema: v.text(1), Name: v.text(2),
		Kind: pgcatalog.FunctionKind(v.char(3)), Volatility: pgcatalog.Volatility(v.char(4)),
		SetOf: v.bool(5), Leakproof: v.bool(6), Definer: v.bool(7), Variadic: v.bool(8), Defaults: int(v.int16(9)),
		Language: v.text(10), Result: v.oid(11), Arguments: v.oids(12),
		Source: v.text(16), SourceHash: v.text(17), Values: v.text(18), Path: v.text(19), Version: v.uint64(20), Extension: r.members[oid],
	}
	if oid < pgcatalog.FirstUserOID {
		f.SourceHash = "" // the server's own are known by their OID
	}
	f.Names, f.Outputs = parameters(v.oids(13), v.text(14), v.list(15), len(f.Arguments))
	r.builder.AddFunction(f)
}

// parameters splits pg_proc's parallel arrays of all parameters into the names
// of the inputs and the outputs. Types and modes are empty when every parameter
// is an input.
func parameters(types []uint32, modes string, names []string, inputs int) (in []string, out []pgcatalog.Parameter) {
	name := func(i int) string {
		if i < len(names) {
			return names[i]
		}
		return ""
	}
	if names != nil {
		in = make([]string, 0, inputs)
	}
	if modes == "" {
		for i := range min(inputs, len(names)) {
			in = append(in, name(i))
		}
		return in, nil
	}
	for i := range min(len(types), len(modes)) {
		switch modes[i] {
		case 'i', 'v':
			if names != nil {
				in = append(in, name(i))
			}
		case 'b':
			if names != nil {
				in = append(in, name(i))
			}
			out = append(out, pgcatalog.Parameter{Name: name(i), Type: types[i]})
		default: // 'o' and 't'
			out = append(out, pgcatalog.Parameter{Name: name(i), Type: types[i]})
		}
	}
	return in, out
}

func (r *reader) operator(v row) {
	r.builder.AddOperator(pgcatalog.Operator{
		OID: v.oid(0), Schema: v.text(1), Name: v.text(2),
		Left: v.oid(3), Right: v.oid(4), Result: v.oid(5), Function: v.oid(6),
	})
}

func (r *reader) cast(v row) {
	r.builder.AddCast(pgcatalog.Cast{
		Source: v.oid(0), Target: v.oid(1), Function: v.oid(2), Context: pgcatalog.CastContext(v.char(3)),
	})
}

func (r *reader) relation(v row) {
	oid := v.oid(0)
	r.relations[oid] = &pgcatalog.Relation{
		OID: oid, Schema: v.text(1), Name: v.text(2), Kind: pgcatalog.RelationKind(v.char(3)),
		Temporary: v.bool(4), Partition: v.bool(5), RowType: v.oid(6), RowSecurity: v.bool(7), Definition: v.text(8), Version: v.uint64(9),
	}
}

func (r *reader) column(v row) {
	oid := v.oid(0)
	rel := r.lastColumn
	if rel == nil || rel.OID != oid {
		if rel = r.relations[oid]; rel == nil {
			return
		}
		r.lastColumn = rel
	}
	rel.ColumnsVersion += v.uint64(10)
	rel.Columns = append(rel.Columns, pgcatalog.Column{
		Name: v.text(1), Number: v.int16(2), Type: v.oid(3), Modifier: v.int32(4),
		NotNull: v.bool(5), Generated: v.bool(6), Identity: v.bool(7), Default: v.text(8), Collation: v.oid(9),
	})
}

func (r *reader) parent(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.Parents = append(rel.Parents, v.oid(1))
	}
}

func (r *reader) partitionKey(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.PartitionKey, rel.PartitionExpressions = v.int16s(1), v.text(2)
	}
}

func (r *reader) constraint(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.Constraints = append(rel.Constraints, pgcatalog.Constraint{
			Name: v.text(1), Kind: pgcatalog.ConstraintKind(v.char(2)), Columns: v.int16s(3),
			Foreign: v.oid(4), ForeignColumns: v.int16s(5),
			OnDelete: pgcatalog.ReferentialAction(v.char(6)), OnUpdate: pgcatalog.ReferentialAction(v.char(7)),
			Expression: v.text(8),
		})
	}
}

func (r *reader) index(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.Indexes = append(rel.Indexes, pgcatalog.Index{
			Name: v.text(1), Unique: v.bool(2), Columns: v.int16s(3), Expressions: v.text(4), Predicate: v.text(5),
		})
	}
}

func (r *reader) trigger(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.Triggers = append(rel.Triggers, pgcatalog.Trigger{
			Name: v.text(1), Function: v.oid(2), Bits: v.int16(3), Disabled: v.bool(4),
		})
	}
}

func (r *reader) rule(v row) {
	rel := r.relations[v.oid(0)]
	if rel == nil {
		return
	}
	rel.Rules = append(rel.Rules, pgcatalog.Rule{
		Name: v.text(1), Event: ruleEvent(v.char(2)), Instead: v.bool(3), Definition: v.text(4),
	})
}

// ruleEvent reads pg_rewrite.ev_type, a command's number.
func ruleEvent(c byte) policylang.Verb {
	switch c {
	case '2':
		return policylang.VerbUpdate
	case '3':
		return policylang.VerbInsert
	case '4':
		return policylang.VerbDelete
	}
	return policylang.VerbRead
}

func (r *reader) rowPolicy(v row) {
	if rel := r.relations[v.oid(0)]; rel != nil {
		rel.RowPolicies = append(rel.RowPolicies, pgcatalog.RowPolicy{Name: v.text(1), Using: v.text(2), Check: v.text(3)})
	}
}
