package mask_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

func token(format string, oid uint32) mask.Column {
	c := masked(policylang.TransformToken, oid)
	c.Transform.Format = format
	return c
}

func TestHashForms(t *testing.T) {
	tests := []struct {
		name, in, form string
		oid            uint32
		typeMod        int32
	}{
		{"text", "ana", `^[0-9a-f]{32}$`, oidText, 0},
		{"empty", "", `^[0-9a-f]{32}$`, oidText, 0},
		{"varchar(10)", "ana", `^[0-9a-f]{10}$`, oidVarchar, 14},
		{"int2", "-5", `^[0-9]{1,5}$`, oidInt2, 0},
		{"int8", "9223372036854775807", `^[0-9]{1,19}$`, oidInt8, 0},
		{"oid", "4294967295", `^[0-9]{1,10}$`, oidOID, 0},
		{"numeric", "-1.50", `^[0-9]{1,18}$`, oidNumeric, 0},
		{"numeric(5,2)", "1.50", `^[0-9]{1,3}$`, oidNumeric, 5<<16 | 2 + 4},
		{"numeric(3,-2)", "1500", `^[0-9]{1,5}$`, oidNumeric, 3<<16 | (-2 & 0x7ff) + 4},
		{"numeric(2,2)", "0.50", `^NULL$`, oidNumeric, 2<<16 | 2 + 4},
		{"float4", "1.5e10", `^[0-9]{1,8}$`, oidFloat4, 0},
		{"float8 NaN", "NaN", `^NULL$`, oidFloat8, 0},
		{"uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, oidUUID, 0},
		{"no uuid", "6ba7b810", `^NULL$`, oidUUID, 0},
		{"bytea", `\x00ff`, `^\\x[0-9a-f]{32}$`, oidBytea, 0},
		{"bytea escaped", `\000a`, `^NULL$`, oidBytea, 0},
		{"date", "2024-01-01", `^NULL$`, oidDate, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := masked(policylang.TransformHash, test.oid)
			c.TypeMod = test.typeMod
			out := "NULL"
			if v := apply(t, c, []byte(test.in)); v != nil {
				out = string(v)
			}
			if !regexp.MustCompile(test.form).MatchString(out) {
				t.Errorf("got %q, want a match of %s", out, test.form)
			}
		})
	}
}

func TestTokenForms(t *testing.T) {
	tests := []struct {
		name, in, form, format string
		oid                    uint32
	}{
		{"ssn", "123-45-6789", `^\d{3}-\d{2}-\d{4}$`, "", oidText},
		{"name", "O'Brien, Ana (PhD)", `^[A-Z]'[A-Z][a-z]{4}, [A-Z][a-z]{2} \([A-Z][a-z][A-Z]\)$`, "text", oidText},
		{"foreign name", "Þórdís 李", `^[a-z]{2}[a-z]{2}[a-z][a-z] [a-z]$`, "text", oidText},
		{"symbols", "p@ss!", `^[a-z]@[a-z]{2}[a-z]$`, "text", oidText},
		{"separators alone", "--", `^\*\*\*$`, "text", oidText},
		{"empty", "", `^$`, "text", oidText},
		{"email", "Ana.Silva@example.com", `^[A-Z][a-z]{2}\.[A-Z][a-z]{4}@[a-z]{7}\.[a-z]{3}\.invalid$`, "email", oidText},
		{"no email", "ana", `^[a-z]{3}$`, "email", oidText},
		{"card", "4111 1111 1111 1111", `^(\d{4} ){3}\d{4}$`, "card", oidText},
		{"phone", "+49 30 901820", `^\+\d{2} \d{2} \d{6}$`, "phone", oidText},
		{"padded", "ab        ", `^[a-z]{2}$`, "", oidBPChar},
		{"int4", "-1234567890", `^-[1-9]\d{9}$`, "", oidInt4},
		{"int2", "-32768", `^-[1-9]\d{4}$`, "", oidInt2},
		{"int8", "9223372036854775807", `^[1-9]\d{18}$`, "", oidInt8},
		{"zero", "0", `^\d$`, "", oidInt4},
		{"oid", "4294967295", `^[1-9]\d{9}$`, "", oidOID},
		{"numeric", "-120.50", `^-[1-9]\d{2}\.\d{2}$`, "", oidNumeric},
		{"numeric below one", "0.05", `^0\.\d{2}$`, "", oidNumeric},
		{"numeric zero", "0", `^\d$`, "", oidNumeric},
		{"numeric NaN", "NaN", `^NULL$`, "", oidNumeric},
		{"uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", `^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$`, "", oidUUID},
		{"bytea", `\xdeadbeef`, `^\\x[0-9a-f]{8}$`, "", oidBytea},
		{"empty bytea", `\x`, `^\\x$`, "", oidBytea},
		{"float", "1.5", `^NULL$`, "", oidFloat8},
		{"date", "2024-01-01", `^NULL$`, "", oidDate},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := "NULL"
			if v := apply(t, token(test.format, test.oid), []byte(test.in)); v != nil {
				out = string(v)
			}
			if !regexp.MustCompile(test.form).MatchString(out) {
				t.Errorf("got %q, want a match of %s", out, test.form)
			}
			if out == test.in && len(out) > 4 {
				t.Error("the token is the value")
			}
		})
	}
}

// TestTokensArePermutations goes through whole domains: no two values share a
// token, and each token is in the domain.
func TestTokensArePermutations(t *testing.T) {
	domains := []struct {
		name   string
		column mask.Column
		values func(yield func(string) bool)
	}{
		{"one digit", token("", oidText), count(0, 9, "%d")},
		{"three digits", token("", oidText), count(0, 999, "%03d")},
		{"a letter and two digits", token("", oidText), func(yield func(string) bool) {
			for letter := 'a'; letter <= 'z'; letter++ {
				for n := range 100 {
					if !yield(fmt.Sprintf("%c-%02d", letter, n)) {
						return
					}
				}
			}
		}},
		{"int2 of one digit", token("", oidInt2), count(0, 9, "%d")},
		{"int2 of two digits", token("", oidInt2), count(10, 99, "%d")},
		{"int2 of five digits", token("", oidInt2), count(10000, 32767, "%d")},
		{"negative int2 of one digit", token("", oidInt2), count(-9, -1, "%d")},
		{"negative int2 of five digits", token("", oidInt2), count(-32768, -10000, "%d")},
		{"numeric", token("", oidNumeric), func(yield func(string) bool) {
			for n := 100; n <= 9999; n++ {
				if !yield(fmt.Sprintf("%d.%02d", n/100, n%100)) {
					return
				}
			}
		}},
		{"negative numeric below one", token("", oidNumeric), func(yield func(string) bool) {
			for n := 1; n <= 99; n++ {
				if !yield(fmt.Sprintf("-0.%02d", n)) {
					return
				}
			}
		}},
		{"bytes", token("", oidBytea), count(0, 65535, `\x%04x`)},
	}
	for _, domain := range domains {
		t.Run(domain.name, func(t *testing.T) {
			plan, err := mask.NewPlan([]mask.Column{domain.column}, testKeys(t, "k"))
			if err != nil {
				t.Fatal(err)
			}
			tokens := make(map[string]string)
			same := 0
			for value := range domain.values {
				body, err := plan.AppendRow(nil, row([]byte(value)))
				if err != nil {
					t.Fatal(err)
				}
				tok := string(values(t, body)[0])
				if other, taken := tokens[tok]; taken {
					t.Fatalf("%q and %q have the token %q", value, other, tok)
				}
				tokens[tok] = value
				if tok == value {
					same++
				}
			}
			for value := range domain.values {
				if _, ok := tokens[value]; !ok && !strings.Contains(domain.name, "numeric") {
					t.Fatalf("%q is nobody's token: the domain was left", value)
				}
			}
			if same > 10 {
				t.Errorf("%d of %d values are their own token", same, len(tokens))
			}
		})
	}
}

func count(from, to int, format string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for n := from; n <= to; n++ {
			if !yield(fmt.Sprintf(format, n)) {
				return
			}
		}
	}
}

// TestKeyedValuesJoin shows what a hash or token depends on: the value, the
// policy and the secret, and nothing else.
func TestKeyedValuesJoin(t *testing.T) {
	for _, kind := range []policylang.TransformKind{policylang.TransformHash, policylang.TransformToken} {
		base := masked(kind, oidText)
		of := func(c mask.Column, secret, value string) string {
			plan, err := mask.NewPlan([]mask.Column{c}, testKeys(t, secret))
			if err != nil {
				t.Fatal(err)
			}
			body, err := plan.AppendRow(nil, row([]byte(value)))
			if err != nil {
				t.Fatal(err)
			}
			return string(values(t, body)[0])
		}
		first := of(base, "k", "margarete")
		if of(base, "k", "margarete") != first {
			t.Errorf("%s: not the same twice", kind)
		}
		varchar := base
		varchar.TypeOID, varchar.Format = oidVarchar, mask.FormatBinary
		if of(varchar, "k", "margarete") != first {
			t.Errorf("%s: not the same across types of text", kind)
		}
		bpchar := base
		bpchar.TypeOID = oidBPChar
		if of(bpchar, "k", "margarete   ") != first {
			t.Errorf("%s: padding counts", kind)
		}
		if of(base, "k", "margareta") == first {
			t.Errorf("%s: another value is the same", kind)
		}
		if of(base, "q", "margarete") == first {
			t.Errorf("%s: the secret does not count", kind)
		}
		other := base
		other.Policy = "other"
		if of(other, "k", "margarete") == first {
			t.Errorf("%s: the policy does not count", kind)
		}
	}
	number := func(kind policylang.TransformKind, oid uint32, value string) string {
		return string(apply(t, masked(kind, oid), []byte(value)))
	}
	hash, tok := policylang.TransformHash, policylang.TransformToken
	if number(hash, oidNumeric, "1.50") != number(hash, oidNumeric, "1.5") {
		t.Error("equal numerics have different hashes")
	}
	if number(tok, oidInt4, "123456") != number(tok, oidInt8, "123456") || number(tok, oidInt4, "123456") != number(tok, oidNumeric, "123456") {
		t.Error("equal integers have different tokens")
	}
	if number(tok, oidText, "123-45") != strings.Join([]string{number(tok, oidText, "12345")[:3], number(tok, oidText, "12345")[3:]}, "-") {
		t.Error("separators count")
	}
}

// TestKeysAreSafeForConcurrentUse is for the race detector.
func TestKeysAreSafeForConcurrentUse(t *testing.T) {
	keys := testKeys(t, "k")
	want := apply(t, masked(policylang.TransformToken, oidText), []byte("margarete"))
	results := make(chan []byte)
	for range 8 {
		go func() {
			plan, err := mask.NewPlan([]mask.Column{masked(policylang.TransformToken, oidText)}, keys)
			if err != nil {
				results <- nil
				return
			}
			var out []byte
			for range 200 {
				if out, err = plan.AppendRow(out[:0], row([]byte("margarete"))); err != nil {
					break
				}
			}
			results <- out
		}()
	}
	for range 8 {
		if got := <-results; !bytes.Equal(got, row(want)) {
			t.Errorf("got %q", got)
		}
	}
}

// TestTextAndBinaryAgree masks integers in both formats.
func TestTextAndBinaryAgree(t *testing.T) {
	for _, kind := range []policylang.TransformKind{policylang.TransformHash, policylang.TransformToken, policylang.TransformRound} {
		for _, n := range []int64{0, 1, -1, 9, 10, 99, 12345, -32768, 32767, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63} {
			c := masked(kind, oidInt8)
			c.Transform.Digits = -2
			text := apply(t, c, strconv.AppendInt(nil, n, 10))
			c.Format = mask.FormatBinary
			binaryForm := apply(t, c, binary.BigEndian.AppendUint64(nil, uint64(n)))
			if got := strconv.FormatInt(int64(binary.BigEndian.Uint64(binaryForm)), 10); got != string(text) {
				t.Errorf("%s of %d: binary %s, text %s", kind, n, got, text)
			}
		}
	}
}
