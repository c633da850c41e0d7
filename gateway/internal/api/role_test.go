package api

import "testing"

func TestParseRole(t *testing.T) {
	for text, ok := range map[string]bool{
		"viewer": true, "author": true, "approver": true, "auditor": true, "admin": true, "gateway:orders": true,
		"": false, "Admin": false, "gateway": false, "gateway:": false, "root": false,
	} {
		role, err := ParseRole(text)
		if (err == nil) != ok || ok && string(role) != text {
			t.Errorf("%q is read as %q, %v", text, role, err)
		}
	}
}

func TestRolesThatIncludeOthers(t *testing.T) {
	for _, tt := range []struct {
		have, want Role
		ok         bool
	}{
		{RoleAdmin, RoleAdmin, true},
		{RoleAdmin, RoleViewer, true},
		{RoleAdmin, RoleAuthor, true},
		{RoleAdmin, RoleAuditor, true},
		{RoleAdmin, RoleApprover, false},
		{RoleAdmin, GatewayRole("orders"), false},
		{RoleAuthor, RoleViewer, false},
		{RoleViewer, RoleAdmin, false},
		{GatewayRole("orders"), GatewayRole("orders"), true},
		{GatewayRole("orders"), GatewayRole("payments"), false},
	} {
		if got := (&Caller{Roles: []Role{tt.have}}).Has(tt.want); got != tt.ok {
			t.Errorf("%s has %s: %v", tt.have, tt.want, got)
		}
	}
	if (&Caller{Roles: Roles()}).Has() {
		t.Error("no role is wanted, and the caller has it")
	}
}
