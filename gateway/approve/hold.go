package approve

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long the broker may take to store or to end a request, how long past its
// life a request is still asked about, and the pauses between attempts to
// reach a broker that is away.
const (
	callTimeout = 15 * time.Second
	lateness    = 2 * time.Second
	firstPause  = 250 * time.Millisecond
	lastPause   = 5 * time.Second
)

// Hold asks for approval and waits until the request has ended. notify, which
// may be nil, is called once the request is stored. When ctx is done the
// client has left or cancelled: the request is withdrawn, and so is the
// outcome.
//
// An error means that the statement was not approved: the broker did not take
// the request, or would say no more about it. A broker that is away for a while
// is waited for.
func Hold(ctx context.Context, b Broker, r *Request, notify func(Pending)) (Outcome, error) {
	pending, life, err := create(ctx, b, r, false)
	if err != nil {
		return Outcome{}, err
	}
	if notify != nil {
		notify(pending)
	}
	outcome, err := await(ctx, b, pending.ID, life)
	switch {
	case err != nil:
	case ctx.Err() != nil: // even if it was approved at the last moment
		outcome = Outcome{ID: pending.ID, Status: Withdrawn}
	case outcome.Status == "":
		outcome = Outcome{ID: pending.ID, Status: Expired}
	default:
		return r.confirm(outcome)
	}
	return outcome, errors.Join(err, withdraw(ctx, b, pending.ID))
}

// Ask asks for approval of a statement that the client is to try again. While
// such a request is pending, asking again gives the same one.
func Ask(ctx context.Context, b Broker, r *Request) (Pending, error) {
	pending, _, err := create(ctx, b, r, true)
	return pending, err
}

// Granted uses up the approval of a statement that is tried again, if there is
// one: it passes once.
func Granted(ctx context.Context, g Grants, r *Request) (o Outcome, ok bool, err error) {
	if err := r.check(); err != nil {
		return Outcome{}, false, err
	}
	o, ok, err = g.Use(ctx, r)
	if err != nil {
		return Outcome{}, false, fmt.Errorf("look for an approval: %w", err)
	}
	if !ok {
		return Outcome{}, false, nil
	}
	o, err = r.confirm(o)
	return o, err == nil && o.Approved(), err
}

// create stores a request. It does not stop when ctx is done, so that what is
// stored is always known and can be withdrawn.
func create(ctx context.Context, b Broker, r *Request, retry bool) (Pending, time.Duration, error) {
	if err := r.check(); err != nil {
		return Pending{}, 0, err
	}
	life, err := r.Life()
	if err != nil {
		return Pending{}, 0, fmt.Errorf("hold statement: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	asked := *r
	asked.Retry = retry
	pending, err := b.Create(ctx, &asked)
	if err != nil {
		return Pending{}, 0, fmt.Errorf("ask for approval: %w", err)
	}
	return pending, life, nil
}

// await waits for the end of a request. The zero Outcome means that ctx is
// done or the request has outlived its life.
func await(ctx context.Context, b Broker, id string, life time.Duration) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, life+lateness)
	defer cancel()
	pause := firstPause
	for {
		outcome, err := b.Wait(ctx, id)
		switch {
		case err == nil:
			return outcome, nil
		case ctx.Err() != nil:
			return Outcome{}, nil
		case !errors.Is(err, ErrUnavailable):
			return Outcome{ID: id}, fmt.Errorf("wait for approval %s: %w", id, err)
		}
		select {
		case <-ctx.Done():
			return Outcome{}, nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

func withdraw(ctx context.Context, b Broker, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := b.Withdraw(ctx, id); err != nil {
		return fmt.Errorf("withdraw approval %s: %w", id, err)
	}
	return nil
}
