package api

import "slices"

// Quorum says how many distinct members of a group have approved.
type Quorum struct {
	Group    string
	Have     int
	Required int
}

// Met reports whether the group has approved.
func (q Quorum) Met() bool { return q.Have >= q.Required }

// Quorums counts the approvers for each group. The requester, and the agent
// that acts for it, never count, nor does anybody twice for one group; who is a
// member of two groups counts for both.
func Quorums(groups []ApprovalGroup, requester Requester, approvers []string) []Quorum {
	distinct := slices.Clone(approvers)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	out := make([]Quorum, len(groups))
	for i, g := range groups {
		out[i] = Quorum{Group: g.Name, Required: max(1, g.Required)}
		for _, a := range distinct {
			if slices.Contains(g.Members, a) && !requester.IsRequester(a) {
				out[i].Have++
			}
		}
	}
	return out
}

// Approved reports whether every group has approved. No group at all approves
// nothing.
func Approved(groups []ApprovalGroup, requester Requester, approvers []string) bool {
	return len(groups) > 0 && !slices.ContainsFunc(Quorums(groups, requester, approvers), func(q Quorum) bool { return !q.Met() })
}

// IsMember reports whether name is in any of the groups.
func IsMember(groups []ApprovalGroup, name string) bool {
	return slices.ContainsFunc(groups, func(g ApprovalGroup) bool { return slices.Contains(g.Members, name) })
}
