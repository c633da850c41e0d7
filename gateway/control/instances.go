package control

import (
	"net/http"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// listedSince is how long an instance that reports no more is still listed.
const listedSince = 24 * time.Hour

func (s *Server) listInstances(w http.ResponseWriter, r *http.Request, _ *caller) error {
	instances, err := s.store.Instances(r.Context(), r.PathValue("gateway"), s.now().Add(-listedSince))
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.InstanceList{Instances: instances})
	return nil
}

func (s *Server) report(w http.ResponseWriter, r *http.Request, _ *caller) error {
	instance, err := nameOf(r, "instance")
	if err != nil {
		return err
	}
	var in api.Heartbeat
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Sessions < 0 || len(in.Error) > 4096 || len(in.Version) > 128 || len(in.Bundle) > 128 {
		return invalid("the report is out of bounds")
	}
	err = s.store.Report(r.Context(), r.PathValue("gateway"), api.Instance{Instance: instance, Heartbeat: in, SeenAt: s.now()})
	if err != nil {
		return err
	}
	s.prune(r.Context())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// leave forgets an instance that has ended: nobody is to wait for it.
func (s *Server) leave(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if err := s.store.ForgetInstance(r.Context(), r.PathValue("gateway"), r.PathValue("instance")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
