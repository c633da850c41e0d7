package api

import (
	"slices"
	"testing"

	"github.com/posternhq/postern/policylang"
)

func TestQuorum(t *testing.T) {
	requester := Requester{Name: "ana", Actor: "robot"}
	group := func(required int, members ...string) ApprovalGroup {
		return ApprovalGroup{Name: "g", Members: members, Required: required}
	}
	for _, tt := range []struct {
		name      string
		groups    []ApprovalGroup
		approvers []string
		want      bool
	}{
		{"no group", nil, []string{"ben"}, false},
		{"nobody", []ApprovalGroup{group(1, "ben")}, nil, false},
		{"one of one", []ApprovalGroup{group(1, "ben")}, []string{"ben"}, true},
		{"no member", []ApprovalGroup{group(1, "ben")}, []string{"chloe"}, false},
		{"the requester", []ApprovalGroup{group(1, "ana")}, []string{"ana"}, false},
		{"the requester's agent", []ApprovalGroup{group(1, "robot")}, []string{"robot"}, false},
		{"one twice", []ApprovalGroup{group(2, "ben", "chloe")}, []string{"ben", "ben"}, false},
		{"one for two groups", []ApprovalGroup{group(1, "ben"), group(1, "ben", "chloe")}, []string{"ben"}, true},
		{"one group of two", []ApprovalGroup{group(1, "ben"), group(1, "chloe")}, []string{"ben"}, false},
		{"required of none means one", []ApprovalGroup{group(0, "ben")}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.approvers)
			if got := Approved(tt.groups, requester, tt.approvers); got != tt.want {
				t.Errorf("approved = %v, want %v", got, tt.want)
			}
			if !slices.Equal(before, tt.approvers) {
				t.Errorf("the approvers were changed to %v", tt.approvers)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	groups := Groups([]policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}, Required: 2}, {Name: "unset"}})
	if groups[0].Required != 2 || groups[1].Required != 1 || !IsMember(groups, "ben") || IsMember(groups, "ana") {
		t.Errorf("groups %+v", groups)
	}
}
