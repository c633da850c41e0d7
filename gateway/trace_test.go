package gateway_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

// TestTraceInEvidence follows the span that a client names in a comment into
// the record of its statement, be it run or refused, and whatever the text
// shares with earlier ones.
func TestTraceInEvidence(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ana", simple)
	traces := []string{"0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319d", "2cf7651916cd43dd8448eb211c80319e"}
	for i, sql := range []string{"SELECT id FROM customers", "SELECT id FROM customers", "DROP DATABASE scratch"} {
		_, _ = conn.Exec(t.Context(), sql+" /*traceparent='00-"+traces[i]+"-b7ad6b7169203331-01'*/")
	}
	_ = conn.Close(context.Background())
	var got []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && len(got) < len(traces); time.Sleep(20 * time.Millisecond) {
		got = got[:0]
		for r, err := range evidence.Search(b.dir, evidence.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.TraceID != "" {
				got = append(got, r.TraceID)
			}
		}
	}
	if !slices.Equal(got, traces) {
		t.Errorf("traces %v, want %v", got, traces)
	}
}
