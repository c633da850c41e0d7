package detect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/gateway/mask/detect"
)

func found(text string, want detect.Kind) []string {
	var out []string
	for s := range detect.All([]byte(text), want) {
		out = append(out, fmt.Sprintf("%v %s", s.Kind, text[s.Start:s.End]))
	}
	return out
}

func TestAll(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"no value here, version 1.2.3 of 2024-02-29 10:11:12", nil},
		{"ana@example.com", []string{"email ana@example.com"}},
		{"mail a.b+c@x-y.example.co.uk, please", []string{"email a.b+c@x-y.example.co.uk"}},
		{"<ana@example.com>.", []string{"email ana@example.com"}},
		{"two: a@b.de;c@d.org", []string{"email a@b.de", "email c@d.org"}},
		{"jörg@bücher.de", []string{"email jörg@bücher.de"}},
		{"ana@localhost, @home.de, ana@@b.de x@1.2", []string{}},
		{"card 4111111111111111 ok", []string{"card 4111111111111111"}},
		{"4111 1111 1111 1111", []string{"card 4111 1111 1111 1111"}},
		{"5500-0055-5555-5559", []string{"card 5500-0055-5555-5559"}},
		{"340000000000009", []string{"card 340000000000009"}},
		{"4111111111111112", nil},
		{"0000000000000000 4444444444444444", nil},
		{"x4111111111111111", nil},
		{"41111111111111110000000", nil},
		{"SSN 123-45-6789.", []string{"ssn 123-45-6789"}},
		{"123 45 6789", []string{"ssn 123 45 6789"}},
		{"000-45-6789; 666-45-6789; 900-45-6789; 123-00-6789; 123-45-0000", nil},
		{"123-45-67890; 1123-45-6789; 123-45 6789", nil},
		{"IBAN DE89370400440532013000", []string{"iban DE89370400440532013000"}},
		{"GB29 NWBK 6016 1331 9268 19", []string{"iban GB29 NWBK 6016 1331 9268 19"}},
		{"NO9386011117947", []string{"iban NO9386011117947"}},
		{"DE88370400440532013000 XX89370400440532013000", nil},
		{"call +49 (0) 30 123456 now", []string{"phone +49 (0) 30 123456"}},
		{"call +49 30 1234567 now", []string{"phone +49 30 1234567"}},
		{"+1-212-555-0100", []string{"phone +1-212-555-0100"}},
		{"+442079460958", []string{"phone +442079460958"}},
		{"(212) 555-0100 or 212.555.0100", []string{"phone (212) 555-0100", "phone 212.555.0100"}},
		{"+123 112-555-0100 2125550100 +0123456789", nil},
	}
	for _, tt := range tests {
		got := found(tt.text, detect.Every)
		if len(got) == 0 && len(tt.want) == 0 {
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", tt.text, diff)
		}
	}
}

func TestOnlyWanted(t *testing.T) {
	const text = "ana@example.com 4111111111111111 123-45-6789 DE89370400440532013000 +442079460958"
	for _, name := range detect.Names() {
		got := found(text, detect.KindOf(name))
		if len(got) != 1 || !strings.HasPrefix(got[0], name+" ") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if detect.KindOf("name") != 0 || detect.Every.String() != "" {
		t.Error("an unknown kind has a value")
	}
}

// FuzzAll wants spans that are in order, within the text and of a wanted kind,
// and every planted value to be found.
func FuzzAll(f *testing.F) {
	f.Add("ana@example.com", "x ", " y", uint8(detect.Every))
	f.Add("4111 1111 1111 1111", "(", ")", uint8(detect.Card))
	f.Add("+++212-", "é", "@", uint8(7))
	f.Fuzz(func(t *testing.T, text, before, after string, want uint8) {
		last := 0
		for s := range detect.All([]byte(text), detect.Kind(want)) {
			if s.Start < last || s.End <= s.Start || s.End > len(text) || s.Kind&detect.Kind(want) == 0 || s.Kind.String() == "" {
				t.Fatalf("%q: %+v after %d", text, s, last)
			}
			last = s.End
		}
		// Between other words, in any text, a value is found.
		for _, planted := range []string{"ana@example.com", "4111111111111111", "123-45-6789", "DE89370400440532013000", "+442079460958"} {
			whole := before + "\n" + planted + "\n" + after
			hit := false
			for s := range detect.All([]byte(whole), detect.Every) {
				hit = hit || s.Start <= len(before)+1 && s.End >= len(before)+1+len(planted)
			}
			if !hit {
				t.Fatalf("%q is not found in %q", planted, whole)
			}
		}
	})
}

func BenchmarkAll(b *testing.B) {
	text := []byte(strings.Repeat("The quick brown fox jumps over 12 lazy dogs, twice. ", 4))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := detect.Next(text, 0, detect.Every); ok {
			b.Fatal("found")
		}
	}
}
