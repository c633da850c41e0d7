package demoissuer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// ClientID is the one public client that the issuer knows, and the audience of
// its ID tokens.
const ClientID = "postern"

const (
	codeLife   = time.Minute
	deviceLife = 5 * time.Minute
	// deviceInterval is how often a device may ask; less than is usual, so that
	// tests need not wait.
	deviceInterval = time.Second
)

// grant is what somebody agreed to and a client may turn into tokens, once.
type grant struct {
	user      string // empty: nobody agreed yet
	refused   bool
	challenge string // PKCE, S256
	redirect  string
	nonce     string
	expires   time.Time
}

// grants are those that are open. The issuer's mutex guards them.
type grants struct {
	codes   map[string]*grant // by authorization code
	devices map[string]*grant // by device code
	users   map[string]string // user code to device code
	refresh map[string]string // refresh token to user
}

func newGrants() grants {
	return grants{codes: map[string]*grant{}, devices: map[string]*grant{}, users: map[string]string{}, refresh: map[string]string{}}
}

// authorizePage asks who signs in. It stands for an identity provider's own.
var authorizePage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Demo issuer</title>
<h1>Sign in to the demo</h1>
<form method="post"><label>User <input name="user" value="{{.}}" autofocus></label>
<label>Secret of this run <input name="secret" type="password"></label><button>Sign in</button></form></html>
`))

// authorized reports whether the request knows this run's secret.
func (i *Issuer) authorized(r *http.Request) bool {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		secret = r.PostFormValue("secret")
	}
	return subtle.ConstantTimeCompare([]byte(secret), []byte(i.secret)) == 1
}

// serveAuthorize is the authorization endpoint (RFC 6749, section 4.1, and
// RFC 7636). Whoever sends the secret agrees as the user that the form, or the
// parameter login_hint, names.
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	q := r.URL.Query()
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Scheme != "http" || !isLoopback(redirect.Host) || q.Get("client_id") != ClientID {
		http.Error(w, "the client is not known, or its redirect URI is not on this machine", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {i.url}}
	switch {
	case q.Get("response_type") != "code", q.Get("code_challenge_method") != "S256", q.Get("code_challenge") == "":
		answer.Set("error", "invalid_request")
	case !i.authorized(r):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = authorizePage.Execute(w, q.Get("login_hint")) // the reader left: nobody to tell
		return
	default:
		name := r.PostFormValue("user")
		if name == "" {
			name = q.Get("login_hint")
		}
		if _, known := i.users[name]; !known {
			answer.Set("error", "access_denied")
			break
		}
		answer.Set("code", i.keepCode(&grant{
			user: name, challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"), nonce: q.Get("nonce"),
			expires: i.clock().Add(codeLife),
		}))
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

func (i *Issuer) keepCode(g *grant) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	code := rand.Text()
	i.grants.codes[code] = g
	return code
}

// serveDevice is the device authorization endpoint (RFC 8628).
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	if r.PostFormValue("client_id") != ClientID {
		oauthError(w, "invalid_client")
		return
	}
	device, text := rand.Text(), rand.Text()
	user := text[:4] + "-" + text[4:8]
	i.mu.Lock()
	i.grants.devices[device] = &grant{expires: i.clock().Add(deviceLife)}
	i.grants.users[user] = device
	i.mu.Unlock()
	writeJSON(w, map[string]any{
		"device_code": device, "user_code": user, "verification_uri": i.url + "/device",
		"verification_uri_complete": i.url + "/device?user_code=" + user,
		"expires_in":                int(deviceLife.Seconds()), "interval": int(deviceInterval.Seconds()),
	})
}

// serveVerify is where a person enters a device's code: user_code, user and
// the secret.
func (i *Issuer) serveVerify(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	if !i.authorized(r) {
		http.Error(w, "the secret of this run is needed", http.StatusUnauthorized)
		return
	}
	if !i.ApproveDevice(r.FormValue("user_code"), r.FormValue("user")) {
		http.Error(w, "no such code or user", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ApproveDevice agrees as a user to what a device asked for under a user code,
// or refuses if the user is empty. It reports whether code and user are known.
func (i *Issuer) ApproveDevice(userCode, user string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants.devices[i.grants.users[userCode]]
	if _, known := i.users[user]; g == nil || user != "" && !known {
		return false
	}
	g.user, g.refused = user, user == ""
	return true
}

// serveGrant answers the token endpoint's standard grants.
func (i *Issuer) serveGrant(w http.ResponseWriter, r *http.Request) {
	id, _, basic := r.BasicAuth()
	if !basic {
		id = r.PostFormValue("client_id")
	}
	if id != ClientID {
		oauthError(w, "invalid_client")
		return
	}
	var user, nonce, problem string
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		user, nonce, problem = i.redeemCode(r.PostForm)
	case "urn:ietf:params:oauth:grant-type:device_code":
		user, problem = i.redeemDevice(r.PostFormValue("device_code"))
	case "refresh_token":
		user, problem = i.redeemRefresh(r.PostFormValue("refresh_token"))
	default:
		problem = "unsupported_grant_type"
	}
	if problem != "" {
		oauthError(w, problem)
		return
	}
	i.answerTokens(w, user, nonce)
}

func (i *Issuer) answerTokens(w http.ResponseWriter, user, nonce string) {
	claims := maps.Clone(withSubject(i.users[user], user))
	claims["aud"] = ClientID
	if nonce != "" {
		claims["nonce"] = nonce
	}
	refresh := rand.Text()
	i.mu.Lock()
	i.grants.refresh[refresh] = user
	i.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, map[string]any{
		"access_token": rand.Text(), "id_token": i.Issue(claims, i.tokenTTL), "refresh_token": refresh,
		"token_type": "Bearer", "expires_in": int64(i.tokenTTL.Seconds()),
	})
}

func (i *Issuer) redeemCode(form url.Values) (user, nonce, problem string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	code := form.Get("code")
	g := i.grants.codes[code]
	delete(i.grants.codes, code)
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if g == nil || !i.clock().Before(g.expires) || g.redirect != form.Get("redirect_uri") ||
		g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return "", "", "invalid_grant"
	}
	return g.user, g.nonce, ""
}

func (i *Issuer) redeemDevice(code string) (user, problem string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants.devices[code]
	switch {
	case g == nil:
		return "", "invalid_grant"
	case !i.clock().Before(g.expires):
		return "", "expired_token"
	case g.refused:
		return "", "access_denied"
	case g.user == "":
		return "", "authorization_pending"
	}
	delete(i.grants.devices, code)
	return g.user, ""
}

func (i *Issuer) redeemRefresh(token string) (user, problem string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	user, known := i.grants.refresh[token]
	delete(i.grants.refresh, token)
	if !known {
		return "", "invalid_grant"
	}
	return user, ""
}

// RevokeRefresh forgets every refresh token, as an identity provider does when
// somebody leaves.
func (i *Issuer) RevokeRefresh() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.grants.refresh)
}

func oauthError(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"error":"` + code + `"}`)) // the client left: nobody to tell
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
