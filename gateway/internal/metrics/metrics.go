// Package metrics is everything that a gateway and a control plane count, in
// the form that Prometheus reads. Each metric is declared once, in gateway.go
// or control.go, with the help text that docs/metrics.md is made of; the code
// that counts holds a struct of them and asks for nothing by name.
//
// A set that [Gateway] or [Control] returns counts from the start. It is served
// only where [Handler] is mounted. No label ever has a value that a client
// chose: names of people, databases and relations are evidence, not metrics.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry that has the process's own metrics, those of
// the Go runtime, and the build's version.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_build_info", Help: "1, labelled with the version of this binary.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// Handler serves a registry in Prometheus's text format.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r})
}

// seconds are the buckets of durations: from half a millisecond to a minute.
func seconds() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

// set makes metrics and registers them.
type set struct{ in prometheus.Registerer }

func (s set) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	s.in.MustRegister(c)
	return c
}

func (s set) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	s.in.MustRegister(c)
	return c
}

func (s set) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	s.in.MustRegister(g)
	return g
}

func (s set) histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds()})
	s.in.MustRegister(h)
	return h
}

func (s set) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds()}, labels)
	s.in.MustRegister(h)
	return h
}
