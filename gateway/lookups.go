package gateway

import (
	"sync"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
)

// lookups bounds how often each identity may compare a masked column with a
// known value, which the knob predicates = "equality" lets it: each is a guess. An
// identity may look up so many an hour, in all its sessions together; what it did
// not use is not saved.
type lookups struct {
	mu   sync.Mutex
	left map[string]allowance // by identity
}

// allowance is what an identity has left since a moment.
type allowance struct {
	count float64
	since time.Time
}

// take takes n lookups of an identity, and reports whether it had as many.
func (l *lookups) take(identity string, n, perHour int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.left[identity]
	if !ok {
		have = allowance{count: float64(perHour), since: now}
	}
	have.count = min(float64(perHour), have.count+now.Sub(have.since).Hours()*float64(perHour))
	have.since = now
	enough := have.count >= float64(n)
	if enough {
		have.count -= float64(n)
	}
	if l.left == nil {
		l.left = map[string]allowance{}
	}
	l.left[identity] = have
	return enough
}

// spendLookups takes what a text that is about to run looks up off the
// identity's allowance.
func (g *guard) spendLookups(x *execution, stage relay.Stage) *refusal.Refusal {
	if stage == relay.StageParse || stage == relay.StageBind {
		return nil // what is executed counts
	}
	n := 0
	for i := range x.statements {
		if a := x.statements[i].analysis; a != nil {
			n += a.Equality
		}
	}
	perHour := g.server.cfg.Limits.Lookups
	if n == 0 || g.server.lookups.take(x.view.subject.Name, n, perHour, x.started) {
		return nil
	}
	return refusal.New(refusal.LookupLimit, "you have compared masked columns with values as often as you may in an hour, which is %d times", perHour)
}
