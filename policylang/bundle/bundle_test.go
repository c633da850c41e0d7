package bundle_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// sentinels are the errors that bytes can fail with: each failure must wrap
// exactly one.
var sentinels = []error{
	bundle.ErrTooLarge, bundle.ErrTruncated, bundle.ErrMalformed, bundle.ErrWrongType, bundle.ErrUnknownKey, bundle.ErrRevokedKey,
	bundle.ErrSignature, bundle.ErrPayload, bundle.ErrWrongGateway, bundle.ErrRolledBack, bundle.ErrFork, bundle.ErrWrongBundle,
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != errors.Is(sentinel, want) {
			t.Errorf("got error %v, want one that wraps %q alone", err, want)
			return
		}
	}
}

func samplePolicy() *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "main",
			Upstream: policylang.Upstream{Host: "db.internal"},
			Issuers:  []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities: []policylang.Identity{{Name: "engineer", Kind: "human", When: `"eng" in token.groups`, Groups: []string{"eng"}}},
		QueryRules: []policylang.QueryRule{
			{Name: "reads", When: `statement.class == "read" && now < timestamp("2030-01-01T00:00:00Z")`, Effect: policylang.EffectAllow},
			{Name: "no_drop", When: `"DROP DATABASE" in statement.commands`, Effect: policylang.EffectDeny, Message: "Ask a DBA <dba@example.com> & wait – déjà vu"},
		},
		MaskingPolicies: []policylang.MaskingPolicy{{Name: "ssn", Columns: []string{"*.*.ssn"}, Transform: policylang.TransformPartial, KeepLast: 4}},
		ApprovalGroups:  []policylang.ApprovalGroup{{Name: "dba", Members: []string{"dora"}}},
	}
}

func sampleRelease(t *testing.T, p *policylang.Policy) bundle.Release {
	t.Helper()
	digest, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return bundle.Release{
		Gateway: "main", Bundle: digest, Predecessor: policylang.DigestBytes(nil), Revision: 7,
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Note: "first <release>",
	}
}

func key(t *testing.T, name string) *bundle.PrivateKey {
	t.Helper()
	k, err := bundle.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ring(t *testing.T, keys ...bundle.Signer) bundle.KeyRing {
	t.Helper()
	var public []bundle.PublicKey
	for _, k := range keys {
		public = append(public, k.PublicKey())
	}
	r, err := bundle.NewKeyRing(public...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealed(t *testing.T, s bundle.Signer) []byte {
	t.Helper()
	data, err := bundle.Seal(samplePolicy(), s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sealedRelease(t *testing.T, r bundle.Release, s bundle.Signer) []byte {
	t.Helper()
	data, err := bundle.SealRelease(r, s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	k := key(t, "prod")
	data := sealed(t, k)
	got, info, err := bundle.Open(data, ring(t, key(t, "other"), k))
	if err != nil {
		t.Fatal(err)
	}
	want := samplePolicy().Sorted()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	digest, err := want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if wantInfo := (bundle.Info{Digest: digest, KeyID: k.PublicKey().ID(), Size: len(data)}); info != wantInfo {
		t.Errorf("got info %+v, want %+v", info, wantInfo)
	}
}

func TestSealIsDeterministic(t *testing.T) {
	k := key(t, "prod")
	p := samplePolicy()
	slices.Reverse(p.QueryRules)
	other, err := bundle.Seal(p, k)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sealed(t, k), other) {
		t.Error("two seals of one policy differ")
	}
}

// TestFormatNeverChanges opens and makes again envelopes that were made by the
// first version.
func TestFormatNeverChanges(t *testing.T) {
	// A key that signs nothing but these files.
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	k, err := bundle.NewSigner("golden", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	r := sampleRelease(t, samplePolicy())
	for name, data := range map[string][]byte{
		"v1.bundle.json":  sealed(t, k),
		"v1.release.json": sealedRelease(t, r, k),
		"v1.keys":         []byte(ring(t, k).String()),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, want) {
				t.Errorf("got\n%s\nwant\n%s", data, want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	k := key(t, "prod")
	good := sealed(t, k)
	release := sealedRelease(t, sampleRelease(t, samplePolicy()), k)
	canonical, err := samplePolicy().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		ring bundle.KeyRing
		want error
	}{
		{"empty", nil, ring(t, k), bundle.ErrTruncated},
		{"truncated", good[:len(good)-1], ring(t, k), bundle.ErrTruncated},
		{"truncated in half", good[:len(good)/2], ring(t, k), bundle.ErrTruncated},
		{"too large", append(bytes.Clone(good), bytes.Repeat([]byte(" "), bundle.MaxBundleSize)...), ring(t, k), bundle.ErrTooLarge},
		{"trailing space", append(bytes.Clone(good), ' '), ring(t, k), bundle.ErrMalformed},
		{"trailing newline", append(bytes.Clone(good), '\n'), ring(t, k), bundle.ErrMalformed},
		{"two envelopes", append(bytes.Clone(good), good...), ring(t, k), bundle.ErrMalformed},
		{"leading space", append([]byte(" "), good...), ring(t, k), bundle.ErrMalformed},
		{"unknown member", replace(t, good, `{`, `{"a":1,`), ring(t, k), bundle.ErrMalformed},
		{"repeated member", replace(t, good, `{`, `{"payload":"AAAA",`), ring(t, k), bundle.ErrMalformed},
		{"member in other case", replace(t, good, `"payload":`, `"Payload":`), ring(t, k), bundle.ErrMalformed},
		{"escaped member", replace(t, good, `"payload":`, `"p\u0061yload":`), ring(t, k), bundle.ErrMalformed},
		{"line break in base64", replace(t, good, `"payload":"`, `"payload":"\n`), ring(t, k), bundle.ErrMalformed},
		{"no signature", []byte(`{"payloadType":"` + bundle.TypeBundle + `","payload":"","signatures":[]}`), ring(t, k), bundle.ErrMalformed},
		{"two signatures", replace(t, good, `"signatures":[`, `"signatures":[{"keyid":"a","sig":"AA=="},`), ring(t, k), bundle.ErrMalformed},
		{"not JSON", []byte("gateway main {}"), ring(t, k), bundle.ErrMalformed},
		{"null", []byte("null"), ring(t, k), bundle.ErrMalformed},
		{"release presented as bundle", release, ring(t, k), bundle.ErrWrongType},
		{"release with the bundle's type", replace(t, release, bundle.TypeRelease, bundle.TypeBundle), ring(t, k), bundle.ErrSignature},
		{"unknown key", good, ring(t, key(t, "prod"), key(t, "next")), bundle.ErrUnknownKey},
		{"revoked key", good, revoking(t, k, key(t, "next")), bundle.ErrRevokedKey},
		{"nobody trusted", good, bundle.KeyRing{}, bundle.ErrUnknownKey},
		{"wrong key under a trusted name", bundle.SealPayload(t, bundle.TypeBundle, canonical, key(t, "x"), k.PublicKey()), ring(t, k), bundle.ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, info, err := bundle.Open(tt.data, tt.ring)
			mustBe(t, err, tt.want)
			mustBeZero(t, p, info)
		})
	}
}

// TestOpenRefusesSignedGarbage signs payloads that are not canonical policies
// with a trusted key.
func TestOpenRefusesSignedGarbage(t *testing.T) {
	k := key(t, "prod")
	canonical, err := samplePolicy().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		payload []byte
	}{
		{"empty", nil},
		{"not JSON", []byte("x")},
		{"trailing space", append(bytes.Clone(canonical), ' ')},
		{"a later version", replace(t, canonical, `"version":1`, `"version":2`)},
		{"unknown attribute", replace(t, canonical, `"host":`, `"hots":`)},
		{"repeated attribute", replace(t, canonical, `"host":`, `"host":"a","host":`)},
		{"not sorted", replace(t, canonical, `"version":1,"approval_group"`, `"approval_group"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, info, err := bundle.Open(bundle.SealPayload(t, bundle.TypeBundle, tt.payload, k, k.PublicKey()), ring(t, k))
			mustBe(t, err, bundle.ErrPayload)
			mustBeZero(t, p, info)
		})
	}
}

// TestEveryAlteredByteIsRefused flips each bit of each byte, drops each byte,
// doubles each byte and truncates at each byte.
func TestEveryAlteredByteIsRefused(t *testing.T) {
	k := key(t, "prod")
	trusted := ring(t, k)
	for name, data := range map[string][]byte{
		"bundle":  sealed(t, k),
		"release": sealedRelease(t, sampleRelease(t, samplePolicy()), k),
	} {
		refused := func(how string, at int, altered []byte) {
			t.Helper()
			p, info, err := bundle.Open(altered, trusted)
			if err == nil {
				t.Errorf("%s: opened as a bundle with byte %d %s", name, at, how)
			}
			mustBeZero(t, p, info)
			r, err := bundle.OpenRelease(altered, trusted, "main")
			if err == nil || r != (bundle.Release{}) {
				t.Errorf("%s: opened as a release with byte %d %s", name, at, how)
			}
		}
		for i := range data {
			for bit := range 8 {
				flipped := bytes.Clone(data)
				flipped[i] ^= 1 << bit
				refused("flipped", i, flipped)
			}
			refused("dropped", i, slices.Delete(bytes.Clone(data), i, i+1))
			refused("doubled", i, slices.Insert(bytes.Clone(data), i, data[i]))
			if _, _, err := bundle.Open(data[:i], trusted); !errors.Is(err, bundle.ErrTruncated) {
				t.Errorf("%s: truncated to %d bytes: got %v, want ErrTruncated", name, i, err)
			}
		}
	}
}

func TestSealRefuses(t *testing.T) {
	k := key(t, "prod")
	tests := []struct {
		name   string
		policy policylang.Policy
		signer bundle.Signer
		want   string
	}{
		{"two objects of one name", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a"}, {Name: "a"}}}, k, `query_rule "a"`},
		{"text that is not UTF-8", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", Message: "\xff"}}}, k, "UTF-8"},
		{"too large", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", Message: strings.Repeat("x", bundle.MaxBundleSize)}}}, k, bundle.ErrTooLarge.Error()},
		{"signer with another key", *samplePolicy(), impostor{key(t, "x"), k.PublicKey()}, bundle.ErrSignature.Error()},
		{"signer that fails", *samplePolicy(), brokenSigner{k.PublicKey()}, "module is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := bundle.Seal(&tt.policy, tt.signer)
			if err == nil || !strings.Contains(err.Error(), tt.want) || data != nil {
				t.Errorf("got %d bytes and error %v, want an error with %q", len(data), err, tt.want)
			}
		})
	}
}

func TestOpenReleased(t *testing.T) {
	k := key(t, "prod")
	data := sealed(t, k)
	r := sampleRelease(t, samplePolicy())
	if _, _, err := bundle.OpenReleased(data, r, ring(t, k)); err != nil {
		t.Error(err)
	}
	r.Bundle = policylang.DigestBytes([]byte("another"))
	p, info, err := bundle.OpenReleased(data, r, ring(t, k))
	mustBe(t, err, bundle.ErrWrongBundle)
	mustBeZero(t, p, info)
}

func mustBeZero(t *testing.T, p policylang.Policy, info bundle.Info) {
	t.Helper()
	if len(p.Objects()) != 0 || info != (bundle.Info{}) {
		t.Errorf("an error came with %d objects and %+v", len(p.Objects()), info)
	}
}

func replace(t *testing.T, data []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%q is not in %s", old, data)
	}
	return bytes.Replace(data, []byte(old), []byte(with), 1)
}

// impostor signs with one key in the name of another.
type impostor struct {
	*bundle.PrivateKey
	claimed bundle.PublicKey
}

func (i impostor) PublicKey() bundle.PublicKey { return i.claimed }

type brokenSigner struct{ public bundle.PublicKey }

func (s brokenSigner) PublicKey() bundle.PublicKey { return s.public }
func (s brokenSigner) Sign([]byte) ([]byte, error) { return nil, errors.New("module is gone") }
