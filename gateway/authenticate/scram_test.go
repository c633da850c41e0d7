package authenticate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// stored is the beginning of what PostgreSQL stores, without the keys.
const stored = "SCRAM-SHA-256$4096:3dUBdjLl+Vh8n1tvmWM55g==$"

func TestParseVerifier(t *testing.T) {
	client, err := scram.SHA256.NewClient("", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	good := "SCRAM-SHA-256$4096:" + encode([]byte(keys.Salt)) + "$" + encode(keys.StoredKey) + ":" + encode(keys.ServerKey)
	got, err := parseVerifier(good)
	if err != nil || got.Salt != keys.Salt || got.Iters != 4096 || string(got.StoredKey) != string(keys.StoredKey) || string(got.ServerKey) != string(keys.ServerKey) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"MD5":               "md5d41d8cd98f00b204e9800998ecf8427e",
		"SHA-1":             strings.Replace(good, "SHA-256", "SHA-1", 1),
		"too few rounds":    strings.Replace(good, "4096", "4095", 1),
		"too many rounds":   strings.Replace(good, "4096", "9999999", 1),
		"a negative number": strings.Replace(good, "4096", "-4096", 1),
		"no keys":           stored,
		"a short key":       good[:len(good)-8],
		"a short salt":      strings.Replace(good, encode([]byte(keys.Salt)), encode([]byte("salt")), 1),
	} {
		if _, err := parseVerifier(text); err == nil {
			t.Errorf("%s: %q was read", name, text)
		}
	}
}

// TestSCRAM talks to the same library's client, with and without channel
// binding. testacc does so with libpq and pgx.
func TestSCRAM(t *testing.T) {
	shown := selfSigned(t, x509.ECDSAWithSHA256)
	other := selfSigned(t, x509.ECDSAWithSHA256)
	client, err := scram.SHA256.NewClient("", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	bound := func(cert *x509.Certificate) *scram.ClientConversation {
		return client.NewConversationWithChannelBinding(*endPoint(cert))
	}
	wrong, err := scram.SHA256.NewClient("", "guess", "")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, mechanism string
		talk            *scram.ClientConversation
		shown           *x509.Certificate
		reason          string
	}{
		{"bound", MechanismSCRAMPlus, bound(shown), shown, ""},
		{"not bound", MechanismSCRAM, client.NewConversation(), shown, ""},
		{"without TLS", MechanismSCRAM, client.NewConversation(), nil, ""},
		{"bound to another certificate", MechanismSCRAMPlus, bound(other), shown, "channel binding does not match"},
		{"the better mechanism was hidden", MechanismSCRAM, client.NewConversationAdvertisingChannelBinding(), shown, "saw no -PLUS"},
		{"bound by the mechanism that is not", MechanismSCRAM, bound(shown), shown, "channel binding"},
		{"not bound by the mechanism that is", MechanismSCRAMPlus, client.NewConversation(), shown, "channel binding"},
		{"another secret", MechanismSCRAM, wrong.NewConversation(), shown, "not that of the grant's secret"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &SCRAM{claims: map[string]any{"sub": "ana"}, keys: keys, plus: endPoint(test.shown)}
			claims, err := converse(s, test.mechanism, test.talk)
			if test.reason == "" {
				if err != nil || claims["sub"] != "ana" || !test.talk.Valid() {
					t.Errorf("got %v, %v; the client says %v", claims, err, test.talk.Valid())
				}
				return
			}
			failure, ok := err.(*Failure) //nolint:errorlint // exactly this type is promised
			if !ok || claims != nil || !strings.Contains(failure.Reason, test.reason) {
				t.Errorf("got %v, %v, want the reason %q", claims, err, test.reason)
			}
		})
	}
}

func converse(s *SCRAM, mechanism string, client *scram.ClientConversation) (map[string]any, error) {
	first, err := client.Step("")
	if err != nil {
		return nil, err
	}
	challenge, err := s.First(mechanism, []byte(first))
	if err != nil {
		return nil, err
	}
	proof, err := client.Step(string(challenge))
	if err != nil {
		return nil, err
	}
	answer, claims, err := s.Last([]byte(proof))
	if err == nil {
		_, err = client.Step(string(answer))
	}
	return claims, err
}

// TestEndPoint hashes as RFC 5929 says.
func TestEndPoint(t *testing.T) {
	for algorithm, hash := range map[x509.SignatureAlgorithm]func([]byte) []byte{
		x509.ECDSAWithSHA256: func(b []byte) []byte { h := sha256.Sum256(b); return h[:] },
		x509.ECDSAWithSHA384: func(b []byte) []byte { h := sha512.Sum384(b); return h[:] },
		x509.ECDSAWithSHA512: func(b []byte) []byte { h := sha512.Sum512(b); return h[:] },
	} {
		cert := selfSigned(t, algorithm)
		if got := endPoint(cert); got == nil || string(got.Data) != string(hash(cert.Raw)) || got.Type != "tls-server-end-point" {
			t.Errorf("%v: got %+v", algorithm, got)
		}
	}
	if endPoint(selfSigned(t, x509.PureEd25519)) != nil || endPoint(nil) != nil {
		t.Error("a binding for a certificate that has none")
	}
	if got := (&SCRAM{}).Mechanisms(); len(got) != 1 || got[0] != MechanismSCRAM {
		t.Errorf("without a binding it offers %v", got)
	}
}

func selfSigned(t *testing.T, algorithm x509.SignatureAlgorithm) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: algorithm}
	var public, private any
	if algorithm == x509.PureEd25519 {
		public, private, _ = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, private = key.Public(), key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
