package pgcatalog

// TypeKind is pg_type.typtype.
type TypeKind byte

// The kinds of types.
const (
	TypeBase       TypeKind = 'b'
	TypeComposite  TypeKind = 'c'
	TypeDomain     TypeKind = 'd'
	TypeEnum       TypeKind = 'e'
	TypePseudo     TypeKind = 'p'
	TypeRange      TypeKind = 'r'
	TypeMultirange TypeKind = 'm'
)

// Type is a data type.
type Type struct {
	OID       uint32
	Schema    string
	Name      string
	Kind      TypeKind
	Relation  uint32 // whose rows it describes, for TypeComposite
	Base      uint32 // that it is made of, for TypeDomain
	Modifier  int32  `json:",omitempty"` // of that type, as atttypmod; 0 if none
	Element   uint32 // for arrays and other types with a subscript; 0 if none
	Array     uint32 // the array type over it; 0 if none
	Input     uint32 // functions that read and write it
	Output    uint32
	Extension string   // that it belongs to; empty if none
	Checks    []string // of a domain: its CHECK expressions
}

// CastContext is pg_cast.castcontext.
type CastContext byte

// The contexts in which a cast applies by itself.
const (
	CastExplicit   CastContext = 'e'
	CastAssignment CastContext = 'a'
	CastImplicit   CastContext = 'i'
)

// Cast is a conversion between two types.
type Cast struct {
	Source   uint32
	Target   uint32
	Function uint32 // 0 if the cast runs none
	Context  CastContext
}

// Extension is an installed extension.
type Extension struct {
	Name    string
	Version string
	Schema  string
}
