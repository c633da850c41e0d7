package policylang

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// defaultPort is PostgreSQL's.
const defaultPort = 5432

// SessionAttrs says which of an upstream's servers will do for a connection,
// with the names of libpq's target_session_attrs.
type SessionAttrs string

// The servers that will do.
const (
	AttrsAny           SessionAttrs = "any"
	AttrsPrimary       SessionAttrs = "primary"
	AttrsStandby       SessionAttrs = "standby"
	AttrsPreferStandby SessionAttrs = "prefer-standby" // a standby or, if there is none, any
	AttrsReadWrite     SessionAttrs = "read-write"     // transactions may write unless they say otherwise
	AttrsReadOnly      SessionAttrs = "read-only"
)

// Attrs is which of the upstream's servers will do: TargetSessionAttrs, or if
// that is unset the primary where there are several, and any where there is one.
func (u *Upstream) Attrs() SessionAttrs {
	switch {
	case u.TargetSessionAttrs != "":
		return u.TargetSessionAttrs
	case len(u.FallbackHosts) > 0:
		return AttrsPrimary
	}
	return AttrsAny
}

// HostPort is where a server listens.
type HostPort struct {
	Host string // a name, an address, or the directory of a Unix socket
	Port int
}

// String is the host and port with a colon in between, as in "[::1]:5432".
func (h HostPort) String() string {
	if strings.Contains(h.Host, ":") {
		return fmt.Sprintf("[%s]:%d", h.Host, h.Port)
	}
	return fmt.Sprintf("%s:%d", h.Host, h.Port)
}

// Servers are where the upstream's servers listen, in the order in which they
// are asked: Host, then FallbackHosts.
func (u *Upstream) Servers() []HostPort {
	port := cmp.Or(u.Port, defaultPort)
	servers := []HostPort{{u.Host, port}}
	for _, text := range u.FallbackHosts {
		if server, ok := parseHostPort(text, port); ok {
			servers = append(servers, server)
		}
	}
	return servers
}

// At is the upstream with one of its servers alone, whatever it is to others.
func (u *Upstream) At(server HostPort) *Upstream {
	one := *u
	one.Host, one.Port, one.FallbackHosts, one.TargetSessionAttrs = server.Host, server.Port, nil, ""
	return &one
}

// parseHostPort reads "name", "name:port", an address, or "[address]:port". The
// port is the given one unless the text has its own.
func parseHostPort(text string, port int) (HostPort, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return HostPort{addr.String(), port}, true
	}
	if host, number, found := strings.Cut(text, ":"); found && !strings.HasPrefix(text, "[") {
		n, ok := parsePort(number)
		return HostPort{host, n}, ok && isHostName(host)
	}
	if at, err := netip.ParseAddrPort(text); err == nil && at.Port() > 0 {
		return HostPort{at.Addr().String(), int(at.Port())}, true
	}
	return HostPort{text, port}, isHostName(text)
}

func parsePort(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && n > 0
}

func isHostName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !isHostRune(r) })
}
