package catalog

import (
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// PathSQL asks a session for its search path, in the form of SessionSQL.
const PathSQL = "SELECT 'path', pg_catalog.unnest(pg_catalog.current_schemas(true))"

// SessionSQL asks a session for its search path, for the tables that its open
// transaction has made and nobody else sees yet, and for what is in its temporary
// schema. Each row says by its first column what it is: see [ReadSession].
const SessionSQL = `
	WITH own AS (
		SELECT c.oid, n.nspname, c.relname, c.relpersistence = 't' AS temporary, c.reltype, t.typarray
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_type t ON t.oid = c.reltype
		WHERE c.relkind = 'r' AND NOT (c.relispartition OR c.relhassubclass OR c.relhasrules OR c.relrowsecurity)
			AND pg_catalog.age(c.xmin) <= pg_catalog.age(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid)
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid))
	SELECT 'path', s, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
		FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) s
	UNION ALL SELECT 'own', n.nspname, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
		FROM pg_catalog.pg_namespace n WHERE n.oid = pg_catalog.pg_my_temp_schema()
	UNION ALL SELECT 'temporary', c.oid::text, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
		FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema()
	UNION ALL SELECT 'table', oid::text, nspname, relname, temporary::text, reltype::text, typarray::text, NULL, NULL, NULL FROM own
	UNION ALL SELECT 'column', a.attrelid::text, a.attname, a.attnum::text, a.atttypid::text, a.atttypmod::text, a.attnotnull::text,
			(a.attgenerated <> '')::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
			CASE WHEN l.collisdeterministic THEN l.oid::text WHEN l.oid IS NULL THEN '0' ELSE '1' END
		FROM pg_catalog.pg_attribute a JOIN own ON own.oid = a.attrelid
			LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
		WHERE a.attnum > 0 AND NOT a.attisdropped`

// Session is what SessionSQL tells of a session.
type Session struct {
	Path      []string // current_schemas(true)
	tables    map[uint32]*pgcatalog.Relation
	arrays    map[uint32]uint32 // array types of the tables' rows, by table
	own       string            // the session's temporary schema; empty if it has none, or was not asked for it
	temporary map[uint32]bool   // what is in that
}

// ReadSession reads the rows of SessionSQL.
func ReadSession(rows [][]string) *Session {
	s := &Session{Path: []string{}, tables: map[uint32]*pgcatalog.Relation{}, arrays: map[uint32]uint32{}, temporary: map[uint32]bool{}}
	for _, texts := range rows {
		if len(texts) < 2 {
			continue
		}
		v := make(row, max(len(texts), 10))
		for i := range texts {
			v[i] = []byte(texts[i])
		}
		switch v.text(0) {
		case "path":
			s.Path = append(s.Path, v.text(1))
		case "own":
			s.own = v.text(1)
		case "temporary":
			s.temporary[v.oid(1)] = true
		case "table":
			s.tables[v.oid(1)] = &pgcatalog.Relation{
				OID: v.oid(1), Schema: v.text(2), Name: v.text(3), Kind: pgcatalog.RelationTable, Temporary: v.bool(4), RowType: v.oid(5),
			}
			s.arrays[v.oid(1)] = v.oid(6)
		case "column":
			if t := s.tables[v.oid(1)]; t != nil {
				t.Columns = append(t.Columns, pgcatalog.Column{
					Name: v.text(2), Number: v.int16(3), Type: v.oid(4), Modifier: v.int32(5), NotNull: v.bool(6), Generated: v.bool(7),
					Default: v.text(8), Collation: v.oid(9),
				})
			}
		}
	}
	return s
}

// Empty reports whether the session's transaction has made and changed no tables,
// and it has no temporary schema, or was asked for neither.
func (s *Session) Empty() bool { return len(s.tables) == 0 && s.own == "" }

// Over returns a catalog as the session sees it: with the tables that its
// transaction has made, and without what a session that has ended had in the same
// temporary schema. It is cat itself if these are none.
func (s *Session) Over(cat *pgcatalog.Catalog) *pgcatalog.Catalog {
	var b *pgcatalog.Builder
	edit := func() {
		if b == nil {
			b = cat.Edit()
		}
	}
	for r := range cat.Relations() {
		if s.own != "" && r.Schema == s.own && !s.temporary[r.OID] {
			edit()
			b.RemoveRelation(r.OID)
		}
	}
	for oid, t := range s.tables {
		if cat.Relation(oid) != nil {
			continue // changed, not made: what the catalog says of it no longer holds
		}
		edit()
		b.AddRelation(*t)
		b.AddType(pgcatalog.Type{OID: t.RowType, Schema: t.Schema, Name: t.Name, Kind: pgcatalog.TypeComposite, Relation: oid, Array: s.arrays[oid]})
		if array := s.arrays[oid]; array != 0 {
			b.AddType(pgcatalog.Type{OID: array, Schema: t.Schema, Name: "_" + t.Name, Kind: pgcatalog.TypeBase, Element: t.RowType})
		}
	}
	if b == nil {
		return cat
	}
	return b.Build(cat.Generation)
}

// Made reports whether the session's transaction has made a table of that
// schema and name.
func (s *Session) Made(schema, name string) bool {
	for _, t := range s.tables {
		if t.Schema == schema && t.Name == name {
			return true
		}
	}
	return false
}
