package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// BrowserConfig says how a person gets to the issuer's page.
type BrowserConfig struct {
	Open func(url string) error // shows the page
	Hint string                 // who signs in, if known (login_hint)
	More map[string]string      // further parameters of the request
}

// signInTime bounds how long a person may take.
const signInTime = 10 * time.Minute

// callback is what the issuer sends back by way of the browser.
type callback struct {
	code string
	err  error
}

// Browser signs in by the authorization code flow with PKCE. It listens on a
// free port of 127.0.0.1 for as long as that takes. State, nonce, PKCE and, if
// the issuer sends it, "iss" bind the answer to this request.
func (p *Provider) Browser(ctx context.Context, c BrowserConfig) (*Login, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, signInTime, errors.New("nobody signed in within ten minutes"))
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sign in: listen for the browser: %w", err)
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	answers := make(chan callback, 1)
	server := &http.Server{Handler: p.callbackHandler(state, answers), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends when it is shut down
	}()
	defer func() {
		drain, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		if server.Shutdown(drain) != nil {
			_ = server.Close()
		}
		<-served
	}()

	config := p.config
	config.RedirectURL = "http://" + listener.Addr().String() + "/callback"
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), goidc.Nonce(nonce)}
	if c.Hint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", c.Hint))
	}
	for name, value := range c.More {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	if err := c.Open(config.AuthCodeURL(state, options...)); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	var got callback
	select {
	case got = <-answers:
	case <-ctx.Done():
		return nil, fmt.Errorf("sign in: %w", context.Cause(ctx))
	}
	if got.err != nil {
		return nil, got.err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	token, err := config.Exchange(ctx, got.code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, p.failed(err)
	}
	return p.login(ctx, token, nonce)
}

// callbackHandler takes the first answer that has the state. Others are not
// this login's: they change nothing.
func (p *Provider) callbackHandler(state string, answers chan<- callback) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.Error(w, "This is not the answer to a sign-in that is under way.", http.StatusBadRequest)
			return
		}
		got := callback{code: q.Get("code")}
		switch from := q.Get("iss"); {
		case from != "" && from != p.issuer.URL, from == "" && p.iss:
			got = callback{err: fmt.Errorf("sign in: the answer is of another issuer than %s", p.issuer.URL)}
		case q.Get("error") == "access_denied":
			got = callback{err: fmt.Errorf("sign in at %s: it was refused there", p.issuer.URL)}
		case q.Get("error") != "" || got.code == "":
			got = callback{err: fmt.Errorf("sign in at %s: it failed there: %.60q", p.issuer.URL, q.Get("error"))}
		}
		select {
		case answers <- got:
		default: // a second answer: the first counts
		}
		if got.err != nil {
			http.Error(w, "Signing in failed; the terminal says why.", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html><title>Postern</title><p>You are signed in. You may close this page.</p>\n")) // the browser left
	})
	return mux
}
