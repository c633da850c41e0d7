package policylang

import (
	"fmt"
	"strconv"
)

// The bounds of a masking policy's numbers.
const (
	maxKept   = 64 // characters that "partial" keeps at either end
	maxDigits = 18 // places that "round" moves from the point
)

func (c checker) maskingPolicy(m *MaskingPolicy) {
	if len(m.Detect) == 0 || len(m.Columns) > 0 {
		c.columns(m.Columns)
	}
	c.detect(m.Detect)
	if m.Transform == "" {
		c.add("transform", "transform is missing", "Say how values are masked; \"redact\" hides them whole.")
	} else if enumeration(c, "transform", m.Transform, TransformKinds()...) {
		c.parameters(m)
	}
	enumeration(c, "mode", m.Mode, ModeEnforce, ModeObserve)
	c.knobs(m)
}

func (c checker) columns(globs []string) {
	if len(globs) == 0 {
		c.add("columns", "columns is missing", `Name the columns, as in columns = ["public.customers.email", "*.*.ssn"].`)
	}
	c.set("columns", globs)
	for i, glob := range globs {
		if _, err := ParseGlob(glob, 3); err != nil && glob != "" {
			c.add("columns["+strconv.Itoa(i)+"]", err.Error(), `Write "schema.table.column"; * stands for any part of a name, and double quotes keep a name as it is.`)
		}
	}
}

func (c checker) detect(kinds []string) {
	c.set("detect", kinds)
	for i, kind := range kinds {
		if kind != "" {
			enumeration(c, "detect["+strconv.Itoa(i)+"]", kind, DetectKinds()...)
		}
	}
}

// parameters checks the attributes that belong to one transform or another.
func (c checker) parameters(m *MaskingPolicy) {
	partial, token := m.Transform == TransformPartial, m.Transform == TransformToken
	where := fmt.Sprintf("where transform is %q", string(m.Transform))
	c.unused(m.KeepFirst != 0 && !partial, "keep_first", where, `It belongs to transform = "partial".`)
	c.unused(m.KeepLast != 0 && !partial, "keep_last", where, `It belongs to transform = "partial".`)
	c.unused(m.Format != "" && !partial && !token, "format", where, `It belongs to transform = "partial" or "token".`)
	c.unused(m.Unit != "" && m.Transform != TransformTruncate, "unit", where, `It belongs to transform = "truncate".`)
	c.unused(m.Digits != 0 && m.Transform != TransformRound, "digits", where, `It belongs to transform = "round".`)
	if partial {
		c.between("keep_first", m.KeepFirst, 0, maxKept)
		c.between("keep_last", m.KeepLast, 0, maxKept)
	}
	if partial || token {
		enumeration(c, "format", m.Format, "text", "email", "card", "phone")
	}
	if m.Transform == TransformTruncate {
		enumeration(c, "unit", m.Unit, "year", "month", "day", "hour")
	}
	if m.Transform == TransformRound {
		c.between("digits", m.Digits, -maxDigits, maxDigits)
	}
}

func (c checker) between(attr string, value, least, most int) {
	if value < least || value > most {
		c.add(attr, fmt.Sprintf("%s cannot be %d", attr, value), fmt.Sprintf("It is between %d and %d.", least, most))
	}
}

func (c checker) knobs(m *MaskingPolicy) {
	if enumeration(c, "predicates", m.Predicates, KnobDeny, KnobEquality, KnobAllow) && m.Predicates == KnobAllow {
		c.warn("predicates", "masked columns may decide which rows are seen",
			`Whoever may filter by a masked value can find it out, one guess a statement. "equality" bounds the guesses; "deny" admits none.`)
	}
	for _, knob := range []struct {
		attr  string
		value Knob
	}{{"order", m.Order}, {"group", m.Group}, {"count", m.Count}} {
		enumeration(c, knob.attr, knob.value, KnobDeny, KnobAllow)
	}
}
