package controlclient

import (
	"context"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// Source gives a gateway what it must run, as the control plane has it. None
// of it is verified here.
type Source struct {
	client  *Client
	gateway string
	failed  bool // the last call of Next did
}

// Source returns the source of a gateway, whose role the client's token must
// have.
func (c *Client) Source(gateway string) *Source { return &Source{client: c, gateway: gateway} }

// Next waits for a release with a higher revision than after's, which may be
// the zero Release, and returns it and its bundle, sealed. It waits for as long
// as ctx allows; an error that wraps [ErrUnavailable] is worth another try
// after a pause, which returns nothing if there is nothing newer.
func (s *Source) Next(ctx context.Context, after bundle.Release) (release, sealed []byte, err error) {
	most := api.MaxWait / 2
	if s.failed {
		most = 0
	}
	defer func() { s.failed = err != nil }()
	for {
		started := time.Now()
		live, err := s.client.Live(ctx, s.gateway, after.Revision, most)
		if err != nil {
			return nil, nil, err
		}
		if live != nil {
			sealed, err = s.client.Bundle(ctx, live.Bundle)
			return live.Signed, sealed, err
		}
		if most == 0 {
			return nil, nil, nil
		}
		// A control plane that is draining answers at once.
		if time.Since(started) < time.Second {
			select {
			case <-ctx.Done():
			case <-time.After(jitter(time.Second)):
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
}

// String names the source for people.
func (s *Source) String() string { return "control plane " + s.client.URL() }
