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
	relations, names string // as arrays
	want             string
	held             atomic.Int64 // when it last did, in nanoseconds since 1970
}

// ChangedSQLSTATE is the SQLSTATE by which an assertion fails:
// division_by_zero.
const ChangedSQLSTATE = "22012"

// ReadCommitted is what an assertion answers in a transaction whose statements
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
// relations of their names. %s are conditions on OIDs and on names.
const relationsSQL = `(SELECT pg_catalog.concat_ws(':', pg_catalog.sum(v.n), pg_catalog.sum(v.version::pg_catalog.text::pg_catalog.int8)) FROM (
	SELECT 1, xmin FROM pg_catalog.pg_class WHERE oid @oids
	UNION ALL SELECT 1, xmin FROM pg_catalog.pg_attribute WHERE attrelid @oids AND attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT attisdropped
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_rewrite WHERE ev_class @oids
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_trigger WHERE tgrelid @oids
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_policy WHERE polrelid @oids
	UNION ALL SELECT 0, xmin FROM pg_catalog.pg_inherits WHERE inhparent @oids
	UNION ALL SELECT 1, oid::pg_catalog.text::pg_catalog.xid FROM pg_catalog.pg_class WHERE relname @names
		AND relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog."char" AND relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,p,f,S,c}'::pg_catalog."char"[])
	) v(n, version))`

// AssertionSQL is the query of every assertion, for [Assertion.Args]. Its row
// has one column: the transaction's isolation level.
var AssertionSQL = `SELECT pg_catalog.current_setting('transaction_isolation') WHERE 1 OPERATOR(pg_catalog.=) (1 OPERATOR(pg_catalog./) CASE
	WHEN pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) '` + ReadCommitted + `'
	THEN CASE WHEN $1::pg_catalog.bool THEN 0 ELSE 1 END
	WHEN pg_catalog.concat_ws('|', ` + codeSQL + `, ` +
	strings.NewReplacer("@oids", "OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.oid[])", "@names", "OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[])").Replace(relationsSQL) +
	`) OPERATOR(pg_catalog.=) $2::pg_catalog.text THEN 1 ELSE 0 END)`

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

// Held says that an assertion holds.
func (a *Assertion) Held() { a.held.Store(time.Now().UnixNano()) }

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
	var oids, names []string
	var rows, sum uint64
	for _, oid := range relations {
		r := cat.Relation(oid)
		if r == nil {
			continue
		}
		rows += 1 + uint64(len(r.Columns))
		sum += r.Version + r.ColumnsVersion
		oids = append(oids, strconv.FormatUint(uint64(oid), 10))
		if quoted := quoteElement(r.Name); !slices.Contains(names, quoted) {
			names = append(names, quoted)
			n, total := called(cat, r.Name)
			rows, sum = rows+n, sum+total
		}
	}
	want := code + "|"
	if rows > 0 {
		want += strconv.FormatUint(rows, 10) + ":" + strconv.FormatUint(sum, 10)
	}
	return &Assertion{catalog: cat, relations: array(oids), names: array(names), want: want}
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

// Args are the parameters of AssertionSQL, in text. A strict assertion also
// fails in a transaction that is not [ReadCommitted].
func (a *Assertion) Args(strict bool) [][]byte {
	return [][]byte{strconv.AppendBool(nil, strict), []byte(a.want), []byte(a.relations), []byte(a.names)}
}

// array writes elements, which are quoted if they must be, as an array.
func array(elements []string) string { return "{" + strings.Join(elements, ",") + "}" }

// quoteElement quotes an element of an array.
func quoteElement(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
