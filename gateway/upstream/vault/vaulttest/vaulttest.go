// Package vaulttest is a Vault for tests, on loopback: it answers as Vault's
// HTTP API documentation says for token, AppRole and Kubernetes logins, version 2
// of the key-value engine, the database engine, and leases.
//
//	v := vaulttest.Start(t)
//	v.Put("secret", "postern/orders", map[string]string{"ana": "s3cret"})
//	client, err := vault.FromEnvironment(v.Environment())
package vaulttest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Credentials makes and takes back the database engine's dynamic credentials.
type Credentials struct {
	Create func(role string) (username, password string)
	Revoke func(username string)
}

// Vault is a running server.
type Vault struct {
	URL string

	mu       sync.Mutex // guards what follows
	tokens   map[string]bool
	logins   map[string]string            // by path "auth/MOUNT/login": the one secret that is accepted there
	versions map[string]map[string]string // by path "MOUNT/data/NAME"
	static   map[string]map[string]string // by path "database/static-creds/NAME"
	dynamic  map[string]Credentials       // by path "database/creds/NAME"
	leases   map[string]func()            // what revoking one does
	requests []string
	life     int64
	sealed   bool
}

// Root is a token that the server accepts until it is told otherwise.
const Root = "hvs.root"

// Start starts a server that stops when the test ends.
func Start(tb testing.TB) *Vault {
	tb.Helper()
	v := &Vault{
		tokens: map[string]bool{Root: true}, logins: map[string]string{}, versions: map[string]map[string]string{},
		static: map[string]map[string]string{}, dynamic: map[string]Credentials{}, leases: map[string]func(){}, life: 3600,
	}
	server := httptest.NewServer(v)
	tb.Cleanup(server.Close)
	v.URL = server.URL
	return v
}

// Environment configures a client that uses the root token, or what changes
// say in pairs of name and value.
func (v *Vault) Environment(changes ...string) func(string) string {
	env := map[string]string{"VAULT_ADDR": v.URL, "VAULT_TOKEN": Root}
	for i := 0; i+1 < len(changes); i += 2 {
		env[changes[i]] = changes[i+1]
	}
	return func(name string) string { return env[name] }
}

func (v *Vault) locked(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

// Put stores a version of a secret of the key-value engine; nil deletes it.
func (v *Vault) Put(mount, name string, fields map[string]string) {
	v.locked(func() { v.versions[mount+"/data/"+name] = fields })
}

// Static declares a static role of the database engine.
func (v *Vault) Static(name, username, password string) {
	v.locked(func() {
		v.static["database/static-creds/"+name] = map[string]string{"username": username, "password": password}
	})
}

// Dynamic declares a role of the database engine.
func (v *Vault) Dynamic(name string, c Credentials) {
	v.locked(func() { v.dynamic["database/creds/"+name] = c })
}

// Accept has a login method let in whoever sends the secret: a secret_id, or a
// jwt.
func (v *Vault) Accept(mount, secret string) {
	v.locked(func() { v.logins["auth/"+mount+"/login"] = secret })
}

// Expire makes every token invalid.
func (v *Vault) Expire() { v.locked(func() { v.tokens = map[string]bool{} }) }

// Seal has the server refuse everything.
func (v *Vault) Seal() { v.locked(func() { v.sealed = true }) }

// Life sets the life of the next leases, in seconds.
func (v *Vault) Life(seconds int64) { v.locked(func() { v.life = seconds }) }

// Leases returns how many leases are not revoked.
func (v *Vault) Leases() (n int) {
	v.locked(func() { n = len(v.leases) })
	return n
}

// Requests returns the requests so far, as "GET secret/data/x".
func (v *Vault) Requests() (all []string) {
	v.locked(func() { all = append(all, v.requests...) })
	return all
}

// ServeHTTP answers as Vault would.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	v.requests = append(v.requests, r.Method+" "+path)
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
	switch {
	case v.sealed:
		refuse(w, http.StatusServiceUnavailable)
	case r.Method == http.MethodPost && strings.HasPrefix(path, "auth/"):
		v.serveLogin(w, path, body)
	case !v.tokens[r.Header.Get("X-Vault-Token")]:
		refuse(w, http.StatusForbidden)
	case r.Method == http.MethodGet:
		v.serveRead(w, path)
	case r.Method == http.MethodPut && strings.HasPrefix(path, "sys/leases/"):
		v.serveLease(w, path, body)
	default:
		refuse(w, http.StatusNotFound)
	}
}

func (v *Vault) serveLogin(w http.ResponseWriter, path string, body map[string]any) {
	want, known := v.logins[path]
	sent, _ := body["jwt"].(string)
	if id, ok := body["secret_id"].(string); ok {
		sent = id
	}
	if !known || sent != want {
		refuse(w, http.StatusBadRequest)
		return
	}
	token := "hvs." + rand.Text()
	v.tokens[token] = true
	answer(w, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": 3600, "renewable": true}})
}

func (v *Vault) serveRead(w http.ResponseWriter, path string) {
	if fields, ok := v.versions[path]; ok {
		meta := map[string]any{"version": 1, "destroyed": false}
		if fields == nil { // Vault answers so for a version that was deleted
			w.WriteHeader(http.StatusNotFound)
			answer(w, map[string]any{"data": map[string]any{"data": nil, "metadata": meta}})
			return
		}
		answer(w, map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": map[string]any{"data": fields, "metadata": meta}})
		return
	}
	if fields, ok := v.static[path]; ok {
		answer(w, map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": map[string]any{
			"username": fields["username"], "password": fields["password"], "ttl": 1000, "last_vault_rotation": "2026-01-01T00:00:00Z",
		}})
		return
	}
	c, ok := v.dynamic[path]
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	username, password := c.Create(path)
	lease := path + "/" + rand.Text()
	v.leases[lease] = func() { c.Revoke(username) }
	answer(w, map[string]any{"lease_id": lease, "lease_duration": v.life, "renewable": true, "data": map[string]any{"username": username, "password": password}})
}

func (v *Vault) serveLease(w http.ResponseWriter, path string, body map[string]any) {
	id, _ := body["lease_id"].(string)
	revoke, ok := v.leases[id]
	switch {
	case !ok:
		refuse(w, http.StatusBadRequest)
	case path == "sys/leases/renew":
		answer(w, map[string]any{"lease_id": id, "lease_duration": v.life, "renewable": true})
	case path == "sys/leases/revoke":
		delete(v.leases, id)
		revoke()
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusNotFound)
	}
}

func refuse(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	answer(w, map[string]any{"errors": []string{"refused"}})
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
