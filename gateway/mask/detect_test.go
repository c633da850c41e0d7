package mask_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/policylang"
)

func detecting(oid uint32, detectors ...mask.Detector) mask.Column {
	return mask.Column{Action: mask.Pass, TypeOID: oid, Detect: detectors}
}

func by(kind policylang.TransformKind, want detect.Kind) mask.Detector {
	return mask.Detector{Kinds: want, Transform: policylang.Transform{Kind: kind, KeepFirst: 1, KeepLast: 2, Format: "text"}, Policy: "stray"}
}

func TestDetect(t *testing.T) {
	const jsonOID, citextOID, varcharOID, boolOID = 114, 20000, 1043, 16
	redact := by(policylang.TransformRedact, detect.Every)
	observe := redact
	observe.Observe = true
	tests := []struct {
		name   string
		column mask.Column
		in     string
		want   string // "" is NULL
	}{
		{"nothing found", detecting(oidText, redact), "nothing here", "nothing here"},
		{"redact in place", detecting(oidText, redact), "ask ana@example.com, 123-45-6789!", "ask REDACTED, REDACTED!"},
		{"not the wanted kind", detecting(oidText, by(policylang.TransformRedact, detect.Card)), "ana@example.com", "ana@example.com"},
		{"partial e-mail", detecting(oidText, by(policylang.TransformPartial, detect.Email)), "to ana.maria@example.com now", "to a***ia@example.com now"},
		{"partial card", detecting(oidText, by(policylang.TransformPartial, detect.Card)), "4111 1111 1111 1111", "4*** **** **** **11"},
		{"null takes all", detecting(oidText, by(policylang.TransformNull, detect.Email)), "to ana@example.com", ""},
		{"round redacts", detecting(oidText, by(policylang.TransformRound, detect.Email)), "ana@example.com", "REDACTED"},
		{"the strictest wins", detecting(oidText, by(policylang.TransformPartial, detect.Email), redact), "ana@example.com", "REDACTED"},
		{"observed only", detecting(oidText, observe), "ana@example.com", "ana@example.com"},
		{"two in one", detecting(oidText, redact), "a@b.de@c.de", "REDACTED"},
		{"varchar(5)", mask.Column{Action: mask.Pass, TypeOID: varcharOID, TypeMod: 9, Detect: []mask.Detector{redact}}, "a@b.de", "REDAC"},
		{"JSON whole", detecting(jsonOID, redact), `{"card": 4111111111111111}`, ""},
		{"JSON without", detecting(jsonOID, redact), `{"a": 1}`, `{"a": 1}`},
		{"extension's type", detecting(citextOID, redact), "ana@example.com", ""},
		{"not a text", detecting(boolOID, redact), "t", "t"},
	}
	for _, tt := range tests {
		for _, format := range []int16{mask.FormatText, mask.FormatBinary} {
			tt.column.Format = format
			if got := apply(t, tt.column, []byte(tt.in)); string(got) != tt.want || (got == nil) != (tt.want == "") {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

func TestDetectReports(t *testing.T) {
	got := map[detect.Kind]int{}
	c := detecting(oidText, by(policylang.TransformRedact, detect.Email), mask.Detector{Kinds: detect.SSN, Observe: true})
	c.Found = func(k detect.Kind) { got[k]++ }
	if out := apply(t, c, []byte("a@b.de, c@d.de, 123-45-6789")); string(out) != "REDACTED, REDACTED, 123-45-6789" {
		t.Errorf("got %q", out)
	}
	if got[detect.Email] != 2 || got[detect.SSN] != 1 {
		t.Errorf("reported %v", got)
	}
}

// TestDetectNothingPassesRows wants rows not to be decoded where no column has
// texts.
func TestDetectNothingPassesRows(t *testing.T) {
	plan, err := mask.NewPlan([]mask.Column{detecting(oidInt4, by(policylang.TransformRedact, detect.Every)), {Action: mask.Pass, TypeOID: oidText}}, nil)
	if err != nil || !plan.Passthrough() {
		t.Error(err, plan)
	}
}

// FuzzDetect wants redacted texts to have nothing more to find, and never the
// value that was in them.
func FuzzDetect(f *testing.F) {
	f.Add("x", "y")
	f.Add("a@b.de", "@c.de")
	f.Add("4111111111111111-", " 22")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, secret := range []string{"zo.e@elsewhere.test", "5500005555555559", "123-45-6789", "GB29NWBK60161331926819", "+442079460958"} {
			if strings.Contains(before+after, secret) {
				return
			}
			out := apply(t, detecting(oidText, by(policylang.TransformRedact, detect.Every)), []byte(before+"\n"+secret+"\n"+after))
			if bytes.Contains(out, []byte(secret)) {
				t.Fatalf("%q is in %q", secret, out)
			}
			for s := range detect.All(out, detect.Every) {
				t.Fatalf("%v is in %q", s, out)
			}
		}
	})
}
