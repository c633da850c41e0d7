package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/oidc"
)

// serveLogout hears from an identity provider that it ended a session, or all of
// somebody's (OpenID Connect Back-Channel Logout 1.0, section 2.5), and takes back
// what rests on it. Gateways end live sessions within a second.
func (s *Server) serveLogout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	refused := s.logout(r.Context(), r.PostFormValue("logout_token"))
	if refused == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelWarn, "logout token refused", slog.String("code", refused.code),
		slog.Any("cause", refused.cause), slog.String("client_addr", r.RemoteAddr))
	answer(w, refused.status, api.OAuthError{Code: refused.code, Description: refused.text})
}

func (s *Server) logout(ctx context.Context, token string) *problem {
	said, err := s.verifyLogout(ctx, token)
	if err != nil {
		return &problem{status: http.StatusBadRequest, code: "invalid_request", text: "the logout token is not accepted", cause: err}
	}
	seen := "logout " + hashed(said.Issuer+" "+said.ID)
	if err := s.config.Once.Put(ctx, seen, "", said.Expires); err != nil {
		return &problem{
			status: http.StatusBadRequest, code: "invalid_request", text: "the logout token was shown before, or that cannot be told",
			cause: fmt.Errorf("keep that it was shown: %w", err),
		}
	}
	in := api.RevocationInput{Kind: api.RevokeAccount, Value: said.Issuer + " " + said.Subject, Reason: "back-channel logout"}
	if said.Session != "" {
		in.Kind, in.Value = api.RevokeSignIn, strings.TrimSpace(said.Issuer+" "+said.Session+" "+said.Subject)
	}
	if _, err := s.config.Revoke(ctx, said.Issuer, in); err != nil {
		_, _ = s.config.Once.Take(ctx, seen) // so that it may be sent again; if not, the next one counts
		return &problem{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", text: "the logout cannot be recorded; try again", cause: err}
	}
	return nil
}

// verifyLogout asks the gateways, of whose policies one must name the issuer.
func (s *Server) verifyLogout(ctx context.Context, token string) (oidc.Logout, error) {
	if s.config.Once == nil || s.config.Revoke == nil {
		return oidc.Logout{}, errors.New("this control plane hears no identity providers")
	}
	errs := []error{errors.New("no gateway's policy accepts it")}
	for _, g := range s.config.Gateways() {
		if g.VerifyLogout == nil {
			continue
		}
		said, err := g.VerifyLogout(ctx, token)
		if err == nil {
			return said, nil
		}
		errs = append(errs, fmt.Errorf("gateway %s: %w", g.Name, err))
	}
	return oidc.Logout{}, errors.Join(errs...)
}
