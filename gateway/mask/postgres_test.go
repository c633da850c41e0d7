package mask_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

// server asks a real PostgreSQL.
type server struct {
	t    *testing.T
	conn *pgx.Conn
}

func newServer(t *testing.T) server {
	t.Helper()
	cluster := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return server{t, conn}
}

// query returns one row in a format, with the description of its columns.
func (s server) query(sql string, format int16, params ...[]byte) ([][]byte, []pgconn.FieldDescription) {
	s.t.Helper()
	formats := make([]int16, len(params))
	for i := range formats {
		formats[i] = format
	}
	result := s.conn.PgConn().ExecParams(s.t.Context(), sql, params, nil, formats, []int16{format}).Read()
	if result.Err != nil {
		s.t.Fatalf("%s: %v", sql, result.Err)
	}
	return result.Rows[0], result.FieldDescriptions
}

// text returns how the server shows a value of a type.
func (s server) text(typ string, value []byte, format int16) string {
	s.t.Helper()
	if value == nil {
		return "NULL"
	}
	result := s.conn.PgConn().ExecParams(s.t.Context(), "SELECT $1::"+typ,
		[][]byte{value}, nil, []int16{format}, []int16{mask.FormatText}).Read()
	if result.Err != nil {
		s.t.Fatalf("the server refuses a masked %s: %v", typ, result.Err)
	}
	return string(result.Rows[0][0])
}

// TestServerReadsMaskedValues sends each masked value back to the server, from
// either format: the server takes it, means the same by both, and pgx decodes
// it.
func TestServerReadsMaskedValues(t *testing.T) {
	s := newServer(t)
	s.exec("SET TimeZone = 'Asia/Kolkata'")
	for typ, literals := range samples() {
		for _, literal := range literals {
			sql := fmt.Sprintf("SELECT '%s'::%s", strings.ReplaceAll(literal, "'", "''"), typ)
			textRow, fields := s.query(sql, mask.FormatText)
			binaryRow, _ := s.query(sql, mask.FormatBinary)
			for _, transform := range transforms() {
				c := mask.Column{
					Action: mask.Mask, Transform: transform, Policy: "pii",
					TypeOID: fields[0].DataTypeOID, TypeMod: fields[0].TypeModifier,
				}
				fromText := apply(t, c, textRow[0])
				c.Format = mask.FormatBinary
				fromBinary := apply(t, c, binaryRow[0])
				a, b := s.text(typ, fromText, mask.FormatText), s.text(typ, fromBinary, mask.FormatBinary)
				if a != b {
					t.Errorf("%+v of %s %q: %s from text, %s from binary", transform, typ, literal, a, b)
				}
				s.mustDecode(fields[0].DataTypeOID, fromText, mask.FormatText)
				s.mustDecode(fields[0].DataTypeOID, fromBinary, mask.FormatBinary)
				if mask.Serves(transform, fields[0].DataTypeOID) == (fromText == nil) && !unservable(literal) {
					t.Errorf("%+v of %s %q: served is %v, got %s", transform, typ, literal, fromText == nil, show(fromText))
				}
			}
		}
	}
}

func (s server) exec(sql string) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql); err != nil {
		s.t.Fatal(err)
	}
}

func (s server) mustDecode(oid uint32, value []byte, format int16) {
	s.t.Helper()
	typ, ok := s.conn.TypeMap().TypeForOID(oid)
	if !ok || value == nil {
		return
	}
	if _, err := typ.Codec.DecodeValue(s.conn.TypeMap(), oid, format, value); err != nil {
		s.t.Errorf("pgx can't decode %q as %s: %v", value, typ.Name, err)
	}
}

// unservable names values of a served type that no transform can do much with.
func unservable(literal string) bool {
	return strings.Contains(strings.ToLower(literal), "inf") || literal == "NaN" || strings.Contains(literal, "e+")
}

func samples() map[string][]string {
	integers := []string{"0", "1", "-1", "7", "42", "-999", "12345"}
	return map[string][]string{
		"text":          {"", "ana", "O'Brien", "Þórdís 李", "ana.silva@example.com", "4111 1111 1111 1234", "+49 30 901820", "line\nbreak"},
		"varchar(6)":    {"", "ana", "123456", "Þórdís"},
		"char(12)":      {"", "ana", "123-45-6789"},
		"name":          {"customers", strings.Repeat("x", 63)},
		"smallint":      append(integers, "32767", "-32768"),
		"integer":       append(integers, "2147483647", "-2147483648"),
		"bigint":        append(integers, "9223372036854775807", "-9223372036854775808"),
		"oid":           {"0", "1", "4294967295"},
		"numeric":       append(integers, "0.5", "-0.05", "123456789.123456789", "0.000000001", "1e40", "99999.9999", "10000", "-0.00001", "NaN", "Infinity", "-Infinity", "120000.00", "1e-20"),
		"numeric(10,2)": {"0", "1234.56", "-99999999.99"},
		"numeric(4,0)":  {"0", "-1234"},
		"real":          {"0", "-0", "1.5", "-123.456", "1e+30", "1e-30", "NaN", "Infinity", "16777216"},
		"float8":        {"0", "-0", "1.5", "-123.456", "0.1", "1e+300", "1e-300", "NaN", "-Infinity", "123456789012345"},
		"uuid":          {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-0000-0000-000000000000"},
		"bytea":         {`\x`, `\x00`, `\xdeadbeef`, `\x` + strings.Repeat("ab", 100)},
		"date":          {"2024-02-29", "2000-01-01", "1999-12-31", "0001-01-01", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "1600-02-29", "1900-03-01"},
		"timestamp":     {"2024-02-29 14:23:11.123456", "2000-01-01 00:00:00", "1999-12-31 23:59:59.999999", "0044-03-15 12:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "2024-06-01 00:00:00.5"},
		"timestamptz":   {"2024-02-29 14:23:11.123456+00", "2024-03-01 04:00:00+05:30", "1999-12-31 23:59:59.999999-08", "1890-01-01 00:00:00+00", "0044-03-15 12:00:00+00 BC", "-infinity"},
		"boolean":       {"true", "false"},
		"json":          {`{"a": 1}`},
		"jsonb":         {`{"a": 1}`},
		"text[]":        {"{a,b}"},
		"int4range":     {"[1,5)"},
		"interval":      {"1 day"},
		"time":          {"12:30:00"},
		"timetz":        {"12:30:00+01"},
		"inet":          {"192.0.2.1/24"},
		"point":         {"(1,2)"},
		"bit(4)":        {"1010"},
		"xml":           {"<a/>"},
		"money":         {"12.50"},
		"tsvector":      {"a b"},
	}
}

func transforms() []policylang.Transform {
	out := []policylang.Transform{
		{Kind: policylang.TransformNull},
		{Kind: policylang.TransformRedact},
		{Kind: policylang.TransformHash},
		{Kind: policylang.TransformPartial, KeepFirst: 1, KeepLast: 1},
		{Kind: policylang.TransformPartial, Format: "email", KeepFirst: 1},
		{Kind: policylang.TransformPartial, Format: "card", KeepLast: 4},
		{Kind: policylang.TransformPartial, Format: "phone", KeepLast: 2},
	}
	for _, format := range []string{"text", "email", "card", "phone"} {
		out = append(out, policylang.Transform{Kind: policylang.TransformToken, Format: format})
	}
	for _, unit := range []string{"", "year", "month", "day", "hour"} {
		out = append(out, policylang.Transform{Kind: policylang.TransformTruncate, Unit: unit})
	}
	for _, digits := range []int{-18, -4, -1, 0, 1, 4, 18} {
		out = append(out, policylang.Transform{Kind: policylang.TransformRound, Digits: digits})
	}
	return out
}

// TestRoundAndTruncateAgreeWithTheServer compares with the server's own
// functions.
func TestRoundAndTruncateAgreeWithTheServer(t *testing.T) {
	s := newServer(t)
	s.exec("SET TimeZone = 'America/New_York'")
	compare := func(typ, literal, function string, transform policylang.Transform) {
		t.Helper()
		row, fields := s.query(fmt.Sprintf("SELECT '%s'::%s", literal, typ), mask.FormatText)
		c := mask.Column{Action: mask.Mask, Transform: transform, TypeOID: fields[0].DataTypeOID}
		out := apply(t, c, row[0])
		if out == nil {
			t.Errorf("%+v of %s %q is NULL", transform, typ, literal)
			return
		}
		want, _ := s.query(fmt.Sprintf("SELECT (%s)::%s = $1::%s, (%s)::text", fmt.Sprintf(function, fmt.Sprintf("'%s'::%s", literal, typ)), typ, typ, fmt.Sprintf(function, fmt.Sprintf("'%s'::%s", literal, typ))), mask.FormatText, out)
		if string(want[0]) != "t" {
			t.Errorf("%+v of %s %q: got %s, the server says %s", transform, typ, literal, out, want[1])
		}
	}
	for digits := -6; digits <= 6; digits++ {
		transform := policylang.Transform{Kind: policylang.TransformRound, Digits: digits}
		for _, literal := range samples()["numeric"] {
			if !unservable(literal) {
				compare("numeric", literal, fmt.Sprintf("round(%%s, %d)", digits), transform)
			}
		}
		for _, literal := range []string{"0", "1", "-1", "45", "-55", "49999", "50000", "1234567"} {
			if digits < 0 {
				compare("integer", literal, fmt.Sprintf("round(%%s, %d)", digits), transform)
			}
		}
		for _, literal := range []string{"0", "1.5", "-123.456", "0.1", "1e+30", "123456789012345"} {
			compare("float8", literal, fmt.Sprintf("round(%%s::numeric, %d)", digits), transform)
		}
	}
	for _, unit := range []string{"year", "month", "day", "hour"} {
		transform := policylang.Transform{Kind: policylang.TransformTruncate, Unit: unit}
		for _, typ := range []string{"timestamp", "timestamptz", "date"} {
			function := fmt.Sprintf("date_trunc('%s', %%s)", unit)
			if typ == "timestamptz" {
				function = fmt.Sprintf("date_trunc('%s', %%s, 'UTC')", unit)
			}
			for _, literal := range samples()[typ] {
				if typ == "date" && (unit == "day" || unit == "hour" || strings.HasPrefix(literal, "5874897")) {
					continue
				}
				compare(typ, literal, function, transform)
			}
		}
	}
}
