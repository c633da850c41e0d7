package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
)

// reportedWithin is how recently an instance must have reported to count.
const reportedWithin = time.Minute

// evidenceLimit is how many records a search shows.
const evidenceLimit = 200

type evidenceView struct {
	Query   EvidenceQuery
	Within  string
	Ranges  []timeRange
	Kinds   []evidence.Kind
	Records []evidence.Record
	Full    bool // there may be more
}

// timeRange is a choice of how far back to search.
type timeRange struct {
	Name, Text string
	Span       time.Duration // 0: all
}

func timeRanges() []timeRange {
	return []timeRange{
		{"15m", "15 minutes", 15 * time.Minute},
		{"1h", "hour", time.Hour},
		{"24h", "day", 24 * time.Hour},
		{"168h", "week", 7 * 24 * time.Hour},
		{"all", "all time", 0},
	}
}

// evidence searches the journal for auditors.
func (s *server) evidence(w http.ResponseWriter, r *http.Request, v *visit) error {
	if s.config.Evidence == nil {
		return &api.Error{Status: http.StatusNotFound, Message: "This control plane has no evidence.", Hint: "Gateways keep their own: postern evidence search"}
	}
	if !mayAudit(&v.caller) {
		return &api.Error{Status: http.StatusForbidden, Message: "You may not read the evidence.", Hint: "It takes the role auditor."}
	}
	form := r.URL.Query()
	data := evidenceView{Within: form.Get("within"), Ranges: timeRanges(), Kinds: evidence.Kinds(), Query: EvidenceQuery{
		Text: strings.TrimSpace(form.Get("text")), Identity: strings.TrimSpace(form.Get("identity")),
		Gateway: strings.TrimSpace(form.Get("gateway")), Kind: evidence.Kind(form.Get("kind")), Limit: evidenceLimit,
	}}
	if data.Query.Kind != "" && !slices.Contains(data.Kinds, data.Query.Kind) {
		return &api.Error{Status: http.StatusNotFound, Message: "There is no such kind of record."}
	}
	if data.Within == "" {
		data.Within = "24h"
	}
	i := slices.IndexFunc(data.Ranges, func(t timeRange) bool { return t.Name == data.Within })
	if i < 0 {
		return &api.Error{Status: http.StatusNotFound, Message: "There is no such range of time."}
	}
	if span := data.Ranges[i].Span; span > 0 {
		data.Query.Since = s.now().Add(-span)
	}
	var err error
	if data.Records, err = s.config.Evidence.SearchEvidence(r.Context(), v.caller.Name, data.Query); err != nil {
		return err
	}
	data.Full = len(data.Records) >= evidenceLimit
	s.render(w, r, http.StatusOK, "evidence", &view{Title: "Evidence", Section: "evidence", visit: v, Data: data})
	return nil
}
