package bundle_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang/bundle"
)

func TestInspectUnverified(t *testing.T) {
	k := key(t, "prod")
	release := sampleRelease(t, samplePolicy())
	policy := samplePolicy().Sorted()

	got, err := bundle.InspectUnverified(sealed(t, k))
	if err != nil {
		t.Fatal(err)
	}
	want := bundle.Unverified{Type: bundle.TypeBundle, KeyID: k.PublicKey().ID(), Digest: release.Bundle, Policy: policy}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}

	got, err = bundle.InspectUnverified(sealedRelease(t, release, k))
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != bundle.TypeRelease || got.Release != release {
		t.Errorf("release: got %+v, want %+v", got, release)
	}
}

func TestInspectUnverifiedRefuses(t *testing.T) {
	k := key(t, "prod")
	good := sealed(t, k)
	note := bytes.Repeat([]byte("x"), bundle.MaxReleaseSize)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"truncated", good[:len(good)-1], bundle.ErrTruncated},
		{"malformed", append(bytes.Clone(good), '}'), bundle.ErrMalformed},
		{"another type", replace(t, good, bundle.TypeBundle, "text/plain"), bundle.ErrWrongType},
		{"not a policy", bundle.SealPayload(t, bundle.TypeBundle, []byte("{}"), k, k.PublicKey()), bundle.ErrPayload},
		{"not a release", bundle.SealPayload(t, bundle.TypeRelease, []byte("{}"), k, k.PublicKey()), bundle.ErrPayload},
		{"too large a release", bundle.SealPayload(t, bundle.TypeRelease, note, k, k.PublicKey()), bundle.ErrTooLarge},
		{"too large", make([]byte, bundle.MaxBundleSize+1), bundle.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bundle.InspectUnverified(tt.data)
			mustBe(t, err, tt.want)
			if diff := cmp.Diff(bundle.Unverified{}, got); diff != "" {
				t.Errorf("an error came with a result:\n%s", diff)
			}
		})
	}
}
