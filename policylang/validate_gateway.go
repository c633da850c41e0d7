package policylang

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

func (c checker) gateway(g *Gateway) {
	enumeration(c, "default_effect", g.DefaultEffect, EffectDeny, EffectAllow)
	enumeration(c, "unparsed", g.Unparsed, "deny", "allow")
	c.upstream(&g.Upstream)
	names, urls := map[string]bool{}, map[string]string{}
	for i := range g.Issuers {
		c.issuer(&g.Issuers[i], names, urls)
	}
}

func (c checker) upstream(u *Upstream) {
	if c.required("upstream.host", u.Host, `Say where PostgreSQL is: upstream { host = "db.internal" }.`) {
		c.host(u.Host)
	}
	if u.Port < 0 || u.Port > 65535 {
		c.add("upstream.port", fmt.Sprintf("%d is not a port", u.Port), "A port is between 1 and 65535.")
	}
	if enumeration(c, "upstream.tls", u.TLS, "verify-full", "verify-ca", "require", "disable") {
		c.transport(u)
	}
	if strings.Contains(u.CA, "-----BEGIN") {
		c.add("upstream.ca", "upstream.ca must be the path of a file, not its content", "Put the certificates into a file on the gateway's host and name it here.")
	}
	if u.Credentials != "" && !isReference(u.Credentials) {
		c.add("upstream.credentials", "credentials must be a reference, never the secret itself",
			`Write "env:NAME", "file:/path" or "vault:path". If this was a real secret, change it: it may have been stored with this file.`)
	}
	c.identifier("upstream.catalog_role", u.CatalogRole)
	if enumeration(c, "upstream.login", u.Login, LoginCertificate, LoginSCRAM, LoginPassword) {
		c.login(u)
	}
	c.servers(u)
}

// login checks that the connection allows for the way to log in.
func (c checker) login(u *Upstream) {
	switch {
	case u.Login == LoginCertificate && u.TLS == "disable":
		c.add("upstream.login", "a certificate needs an encrypted connection", `Set tls = "verify-full".`)
	case u.Login == LoginPassword && u.Credentials == "" && u.TLS != "disable":
		c.warn("upstream.login", "there is no password to log in with, so PostgreSQL must ask for none",
			`Leave login out, and the gateway logs in with a certificate, or set credentials.`)
	case u.Login == LoginSCRAM && u.TLS == "disable":
		c.warn("upstream.login", "without TLS there is no channel that SCRAM could be bound to", `Set tls = "verify-full".`)
	case u.Login == LoginSCRAM && u.Credentials == "":
		c.add("upstream.credentials", "SCRAM needs a password for each role", `Say where the gateway finds it: "env:NAME", "file:/path" or "vault:path".`)
	}
}

// transport checks how well the connection to the upstream is protected.
func (c checker) transport(u *Upstream) {
	local := !slices.ContainsFunc(u.Servers(), func(s HostPort) bool { return !isLoopback(s.Host) && !strings.HasPrefix(s.Host, "/") })
	switch {
	case u.TLS == "disable" && u.CA != "":
		c.add("upstream.ca", `upstream.ca has no meaning where tls is "disable"`, "Remove it, or set tls.")
	case u.TLS == "disable" && !local:
		c.warn("upstream.tls", "the connection to PostgreSQL is not encrypted", `Set tls = "verify-full".`)
	case u.TLS == "require":
		c.warn("upstream.tls", "PostgreSQL's certificate is not verified", `Anybody between the gateway and PostgreSQL can read along. Set tls = "verify-full".`)
	}
}

// maxServers is how many an upstream can have: each is asked before a login fails.
const maxServers = 8

// servers checks what a gateway does where the first server will not do.
func (c checker) servers(u *Upstream) {
	const hosts, attrs = "upstream.fallback_hosts", "upstream.target_session_attrs"
	first := u.Servers()[0]
	seen := map[HostPort]bool{first: true}
	for i, text := range u.FallbackHosts {
		attr := fmt.Sprintf("%s[%d]", hosts, i)
		server, ok := parseHostPort(text, first.Port)
		switch {
		case !ok:
			c.add(attr, fmt.Sprintf("%q is not a host", text), `Write "db2.internal" or, if its port is not that of host, "db2.internal:5433".`)
		case seen[server]:
			c.add(attr, fmt.Sprintf("%s is listed already", server), "List each server once.")
		}
		seen[server] = true
	}
	if len(u.FallbackHosts) >= maxServers {
		c.add(hosts, fmt.Sprintf("an upstream has at most %d servers", maxServers), "Put a name of several addresses, or a load balancer, before them.")
	}
	if !enumeration(c, attrs, u.TargetSessionAttrs, AttrsPrimary, AttrsStandby, AttrsPreferStandby, AttrsReadWrite, AttrsReadOnly, AttrsAny) {
		return
	}
	switch u.Attrs() {
	case AttrsStandby, AttrsPreferStandby, AttrsReadOnly:
		if u.SessionTable {
			c.add(attrs, "who is connected cannot be written into a standby", "Remove session_table, or connect to the primary.")
		}
	case AttrsAny, AttrsPrimary, AttrsReadWrite:
	}
}

// host checks a host name, an address, or the directory of a Unix socket.
func (c checker) host(host string) {
	const attr = "upstream.host"
	if strings.HasPrefix(host, "/") {
		return
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	switch {
	case strings.Contains(host, "://"):
		c.add(attr, "upstream.host must be a host name, not a URL", `Write host = "db.internal" and, if it is not 5432, port.`)
	case strings.Contains(host, ":"):
		c.add(attr, "upstream.host must not hold a port", "Set port on a line of its own.")
	case !isHostName(host):
		c.add(attr, fmt.Sprintf("%q is not a host name", host), "A host name has letters, digits, hyphens and dots.")
	}
}

func isHostRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_'
}

func (c checker) issuer(i *Issuer, names map[string]bool, urls map[string]string) {
	attr := "issuer." + i.Name
	switch {
	case !validName(i.Name):
		c.add(attr, fmt.Sprintf("%q cannot be the name of an issuer", i.Name), nameAdvice)
	case names[i.Name]:
		c.add(attr, fmt.Sprintf("two issuers are named %q", i.Name), "Rename or remove one of them.")
	}
	names[i.Name] = true
	if i.URL == "" {
		c.add(attr+".url", "url is missing", `Give the issuer's URL exactly as its tokens have it in "iss".`)
	} else if i.SAMLMetadata != "" || c.issuerURL(attr+".url", i.URL) {
		if other, ok := urls[i.URL]; ok {
			c.add(attr+".url", fmt.Sprintf("issuer %q has the same url", other), "Declare each issuer once.")
		}
		urls[i.URL] = i.Name
	}
	if strings.TrimSpace(i.Audience) == "" {
		c.add(attr+".audience", "audience is missing", "Without an audience, a token that was issued for another service would be accepted here.")
	}
	if i.SAMLMetadata != "" {
		c.samlIssuer(attr, i)
	}
}

// issuerURL checks the rules of OpenID Connect Discovery 1.0, section 3, and
// admits http for a loopback address.
func (c checker) issuerURL(attr, text string) bool {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		c.add(attr, "url is not an absolute URL", `Write the issuer's URL in full, as in "https://login.example.com".`)
	case u.User != nil:
		c.add(attr, "url must not hold a user name or password", "Remove them.")
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, "?#"):
		c.add(attr, "url must not have a query or a fragment", "OpenID Connect does not allow them in an issuer's URL.")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		c.add(attr, "url must be https", "Keys that are fetched over plain http can be replaced on the way. Only an issuer on a loopback address may be http.")
	case u.Scheme != "https" && u.Scheme != "http":
		c.add(attr, fmt.Sprintf("url must be https, not %q", u.Scheme), "Write the issuer's https URL.")
	default:
		return true
	}
	return false
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// isReference reports whether credentials say where a secret is.
func isReference(credentials string) bool {
	scheme, rest, _ := strings.Cut(credentials, ":")
	switch scheme {
	case "env":
		return isEnvironmentName(rest)
	case "file":
		return strings.HasPrefix(rest, "/") && !strings.ContainsAny(rest, "\n\r")
	case "vault":
		return rest != "" && !strings.ContainsAny(rest, " \t\n\r")
	}
	return false
}

func isEnvironmentName(name string) bool {
	for i := range len(name) {
		b := name[i]
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '_'
		if !letter && (i == 0 || b < '0' || b > '9') {
			return false
		}
	}
	return name != ""
}
