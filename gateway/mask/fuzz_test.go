package mask_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

// FuzzAppendRow masks arbitrary bodies by arbitrary plans: an error leaves dst
// as it was, and otherwise the row is well made, values that pass are the same
// bytes, and NULL stays NULL but where it is redacted.
func FuzzAppendRow(f *testing.F) {
	f.Add([]byte{0, 1, 2}, row([]byte("ana@example.com"), []byte("2024-02-29"), nil))
	f.Add([]byte{9, 80, 200, 255}, row([]byte("-12.50"), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, nil, []byte{}))
	f.Add([]byte{1}, []byte{0, 1, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{}, []byte{0, 0})
	keys := testKeys(f, "k")
	kinds := append(transforms(), policylang.Transform{Kind: "rot13"})
	types := []uint32{
		oidText, oidVarchar, oidBPChar, oidName, oidInt2, oidInt4, oidInt8, oidOID, oidNumeric, oidFloat4, oidFloat8,
		oidUUID, oidBytea, oidDate, oidTimestamp, oidTimestamptz, oidBool, oidJSONB, 0,
	}
	f.Fuzz(func(t *testing.T, choices, body []byte) {
		columns := make([]mask.Column, len(choices))
		for i, choice := range choices {
			columns[i] = mask.Column{
				Action: mask.Action(choice % 3), Transform: kinds[int(choice)%len(kinds)], Policy: "pii",
				TypeOID: types[int(choice/3)%len(types)], TypeMod: int32(choice) - 100, Format: int16(choice >> 7),
			}
		}
		plan, err := mask.NewPlan(columns, keys)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(body)
		out, err := plan.AppendRow([]byte("dst"), body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if string(out) != "dst" {
				t.Fatalf("an error and %q", out)
			}
			return
		}
		in, got := values(t, body), values(t, out[len("dst"):])
		if len(in) != len(columns) || len(got) != len(columns) {
			t.Fatalf("%d values in, %d out, %d columns", len(in), len(got), len(columns))
		}
		for i, c := range columns {
			switch {
			case c.Action == mask.Pass && !bytes.Equal(in[i], got[i]):
				t.Fatalf("value %d passes and was changed", i)
			case c.Action == mask.Pass && (in[i] == nil) != (got[i] == nil):
				t.Fatalf("value %d passes and is or is not NULL", i)
			case c.Action == mask.Mask && in[i] == nil && got[i] != nil && mask.Serves(c.Transform, c.TypeOID) && c.Transform.Kind != policylang.TransformRedact:
				t.Fatalf("NULL became %q", got[i])
			}
		}
	})
}

// FuzzSecrecy masks one value by every transform: the output never holds it.
func FuzzSecrecy(f *testing.F) {
	f.Add([]byte("ana.silva@example.com"))
	f.Add([]byte("4111 1111 1111 1234"))
	f.Add([]byte("Þórdís 李 !!"))
	f.Add([]byte("a@b@c.d"))
	f.Add([]byte("@@@@"))
	f.Add([]byte("***"))
	f.Add([]byte("\xff\xfe12"))
	keys := testKeys(f, "k")
	f.Fuzz(func(t *testing.T, secret []byte) {
		// Short values and asterisks are met by chance.
		if len(secret) < 12 || bytes.Contains(secret, []byte("*")) {
			return
		}
		for _, transform := range transforms() {
			if transform.Kind == policylang.TransformToken && symbols(secret, " -_.,:;/+()@'") < 12 {
				continue
			}
			digits := transform.Format == "card" || transform.Format == "phone"
			if digits && symbols(secret, " -+./()") == 0 { // separators alone stay
				continue
			}
			for _, oid := range []uint32{oidText, oidBPChar, oidJSONB, oidDate, oidNumeric, oidUUID} {
				plan, err := mask.NewPlan([]mask.Column{{
					Action: mask.Mask, Transform: transform, Policy: "pii", TypeOID: oid,
				}}, keys)
				if err != nil {
					t.Fatal(err)
				}
				out, err := plan.AppendRow(nil, row(secret))
				if err != nil {
					t.Fatal(err)
				}
				if oid != oidNumeric && oid != oidDate && bytes.Contains(out, secret) {
					t.Fatalf("%+v of %q as %d gives %q", transform, secret, oid, out)
				}
			}
		}
	})
}

// symbols counts the characters that are not separators.
func symbols(value []byte, separators string) int {
	n := 0
	for _, r := range string(value) {
		if !strings.ContainsRune(separators, r) {
			n++
		}
	}
	return n
}
