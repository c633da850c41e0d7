package mask_test

import (
	"testing"

	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/policylang"
)

// BenchmarkMaskRow measures a row of ten columns of which two texts are masked,
// and the same row with detectors on all its texts. `make bench-mask` runs it.
func BenchmarkMaskRow(b *testing.B) {
	email := masked(policylang.TransformPartial, oidText)
	email.Transform.Format, email.Transform.KeepFirst = "email", 1
	card := masked(policylang.TransformPartial, oidText)
	card.Transform.Format, card.Transform.KeepLast = "card", 4
	token := masked(policylang.TransformToken, oidText)
	pass := func(oid uint32) mask.Column { return mask.Column{Action: mask.Pass, TypeOID: oid} }
	net := detecting(oidText, by(policylang.TransformRedact, detect.Every))
	for _, format := range []struct {
		name  string
		code  int16
		cells [][]byte
	}{
		{"text", mask.FormatText, [][]byte{
			[]byte("1234567"), []byte("Ana Maria Example"), []byte("ana.maria@example.com"), []byte("4111111111111111"), []byte("DE"),
			[]byte("t"), []byte("2026-01-02 10:11:12.123456+00"), []byte("120.50"), []byte("wrote to us on Tuesday about order 7"), nil,
		}},
		{"binary", mask.FormatBinary, [][]byte{
			{0, 0, 1, 2},
			[]byte("Ana Maria Example"), []byte("ana.maria@example.com"), []byte("4111111111111111"), []byte("DE"),
			{1},
			{0, 2, 0, 1, 2, 3, 4, 5},
			{0, 1, 0, 0, 0, 0, 0, 2, 0, 120},
			[]byte("wrote to us on Tuesday about order 7"), nil,
		}},
	} {
		columns := func(second, third, texts mask.Column) []mask.Column {
			out := []mask.Column{pass(oidInt4), texts, second, third, texts, pass(16), pass(oidTimestamptz), pass(oidNumeric), texts, pass(oidInt4)}
			for i := range out {
				out[i].Format = format.code
			}
			return out
		}
		for _, test := range []struct {
			name    string
			columns []mask.Column
		}{
			{"redacted", columns(mask.Column{Action: mask.Redact, TypeOID: oidText}, mask.Column{Action: mask.Redact, TypeOID: oidText}, pass(oidText))},
			{"partial", columns(email, card, pass(oidText))},
			{"token", columns(token, token, pass(oidText))},
			{"partial-and-detectors", columns(email, card, net)},
		} {
			b.Run(format.name+"/"+test.name, func(b *testing.B) {
				plan, err := mask.NewPlan(test.columns, testKeys(b, "k"))
				if err != nil {
					b.Fatal(err)
				}
				body := row(format.cells...)
				dst := make([]byte, 0, 1024)
				b.ReportAllocs()
				for b.Loop() {
					if dst, err = plan.AppendRow(dst[:0], body); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
