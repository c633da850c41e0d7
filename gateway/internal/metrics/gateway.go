package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/policylang"
)

// Gateway is what a gateway counts. Its methods and fields may be used by any
// goroutine.
type Gateway struct {
	Sessions prometheus.Gauge // live sessions

	UpstreamSpares prometheus.Gauge // connections to the database that wait for a session

	HeldStatements prometheus.Gauge     // that wait for an approval
	HoldSeconds    prometheus.Histogram // how long they waited

	StatementSeconds prometheus.Histogram // from the decision to the end of the response

	MaskBreaches prometheus.Counter // sessions that the fence ended

	PolicyRevision  prometheus.Gauge   // revision of the release in force, 0 without one
	PolicyLoaded    prometheus.Gauge   // when it came into force, seconds since the epoch
	PolicyErrors    prometheus.Counter // times that following the policy began to fail
	CatalogFailures prometheus.Counter // attempts to read a catalog that failed

	connections   *prometheus.CounterVec
	logins        *prometheus.CounterVec
	upstream      *prometheus.CounterVec
	refusals      *prometheus.CounterVec
	impersonation *prometheus.CounterVec
	statements    map[policylang.Class]map[string]prometheus.Counter
}

// How a connection ended before it was a session.
const (
	ConnectionSession = "session"
	ConnectionRefused = "refused"
	ConnectionCancel  = "cancel"
	ConnectionProbe   = "probe"
	ConnectionBroken  = "broken"
)

// Outcomes of statements.
const (
	StatementCompleted = "completed"
	StatementFailed    = "failed"
	StatementDenied    = "denied"
	StatementLost      = "lost"
)

// NewGateway declares a gateway's metrics in a registry, or, if that is nil,
// where nobody reads them.
func NewGateway(in prometheus.Registerer) *Gateway {
	if in == nil {
		in = prometheus.NewRegistry()
	}
	s := set{in}
	g := &Gateway{
		Sessions:         s.gauge("postern_sessions", "Live sessions."),
		UpstreamSpares:   s.gauge("postern_upstream_spares", "Connections to the database that are logged in and wait for the next session of the same login."),
		HeldStatements:   s.gauge("postern_held_statements", "Statements that wait for an approval."),
		HoldSeconds:      s.histogram("postern_hold_duration_seconds", "How long held statements waited, however it ended."),
		StatementSeconds: s.histogram("postern_statement_duration_seconds", "From the decision about a statement to the end of its response."),
		MaskBreaches:     s.counter("postern_mask_breaches_total", "Sessions ended because a result was not what its analysis foresaw. Any is a reason to look."),
		PolicyRevision:   s.gauge("postern_policy_revision", "Revision of the release in force; 0 without one."),
		PolicyLoaded:     s.gauge("postern_policy_loaded_timestamp_seconds", "When the release in force came into force."),
		PolicyErrors:     s.counter("postern_policy_errors_total", "Times that following the policy began to fail: a source out of reach, a release that did not verify, a bundle that does not compile."),
		CatalogFailures:  s.counter("postern_catalog_failures_total", "Failed attempts to read a database's catalog."),

		connections:   s.counters("postern_connections_total", "Connections of clients, by what became of them: session, refused, cancel, probe, broken.", "outcome"),
		logins:        s.counters("postern_logins_total", "Attempts to log in, by method and by result: ok, or the code of the refusal.", "method", "result"),
		upstream:      s.counters("postern_upstream_connections_total", "Connections to the database that sessions were given: new, or spare.", "kind"),
		refusals:      s.counters("postern_refusals_total", "Refusals of connections and statements, by the code that docs/errors.md explains.", "code"),
		impersonation: s.counters("postern_impersonation_signs_total", "Signs that a credential is used by another than its owner, by sign.", "sign"),
	}
	g.declareStatements(s)
	return g
}

// declareStatements finds all counters of statements once, so that counting is
// one addition.
func (g *Gateway) declareStatements(s set) {
	all := s.counters("postern_statements_total",
		"Statements, by class (read, write, ddl, role, function, misc) and by outcome: completed, failed, denied, lost.", "class", "outcome")
	g.statements = map[policylang.Class]map[string]prometheus.Counter{}
	for _, class := range policylang.Classes() {
		g.statements[class] = map[string]prometheus.Counter{}
		for _, outcome := range []string{StatementCompleted, StatementFailed, StatementDenied, StatementLost} {
			g.statements[class][outcome] = all.WithLabelValues(string(class), outcome)
		}
	}
}

// Connection counts a connection by what became of it.
func (g *Gateway) Connection(outcome string) { g.connections.WithLabelValues(outcome).Inc() }

// Login counts an attempt to log in. The code is empty for one that succeeded.
func (g *Gateway) Login(method string, code refusal.Code) {
	result := string(code)
	if result == "" {
		result = "ok"
	}
	g.logins.WithLabelValues(method, result).Inc()
}

// UpstreamLogin counts a connection to the database that a session was given.
func (g *Gateway) UpstreamLogin(spare bool) {
	kind := "new"
	if spare {
		kind = "spare"
	}
	g.upstream.WithLabelValues(kind).Inc()
}

// Refused counts a refusal of a connection or a statement.
func (g *Gateway) Refused(code refusal.Code) { g.refusals.WithLabelValues(string(code)).Inc() }

// Impersonation counts a sign that a credential is not used by its owner.
func (g *Gateway) Impersonation(sign string) { g.impersonation.WithLabelValues(sign).Inc() }

// Statement counts a statement. An unknown class counts as misc.
func (g *Gateway) Statement(class policylang.Class, outcome string) {
	of, ok := g.statements[class]
	if !ok {
		of = g.statements[policylang.ClassMisc]
	}
	of[outcome].Inc()
}

// Counts is what was counted since the start.
type Counts struct {
	Statements, Denied, Failed, Held uint64
	Waiting                          int // held now
}

// Counts reads some of the metrics, for reports to the control plane.
func (g *Gateway) Counts() Counts {
	var c Counts
	for _, outcomes := range g.statements {
		for outcome, counter := range outcomes {
			n := uint64(read(counter).GetCounter().GetValue())
			c.Statements += n
			switch outcome {
			case StatementDenied:
				c.Denied += n
			case StatementFailed, StatementLost:
				c.Failed += n
			}
		}
	}
	c.Held = read(g.HoldSeconds).GetHistogram().GetSampleCount()
	c.Waiting = int(read(g.HeldStatements).GetGauge().GetValue())
	return c
}

// read returns a metric's value. A metric that cannot be read counts nothing.
func read(m prometheus.Metric) *dto.Metric {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		return &dto.Metric{}
	}
	return &out
}

// Policy notes the release that is in force.
func (g *Gateway) Policy(revision uint64, since time.Time) {
	g.PolicyRevision.Set(float64(revision))
	g.PolicyLoaded.Set(float64(since.UnixMilli()) / 1000)
}
