package login

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/xdg-go/scram"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// Certificate is a client's certificate and its key, in PEM.
type Certificate struct {
	Granted  *api.TokenGranted
	PEM, Key []byte // the key is a secret, and was made here
}

// ExchangeForCertificate is [Exchange] for a certificate in place of a
// credential. The key never leaves this process.
func ExchangeForCertificate(ctx context.Context, control, gateway, subject, actor string, client *http.Client) (*Certificate, error) {
	key, request, err := pki.NewRequest()
	if err != nil {
		return nil, err
	}
	form := exchangeForm(gateway, subject, actor)
	form.Set("requested_token_type", api.TokenTypeCertificate)
	form.Set("csr", string(request))
	granted, err := exchange(ctx, control, form, client)
	if err != nil {
		return nil, err
	}
	keyPEM, err := pki.KeyPEM(key)
	if err != nil {
		return nil, err
	}
	return &Certificate{Granted: granted, PEM: []byte(granted.AccessToken), Key: keyPEM}, nil
}

// Secret is a SCRAM secret and the grant that belongs to it, as AccessToken.
type Secret struct {
	Granted *api.TokenGranted
	Secret  string // the password; it was made here
}

// scramIterations is RFC 7677's least. The secret is random, so that more would
// protect nothing.
const scramIterations = 4096

// ExchangeForSecret is [Exchange] for a SCRAM secret in place of a credential.
// The secret never leaves this process: the control plane signs its verifier.
func ExchangeForSecret(ctx context.Context, control, gateway, subject, actor string, client *http.Client) (*Secret, error) {
	secret := rand.Text() + rand.Text()
	verifier, err := scramVerifier(secret)
	if err != nil {
		return nil, err
	}
	form := exchangeForm(gateway, subject, actor)
	form.Set("requested_token_type", api.TokenTypeSCRAM)
	form.Set("scram_verifier", verifier)
	granted, err := exchange(ctx, control, form, client)
	if err != nil {
		return nil, err
	}
	return &Secret{Granted: granted, Secret: secret}, nil
}

// scramVerifier returns what proves the knowledge of a secret, in PostgreSQL's
// notation.
func scramVerifier(secret string) (string, error) {
	client, err := scram.SHA256.NewClient("", secret, "")
	if err != nil {
		return "", fmt.Errorf("make a SCRAM secret: %w", err)
	}
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails, see crypto/rand
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt[:]), Iters: scramIterations})
	if err != nil {
		return "", fmt.Errorf("make a SCRAM secret: %w", err)
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt[:]), encode(keys.StoredKey), encode(keys.ServerKey)), nil
}
