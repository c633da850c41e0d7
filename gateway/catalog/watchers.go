package catalog

import "context"

// watchers are those of a database that are idle.
type watchers struct{ connected, others chan *watcher }

// watchersPerDatabase bounds how many sessions look at a time.
const watchersPerDatabase = 4

func newWatchers() watchers {
	w := watchers{connected: make(chan *watcher, watchersPerDatabase), others: make(chan *watcher, watchersPerDatabase)}
	for range watchersPerDatabase {
		w.others <- &watcher{}
	}
	return w
}

// take waits for one. Those that are connected come first, so that few connect
// where few are needed.
func (w watchers) take(ctx context.Context) (*watcher, error) {
	select {
	case one := <-w.connected:
		return one, nil
	default:
	}
	select {
	case one := <-w.connected:
		return one, nil
	case one := <-w.others:
		return one, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// put gives one back.
func (w watchers) put(one *watcher) {
	if one.conn != nil {
		w.connected <- one
	} else {
		w.others <- one
	}
}

// idle reports whether all of them are.
func (w watchers) idle() bool { return len(w.connected)+len(w.others) == watchersPerDatabase }

// close closes the connections of those that are idle; the sessions of others
// have ended, or are about to.
func (w watchers) close() {
	for {
		select {
		case one := <-w.connected:
			one.close()
			w.others <- one
		default:
			return
		}
	}
}
