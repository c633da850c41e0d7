package pgcatalog

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
