package catalog

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Assertion is a query that fails with [ChangedSQLSTATE] unless the server's
// definitions are still those that the analysis of a statement rests on. It is
// asked in the session and transaction of the statement, in front of it.
//
// It covers the relations that the analysis looked at (their columns, rules,
// triggers, row policies and children), every relation outside of temporary
// schemas that has the name of one of them, and all functions, operators and
// casts that were made after initdb, schemas, and the constraints of domains:
// what could give a name another meaning. Each row of a system catalog has a new
// xmin when it is written, so a sum over rows changes with any of them.
//
// All names in it are qualified, operators too: the session's search_path gives
// none another meaning.
//
// Sessions share assertions, and what is known of when one last held.
type Assertion struct {
	catalog          *pgcatalog.Catalog
	relations, names []string
	want             string // what the server must find
	literal          string // the whole question, without parameters

	held     atomic.Int64           // when it last did, in nanoseconds since 1970
	snapshot atomic.Pointer[string] // in which it last did; nil if not known
	moving   atomic.Bool            // others commit between one question and the next
}

// ChangedSQLSTATE is the SQLSTATE by which an assertion fails:
// division_by_zero.
const ChangedSQLSTATE = "22012"

// ReadCommitted is the isolation of a transaction whose statements
// see what others have committed. In any other it can tell nothing: it looks at
// the system catalogs as they were when the transaction began, and the server
// itself does not.
const ReadCommitted = "read committed"

// codeSQL is an expression for the versions of what could give a name another
// meaning.
const codeSQL = `pg_catalog.concat_ws(' ',
	(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
		FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
	(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
		FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
	(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
		FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
	(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
		FROM pg_catalog.pg_namespace WHERE NOT pg_catalog.starts_with(nspname::pg_catalog.text, 'pg_t')),
	(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
		FROM pg_catalog.pg_constraint WHERE contypid OPERATOR(pg_catalog.>) 0::pg_catalog.oid))`

// readCode reads what codeSQL says.
func readCode(ctx context.Context, conn Querier) (string, error) {
	var code string
	if err := run(ctx, conn, "SELECT "+codeSQL, func(r row) { code = r.text(0) }); err != nil {
		return "", fmt.Errorf("ask for the versions of functions: %w", err)
	}
	return code, nil
}

// relationsSQL is an expression for the versions of relations, and the
// relations of their names. @oids and @names are arrays.
const relationsSQL = `(SELECT pg_catalog.concat_ws(':', pg_catalog.sum(v.n), pg_catalog.sum(v.version::pg_catalog.text::pg_catalog.int8)) FROM (
	SELECT 1, xmin FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) ANY (@oids)
	UNION ALL SELECT 1, xmin FROM pg_catalog.pg_attribute
		WHERE attrelid OPERATOR(pg_catalog.=) ANY (@oids) AND attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT attisdropped
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_rewrite WHERE ev_class OPERATOR(pg_catalog.=) ANY (@oids)
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) ANY (@oids)
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_policy WHERE polrelid OPERATOR(pg_catalog.=) ANY (@oids)
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_inherits WHERE inhparent OPERATOR(pg_catalog.=) ANY (@oids)
	UNION ALL SELECT 1, oid::pg_catalog.text::pg_catalog.xid FROM pg_catalog.pg_class WHERE relname OPERATOR(pg_catalog.=) ANY (@names)
		AND relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog."char" AND relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,p,f,S,c}'::pg_catalog."char"[])
	) v(n, version))`

// snapshotSQL is an expression for what a statement sees of what others have
// committed; "-" where the text does not tell all of it.
const snapshotSQL = `CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL AND NOT pg_catalog.pg_is_in_recovery()
	THEN pg_catalog.pg_current_snapshot()::pg_catalog.text ELSE '-' END`

// askSQL is the query of an assertion: it answers with the snapshot and the
// transaction's isolation level, unless @holds is false. Of transactions that are
// not READ COMMITTED a strict assertion is false, and others are not looked at.
const askSQL = `SELECT pg_catalog.concat_ws(' ', ` + snapshotSQL + `, pg_catalog.current_setting('transaction_isolation'))
	WHERE 1 OPERATOR(pg_catalog.=) (1 OPERATOR(pg_catalog./) CASE
	WHEN pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) '` + ReadCommitted + `'
	THEN CASE WHEN @strict THEN 0 ELSE 1 END
	WHEN @holds THEN 1 ELSE 0 END)`

// wholeSQL is the condition that nothing has changed.
const wholeSQL = `pg_catalog.concat_ws('|', ` + codeSQL + `, ` + relationsSQL + `) OPERATOR(pg_catalog.=) @want`

// quietSQL is the condition that nobody has committed anything since an
// assertion held, or that it still holds: the text in $3 is run only then.
const quietSQL = snapshotSQL + ` OPERATOR(pg_catalog.=) $2::pg_catalog.text OR pg_catalog.query_to_xml($3::pg_catalog.text, true, false, '') IS NOT NULL`

// Question is how an assertion is put to a server.
type Question struct {
	Name string // of the SQL, unique to it
	SQL  string
	Args [][]byte // its parameters, in text
}

// Question returns how to put the assertion. A strict one also fails in a
// transaction that is not [ReadCommitted].
func (a *Assertion) Question(strict bool) Question {
	if known := a.Known(); known != nil {
		return Question{Name: "quiet", SQL: quietQuestion, Args: [][]byte{strconv.AppendBool(nil, strict), []byte(*known), []byte(a.literal)}}
	}
	return a.whole(strict)
}

var quietQuestion = strings.NewReplacer("@strict", "$1::pg_catalog.bool", "@holds", quietSQL).Replace(askSQL)

// Known returns the snapshot in which the assertion held last, nil if it is not
// known or others commit all the time. As long as it is the same, so are
// questions.
func (a *Assertion) Known() *string {
	if a.moving.Load() {
		return nil
	}
	return a.snapshot.Load()
}

// whole puts an assertion with as many parameters as there are relations, in
// steps: the server then plans it once, and not for each list anew.
func (a *Assertion) whole(strict bool) Question {
	n := 1
	for n < max(len(a.relations), len(a.names)) {
		n *= 2
	}
	args := [][]byte{strconv.AppendBool(nil, strict), []byte(a.want)}
	var oids, names []string
	for i := range n {
		oid, name := "0", ""
		if i < len(a.relations) {
			oid = a.relations[i]
		}
		if i < len(a.names) {
			name = a.names[i]
		}
		args = append(args, []byte(oid), []byte(name))
		oids = append(oids, "$"+strconv.Itoa(2*i+3)+"::pg_catalog.oid")
		names = append(names, "$"+strconv.Itoa(2*i+4)+"::pg_catalog.name")
	}
	sql := written("$1::pg_catalog.bool", "$2::pg_catalog.text", oids, names)
	return Question{Name: "whole" + strconv.Itoa(n), SQL: sql, Args: args}
}

// written writes the whole question.
func written(strict, want string, oids, names []string) string {
	condition := strings.NewReplacer(
		"@want", want,
		"@oids", "ARRAY["+strings.Join(oids, ", ")+"]::pg_catalog.oid[]",
		"@names", "ARRAY["+strings.Join(names, ", ")+"]::pg_catalog.name[]",
	).Replace(wholeSQL)
	return strings.NewReplacer("@strict", strict, "@holds", condition).Replace(askSQL)
}

// Assert returns the assertion that what an analysis by a catalog rests on has
// not changed: the relations, of which it leaves out those that the catalog does
// not have. It returns nil if the catalog is not the newest of its database.
func (s *Store) Assert(database string, cat *pgcatalog.Catalog, relations []uint32) *Assertion {
	key := make([]byte, 0, 8*len(relations))
	for _, oid := range relations {
		key = binary.BigEndian.AppendUint32(key, oid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.databases[database]
	if e == nil || e.catalog != cat || e.markedAt != e.invalid {
		return nil
	}
	a := e.assertions[string(key)]
	if a == nil {
		if e.assertions == nil || len(e.assertions) >= maxAssertions {
			e.assertions = map[string]*Assertion{}
		}
		a = newAssertion(cat, e.code, relations)
		e.assertions[string(key)] = a
	}
	return a
}

// maxAssertions bounds how many assertions are kept of one catalog.
const maxAssertions = 10_000

// Held says that an assertion held, with the server's answer. It reports whether
// the transaction was READ COMMITTED: in others the answer says nothing.
func (a *Assertion) Held(answer string) bool {
	snapshot, level, _ := strings.Cut(answer, " ")
	if level != ReadCommitted {
		return false
	}
	a.held.Store(time.Now().UnixNano())
	known := a.snapshot.Load()
	a.moving.Store(snapshot == "-" || known != nil && *known != snapshot)
	if snapshot != "-" && (known == nil || *known != snapshot) {
		a.snapshot.Store(&snapshot)
	}
	return true
}

// Fresh reports whether an assertion held within the last second.
func (a *Assertion) Fresh() bool { return time.Now().UnixNano()-a.held.Load() < int64(time.Second) }

// Failed says that an assertion does not hold: the next Snapshot is read anew.
func (s *Store) Failed(database string, a *Assertion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.databases[database]; e != nil && e.catalog == a.catalog && e.markedAt == e.invalid {
		e.invalid++
	}
}

func newAssertion(cat *pgcatalog.Catalog, code string, relations []uint32) *Assertion {
	a := &Assertion{catalog: cat}
	var oids, names []string // as literals
	var rows, sum uint64
	for _, oid := range relations {
		r := cat.Relation(oid)
		if r == nil {
			continue
		}
		rows += 1 + uint64(len(r.Columns))
		sum += r.Version + r.ColumnsVersion
		a.relations = append(a.relations, strconv.FormatUint(uint64(oid), 10))
		oids = append(oids, strconv.FormatUint(uint64(oid), 10))
		if !slices.Contains(a.names, r.Name) {
			a.names = append(a.names, r.Name)
			names = append(names, "'"+strings.ReplaceAll(r.Name, "'", "''")+"'")
			n, total := called(cat, r.Name)
			rows, sum = rows+n, sum+total
		}
	}
	a.want = code + "|"
	if rows > 0 {
		a.want += strconv.FormatUint(rows, 10) + ":" + strconv.FormatUint(sum, 10)
	}
	a.literal = written("true", "'"+a.want+"'", oids, names)
	return a
}

// called counts the relations of a name, and sums their OIDs.
func called(cat *pgcatalog.Catalog, name string) (n, sum uint64) {
	for schema := range cat.Schemas() {
		if r := cat.RelationNamed(schema, name); r != nil && !r.Temporary {
			n++
			sum += uint64(r.OID)
		}
	}
	return n, sum
}
