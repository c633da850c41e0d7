package condition

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"

	"github.com/posternhq/postern/policylang"
)

// node is a part of a condition that gives a bool. The common parts have nodes
// of their own, which cost nanoseconds and allocate nothing; everything else is
// a program of CEL's. A differential test keeps the two in agreement.
type node interface {
	eval(in *Input) Value
	id() string // equal for nodes that mean the same
	deps() Deps
	keys() []Key // see Conjunct.Keys
}

type constNode Value

func (n constNode) eval(*Input) Value { return Value(n) }
func (n constNode) id() string        { return Value(n).String() }
func (constNode) deps() Deps          { return 0 }
func (constNode) keys() []Key         { return nil }

type notNode struct{ of node }

func (n notNode) eval(in *Input) Value { return n.of.eval(in).Not() }
func (n notNode) id() string           { return "!" + n.of.id() }
func (n notNode) deps() Deps           { return n.of.deps() }

func (n notNode) keys() []Key {
	if f, ok := n.of.(flagNode); ok {
		return []Key{{f.key(), "false"}, {f.key(), ""}}
	}
	return nil
}

type andNode []node

func (n andNode) eval(in *Input) Value {
	v := True
	for _, of := range n {
		if v = v.And(of.eval(in)); v == False {
			return False
		}
	}
	return v
}

func (n andNode) id() string { return joinIDs("&&", n) }
func (n andNode) deps() Deps { return joinDeps(n) }

// keys are those of the operand that has fewest.
func (n andNode) keys() []Key {
	var best []Key
	for _, of := range n {
		if k := of.keys(); k != nil && (best == nil || len(k) < len(best)) {
			best = k
		}
	}
	return best
}

type orNode []node

func (n orNode) eval(in *Input) Value {
	v := False
	for _, of := range n {
		if v = v.Or(of.eval(in)); v == True {
			return True
		}
	}
	return v
}

func (n orNode) id() string { return joinIDs("||", n) }
func (n orNode) deps() Deps { return joinDeps(n) }

// keys are those of all operands, if each has some.
func (n orNode) keys() []Key {
	var all []Key
	for _, of := range n {
		k := of.keys()
		if k == nil {
			return nil
		}
		all = append(all, k...)
	}
	return all
}

// joinIDs sorts and drops duplicates: && and || do not care for order.
func joinIDs(op string, nodes []node) string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.id()
	}
	slices.Sort(ids)
	return "(" + strings.Join(slices.Compact(ids), op) + ")"
}

func joinDeps(nodes []node) Deps {
	var d Deps
	for _, n := range nodes {
		d |= n.deps()
	}
	return d
}

// flagNode is a field that is a bool.
type flagNode struct {
	source source
	get    func(*Input) Value
}

func (n flagNode) eval(in *Input) Value { return n.get(in) }
func (n flagNode) id() string           { return n.source.name }
func (n flagNode) deps() Deps           { return n.source.deps }
func (n flagNode) key() string          { return n.source.name }
func (n flagNode) keys() []Key          { return []Key{{n.key(), "true"}, {n.key(), ""}} }

// source is where a node's value comes from.
type source struct {
	name string // "statement.command", "token.sub", "now.hour(Europe/Berlin)"
	deps Deps
}

// textState says what a text source gave.
type textState uint8

const (
	textKnown textState = iota
	textUnknown
	textOther  // a claim that is no string
	textAbsent // a claim that is absent
)

// textNode is source == value or source in [values].
type textNode struct {
	source source
	get    func(*Input) (string, textState)
	values []string // sorted
	unsure bool     // the source may be unknown
}

var errNoClaim = errors.New("no such claim")

func (n textNode) eval(in *Input) Value {
	s, state := n.get(in)
	switch state {
	case textUnknown:
		return Unknown
	case textOther:
		return False
	case textAbsent:
		return in.fail(errNoClaim)
	case textKnown:
	}
	_, found := slices.BinarySearch(n.values, s)
	return valueOf(found)
}

func (n textNode) id() string { return n.source.name + " in " + quoteAll(n.values) }
func (n textNode) deps() Deps { return n.source.deps }

func (n textNode) keys() []Key {
	if n.source.deps.Has(DependsNow) {
		return nil
	}
	keys := make([]Key, 0, len(n.values)+1)
	for _, v := range n.values {
		keys = append(keys, Key{n.source.name, v})
	}
	if n.unsure {
		keys = append(keys, Key{n.source.name, ""})
	}
	return keys
}

// claimNode is has(token.claim).
type claimNode struct{ claim string }

func (n claimNode) eval(in *Input) Value {
	_, found := in.Token[n.claim]
	return valueOf(found)
}

func (n claimNode) id() string { return "has(token." + n.claim + ")" }
func (claimNode) deps() Deps   { return DependsToken }
func (claimNode) keys() []Key  { return nil }

// listNode is whether a list has one of the values.
type listNode struct {
	source source
	get    func(*Input) list
	values []string // sorted
}

func (n listNode) eval(in *Input) Value { return n.get(in).has(n.values...) }
func (n listNode) id() string           { return n.source.name + " has " + quoteAll(n.values) }
func (n listNode) deps() Deps           { return n.source.deps }

func (n listNode) keys() []Key {
	keys := make([]Key, 0, len(n.values)+1)
	for _, v := range n.values {
		keys = append(keys, Key{n.source.name, v})
	}
	return append(keys, Key{n.source.name, ""}) // for elements that are not known
}

// orderNode compares a number or a text with a constant.
type orderNode[T cmp.Ordered] struct {
	source source
	get    func(*Input) T
	op     comparison
	value  T
	text   string // of the value
}

// comparison is an operator over an order.
type comparison string

const (
	less         comparison = "<"
	lessEqual    comparison = "<="
	greater      comparison = ">"
	greaterEqual comparison = ">="
	equal        comparison = "=="
)

func (n orderNode[T]) eval(in *Input) Value {
	got := n.get(in)
	switch n.op {
	case less:
		return valueOf(got < n.value)
	case lessEqual:
		return valueOf(got <= n.value)
	case greater:
		return valueOf(got > n.value)
	case greaterEqual:
		return valueOf(got >= n.value)
	case equal:
	}
	return valueOf(got == n.value)
}

func (n orderNode[T]) id() string { return n.source.name + " " + string(n.op) + " " + n.text }
func (n orderNode[T]) deps() Deps { return n.source.deps }
func (orderNode[T]) keys() []Key  { return nil }

// globNode is a function of the statement with a constant glob.
type globNode struct {
	name    string // of the function
	pattern string
	glob    policylang.Glob
	call    func(in *Input, arg string, g policylang.Glob) Value
	index   []Key
}

func (n globNode) eval(in *Input) Value { return n.call(in, n.pattern, n.glob) }
func (n globNode) id() string           { return n.name + "(" + strconv.Quote(n.pattern) + ")" }
func (globNode) deps() Deps             { return DependsStatement }
func (n globNode) keys() []Key          { return n.index }

// cidrNode is session.client_addr.in_cidr of a constant network.
type cidrNode struct{ network netip.Prefix }

var errNoAddress = errors.New("not an address")

func (n cidrNode) eval(in *Input) Value {
	addr := in.Session.ClientAddr
	if !addr.IsValid() {
		return in.fail(errNoAddress)
	}
	return valueOf(inCIDR(addr, n.network))
}

func (n cidrNode) id() string { return "session.client_addr in " + n.network.String() }
func (cidrNode) deps() Deps   { return DependsSession }
func (cidrNode) keys() []Key  { return nil }

// programNode is anything else, run by CEL.
type programNode struct {
	program program
	source  string // normalised text
	depend  Deps
}

func (n *programNode) eval(in *Input) Value {
	out, err := n.program.run(in)
	if err != nil {
		return in.fail(describe(err, n.source))
	}
	switch v := out.(type) {
	case types.Bool:
		return valueOf(bool(v))
	case *types.Unknown:
		return Unknown
	}
	return in.fail(errNotBool)
}

func (n *programNode) id() string { return n.source }
func (n *programNode) deps() Deps { return n.depend }
func (*programNode) keys() []Key  { return nil }

func quoteAll(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// clockText reads a clock that gives a text.
func clockText(c clock, zone *time.Location) func(*Input) string {
	return func(in *Input) string { return c.text(in.Now.In(zone)) }
}

// clockNumber reads a clock that gives a number.
func clockNumber(c clock, zone *time.Location) func(*Input) int64 {
	return func(in *Input) int64 { return c.number(in.Now.In(zone)) }
}
