package evidence

import (
	"fmt"
	"slices"
)

// sessionLedger follows sessions through a journal.
type sessionLedger struct {
	sessions map[string]*sessionState // that have not ended
	counts   Sessions
}

// sessionState is which statements of a session were seen: all up to upTo, and
// those beyond. Records of pipelined statements may come out of order.
type sessionState struct {
	upTo   uint64
	beyond map[uint64]struct{}
}

// add takes the next record and returns what is wrong about it, "" if nothing.
// whole says that the journal is known from its first record.
func (l *sessionLedger) add(r *Record, whole bool) (problem string) {
	if r.Kind == KindJournal && (r.Command == JournalOpened || r.Command == JournalRecovered) {
		l.counts.Interrupted += uint64(len(l.sessions))
		clear(l.sessions)
		return ""
	}
	if r.Session == "" {
		return ""
	}
	s, known := l.sessions[r.Session]
	if !known {
		if r.Kind != KindSessionStart && whole {
			problem = fmt.Sprintf("record %d is of session %s, which had not begun", r.Seq, r.Session)
		}
		if r.Kind != KindSessionStart && !whole {
			return "" // it may have begun in a segment that is not here
		}
		s = &sessionState{}
		l.sessions[r.Session] = s
	}
	if r.Kind != KindSessionEnd {
		s.see(r.StmtNo)
		return problem
	}
	delete(l.sessions, r.Session)
	l.counts.Complete++
	if missing, unexpected := s.compare(r.StmtNo); len(missing)+len(unexpected) > 0 {
		l.counts.Complete--
		return fmt.Sprintf("session %s ended after %d statements; missing are %v, beyond the count are %v", r.Session, r.StmtNo, missing, unexpected)
	}
	return problem
}

func (s *sessionState) see(n uint64) {
	if n <= s.upTo {
		return
	}
	if n > s.upTo+1 {
		if s.beyond == nil {
			s.beyond = map[uint64]struct{}{}
		}
		s.beyond[n] = struct{}{}
		return
	}
	for ok := true; ok; _, ok = s.beyond[s.upTo+1] {
		s.upTo++
		delete(s.beyond, s.upTo)
	}
}

// compare returns the numbers up to count that were not seen, and those seen
// above it; at most ten of each.
func (s *sessionState) compare(count uint64) (missing, unexpected []uint64) {
	for n := s.upTo + 1; n <= count && len(missing) < 10; n++ {
		if _, ok := s.beyond[n]; !ok {
			missing = append(missing, n)
		}
	}
	if s.upTo > count {
		unexpected = append(unexpected, s.upTo)
	}
	for n := range s.beyond {
		if n > count && len(unexpected) < 10 {
			unexpected = append(unexpected, n)
		}
	}
	slices.Sort(unexpected)
	return missing, unexpected
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
