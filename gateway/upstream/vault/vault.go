// Package vault reads secrets from HashiCorp Vault, or from OpenBao, by its HTTP
// API: version 2 of the key-value engine and the database engine.
//
//	client, err := vault.FromEnvironment(os.Getenv)
//	secret, err := client.Read(ctx, "database/creds/app")
//	…
//	err = client.Revoke(ctx, secret.Lease)
//
// # Configuration
//
// It is the environment's, as Vault's own command has it: VAULT_ADDR,
// VAULT_NAMESPACE and VAULT_CACERT. The client logs in by what it finds first:
//
//	VAULT_TOKEN                                  a token that somebody else renews
//	POSTERN_VAULT_TOKEN_FILE                     a file with one, as Vault's agent writes it; read each time
//	POSTERN_VAULT_KUBERNETES_ROLE                the pod's token, by the method at POSTERN_VAULT_AUTH_MOUNT ("kubernetes")
//	POSTERN_VAULT_ROLE_ID, …_SECRET_ID_FILE      AppRole, by the method at POSTERN_VAULT_AUTH_MOUNT ("approle")
//
// A token that the client got by logging in is used until a third of its life
// is left, or Vault refuses it, and then it logs in again.
//
// Errors name path and status, never a secret or token. A Client is safe for
// concurrent use.
package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	timeout   = 10 * time.Second
	maxAnswer = 1 << 20
)

// podToken is where Kubernetes mounts the token of a pod's service account.
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Client reads secrets.
type Client struct {
	address   string
	namespace string
	http      *http.Client
	login     login

	mu      sync.Mutex
	token   string    // guarded by mu; got by logging in
	renewAt time.Time // guarded by mu
}

// login is how the client gets a token: one is given, or a file holds one, or
// there is a method with what it wants.
type login struct {
	token     string
	tokenFile string
	mount     string
	body      func() (map[string]string, error)
}

// ErrNotConfigured says that the environment names no Vault.
var ErrNotConfigured = errors.New("VAULT_ADDR is not set")

// FromEnvironment returns a client as the environment configures it. It asks
// Vault for nothing yet.
func FromEnvironment(env func(string) string) (*Client, error) {
	c := &Client{address: strings.TrimSuffix(env("VAULT_ADDR"), "/"), namespace: env("VAULT_NAMESPACE")}
	if c.address == "" {
		return nil, fmt.Errorf("configure Vault: %w", ErrNotConfigured)
	}
	u, err := url.Parse(c.address)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("configure Vault: VAULT_ADDR is not a URL like https://vault.example.com:8200")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("configure Vault: VAULT_ADDR must be https, or http on a loopback address")
	}
	roots, err := readRoots(env("VAULT_CACERT"))
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token would go along
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
	}
	c.login, err = loginFrom(env)
	return c, err
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configure Vault: read VAULT_CACERT: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("configure Vault: VAULT_CACERT: %s holds no PEM certificate", file)
	}
	return roots, nil
}

func loginFrom(env func(string) string) (login, error) {
	if token := env("VAULT_TOKEN"); token != "" {
		return login{token: token}, nil
	}
	if file := env("POSTERN_VAULT_TOKEN_FILE"); file != "" {
		return login{tokenFile: file}, nil
	}
	mount := strings.Trim(env("POSTERN_VAULT_AUTH_MOUNT"), "/")
	if role := env("POSTERN_VAULT_KUBERNETES_ROLE"); role != "" {
		file := firstOf(env("POSTERN_VAULT_JWT_FILE"), podToken)
		return login{mount: firstOf(mount, "kubernetes"), body: func() (map[string]string, error) {
			jwt, err := readSecret(file)
			return map[string]string{"role": role, "jwt": jwt}, err
		}}, nil
	}
	if id := env("POSTERN_VAULT_ROLE_ID"); id != "" {
		file := env("POSTERN_VAULT_SECRET_ID_FILE")
		return login{mount: firstOf(mount, "approle"), body: func() (map[string]string, error) {
			if file == "" { // the role may be bound to addresses alone
				return map[string]string{"role_id": id}, nil
			}
			secret, err := readSecret(file)
			return map[string]string{"role_id": id, "secret_id": secret}, err
		}}, nil
	}
	return login{}, errors.New("configure Vault: there is no way to log in: set VAULT_TOKEN, POSTERN_VAULT_TOKEN_FILE, POSTERN_VAULT_KUBERNETES_ROLE or POSTERN_VAULT_ROLE_ID")
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func readSecret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("log in to Vault: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// authenticated returns a token. fresh says that Vault has refused the last
// one.
func (c *Client) authenticated(ctx context.Context, fresh bool) (string, error) {
	switch {
	case c.login.token != "":
		return c.login.token, nil
	case c.login.tokenFile != "":
		return readSecret(c.login.tokenFile)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && !fresh && time.Now().Before(c.renewAt) {
		return c.token, nil
	}
	body, err := c.login.body()
	if err != nil {
		return "", err
	}
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
			Life  int64  `json:"lease_duration"`
		} `json:"auth"`
	}
	if err := c.do(ctx, http.MethodPost, "auth/"+c.login.mount+"/login", "", body, &answer); err != nil {
		return "", fmt.Errorf("log in to Vault: %w", err)
	}
	if answer.Auth.Token == "" {
		return "", errors.New("log in to Vault: it gave no token")
	}
	c.token = answer.Auth.Token
	c.renewAt = time.Now().Add(time.Duration(answer.Auth.Life) * time.Second * 2 / 3)
	if answer.Auth.Life == 0 { // it does not expire
		c.renewAt = time.Now().Add(24 * time.Hour)
	}
	return c.token, nil
}

// call is do with a token, once again with a new one if Vault refuses it.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	for again := false; ; again = true {
		token, err := c.authenticated(ctx, again)
		if err != nil {
			return err
		}
		err = c.do(ctx, method, path, token, body, out)
		var refused *statusError
		if again || c.login.body == nil || !errors.As(err, &refused) || refused.status != http.StatusForbidden {
			return err
		}
	}
}

// statusError is an answer of Vault's that is no success. Its text leaves out
// what Vault says, which may repeat what it was sent.
type statusError struct {
	path   string
	status int
}

func (e *statusError) Error() string {
	advice := ""
	switch e.status {
	case http.StatusForbidden:
		advice = ": its policy does not let the gateway in, or the token has expired"
	case http.StatusNotFound:
		advice = ": there is nothing at this path, or for version 2 of the key-value engine it lacks \"data\" behind the mount"
	case http.StatusServiceUnavailable:
		advice = ": it is sealed"
	}
	return fmt.Sprintf("vault %s: status %d%s", e.path, e.status, advice)
}

func (c *Client) do(ctx context.Context, method, path, token string, body, out any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("vault %s: %w", path, err)
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.address+"/v1/"+path, sent)
	if err != nil {
		return fmt.Errorf("vault %s: the path cannot be used", path)
	}
	request.Header.Set("X-Vault-Request", "true")
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	if c.namespace != "" {
		request.Header.Set("X-Vault-Namespace", c.namespace)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("vault %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent {
		return &statusError{path: path, status: response.StatusCode}
	}
	if out == nil || response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("vault %s: the answer is not what Vault's would be", path)
	}
	return nil
}
