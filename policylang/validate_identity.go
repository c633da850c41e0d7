package policylang

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// longestApproval bounds how long a request for approval can stay open.
const longestApproval = 7 * 24 * time.Hour

func (c checker) identity(i *Identity) {
	if c.required("kind", i.Kind, `Set kind = "human", "service" or "agent".`) {
		enumeration(c, "kind", i.Kind, "human", "service", "agent")
	}
	c.required("when", i.When, "Say which tokens belong to this identity, by their issuer and subject.")
	c.set("groups", i.Groups)
	c.identifier("database_role", i.DatabaseRole)
}

func (c checker) approvalGroup(a *ApprovalGroup, p *Policy) {
	c.set("members", a.Members)
	switch {
	case len(a.Members) == 0:
		c.add("members", "members is missing", "A group without members can approve nothing. Name the subjects that may approve.")
	case a.Required < 0:
		c.add("required", fmt.Sprintf("required cannot be %d", a.Required), "At least one member must approve.")
	case a.Required > len(sortedSet(a.Members)):
		c.add("required", fmt.Sprintf("required is %d, but the group has %s", a.Required, count(len(sortedSet(a.Members)), "member")),
			"Nothing could ever be approved. Lower required or add members.")
	}
	c.duration("expires_in", a.ExpiresIn, longestApproval)
	c.members(a.Members, p.Identities)
}

// members warns of members that no identity can be. That is only known if
// every identity has a name of its own.
func (c checker) members(members []string, identities []Identity) {
	var names []string
	for _, i := range identities {
		if i.NameFrom != "" {
			return
		}
		names = append(names, i.Name)
	}
	for i, m := range members {
		attr := "members[" + strconv.Itoa(i) + "]"
		at := slices.Index(names, m)
		switch {
		case len(names) == 0 || m == "":
		case at < 0:
			c.report(SeverityWarning, attr, fmt.Sprintf("no identity is named %q", m), "Nobody can approve under this name.", Suggest(m, names))
		case identities[at].Kind == "service" || identities[at].Kind == "agent":
			c.warn(attr, fmt.Sprintf("%q is of kind %q", m, identities[at].Kind), "An approval is a person's decision. Name people only.")
		}
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
