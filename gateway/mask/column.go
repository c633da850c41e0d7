package mask

import (
	"github.com/posternhq/postern/policylang"
)

// redacted stands for every redacted text.
const redacted = "REDACTED"

// planColumn plans a column that does not pass.
func planColumn(c Column, keys *Keys) columnPlan {
	kind := c.Transform.Kind
	if c.Action == Redact {
		kind = policylang.TransformRedact
	}
	switch kind {
	case policylang.TransformNull:
		return columnPlan{fixed: []byte(nullField)}
	case policylang.TransformHash, policylang.TransformToken:
		if keys == nil {
			return redactColumn(c)
		}
		return rewriteColumn(c, keys.of(c.Policy))
	case policylang.TransformTruncate, policylang.TransformRound, policylang.TransformPartial:
		return rewriteColumn(c, nil)
	case policylang.TransformRedact:
		return redactColumn(c)
	}
	return redactColumn(c) // a kind that is not known
}

// redactColumn returns a constant, which does not depend on the value.
func redactColumn(c Column) columnPlan {
	if classOf(c.TypeOID) != classText {
		return columnPlan{fixed: []byte(nullField)}
	}
	text := cutText([]byte(redacted), c.textLimit())
	return columnPlan{fixed: append([]byte{0, 0, 0, byte(len(text))}, text...)}
}

func rewriteColumn(c Column, keys *policyKeys) columnPlan {
	if f := chooseRewrite(c, keys); f != nil {
		return columnPlan{rewrite: f}
	}
	return columnPlan{fixed: []byte(nullField)}
}

// chooseRewrite returns how a column's values are masked, or nil if its type
// can't carry the transform.
func chooseRewrite(c Column, keys *policyKeys) rewrite {
	switch c.Transform.Kind {
	case policylang.TransformHash:
		return hashRewrite(c, keys)
	case policylang.TransformToken:
		return tokenRewrite(c, keys)
	case policylang.TransformTruncate:
		return truncateRewrite(c)
	case policylang.TransformRound:
		return roundRewrite(c)
	case policylang.TransformPartial:
		return partialRewrite(c)
	case policylang.TransformNull, policylang.TransformRedact:
	}
	return nil
}
