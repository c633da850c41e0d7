// Package soaktest runs a gateway under load for some time: thousands of idle
// sessions and hundreds of busy ones, some killed at random from either side,
// the policy replaced each second, evidence on. Nothing may fail that was not
// made to, nothing may be left behind, and evidence must hold each statement
// exactly once, as the clients that sent them know.
//
// `make soak` runs it for minutes; without flags it takes seconds.
package soaktest

import (
	"fmt"
	"regexp"
	"sync"
	"testing"

	"github.com/posternhq/postern/gateway/evidence"
)

// fate is what a client knows of a statement that it sent.
type fate uint8

const (
	ran     fate = iota // it was told that it completed
	failed              // it was told that it failed
	denied              // it was told that the gateway refused it
	unknown             // the connection was lost before an answer
)

// ledger is what all clients know.
type ledger struct {
	mu    sync.Mutex
	fates map[string]fate // by the statement's mark
}

func (l *ledger) note(mark string, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates[mark] = f
}

// found is what evidence says of a statement.
type found struct{ completed, failed, denied, unknown int }

func (f found) ends() int { return f.completed + f.failed + f.denied + f.unknown }

// markRE finds the mark that makes each statement one of its own.
var markRE = regexp.MustCompile(`m\d+x\d+`)

// collect reads what evidence says of each mark.
func collect(dir string) (map[string]*found, error) {
	all := map[string]*found{}
	for r, err := range evidence.Search(dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindStatement, evidence.KindDenied}}) {
		if err != nil {
			return nil, err
		}
		mark := markRE.FindString(r.SQL)
		for _, p := range r.Params {
			if mark == "" {
				mark = markRE.FindString(string(p.Value))
			}
		}
		if mark == "" || r.Outcome == evidence.OutcomeStarted {
			continue
		}
		f := all[mark]
		if f == nil {
			f = &found{}
			all[mark] = f
		}
		switch r.Outcome { //nolint:exhaustive // those of held statements do not come
		case evidence.OutcomeCompleted:
			f.completed++
		case evidence.OutcomeFailed, evidence.OutcomeCancelled:
			f.failed++
		case evidence.OutcomeRefused:
			f.denied++
		case evidence.OutcomeUnknown:
			f.unknown++
		}
	}
	return all, nil
}

// compare returns what the clients and the evidence do not agree on.
func (l *ledger) compare(all map[string]*found) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []string
	for mark, f := range l.fates {
		e := all[mark]
		if e == nil {
			e = &found{}
		}
		agrees := e.ends() == 1
		switch f {
		case ran:
			agrees = agrees && e.completed == 1
		case failed:
			agrees = agrees && e.failed == 1
		case denied:
			agrees = agrees && e.denied == 1
		case unknown: // it may never have come
			agrees = e.ends() <= 1
		}
		if !agrees {
			wrong = append(wrong, fmt.Sprintf("%s: the client knows %d, evidence has %+v", mark, f, *e))
		}
	}
	for mark := range all {
		if _, ok := l.fates[mark]; !ok {
			wrong = append(wrong, mark+": evidence of what nobody sent")
		}
	}
	return wrong
}

// TestCompare: each way in which evidence can be wrong is found.
func TestCompare(t *testing.T) {
	tests := []struct {
		name string
		fate fate
		in   *found // nil: evidence has nothing
		ok   bool
	}{
		{"ran", ran, &found{completed: 1}, true},
		{"ran, missing", ran, nil, false},
		{"ran, twice", ran, &found{completed: 2}, false},
		{"ran, as failed", ran, &found{failed: 1}, false},
		{"ran, with two ends", ran, &found{completed: 1, unknown: 1}, false},
		{"failed", failed, &found{failed: 1}, true},
		{"failed, as completed", failed, &found{completed: 1}, false},
		{"denied", denied, &found{denied: 1}, true},
		{"denied, missing", denied, nil, false},
		{"denied and run", denied, &found{denied: 1, completed: 1}, false},
		{"unknown, never came", unknown, nil, true},
		{"unknown, ran", unknown, &found{completed: 1}, true},
		{"unknown, twice", unknown, &found{completed: 1, unknown: 1}, false},
	}
	for _, tt := range tests {
		l := &ledger{fates: map[string]fate{"m1x1": tt.fate}}
		all := map[string]*found{}
		if tt.in != nil {
			all["m1x1"] = tt.in
		}
		if wrong := l.compare(all); (len(wrong) == 0) != tt.ok {
			t.Errorf("%s: %v", tt.name, wrong)
		}
	}
	if wrong := (&ledger{}).compare(map[string]*found{"m1x1": {completed: 1}}); len(wrong) != 1 {
		t.Errorf("what nobody sent: %v", wrong)
	}
}
