package catalog

// query is one set-based query of the catalog and what is done with its rows.
type query struct {
	what string // in the plural, for errors
	sql  string
	read func(*reader, row)
}

// relkinds are the kinds of relations that a catalog holds.
const relkinds = `('r', 'v', 'm', 'p', 'f', 'S', 'c')`

// everything is a condition that limits nothing.
const everything = "true"

// queries lists what is read. The conditions limit which views' definitions and
// which relations' columns are, by c.oid and a.attrelid. Rows of a relation, type or function that another
// query did not return are ignored, so that the order matters only in that
// owners come before what they own.
func queries(version int, definitions, columns string) []query {
	return []query{
		{"schemas", `
			SELECT oid, nspname FROM pg_catalog.pg_namespace
			WHERE nspname !~ '^pg_toast'`, (*reader).schema},
		{"extensions", `
			SELECT e.extname, e.extversion, n.nspname
			FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace`, (*reader).extension},
		{"extensions' members", `
			SELECT d.objid, e.extname
			FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
			WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
			AND d.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)`, (*reader).member},
		{"types", `
			SELECT t.oid, n.nspname, t.typname, t.typtype, t.typrelid, t.typbasetype, greatest(t.typtypmod, 0), t.typelem, t.typarray,
				t.typinput::pg_catalog.oid, t.typoutput::pg_catalog.oid
			FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace`, (*reader).dataType},
		{"domains' constraints", `
			SELECT contypid, pg_catalog.pg_get_expr(conbin, 0)
			FROM pg_catalog.pg_constraint WHERE contypid <> 0`, (*reader).domainCheck},
		{"functions", functionsSQL(version), (*reader).function},
		{"operators", `
			SELECT o.oid, n.nspname, o.oprname, o.oprleft, o.oprright, o.oprresult, o.oprcode::pg_catalog.oid
			FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
			WHERE o.oprcode <> 0`, (*reader).operator},
		{"casts", `
			SELECT castsource, casttarget, castfunc, castcontext FROM pg_catalog.pg_cast`, (*reader).cast},
		{"relations", `
			SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 't', c.relispartition, c.reltype,
				c.relrowsecurity,
				CASE WHEN c.relkind IN ('v', 'm') AND ` + definitions + ` THEN pg_catalog.pg_get_viewdef(c.oid) END,
				c.xmin::text::bigint + coalesce(w.versions, 0)
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN (SELECT relation, pg_catalog.sum(version::text::bigint)::bigint AS versions FROM (
					SELECT ev_class, xmin FROM pg_catalog.pg_rewrite
					UNION ALL SELECT tgrelid, xmin FROM pg_catalog.pg_trigger
					UNION ALL SELECT polrelid, xmin FROM pg_catalog.pg_policy
					UNION ALL SELECT inhparent, xmin FROM pg_catalog.pg_inherits) parts(relation, version) GROUP BY relation) w
				ON w.relation = c.oid
			WHERE c.relkind IN ` + relkinds + ` AND n.nspname !~ '^pg_toast'`, (*reader).relation},
		{"columns", `
			SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
				pg_catalog.pg_get_expr(d.adbin, d.adrelid), CASE WHEN l.collisdeterministic THEN l.oid WHEN l.oid IS NULL THEN 0 ELSE 1 END, a.xmin
			FROM pg_catalog.pg_attribute a
			LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
			WHERE a.attnum > 0 AND NOT a.attisdropped
			AND ` + columns + ` AND a.attrelid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ` + relkinds + `)`, (*reader).column},
		{"inheritance", `
			SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno`, (*reader).parent},
		{"partition keys", `
			SELECT partrelid, partattrs, pg_catalog.pg_get_expr(partexprs, partrelid)
			FROM pg_catalog.pg_partitioned_table`, (*reader).partitionKey},
		{"constraints", `
			SELECT conrelid, conname, contype, pg_catalog.array_to_string(conkey, ' '),
				confrelid, pg_catalog.array_to_string(confkey, ' '), confdeltype, confupdtype,
				CASE WHEN contype = 'c' THEN pg_catalog.pg_get_expr(conbin, conrelid) END
			FROM pg_catalog.pg_constraint
			WHERE conrelid <> 0 AND contype IN ('c', 'f', 'p', 'u', 'x')`, (*reader).constraint},
		{"indexes", `
			SELECT x.indrelid, c.relname, x.indisunique, x.indkey,
				pg_catalog.pg_get_expr(x.indexprs, x.indrelid), pg_catalog.pg_get_expr(x.indpred, x.indrelid)
			FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid`, (*reader).index},
		{"triggers", `
			SELECT tgrelid, tgname, tgfoid, tgtype, tgenabled = 'D'
			FROM pg_catalog.pg_trigger WHERE NOT tgisinternal`, (*reader).trigger},
		{"rules", `
			SELECT ev_class, rulename, ev_type, is_instead, pg_catalog.pg_get_ruledef(oid)
			FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND ev_enabled <> 'D'`, (*reader).rule},
		{"row policies", `
			SELECT polrelid, polname, pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid)
			FROM pg_catalog.pg_policy`, (*reader).rowPolicy},
	}
}

// functionsSQL reads functions. Sources are read only of functions made after
// initdb and written in SQL, or for triggers in PL/pgSQL, and only if no setting
// of their own could change how the server reads them; SQL-standard bodies exist
// since PostgreSQL 14.
func functionsSQL(version int) string {
	source := "p.prosrc"
	if version >= 140000 {
		source = "coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)"
	}
	return `
		SELECT p.oid, n.nspname, p.proname, p.prokind, p.provolatile, p.proretset, p.proleakproof, p.prosecdef,
			p.provariadic <> 0, p.pronargdefaults, l.lanname, p.prorettype, p.proargtypes,
			pg_catalog.array_to_string(p.proallargtypes, ' '), pg_catalog.array_to_string(p.proargmodes, ''),
			pg_catalog.array_to_string(p.proargnames, pg_catalog.chr(1), ''),
			CASE WHEN p.oid >= 16384
				AND (l.lanname = 'sql' OR (l.lanname = 'plpgsql' AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype))
				AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) s WHERE s NOT LIKE 'search\_path=%') THEN ` + source + ` END,
			pg_catalog.md5(p.prosrc),
			CASE WHEN p.oid >= 16384 THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END,
			(SELECT pg_catalog.substr(s, 13) FROM pg_catalog.unnest(p.proconfig) s WHERE s LIKE 'search\_path=%'), p.xmin
		FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		JOIN pg_catalog.pg_language l ON l.oid = p.prolang`
}
