package condition

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a policy means the same on every machine

	"github.com/posternhq/postern/policylang"
)

// The parts of a glob over relations and functions, and over columns.
const (
	nameParts   = 2
	columnParts = 3
)

// verbs is a set of verbs.
type verbs []policylang.Verb

// readVerbs are the verbs that statement.reads asks for.
func readVerbs() verbs { return verbs{policylang.VerbRead} }

// writeVerbs are the verbs that statement.writes_to asks for: those that
// change a relation's rows, its definition or who may use it.
func writeVerbs() verbs {
	return verbs{
		policylang.VerbInsert, policylang.VerbUpdate, policylang.VerbDelete, policylang.VerbTruncate,
		policylang.VerbCreate, policylang.VerbAlter, policylang.VerbDrop, policylang.VerbGrant,
	}
}

// anyRelation reports whether the statement does one of the verbs to a
// relation that the glob matches.
func anyRelation(f *policylang.Facts, vs verbs, g policylang.Glob) Value {
	v := certainIf(!opaque(f), False)
	for i := range f.Relations {
		r := &f.Relations[i]
		if !slices.Contains(vs, r.Verb) {
			continue
		}
		if v = v.Or(match(g, r.Schema, r.Name)); v == True {
			return True
		}
	}
	return v
}

// allRelations reports whether the glob matches every relation of the
// statement.
func allRelations(f *policylang.Facts, g policylang.Glob) Value {
	v := certainIf(!opaque(f), True)
	for i := range f.Relations {
		r := &f.Relations[i]
		if v = v.And(match(g, r.Schema, r.Name)); v == False {
			return False
		}
	}
	return v
}

// anyFunction reports whether the statement calls a function that the glob
// matches.
func anyFunction(f *policylang.Facts, g policylang.Glob) Value {
	v := certainIf(!opaque(f), False)
	for _, name := range f.Functions {
		schema, fn := splitFunction(name)
		if v = v.Or(match(g, schema, fn)); v == True {
			return True
		}
	}
	return v
}

// anyColumn reports whether the statement reads or writes a column that the
// glob matches.
func anyColumn(f *policylang.Facts, g policylang.Glob) Value {
	v := certainIf(!opaque(f), False)
	for _, name := range f.Columns {
		schema, table, column := splitColumn(name)
		if v = v.Or(match(g, schema, table, column)); v == True {
			return True
		}
	}
	return v
}

// match is Unknown where parts that are not known could match.
func match(g policylang.Glob, parts ...string) Value {
	switch {
	case g.Match(false, parts...):
		return True
	case g.Match(true, parts...):
		return Unknown
	}
	return False
}

// has reports whether one of the wanted is in the list.
func (l list) has(wanted ...string) Value {
	v := certainIf(!l.open, False)
	for _, item := range l.items {
		switch {
		case l.partial != nil && l.partial(item):
			v = v.Or(Unknown)
		case slices.Contains(wanted, item):
			return True
		}
	}
	return v
}

// inCIDR reports whether the address is in the network.
func inCIDR(addr netip.Addr, network netip.Prefix) bool {
	return network.Contains(addr.Unmap().WithZone(""))
}

// parseCIDR reads a network, or a single address as the network of that
// address.
func parseCIDR(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither a network nor an address", s)
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a network", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has address bits behind its prefix; the network is %q", s, p.Masked())
	}
	return p, nil
}

// parseGlobText checks the pattern of glob.
func parseGlobText(pattern string) error {
	if pattern == "" {
		return errors.New("an empty pattern matches nothing")
	}
	return nil
}

// matchText matches s against a pattern in which * is any run of characters.
func matchText(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		piece, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, piece)
		}
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(piece):], more
	}
}

// loadZone reads a time zone by its name in the IANA database.
func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	return zone, nil
}

// clock is one reading of a moment in a time zone.
type clock struct {
	name   string
	doc    string
	number func(time.Time) int64
	text   func(time.Time) string
}

// clocks are the functions of a time zone that a moment has.
func clocks() []clock {
	return []clock{
		{name: "year", doc: "The year in the time zone.", number: func(t time.Time) int64 { return int64(t.Year()) }},
		{name: "month", doc: "The month in the time zone, 1 to 12.", number: func(t time.Time) int64 { return int64(t.Month()) }},
		{name: "day", doc: "The day of the month in the time zone, 1 to 31.", number: func(t time.Time) int64 { return int64(t.Day()) }},
		{name: "weekday", doc: "The day of the week in the time zone by ISO 8601: 1 is Monday, 7 is Sunday.", number: func(t time.Time) int64 { return int64((t.Weekday()+6)%7) + 1 }},
		{name: "hour", doc: "The hour in the time zone, 0 to 23.", number: func(t time.Time) int64 { return int64(t.Hour()) }},
		{name: "minute", doc: "The minute in the time zone, 0 to 59.", number: func(t time.Time) int64 { return int64(t.Minute()) }},
		{name: "date", doc: "The date in the time zone, as in `2026-03-29`.", text: func(t time.Time) string { return t.Format(time.DateOnly) }},
		{name: "time", doc: "The time of day in the time zone, as in `09:30`.", text: func(t time.Time) string { return t.Format("15:04") }},
	}
}
