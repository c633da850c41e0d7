package lineage

import (
	"strings"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// trust says what is known of a piece of code. The zero trust is none.
type trust int

const (
	opaqueCode     trust = iota // may read or do anything
	hiddenCode                  // computes only, but from what may tell about protected values
	definitionCode              // returns the text of a definition
	effectCode                  // has an effect or a state; nothing protected may reach it
	settingCode                 // set_config: changes a setting
	pureCode                    // computes from its arguments, or from the catalog, the clock and the session
)

// verdict is what is known of all functions, or operators, of a name. A nil
// verdict is of a name that there is none of.
type verdict struct {
	trust   trust
	builtin bool   // each came with the server
	result  uint32 // type of the result, if all agree; 0 otherwise
}

// worse returns the verdict on either: the least trust.
func (v *verdict) worse(w *verdict) *verdict {
	switch {
	case v == nil:
		return w
	case w == nil || *v == *w:
		return v
	}
	both := &verdict{trust: min(v.trust, w.trust), builtin: v.builtin && w.builtin}
	if v.result == w.result {
		both.result = v.result
	}
	return both
}

type operatorName struct{ schema, name string }

// operatorVerdict returns the verdict on the operators of a schema and name.
func (p *Protection) operatorVerdict(schema, name string) *verdict {
	key := operatorName{schema, name}
	if known, ok := p.trust.Load(key); ok {
		v, _ := known.(*verdict)
		return v
	}
	var all *verdict
	for _, o := range p.cat.OperatorsNamed(schema, name) {
		v := &verdict{result: o.Result, builtin: o.OID < pgcatalog.FirstUserOID}
		if v.builtin {
			v.trust = pureCode // the server's operators all compute from their operands
		} else if f := p.cat.Function(o.Function); f != nil {
			v.trust = functionTrust(f)
		}
		all = all.worse(v)
	}
	p.trust.Store(key, all)
	return all
}

// functionTrust says what a function does.
func functionTrust(f *pgcatalog.Function) trust {
	if f.OID < pgcatalog.FirstUserOID {
		return builtinTrust(f)
	}
	if f.Extension != "" {
		return extensionTrust(f)
	}
	return opaqueCode
}

func builtinTrust(f *pgcatalog.Function) trust {
	if f.Schema == "information_schema" {
		return pureCode
	}
	if t, ok := knownFunctions[f.Name]; ok {
		return t
	}
	if f.Volatility == pgcatalog.Immutable || strings.HasPrefix(f.Name, "pg_stat_get_") {
		return pureCode // the server's counters count rows, not what is in them
	}
	return opaqueCode
}

// extensionTrust trusts compiled, immutable functions of extensions that are
// known to compute from their arguments. Only a superuser can make a compiled
// function.
func extensionTrust(f *pgcatalog.Function) trust {
	except, known := knownExtensions[f.Extension]
	switch {
	case !known || (f.Language != "c" && f.Language != "internal"):
		return opaqueCode
	}
	if t, ok := except[f.Name]; ok {
		return t
	}
	if f.Volatility == pgcatalog.Immutable {
		return pureCode
	}
	return opaqueCode
}
