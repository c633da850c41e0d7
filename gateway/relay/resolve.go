package relay

import "slices"

// resolve finds what each statement of a text runs (itself, or for EXECUTE
// and FETCH the statement that a name stands for) and what the text does to
// names: the effects are applied to the entry once it is made.
func (c *clientLoop) resolve(text *Text) (targets []*Statement, effects []func(*entry), err error) {
	if !slices.ContainsFunc(text.Statements, func(s *Statement) bool { return s.Effect != EffectNone }) {
		return text.Statements, nil, nil
	}
	// Names that this text itself has changed so far.
	preparedHere := map[string]*Statement{}
	cursorsHere := map[string]*Statement{}
	targets = make([]*Statement, len(text.Statements))
	for i, s := range text.Statements {
		targets[i] = s
		switch s.Effect {
		case EffectNone:
		case EffectPrepare:
			preparedHere[s.Name] = s.Inner
			value := &prepared{text: &Text{Statements: []*Statement{s.Inner}}}
			effects = append(effects, func(e *entry) {
				c.statements.change(s.Name, change[prepared]{entry: e, index: i, value: value})
			})
		case EffectDeclare:
			cursorsHere[s.Name] = s.Inner
			value := &portal{cursor: true, prepared: &prepared{text: &Text{Statements: []*Statement{s.Inner}}}}
			effects = append(effects, func(e *entry) {
				c.portals.change(s.Name, change[portal]{entry: e, index: i, value: value})
			})
		case EffectExecute:
			targets[i], err = c.namedStatement(s.Name, preparedHere)
		case EffectFetch:
			targets[i], err = c.namedCursor(s.Name, cursorsHere)
		case EffectDeallocate:
			preparedHere[s.Name] = nil
			effects = append(effects, func(e *entry) { c.statements.change(s.Name, change[prepared]{entry: e, index: i}) })
		case EffectDeallocateAll:
			effects = append(effects, func(e *entry) {
				c.statements.forgetAll(e, i)
				c.own.forgetAll(e, i)
			})
		case EffectCloseCursor:
			cursorsHere[s.Name] = nil
			effects = append(effects, func(e *entry) { c.portals.change(s.Name, change[portal]{entry: e, index: i}) })
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return targets, effects, nil
}

func (c *clientLoop) namedStatement(name string, here map[string]*Statement) (*Statement, error) {
	if s, ok := here[name]; ok {
		return c.orUnknown(s, "EXECUTE"), nil
	}
	p, err := c.statements.lookup(name, c.batch)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.orUnknown(nil, "EXECUTE"), nil
	}
	if len(p.text.Statements) == 0 {
		return Nothing, nil
	}
	return c.orUnknown(onlyStatement(p.text), "EXECUTE"), nil
}

func (c *clientLoop) namedCursor(name string, here map[string]*Statement) (*Statement, error) {
	if s, ok := here[name]; ok {
		return c.orUnknown(s, "FETCH"), nil
	}
	p, err := c.portals.lookup(name, c.batch)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.orUnknown(nil, "FETCH"), nil
	}
	return c.orUnknown(onlyStatement(p.prepared.text), "FETCH"), nil
}

// onlyStatement returns a prepared text's statement. An EXECUTE or FETCH that
// was itself prepared under a name is not followed further.
func onlyStatement(t *Text) *Statement {
	if len(t.Statements) != 1 || t.Statements[0].Effect != EffectNone {
		return nil
	}
	return t.Statements[0]
}

func (c *clientLoop) orUnknown(s *Statement, command string) *Statement {
	if s == nil {
		return c.cfg.Guard.Unknown(command)
	}
	return s
}
