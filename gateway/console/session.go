package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// sessionLife is how long somebody stays signed in, if their token lives as
// long.
const sessionLife = 8 * time.Hour

// maxToken bounds the tokens that are taken, in bytes.
const maxToken = 16 << 10

// sessionKey is what the cookie holds; everything else is derived from it.
type sessionKey [32]byte

// session is what is kept sealed.
type session struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

func newSessionKey() (sessionKey, error) {
	var k sessionKey
	_, err := rand.Read(k[:])
	return k, err
}

func parseSessionKey(text string) (sessionKey, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(sessionKey{}) {
		return sessionKey{}, false
	}
	return sessionKey(raw), true
}

func (k sessionKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

func (k sessionKey) derive(purpose string) []byte {
	out, err := hkdf.Expand(sha256.New, k[:], "postern console "+purpose, 32)
	if err != nil {
		panic(fmt.Sprintf("derive a key: %v", err)) // only for lengths that this is not
	}
	return out
}

// id is the name under which the session is kept.
func (k sessionKey) id() string { return hex.EncodeToString(k.derive("id")) }

// formToken is in every form of the session's pages.
func (k sessionKey) formToken() string {
	return base64.RawURLEncoding.EncodeToString(k.derive("form"))
}

func (k sessionKey) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.derive("seal"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (k sessionKey) seal(s session) ([]byte, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, data, nil), nil
}

func (k sessionKey) open(sealed []byte) (session, error) {
	var s session
	aead, err := k.cipher()
	if err != nil {
		return s, err
	}
	data, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return s, errors.New("the session cannot be opened")
	}
	err = json.Unmarshal(data, &s)
	return s, err
}

// cookie names. The prefix __Host- keeps other hosts and paths from setting it.
const (
	secureCookie = "__Host-postern"
	plainCookie  = "postern" // for loopback without TLS
)

func (s *server) cookieName(r *http.Request) string {
	if s.secure(r) {
		return secureCookie
	}
	return plainCookie
}

func (s *server) setCookie(w http.ResponseWriter, r *http.Request, value string, life time.Duration) {
	c := &http.Cookie{
		Name: s.cookieName(r), Value: value, Path: "/", HttpOnly: true, Secure: s.secure(r),
		SameSite: http.SameSiteStrictMode, MaxAge: int(life / time.Second),
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// start keeps a session for a token and gives the browser its key.
func (s *server) start(w http.ResponseWriter, r *http.Request, token string, tokenExpires *time.Time) error {
	life := sessionLife
	if tokenExpires != nil {
		life = min(life, tokenExpires.Sub(s.now()))
	}
	key, err := newSessionKey()
	if err != nil {
		return err
	}
	expires := s.now().Add(life)
	sealed, err := key.seal(session{Token: token, Expires: expires})
	if err != nil {
		return err
	}
	if err := s.sessions.Save(r.Context(), key.id(), sealed, expires); err != nil {
		return err
	}
	s.setCookie(w, r, key.String(), life)
	return nil
}

// current returns the request's session.
func (s *server) current(r *http.Request) (sessionKey, session, bool) {
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return sessionKey{}, session{}, false
	}
	key, ok := parseSessionKey(cookie.Value)
	if !ok {
		return sessionKey{}, session{}, false
	}
	sealed, err := s.sessions.Load(r.Context(), key.id())
	if err != nil {
		return sessionKey{}, session{}, false
	}
	kept, err := key.open(sealed)
	return key, kept, err == nil && s.now().Before(kept.Expires)
}

func sameToken(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// memory keeps sessions in this process.
type memory struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[string]memorySession
}

type memorySession struct {
	sealed  []byte
	expires time.Time
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, kept: make(map[string]memorySession)}
}

var errNoSession = errors.New("there is no such session")

func (m *memory) Save(_ context.Context, id string, sealed []byte, expires time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other, s := range m.kept {
		if !m.now().Before(s.expires) {
			delete(m.kept, other)
		}
	}
	m.kept[id] = memorySession{sealed, expires}
	return nil
}

func (m *memory) Load(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.kept[id]
	if !ok || !m.now().Before(s.expires) {
		return nil, errNoSession
	}
	return s.sealed, nil
}

func (m *memory) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, id)
	return nil
}
