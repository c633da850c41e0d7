// Package pgcatalog is what a PostgreSQL database looks like, as far as
// following columns through a statement needs it: relations, types, functions,
// operators and casts, in the terms of PostgreSQL's system catalogs.
//
// A [Catalog] is an immutable snapshot, made with a [Builder]: package
// gateway/catalog reads a live database's, package scenario builds one of DDL,
// and [Decode] reads one from a file. It does no I/O.
package pgcatalog

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Catalog is what a database looked like at one moment: its relations, types,
// functions, operators and casts, as far as following columns through a
// statement needs them. It is immutable and safe for concurrent use; make one
// with a [Builder]. Everything that its methods return is shared and
// must not be changed.
//
// Names are PostgreSQL's own, folded and unquoted. Objects are known by OID
// within one database.
type Catalog struct {
	Database      string // the database's name
	ServerVersion int    // server_version_num, as 150018
	Generation    uint64 // grows with every snapshot of one store

	schemas    map[string]uint32
	relations  map[uint32]*Relation
	types      map[uint32]*Type
	functions  map[uint32]*Function
	extensions []Extension
	casts      []Cast

	relationNames map[qualifiedName]*Relation
	typeNames     map[qualifiedName]*Type
	functionNames map[qualifiedName][]*Function
	operatorNames map[qualifiedName][]*Operator
	castsByType   map[uint32][]int // indexes into casts
	references    map[uint32][]Reference
}

type qualifiedName struct{ schema, name string }

// ColumnID names a column of a relation of one database. Column is the
// attribute number: positive for a user's column, negative for a system
// column, 0 for the whole row.
type ColumnID struct {
	Relation uint32
	Column   int16
}

// Compare orders columns by relation and number.
func (c ColumnID) Compare(d ColumnID) int {
	switch {
	case c.Relation != d.Relation && c.Relation < d.Relation:
		return -1
	case c.Relation != d.Relation:
		return 1
	}
	return int(c.Column) - int(d.Column)
}

// FirstUserOID is the first OID that PostgreSQL gives to objects made after
// initdb. Objects below it came with the server.
const FirstUserOID = 16384

// Reference is a foreign key seen from the table it refers to.
type Reference struct {
	Relation   *Relation   // the referencing table
	Constraint *Constraint // its foreign key
}

// HasSchema reports whether the schema exists.
func (c *Catalog) HasSchema(name string) bool {
	_, ok := c.schemas[name]
	return ok
}

// Schemas visits the names of the schemas, in no particular order.
func (c *Catalog) Schemas() iter.Seq[string] { return maps.Keys(c.schemas) }

// Relation returns the relation of that OID, or nil.
func (c *Catalog) Relation(oid uint32) *Relation { return c.relations[oid] }

// RelationNamed returns the relation of that schema and name, or nil.
func (c *Catalog) RelationNamed(schema, name string) *Relation {
	return c.relationNames[qualifiedName{schema, name}]
}

// FindRelation returns the relation that an unqualified name means under a
// search path, or nil. The path is current_schemas(true): implicit schemas are
// in it, at the place where the server looks.
func (c *Catalog) FindRelation(path []string, name string) *Relation {
	for _, schema := range path {
		if r := c.relationNames[qualifiedName{schema, name}]; r != nil {
			return r
		}
	}
	return nil
}

// Relations visits every relation, in no particular order.
func (c *Catalog) Relations() iter.Seq[*Relation] { return maps.Values(c.relations) }

// RelationCount returns the number of relations.
func (c *Catalog) RelationCount() int { return len(c.relations) }

// References returns the foreign keys that refer to the relation.
func (c *Catalog) References(relation uint32) []Reference { return c.references[relation] }

// ColumnName returns "schema.relation.column", or "" if there is no such
// column.
func (c *Catalog) ColumnName(id ColumnID) string {
	r := c.relations[id.Relation]
	if r == nil {
		return ""
	}
	col := r.Column(id.Column)
	if col == nil {
		return ""
	}
	return r.Schema + "." + r.Name + "." + col.Name
}

// Type returns the type of that OID, or nil.
func (c *Catalog) Type(oid uint32) *Type { return c.types[oid] }

// TypeNamed returns the type of that schema and name, or nil. Array types go
// by their own names, as "_text".
func (c *Catalog) TypeNamed(schema, name string) *Type {
	return c.typeNames[qualifiedName{schema, name}]
}

// FindType returns the type that an unqualified name means under a search
// path, or nil.
func (c *Catalog) FindType(path []string, name string) *Type {
	for _, schema := range path {
		if t := c.typeNames[qualifiedName{schema, name}]; t != nil {
			return t
		}
	}
	return nil
}

// BaseType follows domains to the type that they are made of.
func (c *Catalog) BaseType(oid uint32) uint32 {
	base, _ := c.BaseTypeModified(oid, 0)
	return base
}

// BaseTypeModified follows domains to the type that they are made of, and the
// modifier that they give it: a column whose type is a domain has none itself.
func (c *Catalog) BaseTypeModified(oid uint32, modifier int32) (base uint32, baseModifier int32) {
	for range maxTypeNesting {
		t := c.types[oid]
		if t == nil || t.Kind != TypeDomain {
			break
		}
		oid, modifier = t.Base, t.Modifier
	}
	return oid, modifier
}

// maxTypeNesting bounds chains of domains in a catalog that lies.
const maxTypeNesting = 100

// Function returns the function of that OID, or nil.
func (c *Catalog) Function(oid uint32) *Function { return c.functions[oid] }

// FunctionsNamed returns all functions, procedures and aggregates of that
// schema and name.
func (c *Catalog) FunctionsNamed(schema, name string) []*Function {
	return c.functionNames[qualifiedName{schema, name}]
}

// FindFunctions returns every function that an unqualified name may mean under
// a search path, whatever its arguments. PostgreSQL never looks for functions
// in a session's temporary schema, nor does this.
func (c *Catalog) FindFunctions(path []string, name string) []*Function {
	return findAll(c.functionNames, path, name)
}

// OperatorsNamed returns all operators of that schema and name.
func (c *Catalog) OperatorsNamed(schema, name string) []*Operator {
	return c.operatorNames[qualifiedName{schema, name}]
}

// FindOperators returns every operator that an unqualified name may mean under
// a search path, whatever its arguments.
func (c *Catalog) FindOperators(path []string, name string) []*Operator {
	return findAll(c.operatorNames, path, name)
}

func findAll[T any](names map[qualifiedName][]T, path []string, name string) []T {
	var found []T
	for _, schema := range path {
		if IsTemporarySchema(schema) {
			continue
		}
		more := names[qualifiedName{schema, name}]
		if found == nil {
			found = more[:len(more):len(more)]
			continue
		}
		found = append(found, more...)
	}
	return found
}

// CastsOf visits the casts from and to a type.
func (c *Catalog) CastsOf(oid uint32) iter.Seq[Cast] {
	return func(yield func(Cast) bool) {
		for _, i := range c.castsByType[oid] {
			if !yield(c.casts[i]) {
				return
			}
		}
	}
}

// Extensions returns the installed extensions, sorted by name.
func (c *Catalog) Extensions() []Extension { return slices.Clone(c.extensions) }

// IsTemporarySchema reports whether a schema holds a session's temporary
// objects, as pg_temp_3 or pg_toast_temp_3 do.
func IsTemporarySchema(schema string) bool {
	return schema == "pg_temp" || strings.HasPrefix(schema, "pg_temp_") || strings.HasPrefix(schema, "pg_toast_temp_")
}

// IsSystemSchema reports whether a schema came with the server.
func IsSystemSchema(schema string) bool {
	return schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
}
