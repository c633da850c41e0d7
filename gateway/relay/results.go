package relay

import (
	"github.com/posternhq/postern/gateway/internal/refusal"
)

func (u *upstreamLoop) rowDescription(e *entry, p piece) error {
	fields, err := e.memo().read(p.body())
	if err != nil {
		return err
	}
	if err := u.plan(e, *fields); err != nil {
		return err
	}
	if !e.hidden {
		u.pass(p)
	}
	return nil
}

func (u *upstreamLoop) plan(e *entry, fields []Field) error {
	if e.permit == nil {
		return nil
	}
	rewriter, r := u.cfg.Guard.Columns(e.permit, e.index, fields)
	if r != nil {
		return r
	}
	e.rewriter, e.planned = rewriter, true
	return nil
}

// planPortal plans the rows of an Execute, whose columns were described
// before.
func (u *upstreamLoop) planPortal(e *entry) error {
	if e.planned || e.portal == nil || e.permit == nil || !e.permit.Fenced {
		return nil
	}
	fields := e.portal.fields.Load()
	if fields == nil {
		described := e.portal.prepared.fields.Load()
		if described == nil {
			return refusal.New(refusal.MaskBreach, "a row came before its columns were described")
		}
		withFormats, err := applyFormats(*described, e.portal.formats)
		if err != nil {
			return err
		}
		fields = &withFormats
	}
	return u.plan(e, *fields)
}

// applyFormats gives a statement's columns the formats that a Bind asked for.
func applyFormats(fields []Field, formats []int16) ([]Field, error) {
	out := make([]Field, len(fields))
	copy(out, fields)
	for i := range out {
		switch {
		case len(formats) == 0:
			out[i].Format = 0
		case len(formats) == 1:
			out[i].Format = formats[0]
		case i < len(formats):
			out[i].Format = formats[i]
		default:
			return nil, refusal.New(refusal.MaskBreach, "a result has more columns than formats")
		}
	}
	return out, nil
}

func (u *upstreamLoop) row(e *entry, p piece) error {
	if e.collect != nil {
		row, err := decodeRow(p.body())
		*e.collect = append(*e.collect, row)
		return err
	}
	e.rows++
	e.bytes += int64(len(p.data))
	if e.over {
		u.discard = true
		return nil
	}
	if e.permit != nil && e.permit.MaxRows > 0 && e.rows > e.permit.MaxRows {
		return u.tooManyRows(e)
	}
	if err := u.planPortal(e); err != nil {
		return err
	}
	if e.permit != nil && e.permit.Fenced && !e.planned {
		return refusal.New(refusal.MaskBreach, "a row came without a plan")
	}
	if e.rewriter == nil {
		u.pass(p)
		return nil
	}
	return u.rewrite(e, p)
}

func (u *upstreamLoop) rewrite(e *entry, p piece) error {
	u.out = append(u.out, u.passed...)
	u.passed = nil
	u.partial = false
	at := len(u.out) + 1
	u.out = append(u.out, 'D', 0, 0, 0, 0)
	out, err := e.rewriter.AppendRow(u.out, p.body())
	if err != nil {
		u.out = u.out[:at-1]
		return refusal.New(refusal.MaskBreach, "a row does not have the shape that was described")
	}
	putLength(out, at)
	u.out = out
	return nil
}

// tooManyRows stops the statement: the rest of its rows are dropped and an
// error takes the place of its end.
func (u *upstreamLoop) tooManyRows(e *entry) error {
	e.over = true
	u.discard = true
	u.cancels.begin()
	go func() {
		defer u.cancels.end()
		u.cancelUpstream()
	}()
	return nil
}

func (u *upstreamLoop) copyData(e *entry, p piece) error {
	if e.permit != nil && e.permit.Fenced && !e.permit.CopyOut {
		return refusal.New(refusal.MaskBreach, "COPY data came without a plan")
	}
	e.rows++
	e.bytes += int64(len(p.data))
	if e.permit != nil && e.permit.Copy != nil {
		return u.rewriteCopy(e.permit.Copy, p)
	}
	u.pass(p)
	return nil
}

func (u *upstreamLoop) rewriteCopy(c CopyRewriter, p piece) error {
	u.out = append(u.out, u.passed...)
	u.passed = nil
	u.partial = false
	at := len(u.out) + 1
	u.out = append(u.out, 'd', 0, 0, 0, 0)
	out, err := c.Append(u.out, p.body())
	if err != nil {
		u.out = u.out[:at-1]
		return refusal.New(refusal.MaskBreach, "copied data does not have the shape that was foreseen")
	}
	putLength(out, at)
	u.out = out
	return nil
}
