package tracing

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParentIn(t *testing.T) {
	for _, tt := range []struct{ sql, want string }{
		{"SELECT 1", ""},
		{"SELECT 1 /*traceparent='" + parent + "'*/", "0af7651916cd43dd8448eb211c80319c"},
		{"SELECT 1 /*a='b',traceparent='" + parent + "',tracestate='x%3D1'*/", "0af7651916cd43dd8448eb211c80319c"},
		{"SELECT 1 /*traceparent='" + parent[:54] + "'*/", ""},
		{"SELECT 1 /*traceparent='" + parent, ""},
		{"SELECT 1 /*traceparent='01" + parent[2:] + "'*/", ""},
		{"SELECT 1 /*traceparent='00-" + strings.Repeat("0", 32) + parent[35:] + "'*/", ""},
		{"SELECT 1 /*traceparent='" + strings.ToUpper(parent) + "'*/", ""},
	} {
		if got := traceOf(ParentIn(tt.sql)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.sql, got, tt.want)
		}
	}
}

func FuzzParentIn(f *testing.F) {
	f.Add("SELECT 1 /*traceparent='" + parent + "'*/")
	f.Fuzz(func(t *testing.T, sql string) {
		if c := ParentIn(sql); c.IsValid() && !strings.Contains(sql, c.TraceID().String()) {
			t.Errorf("%q has no %s", sql, c.TraceID())
		}
	})
}

func TestStatement(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer, err := newTracer(t.Context(), "1.2.3", sdktrace.WithSyncer(spans))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := tracer.Statement(&Statement{
		Parent: ParentIn("/*traceparent='" + parent + "'*/"), Start: start, End: start.Add(time.Second),
		Server: "db", Port: 5432, Database: "shop", Command: "SELECT", Shape: "SELECT ?", SQLState: "42501", Rows: 3,
	})
	all := spans.GetSpans()
	if len(all) != 1 || id != "0af7651916cd43dd8448eb211c80319c" || all[0].Parent.SpanID().String() != "b7ad6b7169203331" {
		t.Fatalf("%v, trace %s", all, id)
	}
	got := map[string]string{"": all[0].Name, "took": all[0].EndTime.Sub(all[0].StartTime).String()}
	for _, a := range all[0].Attributes {
		if v := a.Value.String(); strings.HasPrefix(string(a.Key), "db.") {
			got[string(a.Key)] = v
		}
	}
	want := map[string]string{
		"": "SELECT shop", "took": "1s", "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "SELECT",
		"db.query.text": "SELECT ?", "db.response.status_code": "42501", "db.response.returned_rows": "3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestOff sends nothing, and keeps the client's trace for the evidence.
func TestOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tracer, err := FromEnvironment(t.Context(), "1.2.3")
	if tracer != nil || err != nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	if id := tracer.Statement(&Statement{Parent: ParentIn("/*traceparent='" + parent + "'*/")}); id != parent[3:35] {
		t.Errorf("trace %q", id)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestExport sends a span to a collector that speaks OTLP.
func TestExport(t *testing.T) {
	received := make(chan *collector.ExportTraceServiceRequest, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(data, &req); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		received <- &req
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	tracer, err := FromEnvironment(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	tracer.Statement(&Statement{Start: time.Now(), End: time.Now(), Command: "SELECT", Database: "shop"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Fatal(err)
	}
	req := <-received
	resource := map[string]string{}
	for _, a := range req.ResourceSpans[0].Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	if resource["service.name"] != "postern" || resource["deployment.environment.name"] != "test" {
		t.Errorf("resource %v", resource)
	}
	if span := req.ResourceSpans[0].ScopeSpans[0].Spans[0]; span.Name != "SELECT shop" {
		t.Errorf("span %v", span)
	}
}
