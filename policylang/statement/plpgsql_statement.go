package statement

// label reads <<label>>.
func (r *bodyReader) label() {
	for r.operator("<<") {
		r.at++
		if !r.operator(">>") {
			r.fail()
		}
	}
}

// block reads [DECLARE …] BEGIN … [EXCEPTION …] END [label], without the
// semicolon.
func (r *bodyReader) block() {
	r.label()
	for r.accept("declare") {
		for !r.failed && !r.isAny("begin", "declare") {
			r.declaration()
		}
	}
	r.expect("begin")
	r.statements("exception", "end")
	if r.accept("exception") {
		for r.accept("when") {
			r.until("then") // conditions are names
			r.expect("then")
			r.statements("when", "end")
		}
	}
	r.expect("end")
	if k := r.token().kind; k == tokenQuoted || k == tokenWord && !r.isAny("end") {
		r.at++ // the label
	}
}

// declaration reads a variable, an alias or a cursor.
func (r *bodyReader) declaration() {
	s := r.until()
	r.expect(";")
	if s.to-s.from < 2 {
		r.fail()
		return
	}
	if at := r.find(s, "cursor"); at > s.from && at <= s.from+3 {
		query := r.find(span{at, s.to}, "for", "is")
		if query < 0 {
			r.fail()
			return
		}
		r.sql(span{query + 1, s.to})
		return
	}
	if at := r.find(s, ":=", "=", "default"); at >= 0 {
		r.expression(span{at + 1, s.to})
	}
}

// statements reads statements up to one of the words.
func (r *bodyReader) statements(ends ...string) {
	if r.depth++; r.depth > maxBodyDepth {
		r.fail()
	}
	for !r.failed && !r.isAny(ends...) {
		if r.token().kind == tokenEnd {
			r.fail()
			break
		}
		r.statement()
	}
	r.depth--
}

func (r *bodyReader) statement() {
	r.label()
	if r.assignment() {
		return
	}
	if r.token().kind != tokenWord {
		r.fail()
		return
	}
	switch foldWord(r.textOf(r.token())) {
	case "declare", "begin":
		r.block()
		r.expect(";")
	case "if":
		r.ifStatement()
	case "case":
		r.caseStatement()
	case "loop":
		r.loop()
	case "while":
		r.at++
		r.expressionBefore("loop")
		r.at--
		r.loop()
	case "for", "foreach":
		r.forStatement()
	case "exit", "continue":
		r.at++
		r.until("when")
		if r.accept("when") {
			r.expression(r.until())
		}
		r.expect(";")
	case "return":
		r.returnStatement()
	case "raise":
		r.raise()
	case "assert":
		r.at++
		r.expressionToEnd()
	case "perform":
		r.at++
		s := r.until()
		r.pieces = append(r.pieces, piece{sql: "SELECT " + r.spanText(s)})
		r.expect(";")
	case "execute":
		r.at++
		r.execute(r.until())
		r.expect(";")
	case "open":
		r.open()
	case "get", "fetch", "move", "close", "null":
		r.until()
		r.expect(";")
	default:
		r.sqlToEnd()
	}
}

// assignment reads target := expression, if that is what comes.
func (r *bodyReader) assignment() bool {
	if k := r.token().kind; k != tokenWord && k != tokenQuoted && k != tokenParam {
		return false
	}
	i := r.at + 1
	for {
		switch t := r.tokens[min(i, len(r.tokens)-1)]; {
		case r.is(t, "."):
			i += 2
		case r.is(t, "["):
			end := r.find(span{i + 1, len(r.tokens) - 1}, "]")
			if end < 0 {
				return false
			}
			i = end + 1
		case t.kind == tokenOperator && (r.textOf(t) == ":=" || r.textOf(t) == "="):
			if i > r.at+1 && r.find(span{r.at, i}, "[") >= 0 {
				r.expression(span{r.at, i}) // for its subscripts
			}
			r.at = i + 1
			r.expressionToEnd()
			return true
		default:
			return false
		}
	}
}

func (r *bodyReader) ifStatement() {
	r.at++
	r.expressionBefore("then")
	r.statements("elsif", "elseif", "else", "end")
	for r.accept("elsif") || r.accept("elseif") {
		r.expressionBefore("then")
		r.statements("elsif", "elseif", "else", "end")
	}
	if r.accept("else") {
		r.statements("end")
	}
	r.expect("end")
	r.expect("if")
	r.expect(";")
}

func (r *bodyReader) caseStatement() {
	r.at++
	r.expression(r.until("when"))
	for r.accept("when") {
		r.expressionBefore("then")
		r.statements("when", "else", "end")
	}
	if r.accept("else") {
		r.statements("end")
	}
	r.expect("end")
	r.expect("case")
	r.expect(";")
}

// loop reads LOOP … END LOOP [label].
func (r *bodyReader) loop() {
	r.expect("loop")
	r.statements("end")
	r.expect("end")
	r.expect("loop")
	r.until()
	r.expect(";")
}

// forStatement reads FOR over a range, a query or a cursor, and FOREACH.
func (r *bodyReader) forStatement() {
	r.at++
	r.until("in")
	r.expect("in")
	s := r.until("loop")
	first := r.tokens[min(s.from, len(r.tokens)-1)]
	switch {
	case s.from == s.to:
		r.fail()
	case r.is(first, "array"):
		r.expression(span{s.from + 1, s.to})
	case r.is(first, "execute"):
		r.execute(span{s.from + 1, s.to})
	case r.find(s, "..") >= 0:
		r.forRange(s)
	case r.isQuery(first):
		r.sql(s)
	default:
		r.cursorArguments(s)
	}
	r.loop()
}

func (r *bodyReader) forRange(s span) {
	if r.is(r.tokens[s.from], "reverse") {
		s.from++
	}
	dots := r.find(s, "..")
	r.expression(span{s.from, dots})
	s.from = dots + 1
	if by := r.find(s, "by"); by >= 0 {
		r.expression(span{by + 1, s.to})
		s.to = by
	}
	r.expression(s)
}

// isQuery reports whether a token begins a statement that returns rows.
func (r *bodyReader) isQuery(t token) bool {
	for _, w := range []string{"(", "select", "with", "values", "table", "insert", "update", "delete", "merge", "explain", "show"} {
		if r.is(t, w) {
			return true
		}
	}
	return false
}

// cursorArguments reads name(argument, …) or a name alone.
func (r *bodyReader) cursorArguments(s span) {
	open := r.find(s, "(")
	switch {
	case open < 0 && s.to-s.from == 1:
	case open != s.from+1 || !r.is(r.tokens[s.to-1], ")") || r.find(span{open + 1, s.to - 1}, ":=", "=>") >= 0:
		r.fail()
	default:
		r.expression(span{open + 1, s.to - 1})
	}
}

func (r *bodyReader) returnStatement() {
	r.at++
	switch {
	case r.accept("query"):
		s := r.until()
		if r.is(r.tokens[s.from], "execute") {
			r.execute(span{s.from + 1, s.to})
		} else {
			r.sql(s)
		}
	default:
		r.accept("next")
		r.expression(r.until())
	}
	r.expect(";")
}

// raise reads RAISE [level] ['format' [, expression]…] [USING option = …].
func (r *bodyReader) raise() {
	r.at++
	s := r.until()
	r.expect(";")
	options := r.find(s, "using")
	if options >= 0 {
		r.raiseOptions(span{options + 1, s.to})
		s.to = options
	}
	if comma := r.find(s, ","); comma >= 0 {
		r.expression(span{comma + 1, s.to})
	}
}

func (r *bodyReader) raiseOptions(s span) {
	for s.from < s.to {
		one := span{s.from, s.to}
		if comma := r.find(s, ","); comma >= 0 {
			one.to = comma
		}
		s.from = one.to + 1
		value := r.find(one, "=", ":=")
		if value < 0 {
			r.fail()
			return
		}
		r.expression(span{value + 1, one.to})
	}
}

// execute reads the rest of EXECUTE expression [INTO …] [USING …].
func (r *bodyReader) execute(s span) {
	end := s.to
	for _, word := range []string{"into", "using"} {
		at := r.find(s, word)
		if at < 0 {
			continue
		}
		end = min(end, at)
		if word == "using" {
			rest := span{at + 1, s.to}
			if into := r.find(rest, "into"); into >= 0 {
				rest.to = into
			}
			r.expression(rest)
		}
	}
	if s.from >= end {
		r.fail()
		return
	}
	r.dynamic = append(r.dynamic, r.spanText(span{s.from, end}))
}

// open reads OPEN cursor [FOR query | FOR EXECUTE … | (arguments)].
func (r *bodyReader) open() {
	r.at++
	s := r.until()
	r.expect(";")
	at := r.find(s, "for")
	switch {
	case at < 0:
		r.cursorArguments(s)
	case at+1 < s.to && r.is(r.tokens[at+1], "execute"):
		r.execute(span{at + 2, s.to})
	default:
		r.sql(span{at + 1, s.to})
	}
}
