// Package reference describes the attributes of the policy language's objects for
// people: generated documentation and `postern policy docs` are made of it. Names,
// defaults and values are those of package policylang, which a test compares.
package reference

import "github.com/posternhq/postern/policylang"

// Attribute describes one attribute of an object, for people: what generated
// documentation says of it. The names are those of the canonical encoding.
type Attribute struct {
	Name     string // "when", "upstream.host", "issuer.url"
	Type     Type
	Required bool
	Default  string   // as it is written; empty if there is none
	Values   []string // the only values, if they are few
	Doc      string   // complete sentences
}

// Type is the type of an attribute's value.
type Type string

// The types of attributes.
const (
	TypeString     Type = "string"
	TypeNumber     Type = "number"
	TypeBool       Type = "bool"
	TypeSet        Type = "set of strings"
	TypeList       Type = "list of strings" // whose order counts
	TypeMap        Type = "map"
	TypeDuration   Type = "duration"   // a string such as "15m"
	TypeExpression Type = "expression" // a string with CEL
)

// Attributes lists the attributes of a kind of object in the order in which
// documentation shows them; nil for an unknown kind. The kind "test" gives those
// of a [policylang.Test].
func Attributes(kind policylang.Kind) []Attribute {
	switch kind {
	case policylang.KindGateway:
		return gatewayAttributes()
	case policylang.KindIdentity:
		return identityAttributes()
	case policylang.KindQueryRule:
		return queryRuleAttributes()
	case policylang.KindMaskingPolicy:
		return maskingPolicyAttributes()
	case policylang.KindApprovalGroup:
		return approvalGroupAttributes()
	}
	if kind == "test" {
		return testAttributes()
	}
	return nil
}

func gatewayAttributes() []Attribute {
	return []Attribute{
		{Name: "default_effect", Type: TypeString, Default: `"deny"`, Values: []string{"deny", "allow"}, Doc: "What happens to a statement that no rule matches."},
		{Name: "unparsed", Type: TypeString, Default: `"deny"`, Values: []string{"deny", "allow"}, Doc: "What happens to SQL that the parser cannot read. With \"allow\" it goes to the rules as opaque."},
		{Name: "upstream.host", Type: TypeString, Required: true, Doc: "Host name or address of PostgreSQL, or the directory of its Unix socket."},
		{Name: "upstream.port", Type: TypeNumber, Default: "5432", Doc: "Port of PostgreSQL."},
		{Name: "upstream.fallback_hosts", Type: TypeList, Doc: "Further servers of the same cluster, as \"db2.internal\" or \"db2.internal:5433\", which are asked in this order where the first cannot be reached or will not do: physical replicas, of which one may be promoted."},
		{Name: "upstream.target_session_attrs", Type: TypeString, Default: `"primary"`, Values: []string{"primary", "standby", "prefer-standby", "read-write", "read-only", "any"}, Doc: "Which of the servers will do, as libpq's parameter of that name. Without fallback_hosts, any."},
		{Name: "upstream.login", Type: TypeString, Default: `"certificate"`, Values: []string{"certificate", "scram", "password"}, Doc: "How the gateway logs in to PostgreSQL as an identity's role. With \"certificate\" it makes a certificate for each session, and PostgreSQL needs no password; \"scram\" is SCRAM-SHA-256 alone, bound to the TLS connection; \"password\" is whatever the server asks for, and the default where credentials are set or tls is \"disable\"."},
		{Name: "upstream.session_table", Type: TypeBool, Default: "false", Doc: "Whether the gateway tells the database who is behind each connection, which postern.identity() then gives: for roles that several people share."},
		{Name: "upstream.tls", Type: TypeString, Default: `"verify-full"`, Values: []string{"verify-full", "verify-ca", "require", "disable"}, Doc: "How the connection to PostgreSQL is protected, as libpq's sslmode."},
		{Name: "upstream.ca", Type: TypeString, Doc: "PEM file on the gateway's host with the certificates that PostgreSQL's must lead to. Without it, the system's are used."},
		{Name: "upstream.credentials", Type: TypeString, Doc: "Where the gateway finds its password: \"env:NAME\", \"file:/path\" or \"vault:path\". Never the password itself."},
		{Name: "upstream.catalog_role", Type: TypeString, Default: `"postern"`, Doc: "Role with which the gateway reads the catalog."},
		{Name: "issuer.url", Type: TypeString, Required: true, Doc: "Issuer of OpenID Connect tokens, exactly as they have it in \"iss\". It must be https, except on a loopback address."},
		{Name: "issuer.audience", Type: TypeString, Required: true, Doc: "Audience that tokens must have been issued for."},
		{Name: "issuer.saml_metadata", Type: TypeString, Doc: "Metadata of a SAML 2.0 identity provider, as XML. People sign in there by way of the control plane; url is its entityID, audience what its assertions are for."},
	}
}

func identityAttributes() []Attribute {
	return []Attribute{
		{Name: "kind", Type: TypeString, Required: true, Values: []string{"human", "service", "agent"}, Doc: "Who it is: a person, a program, or an agent that acts for others."},
		{Name: "when", Type: TypeExpression, Required: true, Doc: "Condition over `token`: which tokens belong to this identity. A token that two identities match is refused."},
		{Name: "groups", Type: TypeSet, Doc: "Groups of the subject. They are flat: a group has no groups in it."},
		{Name: "name_from", Type: TypeExpression, Doc: "Expression over `token` that gives the subject's name, for an identity that covers many people. Without it the subject has the identity's name."},
		{Name: "groups_from", Type: TypeExpression, Doc: "Expression over `token` that gives a list of further groups."},
		{Name: "database_role", Type: TypeString, Doc: "Role in PostgreSQL. Without it, the subject's name."},
	}
}

func queryRuleAttributes() []Attribute {
	return []Attribute{
		{Name: "when", Type: TypeExpression, Required: true, Doc: "Condition over `identity`, `session`, `statement` and `now`: what the rule is about."},
		{Name: "effect", Type: TypeString, Required: true, Values: []string{"allow", "deny", "hold", "limit"}, Doc: "What the rule does. Of all rules that match, deny goes before hold, and hold before allow. A limit grants nothing and narrows what others grant."},
		{Name: "mode", Type: TypeString, Default: `"enforce"`, Values: []string{"enforce", "observe"}, Doc: "With \"observe\" the rule changes nothing; what it would have done is recorded."},
		{Name: "message", Type: TypeString, Doc: "Shown to the client when the rule denies or holds."},
		{Name: "approval_group", Type: TypeString, Doc: "For \"hold\", and required there: the approval group that must approve."},
		{Name: "hold_mode", Type: TypeString, Default: `"wait"`, Values: []string{"wait", "retry"}, Doc: "For \"hold\": whether the client's session waits, or the statement is refused and passes once when it is sent again after approval."},
		{Name: "max_rows", Type: TypeNumber, Doc: "For \"limit\": a statement that gives more rows ends in an error."},
		{Name: "statement_timeout", Type: TypeDuration, Doc: "For \"limit\": how long a statement may run."},
		{Name: "read_only", Type: TypeBool, Default: "false", Doc: "For \"limit\": the statement must change nothing."},
		{Name: "require_reason", Type: TypeBool, Default: "false", Doc: "For \"limit\": the session must have given a reason."},
	}
}

func maskingPolicyAttributes() []Attribute {
	knob := []string{"deny", "allow"}
	return []Attribute{
		{Name: "columns", Type: TypeSet, Doc: "Columns whose values are masked, as patterns \"schema.table.column\". A star stands for any run of characters, double quotes keep a part as it is, and parts missing at the left are any. Required unless detect is set."},
		{Name: "detect", Type: TypeSet, Values: policylang.DetectKinds(), Doc: "Kinds of values that are masked in texts of all columns that no masking policy names, found by what they look like: a second net that promises nothing."},
		{Name: "transform", Type: TypeString, Required: true, Values: transformNames(), Doc: "How values are changed. Where several policies mask one column, the strictest wins, in this order; two of the same kind with different parameters become \"redact\"."},
		{Name: "unless", Type: TypeExpression, Doc: "Condition over `identity`, `session` and `now`: who sees values as they are. Without it, nobody."},
		{Name: "mode", Type: TypeString, Default: `"enforce"`, Values: []string{"enforce", "observe"}, Doc: "With \"observe\" values are not masked; that they would have been is recorded."},
		{Name: "keep_first", Type: TypeNumber, Default: "0", Doc: "For \"partial\": characters kept at the start."},
		{Name: "keep_last", Type: TypeNumber, Default: "0", Doc: "For \"partial\": characters kept at the end."},
		{Name: "format", Type: TypeString, Default: `"text"`, Values: []string{"text", "email", "card", "phone"}, Doc: "For \"partial\" and \"token\": what values look like."},
		{Name: "unit", Type: TypeString, Default: `"month"`, Values: []string{"year", "month", "day", "hour"}, Doc: "For \"truncate\": what dates and times are cut to."},
		{Name: "digits", Type: TypeNumber, Default: "0", Doc: "For \"round\": decimal places kept, negative to the left of the point."},
		{Name: "predicates", Type: TypeString, Default: `"deny"`, Values: []string{"deny", "equality", "allow"}, Doc: "Whether masked columns may decide which rows are seen. With \"equality\" a value may be looked up, a bounded number of times; with \"allow\" whoever may filter can find values out."},
		{Name: "order", Type: TypeString, Default: `"deny"`, Values: knob, Doc: "Whether rows may be ordered by masked columns."},
		{Name: "group", Type: TypeString, Default: `"deny"`, Values: knob, Doc: "Whether rows may be grouped by masked columns."},
		{Name: "count", Type: TypeString, Default: `"deny"`, Values: knob, Doc: "Whether values of masked columns may be counted."},
	}
}

func transformNames() []string {
	var names []string
	for _, k := range policylang.TransformKinds() {
		names = append(names, string(k))
	}
	return names
}

func approvalGroupAttributes() []Attribute {
	return []Attribute{
		{Name: "members", Type: TypeSet, Required: true, Doc: "Names of the subjects that may approve. Nobody approves a statement of their own."},
		{Name: "required", Type: TypeNumber, Default: "1", Doc: "How many different members must approve."},
		{Name: "expires_in", Type: TypeDuration, Default: `"15m"`, Doc: "How long a request stays open."},
	}
}

func testAttributes() []Attribute {
	return []Attribute{
		{Name: "gateway", Type: TypeString, Doc: "Gateway that is asked. It may be left out if the policy has one gateway."},
		{Name: "identity", Type: TypeString, Doc: "Identity that asks. With token, the identity that the token must be of."},
		{Name: "token", Type: TypeMap, Doc: "Verified claims of the token of whoever asks."},
		{Name: "actor", Type: TypeString, Doc: "Identity of the agent that acts for whoever asks."},
		{Name: "sql", Type: TypeString, Required: true, Doc: "Text of the statement, or of several, which are then decided as one."},
		{Name: "schema", Type: TypeString, Doc: "File with the DDL of the database, beside the policy file or below it. It is needed for what is masked."},
		{Name: "now", Type: TypeString, Default: `"2000-01-01T12:00:00Z"`, Doc: "The time, as RFC 3339 has it."},
		{Name: "session.database", Type: TypeString, Default: `"app"`, Doc: "Database that the client is connected to."},
		{Name: "session.role", Type: TypeString, Doc: "Role of the connection. Without it, the subject's database role."},
		{Name: "session.search_path", Type: TypeSet, Default: `["$user", "public"]`, Doc: "Search path of the connection, in order."},
		{Name: "session.client_addr", Type: TypeString, Default: `"127.0.0.1"`, Doc: "Address of the client."},
		{Name: "session.application_name", Type: TypeString, Doc: "Name that the client's program gives itself."},
		{Name: "session.signs", Type: TypeSet, Doc: "Signs that the credential is used by another than its owner."},
		{Name: "session.reason", Type: TypeString, Doc: "Reason that the client gave."},
		{Name: "session.tls", Type: TypeBool, Default: "false", Doc: "Whether the client's connection is encrypted."},
		{Name: "expect.effect", Type: TypeString, Values: []string{"allow", "deny", "hold"}, Doc: "What is decided. A statement that masking refuses is denied."},
		{Name: "expect.rules", Type: TypeSet, Doc: "Exactly the rules that decide."},
		{Name: "expect.message", Type: TypeString, Doc: "Part of the message to the client."},
		{Name: "expect.approval_groups", Type: TypeSet, Doc: "Exactly the groups that must approve."},
		{Name: "expect.masked", Type: TypeSet, Doc: "Exactly the output columns whose values the client does not see as they are."},
		{Name: "expect.unmasked", Type: TypeSet, Doc: "Output columns whose values the client sees as they are."},
		{Name: "expect.refused", Type: TypeString, Doc: "Code with which masking refuses the statement."},
		{Name: "expect.observed", Type: TypeSet, Doc: "Exactly the rules in observe mode that match."},
		{Name: "expect.max_rows", Type: TypeNumber, Doc: "Limit on rows."},
		{Name: "expect.statement_timeout", Type: TypeDuration, Doc: "Limit on time."},
		{Name: "expect.read_only", Type: TypeBool, Doc: "Whether the statement must change nothing."},
		{Name: "expect.require_reason", Type: TypeBool, Doc: "Whether a reason is demanded."},
	}
}
