package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Control is what a control plane counts.
type Control struct {
	Waiting   prometheus.Gauge   // requests that wait for something to change
	Published prometheus.Counter // releases that became live

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewControl declares a control plane's metrics in a registry, or, if that is
// nil, where nobody reads them.
func NewControl(in prometheus.Registerer) *Control {
	if in == nil {
		in = prometheus.NewRegistry()
	}
	s := set{in}
	return &Control{
		Waiting:   s.gauge("postern_control_waiting_requests", "Requests that wait for something to change, most of them of gateways."),
		Published: s.counter("postern_control_releases_total", "Releases that became live."),
		requests:  s.counters("postern_control_requests_total", "Requests to the API, by route and status code.", "route", "code"),
		duration:  s.histograms("postern_control_request_duration_seconds", "How long requests to the API took, but for those that wait.", "route"),
	}
}

// Request counts a request. route is the pattern it matched, never its path.
func (c *Control) Request(route string, code int, waited bool, took time.Duration) {
	c.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
	if !waited {
		c.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}
