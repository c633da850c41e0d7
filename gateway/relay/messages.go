package relay

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

func (c *clientLoop) query(ctx context.Context, p piece) error {
	sql, err := onlyString(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryQuery)
	text, r := c.cfg.Guard.Read(sql)
	if r == nil {
		r, err = c.decideQuery(ctx, e, text)
		if err != nil {
			return err
		}
	}
	if r != nil {
		c.refuse(e, r, func(id string) { c.out = appendDeniedQuery(c.out, id) })
		c.endBatch(e)
		return nil
	}
	c.start(e)
	c.queue.push(e)
	c.out = append(c.out, p.data...)
	c.endBatch(e)
	return c.expectCopy(e)
}

func (c *clientLoop) decideQuery(ctx context.Context, e *entry, text *Text) (*refusal.Refusal, error) {
	targets, effects, err := c.resolve(text)
	if err != nil {
		return nil, err
	}
	if r := reservedIn(text); r != nil {
		return r, nil
	}
	ask := Ask{Stage: StageQuery, Text: text, Targets: targets, CanWait: c.canWait()}
	permit, r, err := c.decide(ctx, ask)
	if r != nil || err != nil {
		return r, err
	}
	e.permit = permit
	e.copyIn = copiesIn(targets)
	for _, apply := range effects {
		apply(e)
	}
	return nil, nil
}

func (c *clientLoop) parse(ctx context.Context, p piece) error {
	msg, err := decodeParse(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryParse)
	unnamed := msg.name == ""
	text, r := c.readForParse(ctx, msg)
	if r != nil {
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, msg.name, id) })
		if unnamed { // the server forgets the unnamed statement even so
			c.statements.change("", change[prepared]{entry: e, always: true})
		}
		return nil
	}
	c.statements.change(msg.name, change[prepared]{entry: e, value: &prepared{text: text}, always: unnamed})
	c.forward(e, p)
	return nil
}

// readForParse reads a Parse's text and refuses what no parameters could
// allow.
func (c *clientLoop) readForParse(ctx context.Context, msg parseMessage) (*Text, *refusal.Refusal) {
	if r := reservedName(msg.name); r != nil {
		return nil, r
	}
	text, r := c.cfg.Guard.Read(msg.query)
	if r != nil {
		return nil, r
	}
	if r := reservedIn(text); r != nil {
		return nil, r
	}
	_, r = c.answer(ctx, Ask{Stage: StageParse, Text: text, Targets: text.Statements, Types: msg.types})
	return text, r
}

func (c *clientLoop) bind(ctx context.Context, p piece) error {
	msg, err := decodeBind(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryBind)
	bound, r, err := c.decideBind(ctx, &msg)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryParse // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, deniedStatement, id) })
		return nil
	}
	name := c.portals.name(msg.name)
	c.portals.change(name, change[portal]{entry: e, value: bound, always: name == ""})
	c.forward(e, p)
	return nil
}

func (c *clientLoop) decideBind(ctx context.Context, msg *bindMessage) (*portal, *refusal.Refusal, error) {
	if r := reservedName(c.portals.name(msg.name)); r != nil {
		return nil, r, nil
	}
	stmt, err := c.statements.lookup(c.statements.name(msg.statement), c.batch)
	if err != nil {
		return nil, nil, err
	}
	if stmt == nil {
		stmt = &prepared{text: &Text{Statements: []*Statement{c.cfg.Guard.Unknown("EXECUTE")}}}
	}
	targets, _, err := c.resolve(stmt.text)
	if err != nil {
		return nil, nil, err
	}
	ask := Ask{
		Stage: StageBind, Text: stmt.text, Targets: targets, Bound: msg.portal.bound, CanWait: c.canWait(), CanCheck: canCheck(stmt.text, targets),
	}
	permit, r, err := c.decide(ctx, ask)
	if r != nil || err != nil {
		return nil, r, err
	}
	msg.portal.prepared, msg.portal.permit = stmt, permit
	return msg.portal, nil, nil
}

func (c *clientLoop) describe(p piece) error {
	kind, name, err := decodeNamed(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	var e *entry
	switch kind {
	case 'S':
		stmt, err := c.statements.lookup(c.statements.name(name), c.batch)
		if err != nil {
			return err
		}
		e = c.newEntry(entryDescribeStatement)
		e.prepared = stmt
	case 'P':
		pt, err := c.portals.lookup(c.portals.name(name), c.batch)
		if err != nil {
			return err
		}
		e = c.newEntry(entryDescribePortal)
		e.portal = pt
	default:
		return refusal.New(refusal.Protocol, "a Describe names neither a statement nor a portal")
	}
	c.forward(e, p)
	return nil
}

func (c *clientLoop) execute(ctx context.Context, p piece) error {
	name, err := decodeExecute(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	portalName := c.portals.name(name)
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryExecute)
	pt, err := c.portals.lookup(portalName, c.batch)
	if err != nil {
		return err
	}
	if pt == nil {
		pt = &portal{prepared: &prepared{text: &Text{Statements: []*Statement{c.cfg.Guard.Unknown("FETCH")}}}}
	}
	targets, effects, err := c.resolve(pt.prepared.text)
	if err != nil {
		return err
	}
	ask := Ask{
		Stage: StageExecute, Text: pt.prepared.text, Targets: targets, Bound: pt.bound, Permit: pt.permit, CanWait: c.canWait(),
		CanCheck: canCheck(pt.prepared.text, targets),
	}
	permit, r, err := c.decide(ctx, ask)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryParse // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, deniedStatement, id) })
		return nil
	}
	e.permit, e.portal, e.copyIn = permit, pt, copiesIn(targets)
	c.describeFirst(pt, permit, portalName)
	if err := c.check(permit); err != nil {
		return err
	}
	for _, apply := range effects {
		apply(e)
	}
	c.start(e)
	c.forward(e, p)
	c.exited = c.exited || slices.ContainsFunc(targets, func(s *Statement) bool { return s.Exits })
	return c.expectCopy(e)
}

// describeFirst makes sure that the columns of a fenced portal are known
// before its rows come, by a Describe of our own if the client sent none.
func (c *clientLoop) describeFirst(pt *portal, permit *Permit, name string) {
	if !permit.Fenced || pt.fields.Load() != nil || pt.prepared.fields.Load() != nil {
		return
	}
	e := &entry{kind: entryDescribePortal, batch: c.batch, portal: pt, hidden: true, shared: true}
	c.queue.push(e)
	at := len(c.out) + 1
	c.out = append(c.out, 'D', 0, 0, 0, 0, 'P')
	c.out = append(append(c.out, name...), 0)
	putLength(c.out, at)
}

func (c *clientLoop) closeName(p piece) error {
	kind, name, err := decodeNamed(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	e := c.newEntry(entryClose)
	switch kind {
	case 'S':
		c.statements.change(c.statements.name(name), change[prepared]{entry: e})
	case 'P':
		c.portals.change(c.portals.name(name), change[portal]{entry: e})
	default:
		return refusal.New(refusal.Protocol, "a Close names neither a statement nor a portal")
	}
	c.forward(e, p)
	return nil
}

func (c *clientLoop) sync(p piece) error {
	e := c.newEntry(entrySync)
	c.queue.push(e)
	c.out = append(c.out, p.data...)
	c.endBatch(e)
	c.unsynced = false
	return nil
}

func (c *clientLoop) function(ctx context.Context, p piece) error {
	bound, err := decodeFunctionCall(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	e := c.newEntry(entryFunction)
	stmt := c.cfg.Guard.Unknown("FUNCTION CALL")
	ask := Ask{
		Stage: StageFunction, Text: &Text{Statements: []*Statement{stmt}}, Targets: []*Statement{stmt},
		Bound: bound, CanWait: c.canWait(),
	}
	permit, r, err := c.decide(ctx, ask)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryQuery // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedQuery(c.out, id) })
	} else {
		e.permit = permit
		c.start(e)
		c.queue.push(e)
		c.out = append(c.out, p.data...)
	}
	c.endBatch(e)
	return nil
}

// onlyString reads the one string that makes up a body.
func onlyString(body []byte) (string, error) {
	i := bytes.IndexByte(body, 0)
	if i != len(body)-1 {
		return "", fmt.Errorf("%w: a text is not ended by its only zero byte", errFrame)
	}
	return string(body[:i]), nil
}

func reservedName(name string) *refusal.Refusal {
	if strings.HasPrefix(name, reservedPrefix) {
		return refusal.New(refusal.ReservedName, "names that start with %q are the gateway's", reservedPrefix)
	}
	return nil
}

func reservedIn(text *Text) *refusal.Refusal {
	for _, s := range text.Statements {
		if s.Effect == EffectNone {
			continue
		}
		if r := reservedName(s.Name); r != nil {
			return r
		}
	}
	return nil
}

// canCheck reports whether a text is one statement that runs nothing but itself
// and copies nothing in.
func canCheck(text *Text, targets []*Statement) bool {
	return len(targets) == 1 && targets[0] == text.Statements[0] && targets[0].Effect == EffectNone && !targets[0].CopyIn
}

func copiesIn(targets []*Statement) bool {
	for _, t := range targets {
		if t.CopyIn {
			return true
		}
	}
	return false
}
