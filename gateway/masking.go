package gateway

import (
	"context"
	"log/slog"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// names is what the catalog tells about a session's statements at one moment.
type names struct {
	catalog    *pgcatalog.Catalog // nil if it cannot be read and nothing is masked
	base       *pgcatalog.Catalog // catalog without what the session's transaction has made
	masks      *policylang.MaskSet
	protection *lineage.Protection // nil if nothing is masked
	unknown    bool                // a statement has a name that is not in the catalog
	changed    bool                // what a statement rests on has changed since the catalog was read
}

// names reads the catalog. Without one, whoever has masks is refused; for
// others names stay unresolved, which widens nothing.
func (g *guard) names(ctx context.Context, masks *policylang.MaskSet) (*names, *refusal.Refusal) {
	cat, err := g.catalog(ctx)
	if err != nil {
		g.server.cfg.Metrics.CatalogFailures.Inc()
		g.log.LogAttrs(ctx, slog.LevelWarn, "read the catalog", slog.Any("error", err))
		if len(masks.Masks) > 0 {
			return nil, refusal.New(refusal.CatalogUnavailable, "the database's catalog cannot be read, and columns are masked for you")
		}
		return &names{masks: masks}, nil
	}
	n := &names{catalog: cat, base: cat, masks: masks}
	if len(masks.Masks) > 0 {
		n.protection = g.server.protections.get(cat, masks, g.server.cfg.Logger)
		g.overlaid(n)
	}
	g.analyses.reset(n)
	return n, nil
}

// catalog reads the catalog, and lets others go on while it waits for that.
func (g *guard) catalog(ctx context.Context) (*pgcatalog.Catalog, error) {
	if cat := g.server.catalogs.Current(g.info.Database); cat != nil {
		return cat, nil
	}
	defer relay.Slow(ctx)()
	return g.server.catalogs.Snapshot(ctx, g.info.Database)
}

// resolve gives the facts of a statement the schemas of their names.
func (n *names) resolve(g *guard, k *known) *policylang.Facts {
	if n.catalog == nil || k.statement == nil {
		return k.facts
	}
	return g.analyses.facts(k, func() *policylang.Facts { return lineage.Resolve(k.facts, g.env, n.catalog) })
}

// analyse follows the masked columns through a statement, and through the
// arguments of the EXECUTE that runs it.
func (n *names) analyse(g *guard, c *considered, by *relay.Statement) *refusal.Refusal {
	c.guarding = n.protection
	if n.protection.Empty() {
		return nil
	}
	if k, ok := by.Data.(*known); ok && k != c.known {
		if _, r := n.analysis(g, k); r != nil {
			return r
		}
	}
	a, r := n.analysis(g, c.known)
	if r != nil {
		return r
	}
	c.analysis = a
	return nil
}

// checkTypes refuses parameters whose type runs code that cannot be read: the
// server reads them at Bind.
func (n *names) checkTypes(types []uint32) *refusal.Refusal {
	if n.protection == nil || n.protection.Empty() {
		return nil
	}
	for i, oid := range types {
		if oid != 0 && !n.protection.ReadsHarmlessly(oid) {
			return refusal.New(refusal.Masked, "the type of parameter $%d runs code that cannot be read, and columns are masked for you", i+1).
				WithHint("Declare the type that it is made of, or none.")
		}
	}
	return nil
}

// checkCopy plans how the rows of COPY … TO are masked.
func (g *guard) checkCopy(c *considered) *refusal.Refusal {
	if c.analysis == nil || c.analysis.Copy == nil {
		return nil
	}
	hides := false
	columns := make([]mask.Column, len(c.analysis.Columns))
	for i := range c.analysis.Columns {
		out := &c.analysis.Columns[i]
		if out.Action == lineage.Pass {
			columns[i].Action = mask.Pass
			continue
		}
		hides = true
		columns[i] = masking(out, relay.Field{TypeOID: out.TypeOID, TypeMod: out.TypeMod})
	}
	if !hides {
		return nil
	}
	options, ok := copyOptions(c.analysis.Copy)
	rewriter, err := mask.NewCopy(columns, g.server.cfg.MaskKeys, options)
	if !ok || err != nil {
		return refusal.New(refusal.Masked, "with masked columns, this COPY cannot be rewritten").
			WithHint("Use the format's own delimiter, quote and null string.")
	}
	c.copy = rewriter
	return nil
}

// copyOptions reads how the rows of COPY … TO look.
func copyOptions(f *lineage.CopyFormat) (mask.CopyOptions, bool) {
	formats := map[string]mask.CopyFormat{"text": mask.CopyText, "csv": mask.CopyCSV, "binary": mask.CopyBinary}
	format, ok := formats[f.Format]
	o := mask.DefaultCopyOptions(format)
	o.Header = f.Header
	if f.HasNull {
		o.Null = f.Null
	}
	if f.Quote != "" && format == mask.CopyCSV {
		o.Quote, o.Escape = f.Quote[0], f.Quote[0]
	}
	if f.Escape != "" {
		o.Escape = f.Escape[0]
	}
	if f.Delimiter != "" {
		o.Delimiter = f.Delimiter[0]
	}
	return o, ok && len(f.Quote) <= 1 && len(f.Escape) <= 1 && len(f.Delimiter) <= 1
}

func (n *names) analysis(g *guard, k *known) (*lineage.Analysis, *refusal.Refusal) {
	if k.statement == nil {
		return nil, unseen(k.facts.Command)
	}
	a, refused := g.analyses.analysis(k, func() (*lineage.Analysis, *lineage.Refusal) {
		return lineage.Analyze(k.statement, g.env, n.catalog, n.protection)
	})
	if refused != nil {
		n.unknown = refused.Code == lineage.CodeUnknown
		r := refusal.New(refusal.Masked, "%s", refused.Message)
		if refused.SQLSTATE != "" {
			r = refusal.New(refusal.UndefinedName, "%s", refused.Message)
			r.SQLSTATE = refused.SQLSTATE
		}
		r.Position = refused.Position
		if refused.Hint != "" {
			r.Hint = refused.Hint
		}
		return nil, r
	}
	return a, nil
}

// unseen refuses what runs by a name of which the gateway has not read what it
// stands for.
func unseen(command string) *refusal.Refusal {
	switch command {
	case "EXECUTE":
		return refusal.New(refusal.Masked, "this session has not prepared a statement of that name, and columns are masked for you").
			WithHint("Prepare it in this session; by PREPARE, in a text of its own.")
	case "FETCH", "MOVE":
		return refusal.New(refusal.Masked, "this transaction has not declared a cursor of that name, and columns are masked for you").
			WithHint("DECLARE it in this transaction, in a text of its own.")
	}
	return refusal.New(refusal.Masked, "%s needs a statement that the gateway has read, and columns are masked for you", command)
}

// analysisCache keeps what was worked out about a session's statements, as
// long as the catalog, the masks and the search path stay as they are. The
// client loop owns it.
type analysisCache struct {
	of      names
	results map[*known]*analysed
	settled map[*policylang.Facts]*settled // by the facts of a text, or of all of one form
}

type analysed struct {
	verified time.Time // when what the analysis rests on was last looked at
	facts    *policylang.Facts
	done     bool
	analysis *lineage.Analysis
	refused  *lineage.Refusal
}

func (c *analysisCache) clear() {
	clear(c.results)
	clear(c.settled)
}

// reset forgets everything if it was worked out under other names.
func (c *analysisCache) reset(n *names) {
	if c.of.catalog != n.catalog || c.of.protection != n.protection || len(c.results) >= maxSessionTexts {
		c.clear()
	}
	c.of = *n
}

func (c *analysisCache) entry(k *known) *analysed {
	if c.results == nil {
		c.results = map[*known]*analysed{}
	}
	a := c.results[k]
	if a == nil {
		a = &analysed{}
		c.results[k] = a
	}
	return a
}

func (c *analysisCache) facts(k *known, resolve func() *policylang.Facts) *policylang.Facts {
	a := c.entry(k)
	if a.facts == nil {
		a.facts = resolve()
	}
	return a.facts
}

func (c *analysisCache) analysis(k *known, analyse func() (*lineage.Analysis, *lineage.Refusal)) (*lineage.Analysis, *lineage.Refusal) {
	a := c.entry(k)
	if !a.done {
		a.analysis, a.refused = analyse()
		a.done = true
	}
	return a.analysis, a.refused
}

// Columns is the fence: it compares the columns that the server announces with
// those that the analysis foresaw, and plans how to mask them.
func (g *guard) Columns(p *relay.Permit, index int, fields []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	x, ok := p.Data.(*execution)
	if !ok || index >= len(x.statements) {
		return nil, refusal.New(refusal.MaskBreach, "a result came that no statement announces")
	}
	if !x.masked {
		return nil, nil
	}
	if x.settled == nil || len(fields) == 0 {
		return g.planColumns(x, index, fields)
	}
	if p := x.settled.plan; p != nil && p.fields == &fields[0] && p.count == len(fields) {
		return p.rewriter, nil
	}
	rewriter, r := g.planColumns(x, index, fields)
	if r == nil {
		x.settled.plan = &planned{fields: &fields[0], count: len(fields), rewriter: rewriter}
	}
	return rewriter, r
}

// planColumns is Columns for columns that were not announced before.
func (g *guard) planColumns(x *execution, index int, fields []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	c := &x.statements[index]
	if c.analysis == nil {
		if r := fenceUnplanned(c, fields); r != nil {
			return nil, r
		}
		return g.planDetecting(x, fields)
	}
	if len(c.analysis.Columns) != len(fields) {
		return nil, refusal.New(refusal.MaskBreach, "a result has %d columns where %d were foreseen", len(fields), len(c.analysis.Columns))
	}
	columns := make([]mask.Column, len(fields))
	for i, f := range fields {
		out := &c.analysis.Columns[i]
		if out.Action != lineage.Pass {
			columns[i] = masking(out, f)
			continue
		}
		if protects(c.guarding, f) {
			return nil, refusal.New(refusal.MaskBreach, "a masked column came where another was foreseen")
		}
		if out.TypeOID != f.TypeOID && (out.TypeOID != 0 && out.TypeOID != textOID || mayHoldRow(c.guarding, f.TypeOID)) {
			return nil, refusal.New(refusal.MaskBreach, "a result has a column of another type than was foreseen")
		}
		columns[i] = g.passing(x, f)
	}
	return g.plan(columns)
}

// textOID is what the analysis foresees for a literal whose type the server
// may yet take from where it stands.
const textOID = 25

// mayHoldRow reports whether values of a type may be rows with masked columns.
func mayHoldRow(p *lineage.Protection, typeOID uint32) bool {
	const record, recordArray = 2249, 2287
	return typeOID == record || typeOID == recordArray || p.ProtectsType(typeOID)
}

// masking says how a column that does not pass is masked.
func masking(out *lineage.Output, f relay.Field) mask.Column {
	column := mask.Column{TypeOID: f.TypeOID, TypeMod: f.TypeMod, Format: f.Format, Transform: out.Transform}
	if out.Action == lineage.Mask {
		column.Action = mask.Mask
		if len(out.Policies) > 0 {
			column.Policy = out.Policies[0]
		}
	}
	return column
}

// Payloads reports whether the payloads of notifications may pass: not to
// those from whom columns are masked, since anybody may put them there.
func (g *guard) Payloads() bool {
	return len(g.view.Load().evaluator.Masks(g.server.cfg.Clock()).Masks) == 0
}

// fenceUnplanned lets results without an analysis pass (SHOW and the like, or
// a database without masked columns) unless they name a masked column.
func fenceUnplanned(c *considered, fields []relay.Field) *refusal.Refusal {
	for _, f := range fields {
		if c.guarding != nil && protects(c.guarding, f) {
			return refusal.New(refusal.MaskBreach, "a masked column came from a statement that was not analysed")
		}
	}
	return nil
}

func protects(p *lineage.Protection, f relay.Field) bool {
	_, protected := p.Transform(f.TableOID, f.Attnum)
	return protected
}
