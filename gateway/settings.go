package gateway

import (
	"strings"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/policylang/statement"
)

// checkSetting says whether a client may set a parameter to a value. The value
// is empty if it is not one constant, as in SET x TO DEFAULT.
func checkSetting(name, value string) *refusal.Refusal {
	name = strings.ToLower(name)
	switch {
	case statement.MaySet(name, value):
		return nil
	case statement.IsEncoding(name):
		return refusal.New(refusal.BadEncoding, "client_encoding must stay UTF8")
	}
	return refusedSetting(name)
}

func refusedSetting(name string) *refusal.Refusal {
	return refusal.New(refusal.SettingRefused, "the parameter %s may not be changed through the gateway", name)
}
