package upstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang"
)

// connection is one that pgconn has made, and how.
type connection struct {
	*pgconn.PgConn
	credential credential
	target     *policylang.Upstream // with the server that was found as its only one
}

// findServer connects to the first of the upstream's servers that will do. As
// in libpq, one that cannot be reached or is of the wrong kind is passed over,
// and one that refuses the login is not: the others would, too.
func findServer(ctx context.Context, target *policylang.Upstream, login Login, secret credential) (*connection, error) {
	attrs := target.Attrs()
	if attrs != policylang.AttrsPreferStandby {
		return firstServer(ctx, target, login, secret, validators[attrs])
	}
	c, err := firstServer(ctx, target, login, secret, validators[policylang.AttrsStandby])
	if err == nil || refused(err) {
		return c, err
	}
	return firstServer(ctx, target, login, secret, nil)
}

// validators find out whether a server will do.
var validators = map[policylang.SessionAttrs]pgconn.ValidateConnectFunc{
	policylang.AttrsPrimary:   pgconn.ValidateConnectTargetSessionAttrsPrimary,
	policylang.AttrsStandby:   pgconn.ValidateConnectTargetSessionAttrsStandby,
	policylang.AttrsReadWrite: pgconn.ValidateConnectTargetSessionAttrsReadWrite,
	policylang.AttrsReadOnly:  pgconn.ValidateConnectTargetSessionAttrsReadOnly,
}

// firstServer connects to the first server that passes; nil validates nothing.
// Each may take its share of the time that is left.
func firstServer(ctx context.Context, target *policylang.Upstream, login Login, secret credential, validate pgconn.ValidateConnectFunc) (*connection, error) {
	servers := unreachable.last(target.Servers())
	var failures []error
	for i, server := range servers {
		one := target
		if len(servers) > 1 {
			one = target.At(server)
		}
		within, cancel := share(ctx, len(servers)-i)
		conn, err := connectServer(within, one, login, secret, validate)
		late := errors.Is(within.Err(), context.DeadlineExceeded) // and not because whoever logs in has left
		cancel()
		if err == nil {
			unreachable.forget(server)
			return &connection{conn, secret, one}, nil
		}
		failures = append(failures, err)
		if refused(err) {
			break
		}
		if late || dialFailed(err) {
			unreachable.note(server)
		}
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

// share bounds a context to one of n parts of the time that it has left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// refused reports whether a server has answered, and lets nobody in for a reason
// that another server would have, too.
func refused(err error) bool {
	const operatorIntervention = "57" // it starts, or it stops
	var pg *pgconn.PgError
	return errors.As(err, &pg) && !strings.HasPrefix(pg.Code, operatorIntervention)
}

// dialFailed reports whether a server was not there at all.
func dialFailed(err error) bool {
	var failed *dialError
	return errors.As(err, &failed)
}

// dialError is that there was no connection to log in on.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// unreachable are the servers that were not reached lately. They are asked after
// the others, so that not every session waits for what does not answer.
var unreachable = outages{servers: map[policylang.HostPort]time.Time{}}

// outageLife is how long a server is asked after the others.
const outageLife = 30 * time.Second

type outages struct {
	mu      sync.Mutex
	servers map[policylang.HostPort]time.Time // when it was not reached
}

// last puts the servers last that were not reached lately.
func (o *outages) last(servers []policylang.HostPort) []policylang.HostPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.servers) == 0 {
		return servers
	}
	maps.DeleteFunc(o.servers, func(_ policylang.HostPort, at time.Time) bool { return time.Since(at) > outageLife })
	out := func(s policylang.HostPort) bool { return !o.servers[s].IsZero() }
	return append(
		slices.DeleteFunc(slices.Clone(servers), out),
		slices.DeleteFunc(slices.Clone(servers), func(s policylang.HostPort) bool { return !out(s) })...)
}

func (o *outages) note(server policylang.HostPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.servers[server] = time.Now()
}

func (o *outages) forget(server policylang.HostPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.servers, server)
}
