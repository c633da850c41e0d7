package signin

import (
	"net/url"
	"regexp"

	"github.com/posternhq/postern/gateway/internal/api"
)

// proof is how a client will prove to the gateway that it is whom something is
// minted for: by showing it, or by a secret of its own that never leaves it.
type proof struct {
	tokenType string // that is asked for
	request   string // for a certificate: the request, in PEM
	verifier  string // for a SCRAM grant: of the client's secret
}

// use is the answer's token_type (RFC 8693, section 2.2.1).
func (p proof) use() string {
	if p.tokenType == api.TokenTypeJWT {
		return "Bearer"
	}
	return "N_A"
}

// scramVerifier is PostgreSQL's notation of a SCRAM secret, with a salt of 16
// bytes and keys of 32, in base64.
var scramVerifier = regexp.MustCompile(`^SCRAM-SHA-256\$[0-9]{4,7}:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$`)

func (s *Server) readProof(form url.Values) (proof, *problem) {
	p := proof{tokenType: form.Get("requested_token_type"), request: form.Get("csr"), verifier: form.Get("scram_verifier")}
	switch p.tokenType {
	case "", api.TokenTypeJWT, api.TokenTypeAccess:
		p.tokenType = api.TokenTypeJWT
	case api.TokenTypeCertificate:
		if s.config.ClientCA == nil {
			return proof{}, invalidRequest("this control plane makes no certificates")
		}
		if p.request == "" {
			return proof{}, invalidRequest("csr is needed: a certificate request in PEM")
		}
	case api.TokenTypeSCRAM:
		if !scramVerifier.MatchString(p.verifier) {
			return proof{}, invalidRequest("scram_verifier is needed, as PostgreSQL has it: SCRAM-SHA-256$iterations:salt$storedkey:serverkey, with a salt of 16 bytes")
		}
	default:
		return proof{}, invalidRequest("requested_token_type must be %s, %s or %s", api.TokenTypeJWT, api.TokenTypeCertificate, api.TokenTypeSCRAM)
	}
	return p, nil
}
