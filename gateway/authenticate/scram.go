package authenticate

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// The mechanisms of SCRAM (RFC 7677).
const (
	MechanismSCRAM     = "SCRAM-SHA-256"
	MechanismSCRAMPlus = "SCRAM-SHA-256-PLUS"
)

// SCRAM is one client's proof that it has the secret of a grant. The grant, which the
// control plane signed, holds who it is and the secret's verifier; the gateway
// has the secret at no time, and nor has the control plane.
type SCRAM struct {
	claims map[string]any
	keys   scram.StoredCredentials
	plus   *scram.ChannelBinding // nil if the connection can't be bound to
	talk   *scram.ServerConversation
}

// SCRAM starts a proof with a client's grant. shown is the certificate that the
// client has seen of the gateway. An error is a [*Failure].
func (a *Authenticator) SCRAM(ctx context.Context, grant string, shown *x509.Certificate) (*SCRAM, error) {
	if grant == "" {
		return nil, &Failure{
			Code: "scram_no_grant", Public: "SCRAM needs a grant in postern.grant", Hint: "run: postern token --scram",
			Reason: "the client is to log in by SCRAM and sent no grant",
		}
	}
	claims, verifier, err := a.tokens.VerifySCRAM(ctx, grant)
	if err != nil {
		f := failureOf(err)
		f.Public, f.Reason = strings.Replace(f.Public, "token", "grant", 1), "the SCRAM grant: "+f.Reason
		return nil, f
	}
	s := &SCRAM{claims: claims, plus: endPoint(shown)}
	if s.keys, err = parseVerifier(verifier); err != nil {
		return nil, &Failure{
			Code: "scram_verifier", Public: "the grant's verifier is malformed", Hint: "run: postern token --scram",
			Reason: err.Error(), Err: err,
		}
	}
	return s, nil
}

// Mechanisms is what the client is offered, the best first.
func (s *SCRAM) Mechanisms() []string {
	if s.plus == nil {
		return []string{MechanismSCRAM}
	}
	return []string{MechanismSCRAMPlus, MechanismSCRAM}
}

// First takes the client's first message by the mechanism that it chose, and
// returns the server's. An error is a [*Failure].
func (s *SCRAM) First(mechanism string, message []byte) ([]byte, error) {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return s.keys, nil })
	if err != nil {
		return nil, refuseSCRAM(err)
	}
	s.talk = server.NewConversation()
	if s.plus != nil {
		s.talk = server.NewConversationWithChannelBinding(*s.plus)
	}
	// The header must say what the mechanism's name says (PostgreSQL's
	// read_client_first_message): bound if it is -PLUS, and not if it isn't.
	if bound := strings.HasPrefix(string(message), "p="); bound != (mechanism == MechanismSCRAMPlus) {
		return nil, refuseSCRAM(errors.New("the message's channel binding is not that of the mechanism"))
	}
	answer, err := s.talk.Step(string(message))
	if err != nil {
		return nil, refuseSCRAM(err)
	}
	return []byte(answer), nil
}

// Last takes the client's proof, and returns the server's together with the
// claims of the grant. An error is a [*Failure].
func (s *SCRAM) Last(message []byte) (answer []byte, claims map[string]any, err error) {
	text, err := s.talk.Step(string(message))
	if err != nil || !s.talk.Valid() {
		return nil, nil, refuseSCRAM(err)
	}
	return []byte(text), s.claims, nil
}

// refuseSCRAM says nothing of the library's own words, which may quote the
// client's message.
func refuseSCRAM(err error) *Failure {
	reason := "the proof is not that of the grant's secret"
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "channel binding"):
		reason = "the channel binding does not match: somebody may be between client and gateway"
	case strings.Contains(err.Error(), "downgrade"):
		reason = "the client saw no -PLUS mechanism, which was offered: somebody may be between client and gateway"
	}
	return &Failure{
		Code: "scram_proof", Public: "the secret is not that of the grant", Hint: "run: postern token --scram, and use both of what it prints",
		Reason: reason,
	}
}

// endPoint is the channel binding tls-server-end-point (RFC 5929, section 4):
// the certificate's hash by its signature's algorithm, SHA-256 in place of MD5
// and SHA-1. It is nil where the RFC defines none.
func endPoint(shown *x509.Certificate) *scram.ChannelBinding {
	if shown == nil {
		return nil
	}
	binding := scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint}
	switch shown.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		sum := sha256.Sum256(shown.Raw)
		binding.Data = sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(shown.Raw)
		binding.Data = sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(shown.Raw)
		binding.Data = sum[:]
	default: // Ed25519 hashes nothing by itself
		return nil
	}
	return &binding
}

// parseVerifier reads PostgreSQL's notation of a SCRAM secret:
//
//	SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
func parseVerifier(text string) (scram.StoredCredentials, error) {
	bad := errors.New("it is not of the form SCRAM-SHA-256$iterations:salt$storedkey:serverkey")
	parts := strings.Split(text, "$")
	if len(parts) != 3 || parts[0] != MechanismSCRAM {
		return scram.StoredCredentials{}, bad
	}
	iterations, salt64, ok1 := strings.Cut(parts[1], ":")
	stored64, server64, ok2 := strings.Cut(parts[2], ":")
	n, err := strconv.Atoi(iterations)
	salt, err1 := base64.StdEncoding.DecodeString(salt64)
	stored, err2 := base64.StdEncoding.DecodeString(stored64)
	server, err3 := base64.StdEncoding.DecodeString(server64)
	const fewest, most = 4096, 1 << 20 // RFC 7677, section 4; and what a client may be asked to compute
	if !ok1 || !ok2 || errors.Join(err, err1, err2, err3) != nil || n < fewest || n > most ||
		len(salt) < 16 || len(salt) > 64 || len(stored) != sha256.Size || len(server) != sha256.Size {
		return scram.StoredCredentials{}, bad
	}
	return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: n}, StoredKey: stored, ServerKey: server}, nil
}
