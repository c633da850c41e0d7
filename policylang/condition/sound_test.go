package condition

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
)

// coarsen returns facts that say less of the same statement: schemas are not
// resolved, and perhaps a part of it is not read at all.
func (r random) coarsen(f *policylang.Facts) *policylang.Facts {
	c := *f
	c.Relations, c.Columns, c.Functions, c.Commands = nil, nil, nil, nil
	c.Opaque = r.IntN(2) == 0
	forget := func() bool { return c.Opaque && r.IntN(3) == 0 }
	for _, rel := range f.Relations {
		if r.IntN(2) == 0 {
			rel.Schema = ""
		}
		if !forget() {
			c.Relations = append(c.Relations, rel)
		}
	}
	for _, col := range f.Columns {
		_, rest := cutName(col)
		if r.IntN(2) == 0 {
			col = "*." + rest
		}
		if !forget() {
			c.Columns = append(c.Columns, col)
		}
	}
	for _, fn := range f.Functions {
		if _, name := splitFunction(fn); r.IntN(2) == 0 {
			fn = name
		}
		if !forget() {
			c.Functions = append(c.Functions, fn)
		}
	}
	for _, cmd := range f.Commands {
		if !forget() {
			c.Commands = append(c.Commands, cmd)
		}
	}
	if c.Opaque {
		c.Writes, c.DDL, c.Filtered = f.Writes && r.IntN(2) == 0, f.DDL && r.IntN(2) == 0, f.Filtered || r.IntN(2) == 0
	}
	if r.IntN(2) == 0 {
		c.Shape = ""
	}
	return &c
}

// checkSound checks that what a condition is sure of stays so when more is
// known of the statement: hence no decision widens by what is not known.
func checkSound(t testing.TB, seed uint64) {
	t.Helper()
	r := newRandom(seed)
	expr := r.bool(KindRule, r.IntN(5))
	if strings.Contains(expr, "statement.opaque") {
		return // asks what is known, not what the statement does
	}
	c := mustCompile(t, KindRule, expr)
	for range 8 {
		in := r.input()
		in.Facts.Opaque, in.Facts.ReadOnly = false, false
		if in.Facts.Class == "" {
			in.Facts.Class = policylang.ClassMisc
		}
		truth, _ := c.Eval(in)
		more := in.Facts
		in.Facts = r.coarsen(more)
		if v, _ := c.Eval(in); truth != Error && (v == True || v == False) && v != truth {
			t.Fatalf("%s is %s\nof %+v\nbut %s\nof %+v", expr, v, in.Facts, truth, more)
		}
	}
}

func TestSound(t *testing.T) {
	for seed := range uint64(1000) {
		checkSound(t, seed)
	}
}

func FuzzSound(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkSound(t, seed) })
}
