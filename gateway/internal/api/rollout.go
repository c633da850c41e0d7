package api

import "time"

// RolloutInput is the body of PUT /v1/rollouts/{id}: releases that go live
// stage by stage. All of them are signed when it starts, since the control
// plane cannot sign; each stage waits until the one before has proven itself.
type RolloutInput struct {
	Stages []RolloutStageInput `json:"stages"` // at least one; canaries first
	// Observe is how long a stage is watched once all its instances enforce
	// it; a Go duration, 1m unless given.
	Observe string `json:"observe,omitempty"`
	// Timeout is how long the instances of a stage may take to enforce it; a
	// Go duration, 5m unless given.
	Timeout string `json:"timeout,omitempty"`
	// MaxErrorRate is the share of statements, from 0 to 1, above which a
	// stage has failed: those that were denied or failed since it began.
	MaxErrorRate float64 `json:"max_error_rate"`
	// MinInstances is how many instances of each gateway must enforce a stage;
	// 1 unless given.
	MinInstances int    `json:"min_instances,omitempty"`
	Run          string `json:"run,omitempty"`    // see [Release]
	Commit       string `json:"commit,omitempty"` // see [Release]
}

// RolloutStageInput is what goes live at once: one release for each of some
// gateways.
type RolloutStageInput struct {
	Releases []RolloutReleaseInput `json:"releases"`
}

// RolloutReleaseInput is a gateway's release, and perhaps the one that undoes
// it, signed beforehand: at a higher revision, after the former's bundle.
type RolloutReleaseInput struct {
	Signed []byte `json:"signed"`
	Undo   []byte `json:"undo,omitempty"`
}

// RolloutStatus is how a rollout stands.
type RolloutStatus string

// The statuses of rollouts. Those but running are final.
const (
	RolloutRunning RolloutStatus = "running"
	RolloutDone    RolloutStatus = "done"    // every stage has proven itself
	RolloutStopped RolloutStatus = "stopped" // what went live stays live, but for what was undone
)

// Rollout answers PUT and GET /v1/rollouts/{id}.
type Rollout struct {
	ID           string         `json:"id"`
	Status       RolloutStatus  `json:"status"`
	Reason       string         `json:"reason,omitempty"` // why it was stopped
	Stage        int            `json:"stage"`            // that is live, from 0
	Stages       []RolloutStage `json:"stages"`
	Observe      string         `json:"observe"`
	Timeout      string         `json:"timeout"`
	MaxErrorRate float64        `json:"max_error_rate"`
	MinInstances int            `json:"min_instances"`
	CreatedAt    time.Time      `json:"created_at"`
	CreatedBy    string         `json:"created_by"`
	UpdatedAt    time.Time      `json:"updated_at"`
	Rev          int64          `json:"rev"` // grows with each change; see ?after
}

// RolloutStage is how one stage stands.
type RolloutStage struct {
	Releases []RolloutRelease `json:"releases"`
	LiveAt   *time.Time       `json:"live_at,omitempty"`     // when it went live
	Enforced *time.Time       `json:"enforced_at,omitempty"` // when all its instances had acknowledged it
	Proven   *time.Time       `json:"proven_at,omitempty"`   // when it had been watched long enough
	// What the stage's instances have counted since it went live.
	Statements uint64 `json:"statements"`
	Errors     uint64 `json:"errors"` // of them, denied or failed
}

// RolloutRelease is a gateway's part of a stage.
type RolloutRelease struct {
	Gateway  string `json:"gateway"`
	Bundle   string `json:"bundle"`
	Revision uint64 `json:"revision"`
	CanUndo  bool   `json:"can_undo"`
	Undone   bool   `json:"undone"`
}

// RolloutList answers GET /v1/rollouts, newest first.
type RolloutList struct {
	Rollouts []Rollout `json:"rollouts"`
}
