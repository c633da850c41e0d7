// Package statement reads SQL: it turns a text into statements, each with the
// facts that policy decides on. It is the only door to PostgreSQL's parser.
//
// [Parse] reads a text; a [Cache] does so quickly for texts seen before or
// that differ from them in constants alone.
//
//	tree, err := cache.Parse("delete from orders where id = 17")
//	tree.Statements[0].Facts.Command // "DELETE"
//
// # Promises
//
// Whatever the text, the answer comes in bounded time and memory: size,
// encoding, nesting and number of statements are checked before the parser
// sees a byte, because it is written in C and overflows its stack on deep
// trees (see [Limits]). An error is always an [*Error], and no constant of the
// text is in its message.
//
// Facts err to one side: what is not understood counts as [policylang.Facts]'
// most dangerous class and is opaque, never harmless. They are read from the
// text alone. A name that the text does not qualify has no schema, a function
// of pg_catalog is taken for itself though a user's overload may stand before
// it, and triggers, views, defaults and row security are not seen: a catalog
// settles those later. [policylang.Facts].Unknown lists what it has to look at.
//
// # What a text does
//
// What counts, beyond the obvious:
//
//   - Verbs follow the privileges that PostgreSQL asks for: an UPDATE or DELETE
//     that looks at columns of its target, in WHERE or RETURNING, reads it too.
//   - EXPLAIN ANALYZE runs its statement. EXPLAIN does not, but plans it and in
//     doing so runs the functions that it folds: its relations count as read,
//     its functions as called.
//   - SELECT … FOR UPDATE and its kin lock rows, which PostgreSQL forbids in a
//     READ ONLY transaction and for which it demands the right to update: the
//     relations have the verb lock besides read, the class is write, and
//     read_only is false; writes is false, since no row changes.
//   - LOCK TABLE is of class write for the same reason.
//   - TRUNCATE counts as a write without a WHERE: filtered is false.
//   - CASCADE reaches what the text does not name: every relation, until a
//     catalog says which.
//   - VACUUM, ANALYZE, CLUSTER, REINDEX and REFRESH are of class ddl.
//   - SELECT INTO and CREATE TABLE AS create a relation: class ddl.
//   - COPY to or from a program or a file of the server is of class role.
//   - A change of ownership, row security or policies is of class role, as are
//     writes to tables of pg_catalog.
//   - PREPARE and DECLARE count as the statement they hold; EXECUTE and FETCH
//     are opaque until somebody who knows the name decides on that statement.
//   - CREATE FUNCTION and DO count as what their bodies do, as far as the body
//     is SQL or PL/pgSQL and holds no dynamic SQL.
//   - SQL in a constant argument of query_to_xml and its kin is read as well.
//
// Everything in this package is safe for concurrent use; a [Tree] is immutable.
package statement
