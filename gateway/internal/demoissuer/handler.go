package demoissuer

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
)

func (i *Issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.serveDiscovery)
	mux.HandleFunc("GET /jwks", i.serveKeys)
	mux.HandleFunc("POST /token", i.serveToken)
	mux.HandleFunc("GET /authorize", i.serveAuthorize)
	mux.HandleFunc("POST /authorize", i.serveAuthorize)
	mux.HandleFunc("POST /device_authorization", i.serveDevice)
	mux.HandleFunc("POST /device", i.serveVerify)
	return loopbackOnly(mux)
}

// loopbackOnly refuses requests that did not come from this machine, or that a
// web page made through a name which resolves to it.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.RemoteAddr) || !isLoopback(r.Host) {
			http.Error(w, "the demo issuer serves this machine alone", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (i *Issuer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.url + "/jwks",
		"token_endpoint":                        i.url + "/token",
		"authorization_endpoint":                i.url + "/authorize",
		"device_authorization_endpoint":         i.url + "/device_authorization",
		"response_types_supported":              []string{"code"},
		"code_challenge_methods_supported":      []string{"S256"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(i.algorithm)},
	})
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, i.publicKeys())
}

// serveToken answers POST user=NAME with a token of that user, as OAuth's JSON
// or, to Accept: text/plain, as the bare token; and OAuth's own grants.
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	if r.PostFormValue("grant_type") != "" {
		i.serveGrant(w, r)
		return
	}
	if !i.authorized(r) {
		http.Error(w, "the secret of this run is needed", http.StatusUnauthorized)
		return
	}
	name := r.PostFormValue("user")
	claims, known := i.users[name]
	if !known {
		http.Error(w, "no such user", http.StatusNotFound)
		return
	}
	token := i.Issue(withSubject(claims, name), i.tokenTTL)
	w.Header().Set("Cache-Control", "no-store")
	if r.Header.Get("Accept") == "text/plain" {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, token)
		return
	}
	writeJSON(w, map[string]any{
		"access_token": token, "id_token": token, "token_type": "Bearer",
		"expires_in": int64(i.tokenTTL.Seconds()),
	})
}

func withSubject(claims map[string]any, name string) map[string]any {
	if _, ok := claims["sub"]; ok {
		return claims
	}
	claims = maps.Clone(claims)
	if claims == nil {
		claims = map[string]any{}
	}
	claims["sub"] = name
	return claims
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client went away: nothing to tell it
}
