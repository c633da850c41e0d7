package signin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// mintage is for whom something is minted, and until when.
type mintage struct {
	gateway, subject string
	claims           map[string]any
	now, expires     time.Time
}

// mint makes what the proof asks for: a credential, a SCRAM grant, or a
// certificate in PEM.
func (s *Server) mint(m mintage, p proof) (minted, id string, err error) {
	if p.tokenType == api.TokenTypeCertificate {
		claims, err := json.Marshal(m.claims)
		if err != nil {
			return "", "", fmt.Errorf("mint: %w", err)
		}
		cert, id, err := s.config.ClientCA.IssueClient([]byte(p.request), pki.Client{Gateway: m.gateway, Subject: m.subject, Claims: claims, Expires: m.expires}, m.now)
		return string(cert), id, err
	}
	id = rand.Text()
	content := map[string]any{
		"iss": s.config.URL, "aud": m.gateway, "sub": m.subject, "iat": m.now.Unix(), "exp": m.expires.Unix(), "jti": id, "claims": m.claims,
	}
	signer := s.signer
	if p.tokenType == api.TokenTypeSCRAM {
		content["scram"] = p.verifier
		signer = s.scramSigner
	}
	minted, err = sign(signer, content)
	return minted, id, err
}

func sign(signer jose.Signer, claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("write a token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// unverifiedIssuer returns who a token says has made it, or nothing.
func unverifiedIssuer(token string) string {
	issuer, _ := unverifiedPart(token, 1)["iss"].(string)
	return issuer
}

// isCredential reports whether a token says that it is a credential.
func isCredential(token string) bool {
	typ, _ := unverifiedPart(token, 0)["typ"].(string)
	return typ == api.CredentialType || typ == api.SCRAMGrantType
}

// unverifiedPart is the header or the payload of a token, or nothing.
func unverifiedPart(token string, n int) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(data, &out) != nil {
		return nil
	}
	return out
}

func thumbprint(key *ecdsa.PrivateKey) (string, error) {
	public := jose.JSONWebKey{Key: key.Public()}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name the key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// LoadKey reads a private key from a PEM file, which it makes, readable for
// its owner alone, if there is none.
func LoadKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the credentials' key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read the credentials' key: %s holds no PEM PRIVATE KEY", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the credentials' key %s: %w", file, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, fmt.Errorf("read the credentials' key: %s holds no key on P-256", file)
	}
	return ec, nil
}

func makeKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the credentials' key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the credentials' key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, fmt.Errorf("make the credentials' key: %w", err)
	}
	return key, nil
}
