package bypass

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Goal is what a case is about.
type Goal string

// The goals. The first two are the attacker's, the next two the honest
// user's; a control has none.
const (
	Reveal  Goal = "reveal"  // learn a protected value
	Execute Goal = "execute" // do what is denied
	Allow   Goal = "allow"   // be served as by the bare server
	Serve   Goal = "serve"   // be served, protected values apart
	Control Goal = "control" // find the gateway alive afterwards
)

// Attack reports whether the goal is one that a gateway must thwart.
func (g Goal) Attack() bool { return g == Reveal || g == Execute }

// Case is one attack or one honest use.
type Case struct {
	Category string
	Name     string // unique within the category
	Title    string
	Goal     Goal
	Unproven bool // a stock server doesn't fall for it

	Role     string
	Versions Versions
	Setup    []string
	Teardown []string
	Protect  []string
	Alone    bool // no other case may run meanwhile
	Steps    []Step

	Leaks    []string  // Reveal: anywhere
	Cells    []string  // Reveal: as a whole value
	Rows     bool      // Reveal: any row
	Guesses  [2]string // Reveal: empty unless it is an oracle
	Effect   string    // Execute: SQL
	Equals   string    // Execute: its value
	Accepted string    // Execute: a command tag
	Masked   []int     // Serve: positions, from 1
}

// ID is the case's category and name, as "projection/alias".
func (c *Case) ID() string { return c.Category + "/" + c.Name }

// Oracle reports whether the case compares the answers to two guesses.
func (c *Case) Oracle() bool { return c.Guesses[0] != "" }

// leavesNoTrace reports whether the case changes nothing that outlives its
// connections: only cases of the analyst, who owns nothing and may write nowhere
// but into large objects.
func (c *Case) leavesNoTrace() bool {
	if c.Role != "analyst" || c.Goal == Execute || len(c.Setup) > 0 || len(c.Teardown) > 0 {
		return false
	}
	return !slices.ContainsFunc(c.Steps, func(s Step) bool {
		return s.Verb == Admin || s.Verb == Connect && s.Text != "" || strings.Contains(s.Text, "lo_")
	})
}

// Policy says which policy the gateway must enforce for the case.
func (c *Case) Policy() Policy {
	return Policy{Guarded: c.Goal == Execute, Protect: c.Protect}
}

// Policy is what a gateway enforces while a case runs: see the package
// comment.
type Policy struct {
	Guarded bool     // the second policy
	Protect []string // columns to mask beside the Standard ones
}

// Mask is how a column is masked.
type Mask string

// The masks.
const (
	Redacted Mask = "redacted"  // whole
	LastFour Mask = "last four" // but for the last four characters
)

// Standard returns the columns, as "schema.table.column", that are masked in
// every case, and how. Views, partitions and what else shows them are not
// listed: the gateway must see through.
func Standard() map[string]Mask {
	return map[string]Mask{
		"public.customers.email": Redacted,
		"public.customers.ssn":   LastFour,
		"public.customers.card":  LastFour,
		"public.events.email":    Redacted,
	}
}

// Roles returns the roles that the gateway must let in as themselves.
func Roles() []string { return []string{"analyst", "app", "tblowner", "repl", "postgres"} }

// secrets are the values of the standard columns in schema.sql.
func secrets() []string {
	return []string{
		"alice@secret.example", "bob@secret.example", "carol@secret.example",
		"111-22-3333", "222-33-4444", "333-44-5555",
		"4111111111111111", "5500005555555559", "340000000000009",
	}
}

// Versions is a range of PostgreSQL majors. Zero bounds are open.
type Versions struct{ Min, Max int }

// Has reports whether the range includes the major.
func (v Versions) Has(major int) bool {
	return (v.Min == 0 || major >= v.Min) && (v.Max == 0 || major <= v.Max)
}

func parseVersions(s string) (Versions, error) {
	low, high, ok := strings.Cut(s, "-")
	if !ok {
		high = low
	}
	v := Versions{}
	for _, bound := range []struct {
		text string
		to   *int
	}{{low, &v.Min}, {high, &v.Max}} {
		if bound.text == "" {
			continue
		}
		n, err := strconv.Atoi(bound.text)
		if err != nil {
			return Versions{}, fmt.Errorf("versions %q are not a range of majors", s)
		}
		*bound.to = n
	}
	return v, nil
}
