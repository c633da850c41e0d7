package lineage

import (
	"math/bits"
	"slices"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// traits are what decides, besides its type, whether a function that is known
// to be harmless may yet fail on a value.
type traits struct {
	collation collation
	size      uint64 // a bound of the value's size in bytes, as far as statements can make it grow
	fixed     bool   // a literal or a parameter
	shaped    bool   // its size depends on what a protected value is, not only on how long that is
}

// with are the traits of a value made out of two.
func (t traits) with(u traits) traits {
	return traits{
		collation: joinCollations(t.collation, u.collation),
		size:      add(t.size, u.size),
		fixed:     t.fixed && u.fixed,
		shaped:    t.shaped || u.shaped,
	}
}

// either are the traits of a value that is one of two.
func (t traits) either(u traits) traits {
	both := t.with(u)
	both.size = max(t.size, u.size)
	return both
}

// collation is the collation of a text: none, mixed, or the OID of one. A
// comparison of texts whose collation is mixed fails when it is made, which it is
// not if one of them is NULL.
type collation uint32

const (
	noCollation    collation = 0
	mixedCollation collation = pgcatalog.CollationUnclear
)

func joinCollations(a, b collation) collation {
	switch {
	case a == noCollation:
		return b
	case b == noCollation || a == b:
		return a
	}
	return mixedCollation
}

// namedCollation is the collation that a COLLATE clause names. Users' own may be
// nondeterministic, which some functions refuse.
func namedCollation(names []string) collation {
	if len(names) == 0 || len(names) > 1 && names[0] != "pg_catalog" {
		return mixedCollation
	}
	switch names[len(names)-1] {
	case "default":
		return pgcatalog.CollationDefault
	case "C":
		return pgcatalog.CollationC
	case "POSIX":
		return pgcatalog.CollationPOSIX
	}
	return mixedCollation
}

// Sizes. A column is taken for no longer than columnSize unless it is of a
// temporary table, which its owner may have filled with anything. What may
// reach largeSize may be too much for the server, which fails at 1 GiB.
const (
	columnSize = 1 << 16
	rowSize    = 1 << 10 // of what has no argument
	largeSize  = 1 << 29
	unbounded  = 1 << 62
)

func add(a, b uint64) uint64 { return min(a+b, unbounded) }

func multiply(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high != 0 {
		return unbounded
	}
	return min(low, unbounded)
}

// columnTraits are the traits of a relation's column.
func columnTraits(r *pgcatalog.Relation, c *pgcatalog.Column) traits {
	t := traits{collation: collation(c.Collation), size: columnSize}
	if r.Temporary {
		t.size = unbounded
	}
	return t
}

// growers are functions whose results may be far larger than their arguments.
var growers = set(`
	repeat lpad rpad array_fill string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg xmlagg
	json_agg_strict jsonb_agg_strict json_object_agg_strict jsonb_object_agg_strict range_agg
	replace regexp_replace array_replace overlay format array_to_string string_to_array regexp_split_to_array
	regexp_matches xmlconcat2 pg_get_functiondef pg_get_viewdef lo_get pg_read_file convert convert_from convert_to`)

// expanders are functions whose results may be several times as large.
var expanders = set(`
	to_json to_jsonb row_to_json array_to_json json_build_array json_build_object jsonb_build_array jsonb_build_object
	quote_ident quote_literal quote_nullable encode translate jsonb_pretty xmlcomment`)

// shapeless are functions the size of whose result tells no more than the
// sizes of their arguments.
var shapeless = set(`
	concat concat_ws lower upper initcap md5 sha224 sha256 sha384 sha512 length char_length character_length octet_length
	bit_length to_json to_jsonb row_to_json array_to_json json_agg jsonb_agg json_build_array json_build_object
	jsonb_build_array jsonb_build_object json_object_agg jsonb_object_agg string_agg array_agg reverse left right
	date_trunc date_part extract to_char`)

// callTraits are the traits of a call's result; of are those of its arguments
// together.
func callTraits(name string, builtin bool, of traits, args []value, labelled bool) traits {
	out := traits{collation: of.collation, shaped: of.shaped || labelled && !shapeless[name]}
	switch {
	case name == "replace" && len(args) == 3:
		out.size = multiply(args[0].size, max(1, args[2].size))
	case !builtin, growers[name]:
		out.size = unbounded
	case expanders[name]:
		out.size = multiply(of.size, 8) + rowSize
	default:
		out.size = multiply(of.size, 2) + rowSize
	}
	return out
}

// accumulating are aggregates whose result grows with the number of rows.
var accumulating = set(`
	string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg xmlagg json_agg_strict jsonb_agg_strict`)

// collating are functions that need a collation.
var collating = set(`
	lower upper initcap strpos position replace split_part starts_with min max mode hashtext greatest least
	percentile_disc rank dense_rank percent_rank cume_dist`)

// comparing are functions that compare values of any type.
var comparing = set(`min max mode percentile_disc rank dense_rank percent_rank cume_dist array_agg string_agg`)

// scalars are the server's own types whose values can be compared whatever they
// are. Records are none: they fail at the first field that cannot be compared.
var scalars = map[uint32]bool{
	typeBool: true, typeBytea: true, typeName: true, typeInt8: true, typeInt2: true, typeInt4: true, typeText: true,
	typeOID: true, typeTID: true, typeXID: true, typeCID: true, typeFloat4: true, typeFloat8: true, typeUnknown: true,
	typeBpchar: true, typeVarchar: true, typeDate: true, typeTime: true, typeTimestamp: true, typeTimestamptz: true,
	typeTimetz: true, typeNumeric: true, typeInterval: true, typeUUID: true, typeJSONB: true, typeInet: true, typeCidr: true,
}

// comparable reports whether a value can be compared without fail: a scalar, an
// array of scalars, or an enum.
func (a *analyzer) comparable(v value) bool {
	if v.fixed || scalars[v.typ] {
		return true
	}
	t := a.cat.Type(a.cat.BaseType(v.typ))
	switch {
	case t == nil:
		return false
	case t.Kind == pgcatalog.TypeEnum:
		return true
	case t.Element != 0 && a.isArray(t):
		element := a.cat.Type(t.Element)
		return scalars[t.Element] || element != nil && element.Kind == pgcatalog.TypeEnum
	}
	return scalars[t.OID]
}

// comparableAll reports whether values can be compared with each other, by a
// collation that is clear.
func (a *analyzer) comparableAll(values ...value) bool {
	var together traits
	for _, v := range values {
		if !a.comparable(v) {
			return false
		}
		together = together.with(v.traits)
	}
	return together.collation != mixedCollation
}

// mayBeArray reports whether a value may be an array.
func (a *analyzer) mayBeArray(v value) bool {
	if v.fixed {
		return false
	}
	t := a.cat.Type(a.cat.BaseType(v.typ))
	return t == nil || t.Element != 0 && a.isArray(t)
}

// totalCall reports whether a call of a function that cannot fail by what it
// does cannot by what it is given either: the size, collation and type of its
// arguments.
func (a *analyzer) totalCall(name string, args []value, distinct, within bool) bool {
	var all traits
	for _, v := range args {
		all = all.with(v.traits)
	}
	switch {
	case collating[name] && all.collation == mixedCollation:
		return false
	case (comparing[name] && name != "array_agg" && name != "string_agg") || distinct || within:
		if !a.comparableAll(args...) {
			return false
		}
	case name == "array_agg" && slices.ContainsFunc(args, a.mayBeArray):
		return false
	case name == "length" && len(args) != 1:
		return false
	case (name == "to_jsonb" || name == "jsonb_agg" || name == "jsonb_build_object") && slices.ContainsFunc(args, func(v value) bool { return v.typ == typeJSON || v.typ == 0 && !v.fixed }):
		return false
	}
	if accumulating[name] && all.shaped {
		return false
	}
	return callTraits(name, true, all, args, false).size < largeSize || accumulating[name] && all.size < largeSize
}
