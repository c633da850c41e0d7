// Package tracing sends a span for each statement to an OpenTelemetry
// collector. It is off unless the environment names one by
// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; the other
// variables of the OpenTelemetry specification (headers, timeout, sampler,
// resource attributes) work as it says.
//
// A statement's span is a child of the one that the client names in a comment,
// as SQLCommenter writes it:
//
//	SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/
//
// Spans have the attributes of OpenTelemetry's stable database conventions.
// The text is the statement's shape, in which every constant is replaced; who
// ran it is evidence, which the attributes postern.session and
// postern.statement lead to.
package tracing

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil Tracer makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Statement is what a span tells about one statement.
type Statement struct {
	Parent     trace.SpanContext // of the client; invalid if it named none
	Start, End time.Time
	Server     string // host of the upstream
	Port       int
	Database   string
	Command    string // PostgreSQL's command tag
	Shape      string // the text without its constants; may be empty
	Gateway    string
	Session    string
	Number     int64 // of the statement in its session
	Bundle     string
	Effect     string
	Rules      []string
	Outcome    string
	SQLState   string // of an error; empty if there was none
	Rows       int64
}

// FromEnvironment returns the tracer that the environment asks for: nil if it
// asks for none.
func FromEnvironment(ctx context.Context, version string) (*Tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces: %w", err)
	}
	t, err := newTracer(ctx, version, sdktrace.WithBatcher(exporter))
	if err != nil {
		return nil, err
	}
	return t, nil
}

func newTracer(ctx context.Context, version string, export sdktrace.TracerProviderOption) (*Tracer, error) {
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "postern"), attribute.String("service.version", version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(export, sdktrace.WithResource(about))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/posternhq/postern/gateway")}, nil
}

// Close sends what is left, as long as ctx lets it.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Statement makes a statement's span and returns its trace's id: 32 hexadecimal
// digits, or "" if there is neither tracer nor parent.
func (t *Tracer) Statement(s *Statement) string {
	if t == nil {
		return traceOf(s.Parent)
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), s.Parent)
	_, span := t.tracer.Start(ctx, name(s), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(s.Start), trace.WithAttributes(attributes(s)...))
	if s.SQLState != "" {
		span.SetStatus(codes.Error, s.SQLState)
	}
	span.End(trace.WithTimestamp(s.End))
	return traceOf(span.SpanContext())
}

func traceOf(c trace.SpanContext) string {
	if !c.TraceID().IsValid() {
		return ""
	}
	return c.TraceID().String()
}

// name is the span's, of few different values: the command and the database.
func name(s *Statement) string { return strings.TrimSpace(s.Command + " " + s.Database) }

// attributes follow "Semantic conventions for PostgreSQL", stable since 1.33.
func attributes(s *Statement) []attribute.KeyValue {
	out := []attribute.KeyValue{
		attribute.String("db.system.name", "postgresql"),
		attribute.String("db.namespace", s.Database),
		attribute.String("db.operation.name", s.Command),
		attribute.String("server.address", s.Server),
		attribute.Int("server.port", s.Port),
		attribute.String("postern.gateway", s.Gateway),
		attribute.String("postern.session", s.Session),
		attribute.Int64("postern.statement", s.Number),
		attribute.String("postern.bundle", s.Bundle),
		attribute.String("postern.effect", s.Effect),
		attribute.StringSlice("postern.rules", s.Rules),
		attribute.String("postern.outcome", s.Outcome),
		attribute.Int64("db.response.returned_rows", s.Rows),
	}
	if s.Shape != "" {
		out = append(out, attribute.String("db.query.text", s.Shape))
	}
	if s.SQLState != "" {
		out = append(out, attribute.String("db.response.status_code", s.SQLState), attribute.String("error.type", s.SQLState))
	}
	return out
}

// ParentIn finds the span that a text names as its parent: the last
// traceparent='…' (W3C Trace Context, version 00) in it. The span context is
// invalid if there is none.
func ParentIn(sql string) trace.SpanContext {
	const key, size = "traceparent='", len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if !strings.Contains(sql, key) { // as in most; looking from the end takes longer
		return trace.SpanContext{}
	}
	i := strings.LastIndex(sql, key)
	if i < 0 || len(sql) < i+len(key)+size+1 || sql[i+len(key)+size] != '\'' {
		return trace.SpanContext{}
	}
	v := sql[i+len(key):][:size]
	if v[:3] != "00-" || v[35] != '-' || v[52] != '-' {
		return trace.SpanContext{}
	}
	id, err := trace.TraceIDFromHex(v[3:35])
	if err != nil {
		return trace.SpanContext{}
	}
	span, err := trace.SpanIDFromHex(v[36:52])
	if err != nil {
		return trace.SpanContext{}
	}
	var flags trace.TraceFlags
	if v[54] == '1' || v[54] == '3' {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
}
