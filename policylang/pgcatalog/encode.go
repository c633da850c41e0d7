package pgcatalog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// encodingVersion is the version of a catalog's encoding.
const encodingVersion = 1

// encoding is the encoding's shape.
type encoding struct {
	Version       int               `json:"version"`
	Database      string            `json:"database"`
	ServerVersion int               `json:"server_version"`
	Schemas       map[string]uint32 `json:"schemas"`
	Extensions    []Extension       `json:"extensions"`
	Types         []*Type           `json:"types"`
	Functions     []*Function       `json:"functions"`
	Operators     []*Operator       `json:"operators"`
	Casts         []Cast            `json:"casts"`
	Relations     []*Relation       `json:"relations"`
}

// Encode returns the catalog as one JSON object, without its generation: a
// snapshot that tests of a policy can be run against. It holds names and
// definitions, and no row of any table.
func (c *Catalog) Encode() ([]byte, error) {
	data := encoding{
		Version:       encodingVersion,
		Database:      c.Database,
		ServerVersion: c.ServerVersion,
		Schemas:       c.schemas,
		Extensions:    c.extensions,
		Types:         byOID(c.types),
		Functions:     byOID(c.functions),
		Casts:         c.casts,
		Relations:     byOID(c.relations),
	}
	for _, operators := range c.operatorNames {
		data.Operators = append(data.Operators, operators...)
	}
	slices.SortFunc(data.Operators, func(a, b *Operator) int { return cmp.Compare(a.OID, b.OID) })
	out, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode catalog: %w", err)
	}
	return out, nil
}

func byOID[T any](objects map[uint32]*T) []*T {
	out := make([]*T, 0, len(objects))
	for _, oid := range slices.Sorted(maps.Keys(objects)) {
		out = append(out, objects[oid])
	}
	return out
}

// Decode reads what [Catalog.Encode] wrote.
func Decode(data []byte) (*Catalog, error) {
	var d encoding
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	if d.Version != encodingVersion {
		return nil, fmt.Errorf("read catalog: version %d is not supported, want %d", d.Version, encodingVersion)
	}
	b := NewBuilder(d.Database, d.ServerVersion)
	for name, oid := range d.Schemas {
		b.AddSchema(oid, name)
	}
	for _, e := range d.Extensions {
		b.AddExtension(e)
	}
	for _, t := range d.Types {
		b.AddType(*t)
	}
	for _, f := range d.Functions {
		b.AddFunction(*f)
	}
	for _, o := range d.Operators {
		b.AddOperator(*o)
	}
	for _, c := range d.Casts {
		b.AddCast(c)
	}
	for _, r := range d.Relations {
		b.AddRelation(*r)
	}
	return b.Build(0), nil
}
