package mask_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

// Type OIDs that the tests use.
const (
	oidBool        = 16
	oidBytea       = 17
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidTextArray   = 1009
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

func testKeys(tb testing.TB, secret string) *mask.Keys {
	tb.Helper()
	keys, err := mask.NewKeys([]byte(strings.Repeat(secret, 32)))
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

// row makes the body of a DataRow; nil is NULL.
func row(values ...[]byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			body = binary.BigEndian.AppendUint32(body, math.MaxUint32)
			continue
		}
		body = binary.BigEndian.AppendUint32(body, uint32(len(v)))
		body = append(body, v...)
	}
	return body
}

// values is the inverse of row.
func values(tb testing.TB, body []byte) [][]byte {
	tb.Helper()
	var out [][]byte
	count := binary.BigEndian.Uint16(body)
	at := 2
	for range count {
		length := int(int32(binary.BigEndian.Uint32(body[at:])))
		at += 4
		if length < 0 {
			out = append(out, nil)
			continue
		}
		out = append(out, body[at:at+length])
		at += length
	}
	if at != len(body) {
		tb.Fatalf("%d bytes are left in the row", len(body)-at)
	}
	return out
}

// apply masks one value.
func apply(tb testing.TB, c mask.Column, value []byte) []byte {
	tb.Helper()
	plan, err := mask.NewPlan([]mask.Column{c}, testKeys(tb, "k"))
	if err != nil {
		tb.Fatal(err)
	}
	body, err := plan.AppendRow(nil, row(value))
	if err != nil {
		tb.Fatal(err)
	}
	return values(tb, body)[0]
}

func masked(kind policylang.TransformKind, oid uint32) mask.Column {
	return mask.Column{Action: mask.Mask, Transform: policylang.Transform{Kind: kind}, Policy: "pii", TypeOID: oid}
}

func show(value []byte) string {
	if value == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", value)
}

func TestTextForms(t *testing.T) {
	partial := func(format string, first, last int) policylang.Transform {
		return policylang.Transform{Kind: policylang.TransformPartial, Format: format, KeepFirst: first, KeepLast: last}
	}
	truncate := func(unit string) policylang.Transform {
		return policylang.Transform{Kind: policylang.TransformTruncate, Unit: unit}
	}
	round := func(digits int) policylang.Transform {
		return policylang.Transform{Kind: policylang.TransformRound, Digits: digits}
	}
	redact := policylang.Transform{Kind: policylang.TransformRedact}
	null := policylang.Transform{Kind: policylang.TransformNull}
	tests := []struct {
		name      string
		transform policylang.Transform
		oid       uint32
		typeMod   int32
		in, want  string
	}{
		{"null", null, oidText, 0, "x", "NULL"},
		{"redact text", redact, oidText, 0, "x", "REDACTED"},
		{"redact NULL", redact, oidText, 0, "NULL", "REDACTED"},
		{"redact varchar(5)", redact, oidVarchar, 9, "x", "REDAC"},
		{"redact integer", redact, oidInt4, 0, "5", "NULL"},
		{"redact json", redact, oidJSON, 0, "{}", "NULL"},
		{"redact array", redact, oidTextArray, 0, "{a}", "NULL"},
		{"redact unknown type", redact, 99999, 0, "x", "NULL"},
		{"redact no type", redact, 0, 0, "x", "NULL"},
		{"unknown kind", policylang.Transform{Kind: "rot13"}, oidText, 0, "x", "REDACTED"},

		{"text", partial("text", 2, 1), oidText, 0, "Margarete", "Ma***e"},
		{"no format", partial("", 1, 0), oidText, 0, "Margarete", "M***"},
		{"nothing kept", partial("text", 0, 0), oidText, 0, "Margarete", "***"},
		{"runes", partial("text", 1, 1), oidText, 0, "Þórdís", "Þ***s"},
		{"too short to keep", partial("text", 2, 2), oidText, 0, "abcd", "***"},
		{"a third hidden", partial("text", 2, 2), oidText, 0, "abcdef", "ab***ef"},
		{"less than a third hidden", partial("text", 2, 2), oidText, 0, "abcde", "***"},
		{"keeps more than there is", partial("text", 60, 60), oidText, 0, "abc", "***"},
		{"empty", partial("text", 1, 1), oidText, 0, "", "***"},
		{"NULL", partial("text", 1, 1), oidText, 0, "NULL", "NULL"},
		{"padded", partial("text", 0, 2), oidBPChar, 14, "abcdef    ", "***ef"},
		{"fits varchar", partial("text", 2, 2), oidVarchar, 8, "abcdef", "ab**"},
		{"not UTF-8", partial("text", 1, 1), oidText, 0, "\xff\xfe\xfd", "\xff***\xfd"},
		{"partial integer", partial("text", 1, 0), oidInt4, 0, "12345", "NULL"},

		{"email", partial("email", 1, 0), oidText, 0, "ana.silva@example.com", "a***@example.com"},
		{"email of one letter", partial("email", 1, 0), oidText, 0, "a@example.com", "***@example.com"},
		{"email without a name", partial("email", 1, 0), oidText, 0, "@example.com", "@***"},
		{"email with two @", partial("email", 0, 0), oidText, 0, `"a@b"@example.com`, "***@example.com"},
		{"no email", partial("email", 1, 0), oidText, 0, "call Ana", "c***"},
		{"no domain", partial("email", 1, 0), oidText, 0, "ana@my house, 5th floor", "a***"},

		{"card", partial("card", 0, 4), oidText, 0, "4111 1111-1111 1234", "**** ****-**** 1234"},
		{"card, first and last", partial("card", 6, 4), oidText, 0, "4111111111111234", "411111******1234"},
		{"short card", partial("card", 0, 4), oidText, 0, "12345", "*****"},
		{"card with a name", partial("card", 0, 4), oidText, 0, "4111111111111234 ANA", "************1234 ***"},
		{"ssn", partial("card", 0, 4), oidText, 0, "123-45-6789", "***-**-6789"},
		{"phone", partial("phone", 2, 2), oidText, 0, "+49 (30) 901820", "+49 (**) ****20"},
		{"phone, other digits", partial("phone", 0, 2), oidText, 0, "٠٣٠ 1234567", "*** *****67"},

		{"year", truncate("year"), oidDate, 0, "2024-02-29", "2024-01-01"},
		{"month", truncate("month"), oidDate, 0, "2024-02-29", "2024-02-01"},
		{"month by default", truncate(""), oidDate, 0, "2024-02-29", "2024-02-01"},
		{"day of a date", truncate("day"), oidDate, 0, "2024-02-29", "NULL"},
		{"before Christ", truncate("year"), oidDate, 0, "0044-03-15 BC", "0044-01-01 BC"},
		{"infinity", truncate("year"), oidDate, 0, "-infinity", "-infinity"},
		{"no date", truncate("year"), oidDate, 0, "2023-02-29", "NULL"},
		{"German date", truncate("year"), oidDate, 0, "29.02.2024", "NULL"},
		{"American date", truncate("year"), oidDate, 0, "02/29/2024", "NULL"},
		{"far year", truncate("year"), oidDate, 0, "5874897-12-31", "5874897-01-01"},
		{"hour", truncate("hour"), oidTimestamp, 0, "2024-02-29 14:23:11.123456", "2024-02-29 14:00:00"},
		{"day", truncate("day"), oidTimestamp, 0, "2024-02-29 14:23:11", "2024-02-29 00:00:00"},
		{"zone", truncate("day"), oidTimestamptz, 0, "2024-03-01 04:23:11.5+05:30", "2024-02-29 00:00:00+00"},
		{"western zone", truncate("year"), oidTimestamptz, 0, "2023-12-31 20:00:00-08", "2024-01-01 00:00:00+00"},
		{"old zone", truncate("hour"), oidTimestamptz, 0, "1890-01-01 00:53:28+00:53:28", "1890-01-01 00:00:00+00"},
		{"zone missing", truncate("hour"), oidTimestamptz, 0, "2024-02-29 14:23:11", "NULL"},
		{"unknown unit", truncate("decade"), oidTimestamp, 0, "2024-02-29 14:23:11", "NULL"},
		{"truncate text", truncate("year"), oidText, 0, "2024-02-29", "NULL"},

		{"tens", round(-1), oidInt4, 0, "1235", "1240"},
		{"negative tens", round(-1), oidInt4, 0, "-1235", "-1240"},
		{"negative to zero", round(-1), oidInt4, 0, "-4", "0"},
		{"all", round(-5), oidInt4, 0, "1235", "0"},
		{"beyond all", round(-18), oidInt8, 0, "9223372036854775807", "9000000000000000000"},
		{"digits beyond reason", round(math.MinInt), oidInt4, 0, "1235", "0"},
		{"decimals beyond reason", round(math.MaxInt), oidNumeric, 0, "1.5", "1.5"},
		{"would overflow", round(-1), oidInt2, 0, "32767", "32760"},
		{"smallest", round(-1), oidInt2, 0, "-32768", "-32760"},
		{"fractions of an integer", round(0), oidInt4, 0, "1235", "NULL"},
		{"no integer", round(-1), oidInt4, 0, "1e3", "NULL"},
		{"too large", round(-1), oidInt2, 0, "32768", "NULL"},
		{"numeric", round(1), oidNumeric, 0, "12.25", "12.30"},
		{"numeric that would overflow", round(0), oidNumeric, 4<<16 | 2 + 4, "99.99", "99.00"},
		{"numeric(2,2) that would overflow", round(1), oidNumeric, 2<<16 | 2 + 4, "0.99", "0.90"},
		{"numeric carry", round(0), oidNumeric, 0, "-99.5", "-100.0"},
		{"numeric tens", round(-2), oidNumeric, 0, "44.44", "0.00"},
		{"numeric up from nothing", round(-2), oidNumeric, 0, "50", "100"},
		{"numeric to zero", round(0), oidNumeric, 0, "-0.4", "0.0"},
		{"numeric, more digits than there are", round(5), oidNumeric, 0, "1.5", "1.5"},
		{"NaN", round(1), oidNumeric, 0, "NaN", "NULL"},
		{"float", round(1), oidFloat8, 0, "2.25", "2.3"},
		{"float tens", round(-1), oidFloat4, 0, "123.4", "120"},
		{"float, large", round(-300), oidFloat8, 0, "1.26e+301", "1.3e+301"},
		{"float infinity", round(-1), oidFloat8, 0, "Infinity", "NULL"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := []byte(test.in)
			if test.in == "NULL" {
				in = nil
			}
			got := "NULL"
			if out := apply(t, mask.Column{
				Action: mask.Mask, Transform: test.transform, TypeOID: test.oid, TypeMod: test.typeMod,
			}, in); out != nil {
				got = string(out)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAppendRowErrors(t *testing.T) {
	plan, err := mask.NewPlan([]mask.Column{{Action: mask.Pass}, {Action: mask.Redact, TypeOID: oidText}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := row([]byte("a"), []byte("b"))
	tests := []struct {
		name string
		body []byte
		want error
	}{
		{"empty", nil, mask.ErrMalformed},
		{"half a count", good[:1], mask.ErrMalformed},
		{"one value", row([]byte("a")), mask.ErrArity},
		{"three values", row(nil, nil, nil), mask.ErrArity},
		{"no value", row(), mask.ErrArity},
		{"values missing", good[:2], mask.ErrMalformed},
		{"length cut", good[:9], mask.ErrMalformed},
		{"value cut", good[:len(good)-1], mask.ErrMalformed},
		{"bytes behind", append(bytes.Clone(good), 0), mask.ErrMalformed},
		{"length -2", []byte{0, 2, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff}, mask.ErrMalformed},
		{"longest length", []byte{0, 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mask.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := plan.AppendRow([]byte("dst"), test.body)
			if !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
			if string(out) != "dst" {
				t.Errorf("got %q, want dst as it was", out)
			}
		})
	}
}

func TestAppendRowKeepsWhatPasses(t *testing.T) {
	null := mask.Column{Action: mask.Mask, Transform: policylang.Transform{Kind: policylang.TransformNull}}
	pass := mask.Column{Action: mask.Pass, Format: mask.FormatBinary}
	redact := mask.Column{TypeOID: oidText} // the zero action
	plan, err := mask.NewPlan([]mask.Column{pass, redact, pass, pass, null, pass}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := row([]byte{0, 255}, []byte("secret"), nil, []byte{}, []byte("secret"), []byte("tail"))
	out, err := plan.AppendRow([]byte("before"), in)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("before"), row([]byte{0, 255}, []byte("REDACTED"), nil, []byte{}, nil, []byte("tail"))...)
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if plan.Passthrough() || plan.Columns() != 6 {
		t.Errorf("got passthrough %v, %d columns", plan.Passthrough(), plan.Columns())
	}
}

func TestPassthrough(t *testing.T) {
	plan, err := mask.NewPlan([]mask.Column{{Action: mask.Pass}, {Action: mask.Pass}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := row([]byte("a"), nil)
	out, err := plan.AppendRow(nil, in)
	if err != nil || !bytes.Equal(in, out) || !plan.Passthrough() {
		t.Errorf("got %q, %v, passthrough %v", out, err, plan.Passthrough())
	}
	if empty, err := mask.NewPlan(nil, nil); err != nil || !empty.Passthrough() {
		t.Errorf("a plan without columns does not pass: %v", err)
	}
}

func TestNewPlanErrors(t *testing.T) {
	for name, columns := range map[string][]mask.Column{
		"format":           {{Action: mask.Pass, Format: 2}},
		"action":           {{Action: 3}},
		"too many columns": make([]mask.Column, 1<<16),
	} {
		if plan, err := mask.NewPlan(columns, nil); err == nil || plan != nil {
			t.Errorf("%s: got plan %v, error %v", name, plan, err)
		}
	}
	if keys, err := mask.NewKeys(make([]byte, 31)); err == nil || keys != nil {
		t.Error("a short secret was accepted")
	}
}

func TestWithoutKeysHashAndTokenRedact(t *testing.T) {
	for _, kind := range []policylang.TransformKind{policylang.TransformHash, policylang.TransformToken} {
		plan, err := mask.NewPlan([]mask.Column{masked(kind, oidText), masked(kind, oidInt4)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := plan.AppendRow(nil, row([]byte("x"), []byte("1")))
		if err != nil || !bytes.Equal(out, row([]byte("REDACTED"), nil)) {
			t.Errorf("%s: got %q, %v", kind, out, err)
		}
	}
}

func TestServes(t *testing.T) {
	all := []uint32{
		oidText, oidName, oidInt2, oidInt8, oidOID, oidNumeric, oidFloat4, oidUUID, oidBytea, oidDate, oidTimestamp,
		oidTimestamptz, oidBool, oidJSON, oidJSONB, oidTextArray, 0,
	}
	want := map[policylang.Transform][]uint32{
		{Kind: policylang.TransformNull}:                   nil,
		{Kind: policylang.TransformRedact}:                 {oidText, oidName},
		{Kind: policylang.TransformPartial}:                {oidText, oidName},
		{Kind: policylang.TransformHash}:                   {oidText, oidName, oidInt2, oidInt8, oidOID, oidNumeric, oidFloat4, oidUUID, oidBytea},
		{Kind: policylang.TransformToken}:                  {oidText, oidName, oidInt2, oidInt8, oidOID, oidNumeric, oidUUID, oidBytea},
		{Kind: policylang.TransformTruncate}:               {oidDate, oidTimestamp, oidTimestamptz},
		{Kind: policylang.TransformTruncate, Unit: "hour"}: {oidTimestamp, oidTimestamptz},
		{Kind: policylang.TransformRound}:                  {oidNumeric, oidFloat4},
		{Kind: policylang.TransformRound, Digits: -2}:      {oidInt2, oidInt8, oidOID, oidNumeric, oidFloat4},
		{Kind: "rot13"}:                                    nil,
	}
	for transform, served := range want {
		var got []uint32
		for _, oid := range all {
			if mask.Serves(transform, oid) {
				got = append(got, oid)
			}
		}
		if diff := cmp.Diff(served, got); diff != "" {
			t.Errorf("%+v: %s", transform, diff)
		}
	}
}

func TestAppendRowDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's sync.Pool forgets on purpose")
	}
	for _, test := range benchmarkRows(t) {
		t.Run(test.name, func(t *testing.T) {
			dst := make([]byte, 0, 1024)
			if n := testing.AllocsPerRun(200, func() {
				var err error
				if dst, err = test.plan.AppendRow(dst[:0], test.body); err != nil {
					t.Fatal(err)
				}
			}); n > 0 {
				t.Errorf("%v allocations a row, want none", n)
			}
		})
	}
}

type benchmarkRow struct {
	name string
	plan *mask.Plan
	body []byte
}

// benchmarkRows are rows of ten columns, two of which are masked.
func benchmarkRows(tb testing.TB) []benchmarkRow {
	tb.Helper()
	text := func(kind policylang.TransformKind, format string, first, last int) mask.Column {
		c := masked(kind, oidText)
		c.Transform.Format, c.Transform.KeepFirst, c.Transform.KeepLast = format, first, last
		return c
	}
	email := []byte("margarete.schneider@example.com")
	card := []byte("4111 1111 1111 1234")
	number := binary.BigEndian.AppendUint64(nil, 123456789)
	of := func(oid uint32, kind policylang.TransformKind) mask.Column {
		c := masked(kind, oid)
		c.Format = mask.FormatBinary
		if kind == policylang.TransformRound {
			c.Transform.Digits = -3
		}
		return c
	}
	tests := []struct {
		name  string
		a, b  mask.Column
		va, v []byte
	}{
		{"partial", text("partial", "email", 1, 0), text("partial", "card", 0, 4), email, card},
		{"redact", text("redact", "", 0, 0), text("redact", "", 0, 0), email, card},
		{"null", text("null", "", 0, 0), text("null", "", 0, 0), email, card},
		{"hash", text("hash", "", 0, 0), text("hash", "", 0, 0), email, card},
		{"token", text("token", "email", 0, 0), text("token", "card", 0, 0), email, card},
		{"integers", of(oidInt8, "round"), of(oidInt8, "token"), number, number},
		{"timestamps", of(oidTimestamptz, "truncate"), of(oidTimestamptz, "truncate"), number, number},
		{"numerics", of(oidNumeric, "round"), of(oidNumeric, "token"), []byte{0, 2, 0, 1, 0, 0, 0, 2, 0, 12, 0, 34}, []byte{0, 2, 0, 1, 0, 0, 0, 2, 0, 12, 0, 34}},
		{"pass", mask.Column{Action: mask.Pass}, mask.Column{Action: mask.Pass}, email, card},
	}
	var rows []benchmarkRow
	for _, test := range tests {
		columns := make([]mask.Column, 10)
		cells := make([][]byte, 10)
		for i := range columns {
			columns[i].Action = mask.Pass
			cells[i] = []byte("some value")
		}
		columns[2], cells[2] = test.a, test.va
		columns[7], cells[7] = test.b, test.v
		plan, err := mask.NewPlan(columns, testKeys(tb, "k"))
		if err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, benchmarkRow{test.name, plan, row(cells...)})
	}
	return rows
}

func BenchmarkAppendRow(b *testing.B) {
	for _, test := range benchmarkRows(b) {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 1024)
			for b.Loop() {
				var err error
				if dst, err = test.plan.AppendRow(dst[:0], test.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
