package api

import (
	"encoding/json"
	"time"

	"github.com/posternhq/postern/policylang"
)

// Object is a draft: one object of a policy as it was last written. No gateway
// reads drafts.
type Object struct {
	Kind       policylang.Kind `json:"kind"`
	Name       string          `json:"name"`
	Definition json.RawMessage `json:"definition"` // canonical, see policylang.Definition
	Digest     string          `json:"digest"`     // of Definition
	Rev        int64           `json:"rev"`        // its ETag; grows with each write
	UpdatedAt  time.Time       `json:"updated_at"`
	UpdatedBy  string          `json:"updated_by"`
}

// ObjectInput is the body of PUT /v1/objects/{kind}/{name}.
type ObjectInput struct {
	Definition json.RawMessage `json:"definition"`
}

// ObjectList answers GET /v1/objects/{kind}, sorted by name.
type ObjectList struct {
	Objects []Object `json:"objects"`
}

// Bundle describes a sealed bundle that is stored.
type Bundle struct {
	Digest    string    `json:"digest"` // of the policy
	Size      int64     `json:"size"`   // of the sealed bytes
	KeyID     string    `json:"key_id"` // of the key that claims to have signed it
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// BundleList answers GET /v1/bundles, newest first.
type BundleList struct {
	Bundles []Bundle `json:"bundles"`
}

// Release is a signed statement that a gateway must run a bundle. All but
// Signed, ReleasedBy, ReleasedAt, Run and Commit is what the signed bytes say;
// the control plane has not verified their signature, gateways do.
type Release struct {
	Gateway     string    `json:"gateway"`
	Bundle      string    `json:"bundle"`
	Predecessor string    `json:"predecessor"` // empty for the first
	Revision    uint64    `json:"revision"`
	Time        time.Time `json:"time"`
	Note        string    `json:"note"`
	KeyID       string    `json:"key_id"`
	ReleasedBy  string    `json:"released_by"`
	ReleasedAt  time.Time `json:"released_at"`
	Run         string    `json:"run,omitempty"`    // where it was made, as the publisher says: the URL of a Terraform run or a job
	Commit      string    `json:"commit,omitempty"` // of the policy's source, as the publisher says
	Signed      []byte    `json:"signed"`           // base64 of the sealed bytes
}

// The headers in which a publisher says where a release was made; each is at
// most MaxOrigin bytes of printable ASCII.
const (
	HeaderRun    = "Postern-Run"
	HeaderCommit = "Postern-Commit"
	MaxOrigin    = 256
)

// ReleaseCreated answers POST /v1/gateways/{gateway}/releases.
type ReleaseCreated struct {
	Live Release `json:"live"`
}

// ReleaseList answers GET /v1/gateways/{gateway}/releases, newest first.
type ReleaseList struct {
	Releases []Release `json:"releases"`
}

// Gateway is a gateway that the control plane has heard of: by a draft, a
// release or a report.
type Gateway struct {
	Name      string   `json:"name"`
	Live      *Release `json:"live,omitempty"`
	Instances int      `json:"instances"` // that reported in the last minute
}

// GatewayList answers GET /v1/gateways, sorted by name.
type GatewayList struct {
	Gateways []Gateway `json:"gateways"`
}

// Heartbeat is what an instance of a gateway reports of itself, every few
// seconds and when the bundle it enforces changes.
type Heartbeat struct {
	Version   string     `json:"version"`         // of the program
	Bundle    string     `json:"bundle"`          // digest of what it enforces; empty if nothing
	Revision  uint64     `json:"revision"`        // of the release that it enforces
	Since     *time.Time `json:"since,omitempty"` // when it began to enforce it
	Error     string     `json:"error,omitempty"` // why it does not enforce the newest release
	Sessions  int        `json:"sessions"`
	StartedAt time.Time  `json:"started_at"`
	Counts
}

// Counts is what an instance has counted since it started, and Waiting, how
// many statements wait for an approval now.
type Counts struct {
	Statements uint64 `json:"statements"`
	Denied     uint64 `json:"denied"`
	Failed     uint64 `json:"failed"`
	Held       uint64 `json:"held"`
	Waiting    int    `json:"waiting"`
}

// Errors are the statements that were denied or failed.
func (c Counts) Errors() uint64 { return c.Denied + c.Failed }

// Instance is a gateway's instance as it last reported.
type Instance struct {
	Instance string `json:"instance"`
	Heartbeat
	SeenAt time.Time `json:"seen_at"`
}

// InstanceList answers GET /v1/gateways/{gateway}/instances, sorted by name.
type InstanceList struct {
	Instances []Instance `json:"instances"`
}
