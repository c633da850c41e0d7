package main

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
)

// TestBackChannelLogout ends, in the middle of a statement, what an identity
// provider says that it ended.
func TestBackChannelLogout(t *testing.T) {
	in := install(t)
	in.release(t, in.policy())
	flags := controlFlags{url: in.control, ca: in.ca()}
	_, client, err := flags.plain()
	if err != nil {
		t.Fatal(err)
	}
	send := func(token string) int {
		t.Helper()
		response, err := client.PostForm(in.control+"/oauth/back-channel-logout", url.Values{"logout_token": {token}}) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return response.StatusCode
	}
	logout := func(more map[string]any) string {
		claims := map[string]any{
			"aud": demoissuer.ClientID, "jti": rand.Text(), "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		}
		for name, value := range more {
			claims[name] = value
		}
		return in.issuer.Issue(claims, time.Minute)
	}
	for name, more := range map[string]map[string]any{
		"all of a subject's":                            {"sub": "u-17"},
		"one sign-in, of a token that does not name it": {"sub": "u-17", "sid": "s-1"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := in.signInByBrowser(t, "ana"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ended := in.sleep(t)
			in.sessionID(t)
			began := time.Now()
			token := logout(more)
			if status := send(token); status != http.StatusOK {
				t.Fatalf("the answer is %d", status)
			}
			in.wantEnded(t, ended, began)
			if status := send(token); status != http.StatusBadRequest {
				t.Errorf("the same token again: %d", status)
			}
			// Whoever signs in again, in the next second, is let in again.
			time.Sleep(time.Until(began.Truncate(time.Second).Add(2 * time.Second)))
		})
	}
	if status := send(in.issuer.Issue(map[string]any{"sub": "u-17", "aud": demoissuer.ClientID}, time.Minute)); status != http.StatusBadRequest {
		t.Errorf("an ID token as a logout token: %d", status)
	}
	if status := send(""); status != http.StatusBadRequest {
		t.Errorf("nothing as a logout token: %d", status)
	}
}
