package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Rollout is releases that go live stage by stage.
type Rollout struct {
	Stages       []RolloutStage `json:"stages"`
	Observe      string         `json:"observe"` // a Go duration
	Timeout      string         `json:"timeout"` // a Go duration
	MaxErrorRate float64        `json:"max_error_rate"`
	MinInstances int64          `json:"min_instances"`
}

// RolloutStage is what goes live at once.
type RolloutStage struct {
	Releases []RolloutRelease `json:"releases"`
}

// RolloutRelease is a gateway's signed release, and the one that undoes it.
type RolloutRelease struct {
	Signed []byte `json:"signed"`
	Undo   []byte `json:"undo,omitempty"`
}

// RolloutStatus is how a rollout stands.
type RolloutStatus struct {
	ID     string `json:"id"`
	Status string `json:"status"` // "running", RolloutDone or "stopped"
	Reason string `json:"reason"` // why it was stopped
	Rev    int64  `json:"rev"`
}

// RolloutDone is the status of a rollout whose every stage has proven itself.
const RolloutDone = "done"

const rolloutRunning = "running"

// RollOut starts a rollout and waits until it has ended. Its id is the name and
// a digest of all of it, so that the same one is never started twice. With an
// error, the status is how it stood last, and zero if it was never started.
func (c *Client) RollOut(ctx context.Context, name string, r Rollout) (RolloutStatus, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return RolloutStatus{}, err
	}
	sum := sha256.Sum256(body)
	id := name + "-" + hex.EncodeToString(sum[:6])
	a, err := c.do(ctx, call{method: http.MethodPut, path: []string{"v1", "rollouts", id}, body: body, repeatable: true})
	if err != nil {
		return RolloutStatus{}, c.lacking(err, "roll out in stages")
	}
	var status RolloutStatus
	err = decode(a.body, &status)
	for err == nil && status.Status == rolloutRunning {
		a, err = c.do(ctx, call{
			method: http.MethodGet, path: []string{"v1", "rollouts", id}, repeatable: true,
			query: url.Values{"after": {strconv.FormatInt(status.Rev, 10)}, "wait": {"20s"}},
		})
		if err == nil {
			err = decode(a.body, &status)
		}
	}
	return status, err
}
