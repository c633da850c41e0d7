package policylang

// FunctionKind is pg_proc.prokind.
type FunctionKind byte

// The kinds of functions.
const (
	FunctionPlain     FunctionKind = 'f'
	FunctionProcedure FunctionKind = 'p'
	FunctionAggregate FunctionKind = 'a'
	FunctionWindow    FunctionKind = 'w'
)

// Volatility is pg_proc.provolatile.
type Volatility byte

// The volatilities.
const (
	Immutable Volatility = 'i'
	Stable    Volatility = 's'
	Volatile  Volatility = 'v'
)

// Function is a function, procedure, aggregate or window function.
type Function struct {
	OID        uint32
	Schema     string
	Name       string
	Kind       FunctionKind
	Volatility Volatility
	SetOf      bool // returns a set of rows
	Leakproof  bool
	Definer    bool // SECURITY DEFINER
	Variadic   bool // the last argument takes any number of values
	Defaults   int  // how many arguments at the end have a default
	Language   string
	Extension  string      // that it belongs to; empty if none
	Result     uint32      // type of the result
	Arguments  []uint32    // types of the input arguments
	Names      []string    // of the input arguments; nil if none has one
	Outputs    []Parameter // OUT, INOUT and TABLE parameters in order
	Values     string      // those defaults, as pg_get_expr prints them; only of functions that are not the server's own
	Source     string      // its statements, if it is written in SQL, or is a trigger's in PL/pgSQL, and not the server's own
	SourceHash string      // MD5 of pg_proc.prosrc
	Path       string      // its own SET search_path, as pg_proc.proconfig holds it; empty if none
	Version    uint64      // transaction that wrote its row: changes when it is replaced; 0 if unknown
}

// Parameter is an output parameter of a function.
type Parameter struct {
	Name string // may be empty
	Type uint32
}

// Accepts reports whether the function can be called with n arguments.
func (f *Function) Accepts(n int) bool {
	most := len(f.Arguments)
	if f.Variadic {
		return n >= most-1-f.Defaults
	}
	return n <= most && n >= most-f.Defaults
}

// Operator is an operator.
type Operator struct {
	OID      uint32
	Schema   string
	Name     string
	Left     uint32 // 0 for a prefix operator
	Right    uint32
	Result   uint32
	Function uint32
}

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
