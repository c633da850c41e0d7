package mask_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

// copyColumns are id, email, note and born: email is masked in part, note is
// redacted and born truncated.
func copyColumns() []mask.Column {
	email := masked(policylang.TransformPartial, oidText)
	email.Transform.KeepFirst = 2
	return []mask.Column{
		{Action: mask.Pass, TypeOID: oidInt4}, email, {Action: mask.Redact, TypeOID: oidText}, masked(policylang.TransformTruncate, oidDate),
	}
}

func TestCopyText(t *testing.T) {
	text, csv := mask.DefaultCopyOptions(mask.CopyText), mask.DefaultCopyOptions(mask.CopyCSV)
	withHeader := csv
	withHeader.Header = true
	piped := text
	piped.Delimiter, piped.Null = '|', "nil"
	slashed := csv
	slashed.Quote, slashed.Escape, slashed.Null = '\'', '\\', "-"
	tests := []struct {
		name     string
		options  mask.CopyOptions
		in, want string
	}{
		{"text", text, "1\tana@x\tsecret\t2024-02-29\n", "1\tan***\tREDACTED\t2024-02-01\n"},
		{"nulls", text, "\\N\t\\N\t\\N\t\\N\n", "\\N\t\\N\tREDACTED\t\\N\n"},
		{"escapes", text, "a\\tb\t\\\\\\nxyz\tsecret\\\n\\N\t2024-02-29\n", "a\\tb\t\\\\\\n***\tREDACTED\t2024-02-01\n"},
		{"unreadable date", text, "1\tana@x\ts\t29.02.2024\n", "1\tan***\tREDACTED\t\\N\n"},
		{"two rows", text, "1\tabcd\ts\t2024-02-29\n2\tefgh\ts\t2024-02-29\n", "1\tab***\tREDACTED\t2024-02-01\n2\tef***\tREDACTED\t2024-02-01\n"},
		{"other delimiter", piped, "1|a\\|bcd|s|nil\n", "1|a\\|***|REDACTED|nil\n"},
		{"CSV", csv, "1,ana@x,secret,2024-02-29\n", "1,an***,REDACTED,2024-02-01\n"},
		{"CSV nulls", csv, ",,,\n", ",,REDACTED,\n"},
		{"CSV empty strings", csv, "\"\",\"\",\"\",\n", "\"\",***,REDACTED,\n"},
		{"CSV quotes", csv, "\"a,\"\"b\n\",\",\"\"cde\",\"a\nb\",\"2024-02-29\"\n", "\"a,\"\"b\n\",\",\"\"***\",REDACTED,2024-02-01\n"},
		{"CSV header", withHeader, "id,email,note,born\n1,ana@x,s,2024-02-29\n", "id,email,note,born\n1,an***,REDACTED,2024-02-01\n"},
		{"CSV of another make", slashed, "'a\\'b','\\'\\'x\\\\yz',-,-\n", "'a\\'b','\\'\\'***',REDACTED,-\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := mask.NewCopy(copyColumns(), nil, test.options)
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Append([]byte("before"), []byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("before"+test.want, string(out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCopyErrors(t *testing.T) {
	header := []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	tests := []struct {
		name   string
		format mask.CopyFormat
		in     []byte
		want   error
	}{
		{"text, three values", mask.CopyText, []byte("1\ta\tb\n"), mask.ErrArity},
		{"text, five values", mask.CopyText, []byte("1\ta\tb\tc\td\n"), mask.ErrArity},
		{"text, no end", mask.CopyText, []byte("1\ta\tb\tc"), mask.ErrMalformed},
		{"text, escape at the end", mask.CopyText, []byte("1\ta\tb\tc\\\n"), mask.ErrMalformed},
		{"CSV, five values", mask.CopyCSV, []byte("1,a,b,c,d\n"), mask.ErrArity},
		{"CSV, open quote", mask.CopyCSV, []byte("1,a,b,\"c\n"), mask.ErrMalformed},
		{"binary without a header", mask.CopyBinary, row(nil, nil, nil, nil), mask.ErrMalformed},
		{"binary with OIDs", mask.CopyBinary, []byte("PGCOPY\n\xff\r\n\x00\x00\x01\x00\x00\x00\x00\x00\x00"), mask.ErrMalformed},
		{"binary header cut", mask.CopyBinary, header[:18], mask.ErrMalformed},
		{"binary, three values", mask.CopyBinary, append(bytes.Clone(header), row(nil, nil, nil)...), mask.ErrArity},
		{"binary row cut", mask.CopyBinary, append(bytes.Clone(header), row(nil, nil, nil, nil)[:8]...), mask.ErrMalformed},
		{"binary, behind the trailer", mask.CopyBinary, append(bytes.Clone(header), 0xff, 0xff, 0), mask.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := mask.NewCopy(copyColumns(), nil, mask.DefaultCopyOptions(test.format))
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Append([]byte("dst"), test.in)
			if !errors.Is(err, test.want) || string(out) != "dst" {
				t.Errorf("got %q and error %v, want %v", out, err, test.want)
			}
		})
	}
}

func TestNewCopyRefusesOptions(t *testing.T) {
	change := func(format mask.CopyFormat, f func(*mask.CopyOptions)) mask.CopyOptions {
		o := mask.DefaultCopyOptions(format)
		f(&o)
		return o
	}
	for name, options := range map[string]mask.CopyOptions{
		"zero":                     {},
		"unknown format":           {Format: 7},
		"backslash delimiter":      change(mask.CopyText, func(o *mask.CopyOptions) { o.Delimiter = '\\' }),
		"letter delimiter":         change(mask.CopyText, func(o *mask.CopyOptions) { o.Delimiter = 'n' }),
		"null with a delimiter":    change(mask.CopyText, func(o *mask.CopyOptions) { o.Null = "a\tb" }),
		"null with a line break":   change(mask.CopyCSV, func(o *mask.CopyOptions) { o.Null = "\n" }),
		"null with a quote":        change(mask.CopyCSV, func(o *mask.CopyOptions) { o.Null = `"` }),
		"quote is delimiter":       change(mask.CopyCSV, func(o *mask.CopyOptions) { o.Quote = ',' }),
		"no escape":                change(mask.CopyCSV, func(o *mask.CopyOptions) { o.Escape = 0 }),
		"binary header of columns": change(mask.CopyBinary, func(o *mask.CopyOptions) { o.Header = true }),
	} {
		if c, err := mask.NewCopy(nil, nil, options); err == nil || c != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// copyWriter masks each message that pgconn hands over.
type copyWriter struct {
	copy *mask.Copy
	out  bytes.Buffer
}

func (w *copyWriter) Write(message []byte) (int, error) {
	masked, err := w.copy.Append(nil, message)
	if err != nil {
		return 0, err
	}
	w.out.Write(masked)
	return len(message), nil
}

// TestServerReadsMaskedCopies masks what a real server copies out, copies it
// in again and compares with the masked rows of a SELECT.
func TestServerReadsMaskedCopies(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", `
		CREATE TABLE people (id int, email text, note text, born date);
		INSERT INTO people VALUES
			(1, 'ana@example.com', 'a', '2024-02-29'), (2, NULL, NULL, NULL), (3, '', '', 'infinity'),
			(4, E'tab\there', E'line\nbreak', '0044-03-15 BC'), (5, E'back\\slash', '\N', '1999-12-31'),
			(6, 'quote"d, and more', '"', '2000-01-01'), (7, '\.', E'\r\n', '2000-01-01'), (8, E'\b\f\v|', ',', '2000-01-01');
		CREATE TABLE masked (LIKE people)`)
	conn, err := pgx.Connect(t.Context(), cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })

	plan, err := mask.NewPlan(copyColumns(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, r := range readRows(t, conn, "people") {
		body, err := plan.AppendRow(nil, row(r...))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, showRow(values(t, body)))
	}
	for with, options := range map[string]mask.CopyOptions{
		"FORMAT text":        mask.DefaultCopyOptions(mask.CopyText),
		"FORMAT csv":         mask.DefaultCopyOptions(mask.CopyCSV),
		"FORMAT csv, HEADER": {Format: mask.CopyCSV, Delimiter: ',', Quote: '"', Escape: '"', Header: true},
		"FORMAT csv, DELIMITER '|', NULL 'nil', QUOTE '''', ESCAPE '\\'": {Format: mask.CopyCSV, Delimiter: '|', Null: "nil", Quote: '\'', Escape: '\\'},
		"FORMAT text, DELIMITER '|', NULL 'nil'":                         {Format: mask.CopyText, Delimiter: '|', Null: "nil"},
		"FORMAT binary":                                                  mask.DefaultCopyOptions(mask.CopyBinary),
	} {
		t.Run(with, func(t *testing.T) {
			c, err := mask.NewCopy(copyColumns(), nil, options)
			if err != nil {
				t.Fatal(err)
			}
			w := &copyWriter{copy: c}
			if _, err := conn.PgConn().CopyTo(t.Context(), w, fmt.Sprintf("COPY (SELECT * FROM people ORDER BY id) TO STDOUT WITH (%s)", with)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), "TRUNCATE masked"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.PgConn().CopyFrom(t.Context(), io.Reader(&w.out), fmt.Sprintf("COPY masked FROM STDIN WITH (%s)", with)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range readRows(t, conn, "masked") {
				got = append(got, showRow(r))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func readRows(t *testing.T, conn *pgx.Conn, table string) [][][]byte {
	t.Helper()
	result := conn.PgConn().ExecParams(t.Context(), "SELECT * FROM "+table+" ORDER BY id", nil, nil, nil, []int16{mask.FormatText}).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result.Rows
}

func showRow(r [][]byte) string {
	var shown []string
	for _, v := range r {
		shown = append(shown, show(v))
	}
	return strings.Join(shown, " ")
}

// FuzzCopy copies arbitrary data: what passes whole is the same bytes, an error
// leaves dst as it was, and a redacted column's values don't come out.
func FuzzCopy(f *testing.F) {
	f.Add(uint8(0), []byte("1\tana@x\tsecret\t2024-02-29\n"))
	f.Add(uint8(1), []byte("1,\"a\nb\",secret,2024-02-29\n"))
	f.Add(uint8(2), append([]byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"), row(nil, []byte("x"), nil, nil)...))
	f.Fuzz(func(t *testing.T, format uint8, data []byte) {
		options := mask.DefaultCopyOptions(mask.CopyFormat(format % 3))
		pass, err := mask.NewCopy([]mask.Column{{Action: mask.Pass}, {Action: mask.Pass}, {Action: mask.Pass}, {Action: mask.Pass}}, nil, options)
		if err != nil {
			t.Fatal(err)
		}
		same, passErr := pass.Append([]byte("dst"), data)
		if passErr == nil && !bytes.Equal(same, append([]byte("dst"), data...)) {
			t.Fatalf("%q became %q", data, same)
		}
		hiding, err := mask.NewCopy(make([]mask.Column, 4), nil, options)
		if err != nil {
			t.Fatal(err)
		}
		out, err := hiding.Append([]byte("dst"), data)
		if (err == nil) != (passErr == nil) {
			t.Fatalf("errors %v and %v", passErr, err)
		}
		if err != nil {
			if string(out) != "dst" {
				t.Fatalf("an error and %q", out)
			}
			return
		}
		if options.Format == mask.CopyBinary {
			return
		}
		line := strings.Repeat(options.Null+string(options.Delimiter), 3) + options.Null + "\n"
		if rest := strings.TrimPrefix(string(out), "dst"); strings.ReplaceAll(rest, line, "") != "" {
			t.Fatalf("%q came out of %q", rest, data)
		}
	})
}
