package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider/internal/client"
)

// session is what a configured provider shares among its resources. Its fields
// do not change once it is made.
type session struct {
	client   *client.Client     // nil while the provider's configuration is unknown
	signer   *bundle.PrivateKey // nil if none is configured, or it is unknown yet
	policies *policyCache
	now      func() time.Time
	pace     pace
}

// pace is how gateways are waited for.
type pace struct {
	poll     time.Duration // pause between questions
	patience time.Duration // how long processes may report errors: they try again, so that a fault of the network passes
}

const (
	defaultPoll     = 200 * time.Millisecond
	defaultPatience = 10 * time.Second
)

// sessionOf takes the session out of what the framework hands to resources. It
// is nil before the provider is configured, as during validation.
func sessionOf(data any, diags *diag.Diagnostics) *session {
	if data == nil {
		return nil
	}
	s, ok := data.(*session)
	if !ok {
		diags.AddError("The provider is misassembled", fmt.Sprintf("Its resources were given a %T. Please report this.", data))
	}
	return s
}

// connected reports whether the control plane can be asked, and says so if it
// cannot.
func (s *session) connected(diags *diag.Diagnostics) bool {
	if s == nil || s.client == nil {
		diags.AddError("The provider is not configured yet",
			"Its endpoint, token or CA depends on something that is not known yet. Apply that first.")
		return false
	}
	return true
}

// policy returns the policy of a bundle: one that this run compiled, or else
// the control plane's. What the control plane returns is taken for what it is
// only if its digest is the one asked for.
func (s *session) policy(ctx context.Context, digest string) (policylang.Policy, error) {
	if p, ok := s.policies.get(digest); ok {
		return p, nil
	}
	sealed, err := s.client.Bundle(ctx, digest)
	if err != nil {
		return policylang.Policy{}, err
	}
	u, err := inspectBundle(sealed, digest)
	if err != nil {
		return policylang.Policy{}, err
	}
	s.policies.put(digest, u.Policy)
	return u.Policy, nil
}

// inspectBundle reads a bundle of the control plane's by its digest, which
// proves its content, if not who signed it.
func inspectBundle(sealed []byte, digest string) (bundle.Unverified, error) {
	u, err := bundle.InspectUnverified(sealed)
	switch {
	case err != nil:
		return bundle.Unverified{}, err
	case u.Type != bundle.TypeBundle:
		return bundle.Unverified{}, fmt.Errorf("the control plane returned a %s as bundle %s", u.Type, digest)
	case u.Digest != digest:
		return bundle.Unverified{}, fmt.Errorf("the control plane returned bundle %s in place of %s", u.Digest, digest)
	}
	return u, nil
}

// live returns the live release of a gateway, or false if there is none. The
// control plane's account must agree with the signed statement.
func (s *session) live(ctx context.Context, gateway string) (client.Release, bool, error) {
	r, err := s.client.Release(ctx, gateway)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return client.Release{}, false, nil
	case err != nil:
		return client.Release{}, false, err
	}
	return r, true, s.checkAccount(r, gateway)
}

// checkAccount holds a release against its own signed statement, and verifies
// the signature if the key is ours.
func (s *session) checkAccount(r client.Release, gateway string) error {
	u, err := bundle.InspectUnverified(r.Signed)
	if err != nil {
		return fmt.Errorf("the control plane returned a release of %q that cannot be read: %w", gateway, err)
	}
	signed := u.Release
	if u.Type != bundle.TypeRelease || signed.Gateway != gateway || signed.Bundle != r.Bundle || signed.Revision != r.Revision ||
		signed.Predecessor != r.Predecessor {
		return fmt.Errorf("the control plane's account of what is live on %q differs from the signed statement that it returned", gateway)
	}
	if s.signer == nil || u.KeyID != s.signer.PublicKey().ID() {
		return nil
	}
	ring, err := bundle.NewKeyRing(s.signer.PublicKey())
	if err != nil {
		return err
	}
	_, err = bundle.OpenRelease(r.Signed, ring, gateway)
	return err
}

// policyCache holds the policies that this run compiled or read, by digest. It
// is how the release knows what is in a bundle that is not uploaded before
// apply. It is safe for concurrent use.
type policyCache struct {
	mu       sync.Mutex
	byDigest map[string]policylang.Policy // guarded by mu; values are never changed
}

func newPolicyCache() *policyCache { return &policyCache{byDigest: map[string]policylang.Policy{}} }

func (c *policyCache) get(digest string) (policylang.Policy, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.byDigest[digest]
	return p, ok
}

func (c *policyCache) put(digest string, p policylang.Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byDigest[digest] = p
}
