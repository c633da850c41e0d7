package relay_test

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgproto3/v2"
)

// model is a PostgreSQL server of a few statements, as a function from each
// client message to the bytes that answer it: prepared statements and portals
// of the protocol and of SQL, transactions, skipping until Sync, COPY FROM
// STDIN. It is what the relay's pairing is tested against, without a network
// or with one (see [model.serve]).
type model struct {
	statements map[string]string
	portals    map[string]*modelPortal
	status     byte // of the transaction: I, T or E
	skipping   bool // an error was sent: everything is ignored until Sync
	copying    byte // reading COPY data for a Query (Q) or an Execute (E); 0 not
	copied     int
	rest       []string // of the statements behind the COPY of a Query
	// strict is what the relay's refusals are compared with: a Bind of an EXECUTE
	// or FETCH fails if what that runs is unknown or refused, and a FunctionCall
	// forgets the unnamed statement, as the Query that stands in for it does.
	strict bool

	out     []byte
	results []string // what became of each statement that was to run
	ran     []string // the texts that ran
	acted   []string // messages that were neither skipped nor swallowed
	noise   func(n int) []byte
	sent    int
}

type modelPortal struct {
	sql  string
	next int // the next row
	over bool
}

func newModel() *model {
	return &model{statements: map[string]string{}, portals: map[string]*modelPortal{}, status: 'I'}
}

// modelError is an ERROR by its SQLSTATE.
type modelError string

func (m *model) reply(msg pgproto3.BackendMessage) {
	if m.noise != nil {
		m.out = append(m.out, m.noise(m.sent)...)
	}
	m.sent++
	m.out, _ = msg.Encode(m.out) // only a message over 1 GiB cannot be encoded
}

func (m *model) ready() { m.reply(&pgproto3.ReadyForQuery{TxStatus: m.status}) }

// fail sends an error and undoes what the transaction did.
func (m *model) fail(code modelError) {
	m.reply(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: string(code), Message: "model"})
	if m.status == 'I' {
		clear(m.portals)
	} else {
		m.status = 'E'
	}
}

// handle acts on one client message. flush says that a real server would send
// what it has to say now.
func (m *model) handle(typ byte, body []byte) (flush, quit bool) {
	switch {
	case typ == 'X':
		return true, true
	case m.copying != 0:
		return m.copyMessage(typ, body), false
	case typ == 'S':
		m.skipping = false
		if m.status == 'I' {
			clear(m.portals)
		}
		m.act(typ, body)
		m.ready()
		return true, false
	case m.skipping, typ == 'd', typ == 'c', typ == 'f':
		return false, false
	case typ == 'H':
		return true, false
	}
	m.act(typ, body)
	switch typ {
	case 'Q':
		m.query(strings.TrimSuffix(string(body), "\x00"))
		return true, false
	case 'F':
		if m.strict {
			delete(m.statements, "")
			delete(m.portals, "")
		}
		m.results = append(m.results, "failed 42883")
		m.fail("42883")
		m.ready()
		return true, false
	}
	code := m.extended(typ, body)
	if code != "" {
		m.fail(code)
		m.skipping = true
	}
	return m.copying != 0 || code != "", false // PostgreSQL flushes errors at once
}

func (m *model) act(typ byte, body []byte) { m.acted = append(m.acted, string(typ)+string(body)) }

func (m *model) copyMessage(typ byte, body []byte) (flush bool) {
	by := m.copying
	switch typ {
	case 'd':
		m.act(typ, body)
		m.copied++
		return false
	case 'c':
		m.act(typ, body)
		m.copying = 0
		m.complete(fmt.Sprintf("COPY %d", m.copied), 0)
		if by == 'Q' {
			m.texts(m.rest)
		}
	case 'f':
		m.act(typ, body)
		m.copying = 0
		m.results = append(m.results, "failed 57014")
		m.fail("57014")
		if by == 'Q' {
			m.ready()
		} else {
			m.skipping = true
		}
	case 'S', 'H':
		return false
	default:
		panic(fmt.Sprintf("a message of type %q during COPY", typ))
	}
	return by == 'Q' || typ == 'f'
}

func split(sql string) []string {
	var out []string
	for part := range strings.SplitSeq(sql, ";") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (m *model) query(sql string) {
	delete(m.statements, "")
	delete(m.portals, "")
	texts := split(sql)
	if strings.Contains(sql, "selec ") {
		m.results = append(m.results, "failed 42601")
		m.fail("42601")
		m.ready()
		return
	}
	if len(texts) == 0 {
		m.results = append(m.results, "done  rows=0")
		m.reply(&pgproto3.EmptyQueryResponse{})
	}
	m.texts(texts)
}

// texts runs the statements of a Query, up to one that reads COPY data.
func (m *model) texts(texts []string) {
	for i, sql := range texts {
		code := m.aborted(sql)
		if code == "" {
			code = m.analyse(sql)
		}
		if code == "" {
			code = m.run(sql, &modelPortal{sql: sql}, 0, true)
		}
		if code != "" {
			m.results = append(m.results, "failed "+string(code))
			m.fail(code)
			break
		}
		if m.copying != 0 {
			m.copying, m.rest = 'Q', texts[i+1:]
			return
		}
	}
	if m.status == 'I' {
		clear(m.portals)
	}
	m.ready()
}

func (m *model) aborted(sql string) modelError {
	if m.status == 'E' && sql != "commit" && sql != "rollback" && sql != "" {
		return "25P02"
	}
	return ""
}

// analyse finds the errors that a Parse finds.
func (m *model) analyse(sql string) modelError {
	switch {
	case strings.Contains(sql, "nothing"), strings.Contains(sql, "postern: denied"),
		strings.Contains(sql, "forbidden") && !strings.Contains(sql, "later"):
		return "42703"
	}
	return ""
}

var seriesRE = regexp.MustCompile(`generate_series\(1,(\d+)\)`)

// rows returns how many rows a statement has, -1 for one that has none to
// return.
func (m *model) rows(sql string) int {
	var n int
	switch {
	case seriesRE.MatchString(sql) && strings.HasPrefix(sql, "select"):
		_, _ = fmt.Sscan(seriesRE.FindStringSubmatch(sql)[1], &n)
		return n
	case strings.HasPrefix(sql, "select"), strings.HasPrefix(sql, "SELECT"):
		return 1
	}
	return -1
}

func (m *model) complete(tag string, rows int) {
	m.results = append(m.results, fmt.Sprintf("done %s rows=%d", tag, rows))
	m.reply(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
}

// run runs a statement, from where its portal is, for at most limit rows (0:
// all).
func (m *model) run(sql string, p *modelPortal, limit int, simple bool) modelError {
	if strings.Contains(sql, "forbidden") {
		return "42703"
	}
	m.ran = append(m.ran, sql)
	word, name, _ := strings.Cut(sql, " ")
	switch word {
	case "begin":
		m.status = 'T'
		m.complete("BEGIN", 0)
	case "commit", "rollback":
		tag := strings.ToUpper(word)
		if m.status == 'E' {
			tag = "ROLLBACK"
		}
		m.status = 'I'
		clear(m.portals)
		m.complete(tag, 0)
	case "copy":
		m.copying, m.copied = 'E', 0
		m.reply(&pgproto3.CopyInResponse{OverallFormat: 0, ColumnFormatCodes: []uint16{0}})
	case "fails":
		return "22012"
	case "prepare":
		return m.prepare(sql)
	case "deallocate":
		if _, ok := m.statements[name]; !ok {
			return "26000"
		}
		delete(m.statements, name)
		m.complete("DEALLOCATE", 0)
	case "declare":
		return m.declare(sql)
	case "close":
		if m.portals[name] == nil {
			return "34000"
		}
		delete(m.portals, name)
		m.complete("CLOSE CURSOR", 0)
	case "execute", "fetch":
		return m.named(sql, p, limit, simple)
	case "select", "SELECT":
		return m.fetch(p, sql, limit, simple, "SELECT")
	default:
		return "42601"
	}
	return ""
}

func (m *model) prepare(sql string) modelError {
	match := prepareRE.FindStringSubmatch(sql)
	if _, ok := m.statements[match[1]]; ok {
		return "42P05"
	}
	m.statements[match[1]] = match[2]
	m.complete("PREPARE", 0)
	return ""
}

func (m *model) declare(sql string) modelError {
	match := declareRE.FindStringSubmatch(sql)
	if m.status == 'I' {
		return "25P01"
	}
	if m.portals[match[1]] != nil {
		return "42P03"
	}
	m.portals[match[1]] = &modelPortal{sql: match[2]}
	m.complete("DECLARE CURSOR", 0)
	return ""
}

// target returns the statement that an EXECUTE or FETCH runs.
func (m *model) target(sql string) (string, *modelPortal, modelError) {
	if name, ok := strings.CutPrefix(sql, "execute "); ok {
		inner, ok := m.statements[name]
		if !ok {
			return "", nil, "26000"
		}
		return inner, nil, ""
	}
	p := m.portals[strings.TrimPrefix(sql, "fetch all in ")]
	if p == nil {
		return "", nil, "34000"
	}
	return p.sql, p, ""
}

// named runs an EXECUTE or FETCH.
func (m *model) named(sql string, p *modelPortal, limit int, simple bool) modelError {
	inner, cursor, code := m.target(sql)
	switch {
	case code != "":
		return code
	case strings.Contains(inner, "forbidden"):
		return "42703"
	case inner == "" && cursor == nil:
		m.ran = append(m.ran, inner)
		p.over = true
		m.complete("EXECUTE", 0)
		return ""
	case m.rows(inner) < 0: // of a kind that cannot be run so
		return "0A000"
	}
	tag := "SELECT"
	if cursor != nil {
		p, tag = cursor, "FETCH"
		if limit != 0 {
			return "0A000"
		}
	}
	m.ran = append(m.ran, inner)
	return m.fetch(p, inner, limit, simple, tag)
}

func (m *model) fetch(p *modelPortal, sql string, limit int, simple bool, tag string) modelError {
	total := m.rows(sql)
	if simple {
		m.reply(columns)
	}
	n := 0
	for p.next < total && (limit == 0 || n < limit) {
		p.next++
		n++
		m.reply(&pgproto3.DataRow{Values: [][]byte{fmt.Appendf(nil, "row %d", p.next)}})
	}
	if limit != 0 && n == limit {
		m.results = append(m.results, fmt.Sprintf("suspended rows=%d", n))
		m.reply(&pgproto3.PortalSuspended{})
		return ""
	}
	m.complete(fmt.Sprintf("%s %d", tag, n), n)
	return ""
}

var columns = &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}}

// extended acts on a message of the extended protocol.
func (m *model) extended(typ byte, body []byte) modelError {
	switch typ {
	case 'P':
		return m.parse(body)
	case 'B':
		return m.bind(body)
	case 'D':
		sql, code := m.lookup(body)
		if code != "" {
			return code
		}
		return m.describe(body[0], sql)
	case 'E':
		return m.execute(body)
	case 'C':
		name := strings.TrimSuffix(string(body[1:]), "\x00")
		if body[0] == 'S' {
			delete(m.statements, name)
		} else {
			delete(m.portals, name)
		}
		m.reply(&pgproto3.CloseComplete{})
		return ""
	}
	panic(fmt.Sprintf("a message of type %q", typ))
}

func (m *model) parse(body []byte) modelError {
	var msg pgproto3.Parse
	if err := msg.Decode(body); err != nil {
		panic(err)
	}
	texts := split(msg.Query)
	if msg.Name == "" {
		delete(m.statements, "")
	}
	sql := ""
	switch {
	case strings.Contains(msg.Query, "selec "), len(texts) > 1:
		return "42601"
	case len(texts) == 1:
		sql = texts[0]
	}
	if code := m.aborted(sql); code != "" {
		return code
	}
	if code := m.analyse(sql); code != "" {
		return code
	}
	if _, ok := m.statements[msg.Name]; ok {
		return "42P05"
	}
	m.statements[msg.Name] = sql
	m.reply(&pgproto3.ParseComplete{})
	return ""
}

func (m *model) bind(body []byte) modelError {
	var msg pgproto3.Bind
	if err := msg.Decode(body); err != nil {
		panic(err)
	}
	sql, ok := m.statements[msg.PreparedStatement]
	if !ok {
		return "26000"
	}
	if code := m.aborted(sql); code != "" {
		return code
	}
	if strings.Contains(sql, "forbidden") {
		return "42703"
	}
	if m.strict && (strings.HasPrefix(sql, "execute") || strings.HasPrefix(sql, "fetch")) {
		inner, _, code := m.target(sql)
		if code != "" || strings.Contains(inner, "forbidden") || effectful(inner) {
			return "42703"
		}
	}
	if msg.DestinationPortal != "" && m.portals[msg.DestinationPortal] != nil {
		return "42P03"
	}
	m.portals[msg.DestinationPortal] = &modelPortal{sql: sql}
	m.reply(&pgproto3.BindComplete{})
	return ""
}

// effectful reports whether a statement makes, runs or drops a name.
func effectful(sql string) bool {
	word, _, _ := strings.Cut(sql, " ")
	return slices.Contains([]string{"prepare", "execute", "deallocate", "declare", "fetch", "close"}, word)
}

func (m *model) lookup(body []byte) (sql string, code modelError) {
	name := strings.TrimSuffix(string(body[1:]), "\x00")
	if body[0] == 'S' {
		sql, ok := m.statements[name]
		if !ok {
			return "", "26000"
		}
		return sql, ""
	}
	p := m.portals[name]
	if p == nil {
		return "", "34000"
	}
	return p.sql, ""
}

func (m *model) describe(object byte, sql string) modelError {
	if strings.HasPrefix(sql, "execute") || strings.HasPrefix(sql, "fetch") {
		inner, _, code := m.target(sql)
		if code != "" {
			return code
		}
		sql = inner
	}
	rows := m.rows(sql)
	if rows >= 0 && m.status == 'E' {
		return "25P02"
	}
	if object == 'S' {
		m.reply(&pgproto3.ParameterDescription{})
	}
	if rows < 0 {
		m.reply(&pgproto3.NoData{})
	} else {
		m.reply(columns)
	}
	return ""
}

func (m *model) execute(body []byte) modelError {
	var msg pgproto3.Execute
	if err := msg.Decode(body); err != nil {
		panic(err)
	}
	code := m.executePortal(msg)
	if code != "" {
		m.results = append(m.results, "failed "+string(code))
	}
	return code
}

func (m *model) executePortal(msg pgproto3.Execute) modelError {
	p := m.portals[msg.Portal]
	if p == nil {
		return "34000"
	}
	if p.sql == "" {
		m.results = append(m.results, "done  rows=0")
		m.reply(&pgproto3.EmptyQueryResponse{})
		return ""
	}
	if code := m.aborted(p.sql); code != "" {
		return code
	}
	if p.over {
		return "55000"
	}
	p.over = m.rows(p.sql) < 0 && !strings.HasPrefix(p.sql, "execute") && !strings.HasPrefix(p.sql, "fetch")
	return m.run(p.sql, p, int(msg.MaxRows), false)
}

// each calls do with each message of a stream of whole messages.
func each(stream []byte, do func(typ byte, body []byte)) {
	for len(stream) > 0 {
		n := int(binary.BigEndian.Uint32(stream[1:])) + 1
		do(stream[0], stream[5:n])
		stream = stream[n:]
	}
}
