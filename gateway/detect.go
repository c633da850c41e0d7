package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/statement"
)

// detectorsOf returns what masking policies look for in texts of columns that
// none of them names.
func detectorsOf(masks *policylang.MaskSet) []mask.Detector {
	var out []mask.Detector
	for i := range masks.Masks {
		m := &masks.Masks[i]
		d := mask.Detector{Transform: m.Transform, Policy: m.Policy, Observe: m.Observe}
		for _, name := range m.Detect {
			d.Kinds |= detect.KindOf(name)
		}
		if d.Kinds != 0 {
			out = append(out, d)
		}
	}
	return out
}

// Detection is a column of a result in whose texts values were detected though
// no masking policy names it.
type Detection struct {
	Database string
	Table    string // "schema.name"; empty if the column is computed
	Column   string // of the table, or as the result names it
	Kind     string // what the values look like
	Count    int64  // of values since the gateway started
}

// detections counts what was detected.
type detections struct {
	mu     sync.Mutex
	counts map[Detection]*atomic.Int64 // by the detection without its count
}

// maxDetections bounds what is kept: names of computed columns are the
// clients' own.
const maxDetections = 10_000

// counter returns the count of a detection, and whether it is new. Beyond the
// bound everything counts as one.
func (d *detections) counter(of Detection) (n *atomic.Int64, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.counts[of]; ok {
		return n, false
	}
	if len(d.counts) >= maxDetections {
		of = Detection{Kind: of.Kind}
		if n, ok := d.counts[of]; ok {
			return n, false
		}
	}
	if d.counts == nil {
		d.counts = map[Detection]*atomic.Int64{}
	}
	n = &atomic.Int64{}
	d.counts[of] = n
	return n, true
}

// Detections lists the columns in whose texts values were detected though no
// masking policy names them, those with the most values first.
func (s *Server) Detections() []Detection {
	s.detections.mu.Lock()
	defer s.detections.mu.Unlock()
	out := make([]Detection, 0, len(s.detections.counts))
	for d, n := range s.detections.counts {
		d.Count = n.Load()
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Detection) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Database, b.Database), cmp.Compare(a.Table, b.Table),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// detected returns what is told of each value found in a column.
func (g *guard) detected(x *execution, f relay.Field) func(detect.Kind) {
	of := Detection{Database: g.info.Database, Column: f.Name}
	if x.catalog != nil && f.TableOID != 0 {
		if r := x.catalog.Relation(f.TableOID); r != nil {
			of.Table = r.Schema + "." + r.Name
			if c := r.Column(f.Attnum); c != nil {
				of.Column = c.Name
			}
		}
	}
	return func(k detect.Kind) {
		of.Kind = k.String()
		n, first := g.server.detections.counter(of)
		n.Add(1)
		if first {
			g.log.LogAttrs(context.Background(), slog.LevelWarn, "values were detected in a column that no masking policy names",
				slog.String("database", of.Database), slog.String("table", of.Table), slog.String("column", of.Column), slog.String("kind", of.Kind))
		}
	}
}

// planDetecting plans a result of which no column is masked, unless values are
// detected in it.
func (g *guard) planDetecting(x *execution, fields []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	if len(x.detectors) == 0 {
		return nil, nil
	}
	columns := make([]mask.Column, len(fields))
	for i, f := range fields {
		columns[i] = g.passing(x, f)
	}
	return g.plan(columns)
}

// passing is a column that passes but for what is detected in it.
func (g *guard) passing(x *execution, f relay.Field) mask.Column {
	c := mask.Column{Action: mask.Pass, TypeOID: f.TypeOID, TypeMod: f.TypeMod, Format: f.Format}
	if len(x.detectors) > 0 {
		c.Detect, c.Found = x.detectors, g.detected(x, f)
	}
	return c
}

func (g *guard) plan(columns []mask.Column) (relay.RowRewriter, *refusal.Refusal) {
	plan, err := mask.NewPlan(columns, g.server.cfg.MaskKeys)
	if err != nil {
		return nil, refusal.New(refusal.MaskBreach, "a result cannot be masked")
	}
	if plan.Passthrough() {
		return nil, nil
	}
	return plan, nil
}

// checkSearched refuses what carries texts past the detectors: COPY has no rows
// to search.
func (x *execution) checkSearched(k *known) *refusal.Refusal {
	if len(x.detectors) == 0 || k.statement == nil || k.statement.Session.Kind != statement.Copy || k.statement.Session.Value != "out" {
		return nil
	}
	return refusal.New(refusal.Masked, "values in texts are masked for you wherever they are found (policy %s), and COPY cannot be searched", x.detectors[0].Policy).
		WithHint("Use SELECT.")
}
