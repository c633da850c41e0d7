package bundle_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// FuzzSealOpen: a policy that can be sealed opens to itself, and seals again
// to the same bytes.
func FuzzSealOpen(f *testing.F) {
	k, err := bundle.GenerateKey("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	trusted, err := bundle.NewKeyRing(k.PublicKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("main", "reads", "no_drop", `statement.class == "read"`, "a <b> & c\u2028", int64(3))
	f.Add("", "", "", "\x00\"\\", "\xff", int64(-1))
	f.Fuzz(func(t *testing.T, gateway, rule, other, when, message string, n int64) {
		p := policylang.Policy{
			Gateways: []policylang.Gateway{{Name: gateway, Upstream: policylang.Upstream{Host: message, Port: int(int32(n))}}},
			QueryRules: []policylang.QueryRule{
				{Name: rule, When: when, Message: message, MaxRows: n, Effect: policylang.Effect(other)},
				{Name: other, When: message, ReadOnly: n > 0},
			},
			Identities:      []policylang.Identity{{Name: message, Groups: []string{when, rule, other}}},
			MaskingPolicies: []policylang.MaskingPolicy{{Name: when, Columns: []string{gateway, when}, KeepFirst: int(int32(n))}},
		}
		data, err := bundle.Seal(&p, k)
		if err != nil {
			if data != nil {
				t.Fatal("an error came with a bundle")
			}
			return
		}
		got, info, err := bundle.Open(data, trusted)
		if err != nil {
			t.Fatalf("what was sealed does not open: %v", err)
		}
		if diff := cmp.Diff(p.Sorted(), got); diff != "" {
			t.Fatalf("policy (-sealed +opened):\n%s", diff)
		}
		digest, err := p.Digest()
		if err != nil || info.Digest != digest {
			t.Fatalf("digest is %s, want %s (%v)", info.Digest, digest, err)
		}
	})
}

// FuzzSealOpenRelease: a release that can be sealed opens to itself.
func FuzzSealOpenRelease(f *testing.F) {
	k, err := bundle.GenerateKey("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	trusted, err := bundle.NewKeyRing(k.PublicKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("main", []byte("a"), true, uint64(1), int64(1772600767), "note")
	f.Add("\xff", []byte{}, false, uint64(1)<<60, int64(-1), "<\u2029>")
	f.Fuzz(func(t *testing.T, gateway string, digested []byte, first bool, revision uint64, unix int64, note string) {
		r := bundle.Release{
			Gateway: gateway, Bundle: policylang.DigestBytes(digested), Revision: revision,
			Time: time.Unix(unix, 0).UTC(), Note: note,
		}
		if !first {
			r.Predecessor = r.Bundle
		}
		data, err := bundle.SealRelease(r, k)
		if err != nil {
			if data != nil {
				t.Fatal("an error came with a release")
			}
			return
		}
		got, err := bundle.OpenRelease(data, trusted, gateway)
		if err != nil {
			t.Fatalf("what was sealed does not open: %v", err)
		}
		if got != r {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	})
}

// FuzzOpen: any envelope, and any payload under a good signature, opens only
// if sealing the result gives the same bytes; an error means a zero result.
func FuzzOpen(f *testing.F) {
	k, err := bundle.GenerateKey("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	trusted, err := bundle.NewKeyRing(k.PublicKey())
	if err != nil {
		f.Fatal(err)
	}
	canonical, err := samplePolicy().Canonical()
	if err != nil {
		f.Fatal(err)
	}
	data, err := bundle.Seal(samplePolicy(), k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(canonical)
	f.Add(data)
	f.Add([]byte(`{"version":1,"gateway":"main","bundle":"sha256:","predecessor":"","revision":1,"time":"2026-01-02T03:04:05Z","note":""}`))
	f.Fuzz(func(t *testing.T, input []byte) {
		asPayload := bundle.SealPayload(t, bundle.TypeBundle, input, k, k.PublicKey())
		asRelease := bundle.SealPayload(t, bundle.TypeRelease, input, k, k.PublicKey())
		for _, envelope := range [][]byte{input, asPayload, asRelease} {
			p, info, err := bundle.Open(envelope, trusted)
			if err != nil {
				mustBeZero(t, p, info)
			} else if again, err := bundle.Seal(&p, k); err != nil || !bytes.Equal(again, envelope) {
				t.Fatalf("opened, but seals to other bytes (%v)", err)
			}
			r, err := bundle.OpenRelease(envelope, trusted, "main")
			if err != nil {
				if r != (bundle.Release{}) {
					t.Fatal("an error came with a release")
				}
			} else if again, err := bundle.SealRelease(r, k); err != nil || !bytes.Equal(again, envelope) {
				t.Fatalf("opened, but seals to other bytes (%v)", err)
			}
			_, _ = bundle.InspectUnverified(envelope)
		}
	})
}
