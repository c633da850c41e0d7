package api

import (
	"fmt"
	"strings"
)

// Role says what a caller may do. Roles do not include each other, but for
// RoleAdmin, which includes viewer, author and auditor. It includes neither
// approver nor any gateway: an administrator approves nothing by being one.
// Viewer, author and auditor may be limited to one gateway, see [ScopedRole].
type Role string

// The roles. A gateway's role is made by [GatewayRole].
const (
	RoleViewer   Role = "viewer"   // reads objects, bundles, releases and instances
	RoleAuthor   Role = "author"   // and writes and releases them
	RoleApprover Role = "approver" // approves as the subject that the token names
	RoleAuditor  Role = "auditor"  // reads all of that, approvals and evidence
	RoleAdmin    Role = "admin"    // and makes tokens
)

const gatewayRolePrefix = "gateway:"

// GatewayRole returns the role of a gateway: it reads its own releases and
// their bundles, reports its state, and asks for approvals.
func GatewayRole(name string) Role { return Role(gatewayRolePrefix + name) }

// Gateway returns the gateway whose role it is.
func (r Role) Gateway() (name string, ok bool) {
	return strings.CutPrefix(string(r), gatewayRolePrefix)
}

// ScopedRole returns a role for one gateway alone: "author:orders". It reads and
// releases what is that gateway's. Drafts, which no gateway reads, it shares
// with everybody, but for other gateways' own.
func ScopedRole(r Role, gateway string) Role { return r + ":" + Role(gateway) }

// Scope takes apart a role for one gateway.
func (r Role) Scope() (role Role, gateway string, ok bool) {
	text, gateway, ok := strings.Cut(string(r), ":")
	role = Role(text)
	ok = ok && gateway != "" && (role == RoleViewer || role == RoleAuthor || role == RoleAuditor)
	return role, gateway, ok
}

func (r Role) includes(other Role) bool {
	if r == RoleAdmin {
		return other == RoleAdmin || other == RoleViewer || other == RoleAuthor || other == RoleAuditor
	}
	return r == other
}

// Roles lists the roles that are not a gateway's.
func Roles() []Role {
	return []Role{RoleViewer, RoleAuthor, RoleApprover, RoleAuditor, RoleAdmin}
}

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	r := Role(s)
	if name, ok := r.Gateway(); ok && name != "" {
		return r, nil
	}
	if _, _, ok := r.Scope(); ok {
		return r, nil
	}
	for _, known := range Roles() {
		if r == known {
			return r, nil
		}
	}
	return "", fmt.Errorf("unknown role %q; want viewer, author, approver, auditor, admin or gateway:NAME; viewer, author and auditor may be for one gateway: author:NAME", s)
}
