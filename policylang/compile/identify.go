package compile

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// The errors of [Program.Identify]. They hold no claim.
var (
	ErrNoIdentity        = errors.New("no identity matches the token")
	ErrAmbiguousIdentity = errors.New("more than one identity matches the token")
	ErrBadName           = errors.New("the token gives no usable name")
	ErrBadGroups         = errors.New("the token gives no usable groups")
	ErrBadActor          = errors.New("the token's actor is no agent")
)

// maxRoleBytes is the longest name of a PostgreSQL role: NAMEDATALEN - 1. The
// server cuts longer ones, so that two would be one.
const maxRoleBytes = 63

// directory finds the identity that a token is of.
type directory struct {
	identities []identity
	byKey      map[condition.Key][]int32
	unkeyed    []int32
	reserved   map[string]bool // names that name_from must not give
	roles      map[string]bool // database roles that name_from must not give
}

// identity is a compiled identity.
type identity struct {
	*policylang.Identity
	when   *condition.Condition
	name   *condition.Expression // nil if the subject is named after the identity
	groups *condition.Expression // nil if the token gives none
}

func (b *builder) directory() *directory {
	d := &directory{byKey: make(map[condition.Key][]int32), reserved: make(map[string]bool), roles: b.reservedRoles()}
	frequency := make(map[condition.Key]int)
	for i := range b.policy.Identities {
		o := &b.policy.Identities[i]
		id := identity{Identity: o, when: b.condition(condition.KindIdentity, o.When)}
		if o.NameFrom != "" {
			id.name = b.exprs[expression{condition.KindNameFrom, o.NameFrom}].value
		} else {
			d.reserved[o.Name] = true
		}
		if o.GroupsFrom != "" {
			id.groups = b.exprs[expression{condition.KindGroupsFrom, o.GroupsFrom}].value
		}
		d.identities = append(d.identities, id)
		for _, j := range id.when.Conjuncts() {
			for _, k := range j.Keys() {
				frequency[k]++
			}
		}
	}
	for i := range d.identities {
		keys := rarest(d.identities[i].when.Conjuncts(), frequency)
		if keys == nil {
			d.unkeyed = append(d.unkeyed, int32(i))
		}
		for _, k := range keys {
			d.byKey[k] = append(d.byKey[k], int32(i))
		}
	}
	return d
}

// reservedRoles are the database roles that a token must not choose: those of
// other identities, of the gateways themselves, and the superuser's usual name.
func (b *builder) reservedRoles() map[string]bool {
	roles := map[string]bool{"postgres": true, "public": true, "none": true}
	for i := range b.policy.Identities {
		o := &b.policy.Identities[i]
		if o.DatabaseRole != "" {
			roles[o.DatabaseRole] = true
		}
	}
	for i := range b.policy.Gateways {
		roles[b.policy.Gateways[i].Upstream.CatalogRole] = true
	}
	return roles
}

// Identify finds the identity that verified claims are of, and makes the
// subject. Exactly one identity must match; a condition that fails does not
// match. A claim "act" (RFC 8693) names the agent that acts, which must be an
// identity of its own, of kind agent.
func (p *Program) Identify(claims map[string]any, now time.Time) (*policylang.Subject, error) {
	subject, err := p.identities.subject(claims, now)
	if err != nil {
		return nil, err
	}
	act, acts := claims["act"]
	if !acts {
		return subject, nil
	}
	subject.Actor, err = p.actor(act, claims, now)
	if err != nil {
		return nil, err
	}
	return subject, nil
}

// actor makes the subject of a claim "act". What nests in it are earlier
// actors, which RFC 8693 says are not to be considered.
func (p *Program) actor(act any, claims map[string]any, now time.Time) (*policylang.Subject, error) {
	actor, ok := act.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: the claim act is no object", ErrBadActor)
	}
	own := make(map[string]any, len(actor)+1)
	for k, v := range actor {
		if k != "act" {
			own[k] = v
		}
	}
	if _, has := own["iss"]; !has {
		own["iss"] = claims["iss"]
	}
	subject, err := p.identities.subject(own, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadActor, err)
	}
	if subject.Kind != kindAgent {
		return nil, fmt.Errorf("%w: identity %q is of kind %s", ErrBadActor, subject.Identity, subject.Kind)
	}
	return subject, nil
}

// kindAgent is the kind of identity that may act for others.
const kindAgent = "agent"

func (d *directory) subject(claims map[string]any, now time.Time) (*policylang.Subject, error) {
	in := condition.Input{Token: claims, Now: now}
	found, err := d.find(&in)
	if err != nil {
		return nil, err
	}
	s := &policylang.Subject{
		Name: found.Name, Identity: found.Name, Kind: found.Kind, Claims: claims,
		Issuer: text(claims["iss"]), ID: text(claims["sub"]), TokenID: text(claims["jti"]),
		AuthTime: moment(claims["auth_time"], claims["iat"]), Expires: moment(claims["exp"]),
	}
	if s.Name, err = d.name(found, &in); err != nil {
		return nil, fmt.Errorf("identity %q: %w", found.Name, err)
	}
	if s.DatabaseRole, err = d.role(found, s.Name); err != nil {
		return nil, fmt.Errorf("identity %q: %w", found.Name, err)
	}
	if s.Groups, err = found.groupsOf(&in); err != nil {
		return nil, fmt.Errorf("identity %q: %w", found.Name, err)
	}
	return s, nil
}

// find finds the one identity that matches.
func (d *directory) find(in *condition.Input) (*identity, error) {
	candidates := slices.Clone(d.unkeyed)
	for _, k := range condition.TokenKeys(nil, in.Token) {
		candidates = append(candidates, d.byKey[k]...)
	}
	slices.Sort(candidates)
	var matching []int32
	for _, n := range slices.Compact(candidates) {
		if v, _ := d.identities[n].when.Eval(in); v == condition.True {
			matching = append(matching, n)
		}
	}
	switch len(matching) {
	case 0:
		return nil, ErrNoIdentity
	case 1:
		return &d.identities[matching[0]], nil
	}
	var quoted []string
	for _, n := range matching[:min(len(matching), maxNamed)] {
		quoted = append(quoted, fmt.Sprintf("%q", d.identities[n].Name))
	}
	return nil, fmt.Errorf("%w: %s", ErrAmbiguousIdentity, strings.Join(quoted, " and "))
}

// maxNamed is how many identities an ambiguity names.
const maxNamed = 5

func (d *directory) name(id *identity, in *condition.Input) (string, error) {
	if id.name == nil {
		return id.Name, nil
	}
	name, err := id.name.String(in)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: name_from: %w", ErrBadName, err)
	case strings.TrimSpace(name) == "":
		return "", fmt.Errorf("%w: name_from gave an empty name", ErrBadName)
	case !printable(name):
		return "", fmt.Errorf("%w: name_from gave a name with control characters or invalid UTF-8", ErrBadName)
	case d.reserved[name]:
		return "", fmt.Errorf("%w: name_from gave the name of another identity", ErrBadName)
	}
	return name, nil
}

// role is the database role: the identity's, or the subject's name.
func (d *directory) role(id *identity, name string) (string, error) {
	switch {
	case id.DatabaseRole != "":
		return id.DatabaseRole, nil
	case len(name) > maxRoleBytes:
		return "", fmt.Errorf("%w: it is longer than a database role can be, %d bytes, and the identity has no database_role", ErrBadName, maxRoleBytes)
	case id.name != nil && (d.roles[name] || strings.HasPrefix(name, "pg_")):
		return "", fmt.Errorf("%w: name_from gave the name of a reserved database role, and the identity has no database_role", ErrBadName)
	}
	return name, nil
}

func (id *identity) groupsOf(in *condition.Input) ([]string, error) {
	groups := slices.Clone(id.Groups)
	if id.groups != nil {
		given, err := id.groups.Strings(in)
		if err != nil {
			return nil, fmt.Errorf("%w: groups_from: %w", ErrBadGroups, err)
		}
		for _, g := range given {
			if g == "" || !printable(g) {
				return nil, fmt.Errorf("%w: groups_from gave an empty name or one with control characters", ErrBadGroups)
			}
		}
		groups = append(groups, given...)
	}
	return sortedSet(groups), nil
}

// printable reports whether a name is valid UTF-8 without control characters.
func printable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}

func text(claim any) string {
	s, _ := claim.(string)
	return s
}

// moment reads the first claim that is a number of seconds since 1970.
func moment(claims ...any) time.Time {
	for _, c := range claims {
		var seconds float64
		switch n := c.(type) {
		case float64:
			seconds = n
		case int64:
			seconds = float64(n)
		case int:
			seconds = float64(n)
		case json.Number:
			x, err := n.Float64()
			if err != nil {
				continue
			}
			seconds = x
		default:
			continue
		}
		if seconds > 0 && seconds < math.MaxInt32*8 {
			whole, part := math.Modf(seconds)
			return time.Unix(int64(whole), int64(part*1e9)).UTC()
		}
	}
	return time.Time{}
}
