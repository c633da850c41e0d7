// Package api is the vocabulary of the control plane's HTTP API, version 1, as
// its server and its clients share it: JSON types, roles, error codes, the rule
// that says when enough people have approved ([Approved]), and how a held
// statement is shown so that nothing in it is hidden ([Reveal]). The API is
// described for everybody else in docs/api.yaml.
//
// Requests and answers are JSON in UTF-8, but for sealed bundles and releases,
// which are bytes. Times are RFC 3339 in UTC, durations Go's ("15m"), digests
// "sha256:" and 64 hexadecimal digits. A caller authenticates with
// "Authorization: Bearer TOKEN", the token being an API token or an OpenID
// Connect token that an identity of the policy in force accepts, or with a
// client certificate. What changes
// concurrently is guarded by ETag, If-Match and If-None-Match. What is waited
// for takes ?wait=DURATION and answers as soon as there is news.
package api

import (
	"slices"
	"time"
)

// Version is the API's version: the first part of each path, and the "api" of
// [VersionInfo].
const Version = 1

// MaxWait is the longest that a request waits for news; longer waits are cut.
const MaxWait = 60 * time.Second

// The sizes in bytes above which a request body is refused. Those of bundles
// and releases are package bundle's.
const (
	MaxBody         = 1 << 20
	MaxApprovalBody = 8 << 20 // a statement of 1 MiB and its parameters
	MaxRolloutBody  = 8 << 20 // some hundred releases
)

// VersionInfo answers GET /v1/version.
type VersionInfo struct {
	Version string `json:"version"` // of the program
	API     int    `json:"api"`
}

// Health answers GET /healthz and /readyz.
type Health struct {
	Status string `json:"status"` // "ok"
}

// Caller answers GET /v1/whoami: who the request's token is.
type Caller struct {
	Name    string     `json:"name"`
	Kind    string     `json:"kind"`              // CallerToken or CallerSubject
	Subject string     `json:"subject,omitempty"` // name under which it may approve
	Groups  []string   `json:"groups"`
	Roles   []Role     `json:"roles"`
	Expires *time.Time `json:"expires_at,omitempty"`
}

// The kinds of caller.
const (
	CallerToken   = "token"   // an API token
	CallerSubject = "subject" // a person or service with an OpenID Connect token

	CallerCertificate = "certificate" // a program with a client certificate
)

// Has reports whether the caller has any of the roles, RoleAdmin having those
// that it includes.
func (c *Caller) Has(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(want Role) bool {
		return slices.ContainsFunc(c.Roles, func(have Role) bool { return have.includes(want) })
	})
}

// HasFor reports whether the caller has any of the roles for one gateway.
func (c *Caller) HasFor(gateway string, roles ...Role) bool {
	return slices.ContainsFunc(roles, func(want Role) bool { return slices.Contains(c.Roles, ScopedRole(want, gateway)) })
}

// HasForSome reports whether the caller has any of the roles for some gateway.
func (c *Caller) HasForSome(roles ...Role) bool {
	return slices.ContainsFunc(c.Roles, func(have Role) bool {
		role, _, ok := have.Scope()
		return ok && slices.Contains(roles, role)
	})
}
