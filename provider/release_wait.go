package provider

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/posternhq/postern/provider/internal/client"
)

// alive is how long ago a gateway process must have been seen to be waited for.
const alive = 60 * time.Second

// awaitGateways waits until every live process of the gateway, and at least
// min_gateways of them, says that it enforces the release or a newer one. The
// error says who does not.
func (r *releaseResource) awaitGateways(ctx context.Context, m releaseModel, timeout time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(r.session.pace.poll)
	defer tick.Stop()
	started := r.session.now()
	var last error // why the wait goes on
	for {
		instances, now, err := r.session.client.Instances(waiting, m.Gateway.ValueString())
		var f following
		switch {
		case err == nil:
			f = follow(instances, now, uint64(m.Revision.ValueInt64()), m.LiveBundle.ValueString())
			last = f.verdict(m.MinGateways.ValueInt64())
			if last == nil {
				return nil
			}
		case waiting.Err() == nil || last == nil:
			last = err
		}
		if f.stuck() && r.session.now().Sub(started) >= r.session.pace.patience {
			return last
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("gave up waiting after %s: %w", r.session.now().Sub(started).Round(time.Millisecond), last)
		case <-tick.C:
		}
	}
}

// following is how the live processes of a gateway stand to a release.
type following struct {
	enforcing int
	lagging   []client.Instance
}

func follow(instances []client.Instance, now time.Time, revision uint64, bundle string) following {
	var f following
	for _, i := range instances {
		switch {
		case now.Sub(i.SeenAt) > alive:
		case i.Revision > revision || i.Revision == revision && i.Bundle == bundle:
			f.enforcing++
		default:
			f.lagging = append(f.lagging, i)
		}
	}
	return f
}

// verdict returns nil if the release is enforced.
func (f following) verdict(atLeast int64) error {
	switch {
	case len(f.lagging) > 0:
		lines := make([]string, len(f.lagging))
		for i, l := range f.lagging {
			lines[i] = fmt.Sprintf("process %s runs revision %d", l.Instance, l.Revision)
			if l.Error != "" {
				lines[i] += ": " + l.Error
			}
		}
		return fmt.Errorf("%d of %d gateway processes do not follow: %s",
			len(f.lagging), len(f.lagging)+f.enforcing, strings.Join(lines, "; "))
	case int64(f.enforcing) < atLeast && f.enforcing == 0:
		return fmt.Errorf("no gateway process was seen in the last %s, and min_gateways is %d: start one, or set min_gateways = 0", alive, atLeast)
	case int64(f.enforcing) < atLeast:
		return fmt.Errorf("only %d gateway processes enforce it, and min_gateways is %d", f.enforcing, atLeast)
	}
	return nil
}

// stuck reports whether every process that does not follow says that it cannot.
func (f following) stuck() bool {
	for _, l := range f.lagging {
		if l.Error == "" {
			return false
		}
	}
	return len(f.lagging) > 0
}
