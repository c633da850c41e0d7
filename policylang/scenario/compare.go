package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
)

// compare lists where an outcome is not what a test wants.
func compare(t *policylang.Test, got *Outcome) []Difference {
	var c comparison
	want := &t.Expect
	if len(t.Token) > 0 && t.Identity != "" && got.Identity != "" && got.Identity != t.Identity {
		c.differences = append(c.differences, Difference{"identity", t.Identity, got.Identity})
	}
	if want.Effect != "" {
		c.text("effect", string(want.Effect), string(got.Effect))
	}
	c.set("rules", want.Rules, got.Rules)
	c.set("approval_groups", want.ApprovalGroups, got.ApprovalGroups)
	c.set("observed", want.Observed, got.Observed)
	if want.Message != "" && !strings.Contains(got.Message, want.Message) {
		c.add("message", want.Message, got.Message)
	}
	if want.Refused != "" {
		c.text("refused", want.Refused, got.Refused)
	}
	c.masks(want, got)
	c.limits(want, got)
	return c.differences
}

type comparison struct{ differences []Difference }

func (c *comparison) add(attribute, want, got string) {
	c.differences = append(c.differences, Difference{"expect." + attribute, want, got})
}

func (c *comparison) text(attribute, want, got string) {
	if want != got {
		c.add(attribute, want, got)
	}
}

// set compares names of which a nil list wants nothing to be compared.
func (c *comparison) set(attribute string, want, got []string) {
	if want != nil && !slices.Equal(set(want), set(got)) {
		c.add(attribute, list(set(want)), list(set(got)))
	}
}

func (c *comparison) masks(want *policylang.Expect, got *Outcome) {
	if got.Unfollowed && (want.Masked != nil || want.Unmasked != nil) {
		c.add("masked", list(set(want.Masked)), "not known without a schema")
		return
	}
	if got.Refused != "" && (want.Masked != nil || want.Unmasked != nil) {
		c.text("masked", list(set(want.Masked)), "refused: "+got.Refused)
		return
	}
	c.set("masked", want.Masked, got.Masked())
	unmasked := got.Unmasked()
	for _, name := range want.Unmasked {
		if !slices.Contains(unmasked, name) && (len(got.Columns) > 0 || slices.Contains(got.Masked(), name)) {
			c.add("unmasked", list([]string{name}), list(unmasked))
		}
	}
}

func (c *comparison) limits(want *policylang.Expect, got *Outcome) {
	if want.MaxRows != 0 && want.MaxRows != got.MaxRows {
		c.add("max_rows", strconv.FormatInt(want.MaxRows, 10), strconv.FormatInt(got.MaxRows, 10))
	}
	if d, err := time.ParseDuration(want.StatementTimeout); err == nil && d != got.StatementTimeout {
		c.add("statement_timeout", d.String(), got.StatementTimeout.String())
	}
	c.flag("read_only", want.ReadOnly, got.ReadOnly)
	c.flag("require_reason", want.RequireReason, got.RequireReason)
}

func (c *comparison) flag(attribute string, want *bool, got bool) {
	if want != nil && *want != got {
		c.add(attribute, strconv.FormatBool(*want), strconv.FormatBool(got))
	}
}

// list writes names as a policy file has them.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
