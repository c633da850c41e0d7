package upstream

import (
	"context"
	"time"

	"github.com/posternhq/postern/gateway/upstream/vault"
)

// leaseKeeper keeps a credential alive that Vault made for one connection, and
// gives it back in the end. Where Vault renews it no longer, Vault ends the
// connection itself.
type leaseKeeper struct {
	client *vault.Client
	stop   chan struct{}
}

// keep starts a leaseKeeper, nil if there is nothing to keep.
func keep(client *vault.Client, lease vault.Lease) *leaseKeeper {
	if lease.ID == "" {
		return nil
	}
	k := &leaseKeeper{client: client, stop: make(chan struct{})}
	go k.renewLoop(lease)
	return k
}

// renewLoop ends once release is called and the lease is given back, which
// takes no longer than giveBack.
func (k *leaseKeeper) renewLoop(lease vault.Lease) {
	const giveBack = 5 * time.Second
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), giveBack)
		defer cancel()
		_ = k.client.Revoke(ctx, lease) // it ends by itself otherwise
	}()
	for lease.Renewable && lease.Life > 0 {
		timer := time.NewTimer(lease.Life / 2)
		select {
		case <-k.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), lease.Life/4)
		renewed, err := k.client.Renew(ctx, lease)
		cancel()
		if err == nil {
			lease = renewed
		} else {
			lease.Life /= 2 // of what is left
		}
		if lease.Life < time.Second {
			break
		}
	}
	<-k.stop
}

// release has the lease given back, and does not wait for that.
func (k *leaseKeeper) release() {
	if k != nil {
		close(k.stop)
	}
}
