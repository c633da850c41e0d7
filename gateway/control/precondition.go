package control

import (
	"net/http"
	"strings"

	"github.com/posternhq/postern/gateway/internal/api"
)

// precondition is what a writer says it has seen: nothing (If-None-Match: *)
// or one version (If-Match: "…").
type precondition struct {
	absent  bool
	version string
}

// preconditionOf reads the request's precondition, of which there must be one.
func preconditionOf(r *http.Request) (precondition, error) {
	ifMatch, ifNoneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case ifMatch == "" && ifNoneMatch == "":
		return precondition{}, refuse(http.StatusPreconditionRequired, api.CodePreconditionRequired, "a precondition is needed",
			`send If-None-Match: * to make it, or If-Match: "ETAG" to change what you have seen`)
	case ifMatch != "" && ifNoneMatch != "":
		return precondition{}, refuse(http.StatusBadRequest, api.CodeInvalid, "If-Match and If-None-Match exclude each other", "")
	case ifNoneMatch == "*":
		return precondition{absent: true}, nil
	case ifNoneMatch != "":
		return precondition{}, refuse(http.StatusBadRequest, api.CodeInvalid, "If-None-Match must be *", "")
	}
	version, ok := strings.CutPrefix(ifMatch, `"`)
	version, closed := strings.CutSuffix(version, `"`)
	if !ok || !closed || version == "" || strings.Contains(version, `"`) {
		return precondition{}, refuse(http.StatusBadRequest, api.CodeInvalid, "If-Match must be one strong entity tag", `write it as "ETAG", with the quotes`)
	}
	return precondition{version: version}, nil
}

func etag(version string) string { return `"` + version + `"` }
