package statement

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// harmlessVolatile reports whether a volatile function of pg_catalog only looks at
// something or computes a value.
func harmlessVolatile(name string) bool {
	switch name {
	case "ts_rewrite", // with three arguments; for two see rewrites
		"amvalidate", "clock_timestamp", "current_query", "gen_random_uuid", "lastval", "random", "timeofday",
		"pg_sleep", "pg_sleep_for", "pg_sleep_until",
		"pg_blocking_pids", "pg_safe_snapshot_blocking_pids", "pg_lock_status", "pg_prepared_xact",
		"pg_collation_actual_version", "pg_database_collation_actual_version",
		"pg_control_checkpoint", "pg_control_init", "pg_control_recovery", "pg_control_system",
		"pg_current_logfile", "pg_current_wal_flush_lsn", "pg_current_wal_insert_lsn", "pg_current_wal_lsn",
		"pg_database_size", "pg_indexes_size", "pg_relation_size", "pg_table_size", "pg_tablespace_size", "pg_total_relation_size",
		"pg_get_backend_memory_contexts", "pg_get_multixact_members", "pg_get_shmem_allocations", "pg_get_wal_replay_pause_state",
		"pg_get_wal_resource_managers", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_show_all_file_settings",
		"pg_show_replication_origin_status", "pg_is_in_recovery", "pg_is_wal_replay_paused", "pg_jit_available",
		"pg_last_committed_xact", "pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn", "pg_last_xact_replay_timestamp",
		"pg_notification_queue_usage", "pg_partition_ancestors", "pg_partition_tree", "pg_sequence_last_value",
		"pg_stat_get_recovery_prefetch", "pg_stat_have_stats", "pg_xact_commit_timestamp", "pg_xact_commit_timestamp_origin",
		"pg_xact_status", "txid_status":
		return true
	}
	return strings.HasPrefix(name, "pg_stat_get_xact_")
}

// builtin reports whether PostgreSQL brings along a function of that name.
func builtin(name string) bool {
	_, found := slices.BinarySearch(builtinFunctions[:], name)
	return found
}

// isVolatile reports whether a function of pg_catalog is volatile.
func isVolatile(name string) bool {
	_, found := slices.BinarySearch(builtinVolatile[:], name)
	return found
}

// funcCall reads a call.
func (c *collector) funcCall(f *ast.FuncCall) {
	c.exprs(f.GetArgs())
	c.exprs(f.GetAggOrder())
	c.expr(f.GetAggFilter())
	if f.GetOver() != nil {
		c.node(f.GetOver())
	}
	schema, name := qualifiedName(f.GetFuncname())
	c.called(schema, name, f.GetArgs())
}

// called reads the effect of calling a function by name.
func (c *collector) called(schema, name string, args []*ast.Node) {
	c.functions = append(c.functions, qualified(schema, name))
	planned := c.planned
	c.planned = false // EXPLAIN runs what it folds
	defer func() { c.planned = planned }()
	own := schema == "" || schema == "pg_catalog"
	e, listed := functionEffect(name)
	switch {
	case listed && (own || e.opaque || e.sql > 0):
		c.effect(name, e, args)
		if !builtin(name) || !own {
			c.unknownName("function", schema, name)
		}
	case own && builtin(name):
		c.rewrites(name, args)
		if isVolatile(name) && !harmlessVolatile(name) {
			c.opaque()
		}
	case schema == "information_schema" && strings.HasPrefix(name, "_pg_"):
	default:
		c.unknownName("function", schema, name)
	}
}

// effect applies the effect of a function.
func (c *collector) effect(name string, e effect, args []*ast.Node) {
	if e.class == policylang.ClassRead {
		c.raise(e.class)
	} else {
		c.change(e.class)
	}
	if e.opaque {
		c.opaque()
	}
	if name == "set_config" {
		c.setConfig(args)
	}
	if e.sql > 0 {
		c.runsArgument(args, e.sql)
	}
	if e.relation > 0 {
		c.namesRelation(args, e)
	}
}

// argument returns the argument at a place from 1, nil if there is none or if
// the call's notation does not tell.
func argument(args []*ast.Node, place int) *ast.Node {
	if place > len(args) {
		return nil
	}
	for _, a := range args {
		if _, named := ast.Unwrap(a).(*ast.NamedArgExpr); named {
			return nil
		}
	}
	return args[place-1]
}

// setConfig reads set_config(name, value, is_local).
func (c *collector) setConfig(args []*ast.Node) {
	name, ok := c.stringConstant(argument(args, 1))
	if parameter, held := c.picked.text(columnName(argument(args, 1))); held && !changesIdentity(parameter) {
		c.literal = true
		c.assigns = append(c.assigns, "="+parameter)
		return
	}
	if !ok {
		c.opaque()
		c.change(policylang.ClassRole)
		c.assigns = append(c.assigns, "*")
		return
	}
	name = strings.ToLower(name)
	c.assigns = append(c.assigns, name)
	if changesIdentity(name) {
		c.change(policylang.ClassRole)
	}
}

// changesIdentity reports whether setting the parameter makes the session
// somebody else.
func changesIdentity(parameter string) bool {
	return parameter == "role" || parameter == "session_authorization"
}

// runsArgument reads an argument that is SQL to run.
func (c *collector) runsArgument(args []*ast.Node, place int) {
	if text, ok := c.stringConstant(argument(args, place)); ok {
		c.sqlText(text)
		return
	}
	c.opaque()
}

// namesRelation reads an argument that names a relation.
func (c *collector) namesRelation(args []*ast.Node, e effect) {
	a := argument(args, e.relation)
	if t, ok := ast.Unwrap(a).(*ast.TypeCast); ok {
		a = t.GetArg()
	}
	if text, ok := c.stringConstant(a); ok {
		c.namedRelation(text, e.verb)
		return
	}
	// The verb that stays unknown must not hide behind an empty list.
	c.relation("", "", e.verb)
	if e.verb == policylang.VerbRead && e.class != policylang.ClassRead {
		c.opaque()
	}
}

// rewrites reads ts_rewrite(query, select), whose second argument is SQL unless
// there is a third.
func (c *collector) rewrites(name string, args []*ast.Node) {
	if name == "ts_rewrite" && len(args) < 3 {
		c.change(policylang.ClassFunction)
		c.runsArgument(args, 2)
	}
}
