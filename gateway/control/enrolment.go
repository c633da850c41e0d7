package control

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

// A gateway gets its credential by enrolling: an administrator makes an
// enrolment token, which is used once, by that gateway, within the hour. What
// the gateway gets for it is an API token of its own, so that no secret is
// shared between gateways and each can be revoked by itself.

// createEnrolment makes an enrolment token.
func (s *Server) createEnrolment(w http.ResponseWriter, r *http.Request, c *caller) error {
	var in api.EnrolmentInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := checkName("gateway", in.Gateway); err != nil {
		return err
	}
	life := api.DefaultEnrolmentLife
	if in.ExpiresIn != "" {
		var err error
		if life, err = time.ParseDuration(in.ExpiresIn); err != nil || life <= 0 || life > api.MaxEnrolmentLife {
			return invalid("expires_in must be a duration of at most %s, such as 1h", api.MaxEnrolmentLife)
		}
	}
	now := s.now()
	out := api.Enrolment{Token: newEnrolmentToken(), Gateway: in.Gateway, ExpiresAt: now.Add(life)}
	event := Event{Caller: c.Name, Action: "enrolment.create", Target: in.Gateway, Gateway: in.Gateway}
	if err := s.store.AddEnrolment(r.Context(), hashToken(out.Token), in.Gateway, now, out.ExpiresAt, s.audit(r.Context(), event)); err != nil {
		return err
	}
	answer(w, http.StatusCreated, out)
	return nil
}

// enrol gives a gateway its token in exchange for an enrolment token. Whoever
// sends one that is not good is told only that.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request, _ *caller) error {
	address := clientAddress(r)
	if wait, ok := s.knocks.take(address, 0); !ok {
		return tooMany(wait)
	}
	var in api.EnrolInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := checkName("gateway", in.Gateway); err != nil {
		return err
	}
	if err := checkName("instance", in.Instance); err != nil {
		return err
	}
	enrolment, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	created, err := s.redeem(r, enrolment, in)
	if errors.Is(err, store.ErrNotFound) {
		s.knocks.take(address, 1)
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "enrolment refused",
			slog.String("reason", "the enrolment token is unknown, used, expired or another gateway's"),
			slog.String("gateway", in.Gateway), slog.String("client_addr", address))
		return refuse(http.StatusUnauthorized, api.CodeUnauthenticated, "the enrolment token is not accepted",
			"it is used once, by the gateway that it was made for, before it expires; an administrator makes another: postern gateway invite NAME")
	}
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, created)
	return nil
}

func (s *Server) redeem(r *http.Request, enrolment string, in api.EnrolInput) (api.TokenCreated, error) {
	secret, err := newTokenSecret()
	if err != nil {
		return api.TokenCreated{}, err
	}
	t := api.Token{Name: in.Gateway + "/" + in.Instance, Roles: []api.Role{api.GatewayRole(in.Gateway)}, CreatedAt: s.now(), CreatedBy: "enrolment"}
	if t.ID, err = newID("t_"); err != nil {
		return api.TokenCreated{}, err
	}
	event := Event{Caller: t.Name, Action: "gateway.enrol", Target: t.ID + " " + t.Name, Gateway: in.Gateway}
	err = s.store.Enrol(r.Context(), hashToken(enrolment), in.Gateway, t, hashToken(secret), s.audit(r.Context(), event))
	return api.TokenCreated{Token: secret, Detail: t}, err
}

func newEnrolmentToken() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, see crypto/rand
	return api.EnrolmentPrefix + base64.RawURLEncoding.EncodeToString(raw)
}
