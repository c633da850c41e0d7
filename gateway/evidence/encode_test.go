package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
)

// encodeLines returns a record's lines without newlines.
func encodeLines(t testing.TB, r *Record, maxSQL int) (public, private []byte) {
	t.Helper()
	e := encoder{origin: appendString([]byte(`"origin":`), "test"), maxSQL: maxSQL}
	e.encode(r, r.Time)
	for _, line := range [][]byte{e.public, e.private} {
		if n := bytes.Count(line, []byte("\n")); n > 1 || len(line) > 0 && (n != 1 || line[len(line)-1] != '\n') {
			t.Fatalf("not one line: %q", line)
		}
	}
	public = append(appendStart(nil, 7), bytes.TrimSuffix(e.public, []byte("\n"))...)
	if len(e.private) > 0 {
		private = bytes.TrimSuffix(e.private, []byte("\n"))
	}
	return public, private
}

func fullRecord() *Record {
	return &Record{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC), Kind: KindStatement,
		Identity: "ana", Issuer: "https://login.example.com", Subject: "u|42", Groups: []string{"dba", "eng"},
		AuthMethod: "token", Actor: "helper", ClientAddr: "2001:db8::1", ApplicationName: "psql \"x\"\n\x01",
		Gateway: "orders", Server: "db:5432", Database: "shop", Role: "ana", Session: "s_0123456789abcdef", StmtNo: 12, Txn: "T",
		Command: "SELECT", Class: policylang.ClassRead, Fingerprint: "0123456789abcdef", Shape: "SELECT ? FROM café\u2028",
		Relations: []Relation{{Name: "public.café", Verb: policylang.VerbRead, Columns: []string{"a", "b"}}, {Name: "x", Verb: policylang.VerbLock}},
		Functions: []string{"pg_catalog.now"}, Protocol: "extended", Parse: "opaque",
		SQL: "SELECT 'a\tb' FROM café WHERE x = $1\r\n",
		Params: []Param{
			{Value: []byte("it's <text>")}, {Value: nil}, {Value: []byte{}}, {Value: []byte{0, 255}, Binary: true}, {Value: []byte("\xff")},
		},
		Effect: policylang.EffectAllow, Rules: []string{"a", "b"}, Bundle: "sha256:00", Approval: "ap_1", Approvers: []string{"dora"}, Reason: "incident 7",
		Observed: []Observation{{Rule: "o", Effect: policylang.EffectDeny}},
		Outcome:  OutcomeCompleted, SQLState: "00000", Rows: 3, Bytes: 999, DurationUS: 1500, HeldUS: 7, Masked: []string{"ssn"},
		TraceID: strings.Repeat("ab", 16),
	}
}

func TestFixedIsTheSame(t *testing.T) {
	want := fullRecord()
	got := &Record{
		Time: want.Time, StmtNo: want.StmtNo, Txn: want.Txn, SQL: want.SQL, Params: want.Params, Bundle: want.Bundle,
		Outcome: want.Outcome, SQLState: want.SQLState, Rows: want.Rows, Bytes: want.Bytes, DurationUS: want.DurationUS,
		HeldUS: want.HeldUS, Masked: want.Masked, TraceID: want.TraceID, Fixed: Fix(want),
	}
	wantLine, _ := encodeLines(t, want, 1<<10)
	gotLine, _ := encodeLines(t, got, 1<<10)
	private := regexp.MustCompile(`,"private":"[^"]*"`) // its salt differs
	if diff := cmp.Diff(private.ReplaceAllString(string(wantLine), ""), private.ReplaceAllString(string(gotLine), "")); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestEncodeWritesEveryField(t *testing.T) {
	want := fullRecord()
	v := reflect.ValueOf(want).Elem()
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "V", "Seq", "Origin", "SQLBytes", "SQLSHA256", "Redacted", "Fixed":
		default:
			if v.Field(i).IsZero() {
				t.Fatalf("the test does not fill %s", name)
			}
		}
	}
	public, private := encodeLines(t, want, 1<<10)
	got, err := decodeRecord(public, private)
	if err != nil {
		t.Fatal(err)
	}
	want.V, want.Seq, want.Origin = Version, 7, "test"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := checkCommitment(public, private); err != nil {
		t.Error(err)
	}
}

func TestEncodeKeepsPrivatePartsOutOfThePublicLine(t *testing.T) {
	r := &Record{Kind: KindStatement, SQL: "select 'sesame'", Params: []Param{{Value: []byte("sesame2")}, {Value: []byte("\x00sesame"), Binary: true}}}
	public, private := encodeLines(t, r, 1<<10)
	if bytes.Contains(public, []byte("sesame")) {
		t.Errorf("the public line shows the private part: %s", public)
	}
	if !bytes.Contains(private, []byte("sesame2")) {
		t.Errorf("the private line lacks a parameter: %s", private)
	}
	again, _ := encodeLines(t, r, 1<<10)
	if bytes.Equal(again, public) {
		t.Error("two commitments to one private part are equal: it can be guessed")
	}
	if _, err := decodeRecord(append(bytes.TrimSuffix(public, []byte("}")), `,"sql":"x"}`...), private); err == nil {
		t.Error("a private member of the public line is accepted")
	}
}

func TestEncodeCutsLongTexts(t *testing.T) {
	tests := []struct {
		name, sql, want string
		max             int
	}{
		{"long", "SELECT 'abc'", "SELE", 4},
		{"cut within a character", "ab\u00e9", "ab", 3},
		{"not UTF-8", "a\xffb", "a\ufffdb", 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			public, private := encodeLines(t, &Record{SQL: tt.sql}, tt.max)
			r, err := decodeRecord(public, private)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(tt.sql))
			if r.SQL != tt.want || r.SQLBytes != int64(len(tt.sql)) || r.SQLSHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("got %q, %d bytes, sum %s", r.SQL, r.SQLBytes, r.SQLSHA256)
			}
		})
	}
}

func TestEncodeCutsParameters(t *testing.T) {
	params := []Param{{Value: bytes.Repeat([]byte("x"), maxParam+1)}}
	for range maxParams/maxParam + 2 {
		params = append(params, Param{Value: bytes.Repeat([]byte("y"), maxParam), Binary: true})
	}
	public, private := encodeLines(t, &Record{Params: params}, 1<<10)
	r, err := decodeRecord(public, private)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, p := range r.Params {
		kept += len(p.Value)
	}
	if kept != maxParams || r.Params[0].Bytes != maxParam+1 || r.Params[0].Binary || r.Params[len(r.Params)-1].Bytes != maxParam {
		t.Errorf("kept %d bytes; first %+v", kept, r.Params[0].Bytes)
	}
}

func TestRecordJSONRoundTrips(t *testing.T) {
	want := fullRecord()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// FuzzEncode: a record decodes to itself, whatever its texts are, and each line
// is JSON as encoding/json reads it.
func FuzzEncode(f *testing.F) {
	f.Add("ana", "SELECT 1", []byte("p"), int64(1), true)
	f.Add("\x00\"\\\u2028\xff", "\xff\n", []byte{0xff}, int64(-1), false)
	f.Fuzz(func(t *testing.T, text, sql string, param []byte, n int64, binary bool) {
		want := &Record{
			Time: time.UnixMicro(n % (1 << 50)).UTC(), Kind: Kind(text), Identity: text, Groups: []string{text, sql}, Command: sql,
			Relations: []Relation{{Name: text, Verb: policylang.Verb(sql), Columns: []string{text}}},
			SQL:       sql, Params: []Param{{Value: param, Binary: binary}}, Rows: n, Observed: []Observation{{Rule: text}},
		}
		public, private := encodeLines(t, want, 1<<20)
		got, err := decodeRecord(public, private)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, public, private)
		}
		if err := checkCommitment(public, private); err != nil {
			t.Fatal(err)
		}
		want.V, want.Seq, want.Origin = Version, 7, "test"
		want.SQLBytes, want.SQLSHA256 = got.SQLBytes, got.SQLSHA256
		valid := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
		if valid(text) == text && valid(sql) == sql {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("record (-want +got):\n%s", diff)
			}
		}
		if string(got.Params[0].Value) != string(param) {
			t.Fatalf("parameter %q became %q", param, got.Params[0].Value)
		}
	})
}
