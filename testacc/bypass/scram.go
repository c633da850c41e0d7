package bypass

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scramClient is the client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677)
// without channel binding. The server's own proof is not checked: what is
// attacked needs no trust.
type scramClient struct {
	password string
	nonce    string
}

func newSCRAM(password string) *scramClient {
	return &scramClient{password: password, nonce: rand.Text()}
}

// bare is the client's first message without its header. PostgreSQL takes the
// user from the startup packet.
func (s *scramClient) bare() string { return "n=,r=" + s.nonce }

func (s *scramClient) first() string { return "n,," + s.bare() }

// final answers the server's first message.
func (s *scramClient) final(server string) (string, error) { return s.finalWith(s.bare(), server) }

// finalWith is final after another first message of ours.
func (s *scramClient) finalWith(bare, server string) (string, error) {
	fields := map[string]string{}
	for f := range strings.SplitSeq(server, ",") {
		k, v, _ := strings.Cut(f, "=")
		fields[k] = v
	}
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	if err != nil {
		return "", fmt.Errorf("log in: read the salt: %w", err)
	}
	rounds, err := strconv.Atoi(fields["i"])
	if err != nil || rounds < 1 || rounds > 1e6 {
		return "", fmt.Errorf("log in: %q rounds", fields["i"])
	}
	if !strings.HasPrefix(fields["r"], s.nonce) {
		return "", errors.New("log in: the server answers with another nonce")
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	unproven := "c=biws,r=" + fields["r"]
	clientKey := hmacSHA256(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := hmacSHA256(stored[:], bare+","+server+","+unproven)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	return unproven + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
