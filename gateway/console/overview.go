package console

import (
	"net/http"
	"slices"

	"github.com/posternhq/postern/gateway/internal/api"
)

// gatewayView is a gateway and how far its instances are.
type gatewayView struct {
	api.Gateway
	List      []instanceView
	Releases  []api.Release
	Rollouts  []api.Rollout // in which it takes part, newest first
	Enforcing int           // instances that enforce what is live
	Sessions  int
}

// instanceView is an instance and whether it enforces what is live.
type instanceView struct {
	api.Instance
	Current bool
	Silent  bool // it has not reported for a minute
}

type overviewView struct {
	Gateways []gatewayView
	Pending  []api.Approval
}

// overview shows every gateway, and what waits for approval. Who may not see
// gateways sees the approvals.
func (s *server) overview(w http.ResponseWriter, r *http.Request, v *visit) error {
	if !mayRead(&v.caller) {
		http.Redirect(w, r, "/approvals", http.StatusSeeOther)
		return nil
	}
	gateways, err := v.client.Gateways(r.Context())
	if err != nil {
		return err
	}
	var data overviewView
	for _, g := range gateways {
		shown, err := s.gatewayView(r, v, g)
		if err != nil {
			return err
		}
		data.Gateways = append(data.Gateways, shown)
	}
	if data.Pending, err = v.client.Approvals(r.Context(), api.StatusPending, ""); err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "overview", &view{Title: "Overview", Section: "overview", visit: v, Data: data})
	return nil
}

func (s *server) gatewayView(r *http.Request, v *visit, g api.Gateway) (gatewayView, error) {
	instances, err := v.client.Instances(r.Context(), g.Name)
	if err != nil {
		return gatewayView{}, err
	}
	out := gatewayView{Gateway: g}
	for _, i := range instances {
		in := instanceView{
			Instance: i, Silent: s.now().Sub(i.SeenAt) > reportedWithin,
			Current: g.Live != nil && i.Bundle == g.Live.Bundle && i.Revision == g.Live.Revision,
		}
		if in.Current && !in.Silent {
			out.Enforcing++
		}
		if !in.Silent {
			out.Sessions += i.Sessions
		}
		out.List = append(out.List, in)
	}
	return out, nil
}

// gateway shows one gateway: what it runs, where, and what it ran before.
func (s *server) gateway(w http.ResponseWriter, r *http.Request, v *visit) error {
	name := r.PathValue("gateway")
	gateways, err := v.client.Gateways(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(gateways, func(g api.Gateway) bool { return g.Name == name })
	if i < 0 {
		return &api.Error{Status: http.StatusNotFound, Message: "There is no such gateway."}
	}
	data, err := s.gatewayView(r, v, gateways[i])
	if err != nil {
		return err
	}
	if data.Releases, err = v.client.Releases(r.Context(), name, 50); err != nil {
		return err
	}
	rollouts, err := v.client.Rollouts(r.Context(), 50)
	if err != nil {
		return err
	}
	for _, ro := range rollouts {
		if takesPart(ro, name) {
			data.Rollouts = append(data.Rollouts, ro)
		}
	}
	s.render(w, r, http.StatusOK, "gateway", &view{Title: "Gateway " + name, Section: "overview", visit: v, Data: data})
	return nil
}

// takesPart reports whether a rollout releases to the gateway.
func takesPart(r api.Rollout, gateway string) bool {
	return slices.ContainsFunc(r.Stages, func(stage api.RolloutStage) bool {
		return slices.ContainsFunc(stage.Releases, func(one api.RolloutRelease) bool { return one.Gateway == gateway })
	})
}
