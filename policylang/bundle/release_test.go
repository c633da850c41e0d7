package bundle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

func TestOpenReleaseReturnsWhatWasSealed(t *testing.T) {
	k := key(t, "prod")
	want := sampleRelease(t, samplePolicy())
	local := want
	local.Time = want.Time.In(time.FixedZone("far", 3600)).Add(999 * time.Millisecond)
	got, err := bundle.OpenRelease(sealedRelease(t, local, k), ring(t, k), "main")
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOpenReleaseRefuses(t *testing.T) {
	k := key(t, "prod")
	good := sealedRelease(t, sampleRelease(t, samplePolicy()), k)
	signed := func(payload string) []byte {
		return bundle.SealPayload(t, bundle.TypeRelease, []byte(payload), k, k.PublicKey())
	}
	digest := policylang.DigestBytes(nil)
	canonical := `{"version":1,"gateway":"main","bundle":"` + digest + `","predecessor":"","revision":1,"time":"2026-01-02T03:04:05Z","note":""}`
	if _, err := bundle.OpenRelease(signed(canonical), ring(t, k), "main"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		data    []byte
		ring    bundle.KeyRing
		gateway string
		want    error
	}{
		{"truncated", good[:len(good)-9], ring(t, k), "main", bundle.ErrTruncated},
		{"too large", append(good[:len(good):len(good)], make([]byte, bundle.MaxReleaseSize)...), ring(t, k), "main", bundle.ErrTooLarge},
		{"bundle presented as release", sealed(t, k), ring(t, k), "main", bundle.ErrWrongType},
		{"unknown key", good, ring(t, key(t, "next")), "main", bundle.ErrUnknownKey},
		{"wrong key under a trusted name", bundle.SealPayload(t, bundle.TypeRelease, []byte(canonical), key(t, "x"), k.PublicKey()), ring(t, k), "main", bundle.ErrSignature},
		{"another gateway's release", good, ring(t, k), "mainz", bundle.ErrWrongGateway},
		{"no gateway asked for", good, ring(t, k), "", bundle.ErrWrongGateway},
		{"empty payload", signed(""), ring(t, k), "main", bundle.ErrPayload},
		{"white space", signed(canonical + " "), ring(t, k), "main", bundle.ErrPayload},
		{"unknown member", signed(strings.Replace(canonical, "{", `{"force":true,`, 1)), ring(t, k), "main", bundle.ErrPayload},
		{"later version", signed(strings.Replace(canonical, `"version":1`, `"version":2`, 1)), ring(t, k), "main", bundle.ErrPayload},
		{"revision 0", signed(strings.Replace(canonical, `"revision":1`, `"revision":0`, 1)), ring(t, k), "main", bundle.ErrPayload},
		{"revision too high", signed(strings.Replace(canonical, `"revision":1`, `"revision":9007199254740992`, 1)), ring(t, k), "main", bundle.ErrPayload},
		{"negative revision", signed(strings.Replace(canonical, `"revision":1`, `"revision":-1`, 1)), ring(t, k), "main", bundle.ErrPayload},
		{"time with an offset", signed(strings.Replace(canonical, "05Z", "05+01:00", 1)), ring(t, k), "main", bundle.ErrPayload},
		{"time with a fraction", signed(strings.Replace(canonical, "05Z", "05.5Z", 1)), ring(t, k), "main", bundle.ErrPayload},
		{"digest in capitals", signed(strings.Replace(canonical, digest, strings.ToUpper(digest), 1)), ring(t, k), "main", bundle.ErrPayload},
		{"no bundle", signed(strings.Replace(canonical, digest, "", 1)), ring(t, k), "main", bundle.ErrPayload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := bundle.OpenRelease(tt.data, tt.ring, tt.gateway)
			mustBe(t, err, tt.want)
			if r != (bundle.Release{}) {
				t.Errorf("an error came with %+v", r)
			}
		})
	}
}

func TestSealReleaseNamesEveryBadField(t *testing.T) {
	data, err := bundle.SealRelease(bundle.Release{
		Bundle: "sha256:12", Predecessor: "x", Revision: bundle.MaxRevision + 1, Note: strings.Repeat("x", 1025),
	}, key(t, "prod"))
	if err == nil || data != nil {
		t.Fatalf("sealed %d bytes", len(data))
	}
	for _, want := range []string{"gateway", "bundle", "predecessor", "revision", "time", "note"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention the %s: %v", want, err)
		}
	}
}

func TestFollows(t *testing.T) {
	a, b := policylang.DigestBytes([]byte("a")), policylang.DigestBytes([]byte("b"))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	prev := bundle.Release{Gateway: "main", Bundle: a, Revision: 5, Time: now}
	tests := []struct {
		name string
		prev bundle.Release
		next bundle.Release
		want error // nil: it follows
	}{
		{"the first", bundle.Release{}, prev, nil},
		{"itself", prev, prev, nil},
		{"itself, signed again", prev, bundle.Release{Gateway: "main", Bundle: a, Revision: 5, Time: now.Add(time.Hour), Note: "again"}, nil},
		{"the next", prev, bundle.Release{Gateway: "main", Bundle: b, Predecessor: a, Revision: 6, Time: now}, nil},
		{"after some unseen", prev, bundle.Release{Gateway: "main", Bundle: a, Predecessor: b, Revision: 9, Time: now}, nil},
		{"signed by a clock that is behind", prev, bundle.Release{Gateway: "main", Bundle: b, Predecessor: a, Revision: 6, Time: now.Add(-time.Hour)}, nil},
		{"rolled back", prev, bundle.Release{Gateway: "main", Bundle: b, Revision: 4, Time: now.Add(time.Hour)}, bundle.ErrRolledBack},
		{"rolled back to the same bundle", prev, bundle.Release{Gateway: "main", Bundle: a, Revision: 4, Time: now}, bundle.ErrRolledBack},
		{"fork at one revision", prev, bundle.Release{Gateway: "main", Bundle: b, Revision: 5, Time: now}, bundle.ErrFork},
		{"fork in the predecessor", prev, bundle.Release{Gateway: "main", Bundle: a, Predecessor: b, Revision: 5, Time: now}, bundle.ErrFork},
		{"another gateway", prev, bundle.Release{Gateway: "other", Bundle: b, Predecessor: a, Revision: 6, Time: now}, bundle.ErrWrongGateway},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { mustBe(t, tt.next.Follows(tt.prev), tt.want) })
	}
}
