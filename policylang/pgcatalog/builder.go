package pgcatalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Builder gathers the objects of a [Catalog]. An object with an OID
// that is there already replaces it. A builder is for one goroutine.
type Builder struct {
	database      string
	serverVersion int
	schemas       map[string]uint32
	relations     map[uint32]*Relation
	types         map[uint32]*Type
	functions     map[uint32]*Function
	operators     map[uint32]*Operator
	casts         []Cast
	extensions    []Extension
	names         map[string]string // one copy of each name
}

// NewBuilder returns a builder of an empty catalog.
func NewBuilder(database string, serverVersion int) *Builder {
	return &Builder{
		database:      database,
		serverVersion: serverVersion,
		schemas:       map[string]uint32{},
		relations:     map[uint32]*Relation{},
		types:         map[uint32]*Type{},
		functions:     map[uint32]*Function{},
		operators:     map[uint32]*Operator{},
		names:         map[string]string{},
	}
}

// Edit returns a builder that starts with all the objects of c, for a snapshot
// that differs in a few of them.
func (c *Catalog) Edit() *Builder {
	b := NewBuilder(c.Database, c.ServerVersion)
	b.schemas = maps.Clone(c.schemas)
	b.relations = maps.Clone(c.relations)
	b.types = maps.Clone(c.types)
	b.functions = maps.Clone(c.functions)
	for _, operators := range c.operatorNames {
		for _, o := range operators {
			b.operators[o.OID] = o
		}
	}
	b.casts = slices.Clone(c.casts)
	b.extensions = slices.Clone(c.extensions)
	return b
}

// AddSchema adds a schema.
func (b *Builder) AddSchema(oid uint32, name string) { b.schemas[b.intern(name)] = oid }

// AddRelation adds a relation; its columns may be in any order. Children and
// RowType's type need not be given: Build derives children from parents.
func (b *Builder) AddRelation(r Relation) {
	r.Schema, r.Name = b.intern(r.Schema), b.intern(r.Name)
	r.Columns = slices.Clone(r.Columns)
	slices.SortFunc(r.Columns, func(a, c Column) int { return cmp.Compare(a.Number, c.Number) })
	for i := range r.Columns {
		r.Columns[i].Name = b.intern(r.Columns[i].Name)
		r.Columns[i].Default = b.intern(r.Columns[i].Default)
	}
	b.relations[r.OID] = &r
}

// ReuseRelation adds a relation whose columns are those of one of an earlier
// catalog, which it shares.
func (b *Builder) ReuseRelation(r Relation) {
	r.Schema, r.Name = b.intern(r.Schema), b.intern(r.Name)
	b.relations[r.OID] = &r
}

// RemoveRelation removes a relation.
func (b *Builder) RemoveRelation(oid uint32) { delete(b.relations, oid) }

// AddType adds a type.
func (b *Builder) AddType(t Type) {
	t.Schema, t.Name = b.intern(t.Schema), b.intern(t.Name)
	b.types[t.OID] = &t
}

// AddFunction adds a function.
func (b *Builder) AddFunction(f Function) {
	f.Schema, f.Name, f.Language = b.intern(f.Schema), b.intern(f.Name), b.intern(f.Language)
	f.Extension = b.intern(f.Extension)
	b.functions[f.OID] = &f
}

// AddOperator adds an operator.
func (b *Builder) AddOperator(o Operator) {
	o.Schema, o.Name = b.intern(o.Schema), b.intern(o.Name)
	b.operators[o.OID] = &o
}

// AddCast adds a cast.
func (b *Builder) AddCast(c Cast) { b.casts = append(b.casts, c) }

// AddExtension adds an extension.
func (b *Builder) AddExtension(e Extension) { b.extensions = append(b.extensions, e) }

// Build returns the catalog. The builder must not be used again.
func (b *Builder) Build(generation uint64) *Catalog {
	c := &Catalog{
		Database:      b.database,
		ServerVersion: b.serverVersion,
		Generation:    generation,
		schemas:       b.schemas,
		relations:     b.relations,
		types:         b.types,
		functions:     b.functions,
		casts:         b.casts,
		extensions:    b.extensions,
		relationNames: make(map[qualifiedName]*Relation, len(b.relations)),
		typeNames:     make(map[qualifiedName]*Type, len(b.types)),
		functionNames: make(map[qualifiedName][]*Function, len(b.functions)),
		operatorNames: make(map[qualifiedName][]*Operator, len(b.operators)),
		castsByType:   map[uint32][]int{},
		references:    map[uint32][]Reference{},
	}
	slices.SortFunc(c.extensions, func(x, y Extension) int { return strings.Compare(x.Name, y.Name) })
	b.linkChildren()
	for _, r := range b.relations {
		c.relationNames[qualifiedName{r.Schema, r.Name}] = r
		for i := range r.Constraints {
			if k := &r.Constraints[i]; k.Kind == ConstraintForeign {
				c.references[k.Foreign] = append(c.references[k.Foreign], Reference{Relation: r, Constraint: k})
			}
		}
	}
	for _, t := range b.types {
		c.typeNames[qualifiedName{t.Schema, t.Name}] = t
	}
	addByName(c.functionNames, b.functions, func(f *Function) qualifiedName { return qualifiedName{f.Schema, f.Name} })
	addByName(c.operatorNames, b.operators, func(o *Operator) qualifiedName { return qualifiedName{o.Schema, o.Name} })
	for i, k := range c.casts {
		c.castsByType[k.Source] = append(c.castsByType[k.Source], i)
		if k.Target != k.Source {
			c.castsByType[k.Target] = append(c.castsByType[k.Target], i)
		}
	}
	b.names = nil
	return c
}

// addByName files objects under their names, in the order of their OIDs.
func addByName[T any](names map[qualifiedName][]*T, objects map[uint32]*T, name func(*T) qualifiedName) {
	for _, oid := range slices.Sorted(maps.Keys(objects)) {
		o := objects[oid]
		names[name(o)] = append(names[name(o)], o)
	}
}

// linkChildren gives each relation its children, leaving the relations of an
// older snapshot as they are: a relation whose children changed is copied.
func (b *Builder) linkChildren() {
	children := map[uint32][]uint32{}
	for _, r := range b.relations {
		for _, p := range r.Parents {
			children[p] = append(children[p], r.OID)
		}
	}
	for oid, r := range b.relations {
		now := children[oid]
		slices.Sort(now)
		if slices.Equal(now, r.Children) {
			continue
		}
		changed := *r
		changed.Children = now
		b.relations[oid] = &changed
	}
}

// intern returns the one copy of a name, which does not keep the buffer alive
// that it was read from.
func (b *Builder) intern(s string) string {
	if s == "" {
		return ""
	}
	if one, ok := b.names[s]; ok {
		return one
	}
	one := strings.Clone(s)
	b.names[one] = one
	return one
}
