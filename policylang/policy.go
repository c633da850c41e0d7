package policylang

import (
	"slices"
	"strings"
)

// Policy is a set of objects. The order of its slices carries no meaning:
// see [Policy.Sorted].
type Policy struct {
	Gateways        []Gateway
	Identities      []Identity
	QueryRules      []QueryRule
	MaskingPolicies []MaskingPolicy
	ApprovalGroups  []ApprovalGroup
}

// Kind names a kind of object, as policy files, Terraform and the control
// plane's API write it.
type Kind string

// The kinds of object.
const (
	KindGateway       Kind = "gateway"
	KindIdentity      Kind = "identity"
	KindQueryRule     Kind = "query_rule"
	KindMaskingPolicy Kind = "masking_policy"
	KindApprovalGroup Kind = "approval_group"
)

// Kinds lists every kind of object in canonical order.
func Kinds() []Kind {
	return []Kind{KindApprovalGroup, KindGateway, KindIdentity, KindMaskingPolicy, KindQueryRule}
}

// Gateway declares one gateway: where its upstream is, whose tokens it
// accepts, and what happens to a statement that no rule mentions.
type Gateway struct {
	Name          string   `json:"-"`
	DefaultEffect Effect   `json:"default_effect"` // EffectDeny unless set
	Unparsed      string   `json:"unparsed"`       // "deny" or "allow": SQL that the parser cannot read
	Upstream      Upstream `json:"upstream"`
	Issuers       []Issuer `json:"issuer"` // sorted by name in canonical form
}

// Upstream says where a gateway's PostgreSQL is and how to log in to it.
type Upstream struct {
	Host string `json:"host"`
	Port int    `json:"port"` // 5432 unless set

	FallbackHosts      []string     `json:"fallback_hosts,omitempty"`       // "name" or "name:port", asked in order where Host will not do; see Servers
	TargetSessionAttrs SessionAttrs `json:"target_session_attrs,omitempty"` // which of the servers will do; see Attrs

	TLS         string `json:"tls"`          // "verify-full" unless set; "verify-ca", "require", "disable"
	CA          string `json:"ca"`           // PEM file on the gateway's host; empty means the system's roots
	Credentials string `json:"credentials"`  // "env:NAME", "file:/path", "vault:path": a reference, never the secret
	CatalogRole string `json:"catalog_role"` // role that reads the catalog; "postern" unless set

	Login        LoginMethod `json:"login,omitempty"`         // see LoginBy
	SessionTable bool        `json:"session_table,omitempty"` // tell postern.identity() who is behind each connection
}

// LoginMethod is how a gateway logs in to its upstream as an identity's role.
type LoginMethod string

// The ways to log in.
const (
	LoginPassword    LoginMethod = "password"    // by whatever the server asks for, with the password of the credentials
	LoginSCRAM       LoginMethod = "scram"       // by SCRAM-SHA-256 alone, bound to the TLS connection
	LoginCertificate LoginMethod = "certificate" // with a certificate that the gateway makes for each session
)

// LoginBy is how a gateway logs in: Login, or if that is unset with
// certificates, for which nobody keeps a secret, unless the upstream has
// credentials or no TLS.
func (u *Upstream) LoginBy() LoginMethod {
	switch {
	case u.Login != "":
		return u.Login
	case u.Credentials == "" && u.TLS != "disable":
		return LoginCertificate
	}
	return LoginPassword
}

// Issuer is an OpenID Connect issuer whose tokens a gateway accepts or, with
// SAMLMetadata, a SAML identity provider at which people sign in by way of the
// control plane.
type Issuer struct {
	Name         string `json:"name"`
	URL          string `json:"url"`                     // "iss" of the tokens; the entityID of a SAML identity provider
	Audience     string `json:"audience"`                // "aud" of the tokens; of assertions, the Audience
	SAMLMetadata string `json:"saml_metadata,omitempty"` // XML
}

// Identity maps verified token claims to a subject. Without NameFrom the
// subject is named after the object; with it, one object covers many people.
type Identity struct {
	Name         string   `json:"-"`
	Kind         string   `json:"kind"`          // "human", "service" or "agent"
	When         string   `json:"when"`          // CEL over token
	Groups       []string `json:"groups"`        // a set
	NameFrom     string   `json:"name_from"`     // CEL over token giving a string
	GroupsFrom   string   `json:"groups_from"`   // CEL over token giving a list of strings
	DatabaseRole string   `json:"database_role"` // empty means the subject's name
}

// QueryRule decides about statements. The order of rules never matters.
type QueryRule struct {
	Name          string `json:"-"`
	When          string `json:"when"` // CEL over identity, session, statement, now
	Effect        Effect `json:"effect"`
	Mode          Mode   `json:"mode"`           // ModeEnforce unless set
	Message       string `json:"message"`        // shown to the client on deny and hold
	ApprovalGroup string `json:"approval_group"` // for EffectHold
	HoldMode      string `json:"hold_mode"`      // for EffectHold: "wait" (unless set) or "retry"

	MaxRows          int64  `json:"max_rows"`          // for EffectLimit; 0 means no limit
	StatementTimeout string `json:"statement_timeout"` // for EffectLimit; a Go duration, empty means none
	ReadOnly         bool   `json:"read_only"`         // for EffectLimit
	RequireReason    bool   `json:"require_reason"`    // for EffectLimit
}

// MaskingPolicy names columns whose values are masked for everybody but those
// for whom Unless is true.
type MaskingPolicy struct {
	Name      string        `json:"-"`
	Columns   []string      `json:"columns"`          // globs "schema.table.column"; a set
	Detect    []string      `json:"detect,omitempty"` // kinds of values masked in any other text: see DetectKinds; a set
	Transform TransformKind `json:"transform"`
	Unless    string        `json:"unless"` // CEL over identity, session, now; empty means never
	Mode      Mode          `json:"mode"`   // ModeEnforce unless set

	KeepFirst int    `json:"keep_first"` // for "partial": characters kept at the start
	KeepLast  int    `json:"keep_last"`  // for "partial": characters kept at the end
	Format    string `json:"format"`     // for "partial" and "token": "text" (unless set), "email", "card", "phone"
	Unit      string `json:"unit"`       // for "truncate": "year", "month" (unless set), "day", "hour"
	Digits    int    `json:"digits"`     // for "round": digits kept left (negative) or right of the point

	Predicates Knob `json:"predicates"` // KnobDeny unless set; KnobEquality, KnobAllow
	Order      Knob `json:"order"`      // KnobDeny unless set; KnobAllow
	Group      Knob `json:"group"`      // KnobDeny unless set; KnobAllow
	Count      Knob `json:"count"`      // KnobDeny unless set; KnobAllow
}

// ApprovalGroup names who may approve held statements.
type ApprovalGroup struct {
	Name      string   `json:"-"`
	Members   []string `json:"members"`    // names of subjects; a set
	Required  int      `json:"required"`   // distinct members needed; 1 unless set
	ExpiresIn string   `json:"expires_in"` // Go duration; "15m" unless set
}

// DetectKinds lists what a masking policy can look for in texts that no policy
// names.
func DetectKinds() []string { return []string{"card", "email", "iban", "phone", "ssn"} }

// Mode says whether a rule is enforced or only recorded.
type Mode string

// The modes of rules and masking policies.
const (
	ModeEnforce Mode = "enforce"
	ModeObserve Mode = "observe"
)

// Knob says what a masked column may decide besides being shown.
type Knob string

// The knobs of a masking policy.
const (
	KnobDeny     Knob = "deny"
	KnobEquality Knob = "equality"
	KnobAllow    Knob = "allow"
)

// Object is one object of a policy: *Gateway, *Identity, *QueryRule,
// *MaskingPolicy or *ApprovalGroup.
type Object interface {
	ObjectKind() Kind
	ObjectName() string
}

// ObjectKind returns KindGateway.
func (*Gateway) ObjectKind() Kind { return KindGateway }

// ObjectKind returns KindIdentity.
func (*Identity) ObjectKind() Kind { return KindIdentity }

// ObjectKind returns KindQueryRule.
func (*QueryRule) ObjectKind() Kind { return KindQueryRule }

// ObjectKind returns KindMaskingPolicy.
func (*MaskingPolicy) ObjectKind() Kind { return KindMaskingPolicy }

// ObjectKind returns KindApprovalGroup.
func (*ApprovalGroup) ObjectKind() Kind { return KindApprovalGroup }

// ObjectName returns the gateway's name.
func (g *Gateway) ObjectName() string { return g.Name }

// ObjectName returns the identity's name.
func (i *Identity) ObjectName() string { return i.Name }

// ObjectName returns the rule's name.
func (r *QueryRule) ObjectName() string { return r.Name }

// ObjectName returns the masking policy's name.
func (m *MaskingPolicy) ObjectName() string { return m.Name }

// ObjectName returns the group's name.
func (a *ApprovalGroup) ObjectName() string { return a.Name }

// Objects lists the policy's objects by kind, in the order of [Kinds], and
// within a kind in slice order. The pointers are into p.
func (p *Policy) Objects() []Object {
	var out []Object
	for i := range p.ApprovalGroups {
		out = append(out, &p.ApprovalGroups[i])
	}
	for i := range p.Gateways {
		out = append(out, &p.Gateways[i])
	}
	for i := range p.Identities {
		out = append(out, &p.Identities[i])
	}
	for i := range p.MaskingPolicies {
		out = append(out, &p.MaskingPolicies[i])
	}
	for i := range p.QueryRules {
		out = append(out, &p.QueryRules[i])
	}
	return out
}

// Add appends a copy of the object to the policy.
func (p *Policy) Add(o Object) {
	switch o := o.(type) {
	case *Gateway:
		p.Gateways = append(p.Gateways, *o)
	case *Identity:
		p.Identities = append(p.Identities, *o)
	case *QueryRule:
		p.QueryRules = append(p.QueryRules, *o)
	case *MaskingPolicy:
		p.MaskingPolicies = append(p.MaskingPolicies, *o)
	case *ApprovalGroup:
		p.ApprovalGroups = append(p.ApprovalGroups, *o)
	}
}

// Gateway returns the gateway of that name.
func (p *Policy) Gateway(name string) (*Gateway, bool) { return find(p.Gateways, name) }

// ApprovalGroup returns the approval group of that name.
func (p *Policy) ApprovalGroup(name string) (*ApprovalGroup, bool) {
	return find(p.ApprovalGroups, name)
}

func find[T any, P interface {
	*T
	Object
}](objects []T, name string) (*T, bool) {
	for i := range objects {
		if P(&objects[i]).ObjectName() == name {
			return &objects[i], true
		}
	}
	return nil, false
}

// Sorted returns a copy of p in canonical form: every default explicit, objects
// sorted by name, sets sorted and without duplicates. It shares nothing with p.
func (p *Policy) Sorted() Policy {
	return Policy{
		Gateways:        sortedObjects(p.Gateways, setGatewayDefaults),
		Identities:      sortedObjects(p.Identities, setIdentityDefaults),
		QueryRules:      sortedObjects(p.QueryRules, setQueryRuleDefaults),
		MaskingPolicies: sortedObjects(p.MaskingPolicies, setMaskingPolicyDefaults),
		ApprovalGroups:  sortedObjects(p.ApprovalGroups, setApprovalGroupDefaults),
	}
}

func sortedObjects[T any, P interface {
	*T
	Object
}](objects []T, setDefaults func(*T)) []T {
	order := make([]*T, len(objects)) // objects are large
	for i := range objects {
		order[i] = &objects[i]
	}
	slices.SortStableFunc(order, func(a, b *T) int { return strings.Compare(P(a).ObjectName(), P(b).ObjectName()) })
	out := make([]T, len(objects))
	for i, o := range order {
		out[i] = *o
		setDefaults(&out[i])
	}
	return out
}

func setGatewayDefaults(g *Gateway) {
	setDefault(&g.DefaultEffect, EffectDeny)
	setDefault(&g.Unparsed, "deny")
	setDefault(&g.Upstream.Port, defaultPort)
	setDefault(&g.Upstream.TLS, "verify-full")
	setDefault(&g.Upstream.CatalogRole, "postern")
	unsaid := g.Upstream
	if unsaid.Login = ""; g.Upstream.Login == LoginPassword && unsaid.LoginBy() == LoginPassword {
		g.Upstream.Login = "" // policies that don't say keep their digest
	}
	issuers := append([]Issuer{}, g.Issuers...)
	slices.SortStableFunc(issuers, func(a, b Issuer) int { return strings.Compare(a.Name, b.Name) })
	g.Issuers = issuers
}

func setIdentityDefaults(i *Identity) {
	i.Groups = sortedSet(i.Groups)
}

func setQueryRuleDefaults(r *QueryRule) {
	setDefault(&r.Mode, ModeEnforce)
	if r.Effect == EffectHold {
		setDefault(&r.HoldMode, "wait")
	}
}

func setMaskingPolicyDefaults(m *MaskingPolicy) {
	m.Columns = sortedSet(m.Columns)
	if m.Detect = sortedSet(m.Detect); len(m.Detect) == 0 {
		m.Detect = nil // policies that don't use it keep their digest
	}
	setDefault(&m.Mode, ModeEnforce)
	switch m.Transform {
	case TransformPartial, TransformToken:
		setDefault(&m.Format, "text")
	case TransformTruncate:
		setDefault(&m.Unit, "month")
	case TransformNull, TransformRedact, TransformHash, TransformRound:
	}
	setDefault(&m.Predicates, KnobDeny)
	setDefault(&m.Order, KnobDeny)
	setDefault(&m.Group, KnobDeny)
	setDefault(&m.Count, KnobDeny)
}

func setApprovalGroupDefaults(a *ApprovalGroup) {
	a.Members = sortedSet(a.Members)
	setDefault(&a.Required, 1)
	setDefault(&a.ExpiresIn, "15m")
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func sortedSet(values []string) []string {
	out := append([]string{}, values...)
	slices.Sort(out)
	return slices.Compact(out)
}
