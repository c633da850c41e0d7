package condition

import (
	"strings"

	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
)

// estimator tells CEL's cost estimate how large our variables usually are at
// most. What is larger is stopped when it runs.
type estimator struct {
	sizes map[string]uint64
	calls map[string]bool // our functions
}

// The usual sizes.
const (
	usualString   = 256
	usualClaim    = 1024
	usualClaims   = 64
	usualGroups   = 64
	usualCommands = 16
	usualNames    = 64
	usualColumns  = 128
	usualText     = 16 << 10
)

func newEstimator() *estimator {
	calls := make(map[string]bool)
	for _, m := range members() {
		calls[m.name] = true
	}
	return &estimator{calls: calls, sizes: map[string]uint64{
		"identity.groups":       usualGroups,
		"identity.claims":       usualClaims,
		"statement.text":        usualText,
		"statement.shape":       usualText,
		"statement.commands":    usualCommands,
		"statement.relations":   usualNames,
		"statement.functions":   usualNames,
		"statement.columns":     usualColumns,
		"token":                 usualClaims,
		"identity.kind":         8,
		"statement.class":       8,
		"statement.command":     32,
		"statement.fingerprint": 16,
	}}
}

// EstimateSize implements CEL's estimator.
func (s *estimator) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	path := element.Path()
	if len(path) == 0 {
		return s.ofType(element.Type())
	}
	if size, ok := s.sizes[strings.Join(path, ".")]; ok {
		return &checker.SizeEstimate{Max: size}
	}
	return s.ofType(element.Type())
}

func (*estimator) ofType(t *types.Type) *checker.SizeEstimate {
	sizes := map[types.Kind]uint64{
		types.StringKind: usualString, types.BytesKind: usualString,
		types.ListKind: usualClaims, types.MapKind: usualClaims, types.DynKind: usualClaim,
	}
	if size, ok := sizes[t.Kind()]; ok {
		return &checker.SizeEstimate{Max: size}
	}
	return nil
}

// EstimateCallCost implements CEL's estimator. Our functions walk a
// statement's names once.
func (s *estimator) EstimateCallCost(function, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	if s.calls[function] {
		return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Min: 1, Max: usualNames}}
	}
	return nil
}
