package bundle_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// A publisher seals a policy and a release of it; a gateway opens the release,
// then the bundle it names.
func Example() {
	publisher, err := bundle.GenerateKey("prod")
	if err != nil {
		panic(err)
	}
	policy := policylang.Policy{
		QueryRules: []policylang.QueryRule{{Name: "reads", When: `statement.class == "read"`, Effect: policylang.EffectAllow}},
	}
	sealedBundle, err := bundle.Seal(&policy, publisher)
	if err != nil {
		panic(err)
	}
	digest, err := policy.Digest()
	if err != nil {
		panic(err)
	}
	sealedRelease, err := bundle.SealRelease(bundle.Release{
		Gateway: "main", Bundle: digest, Revision: 1, Time: time.Now(),
	}, publisher)
	if err != nil {
		panic(err)
	}

	// The gateway was started with the text of the keys it trusts.
	trusted, err := bundle.ParseKeyRing(publisher.PublicKey().String())
	if err != nil {
		panic(err)
	}
	release, err := bundle.OpenRelease(sealedRelease, trusted, "main")
	if err != nil {
		panic(err)
	}
	opened, _, err := bundle.OpenReleased(sealedBundle, release, trusted)
	if err != nil {
		panic(err)
	}
	fmt.Println(release.Revision, opened.QueryRules[0].Name)

	_, err = bundle.OpenRelease(sealedRelease, trusted, "staging")
	fmt.Println(errors.Is(err, bundle.ErrWrongGateway))
	// Output:
	// 1 reads
	// true
}
