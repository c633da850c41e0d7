package statement

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// effect is what calling a function of PostgreSQL's own does, beyond computing
// a value from its arguments and from what anybody may look at.
type effect struct {
	class    policylang.Class // what a call counts as
	opaque   bool             // what it reads or does, the text does not show
	sql      int              // the argument, from 1, that is SQL to run; 0 for none
	relation int              // the argument, from 1, that names a relation; 0 for none
	verb     policylang.Verb  // what is done to the relation
}

// functionEffect returns the effect of a function that has one. A function of
// pg_catalog that is not here computes its value and does nothing else: every
// immutable and stable one that is not listed, and the volatile ones of
// [harmlessVolatile]; a test holds PostgreSQL's own list against both.
//
// The class is
//   - role for what reaches the server itself or its files: other sessions,
//     configuration, replication, write-ahead log, statistics, files;
//   - ddl for what changes the catalog;
//   - function for everything else that outlives the call: settings,
//     sequences, large objects, locks, notifications.
//
// Functions of extensions are here where their names are well known and their
// arguments run SQL or reach the server; all others are unknown.
func functionEffect(name string) (e effect, ok bool) {
	switch name {
	// SQL in an argument.
	case "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat",
		"crosstab", "crosstabn", "crosstab2", "crosstab3", "crosstab4":
		return effect{class: policylang.ClassFunction, sql: 1}, true
	case "table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema":
		return effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbRead}, true
	case "cursor_to_xml", "cursor_to_xmlschema", "schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema",
		"database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema",
		"currtid2", "connectby", "xpath_table":
		return effect{class: policylang.ClassFunction, opaque: true}, true

	// Sequences and indexes.
	case "nextval", "setval":
		return effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbUpdate}, true
	case "currval":
		return effect{class: policylang.ClassRead, relation: 1, verb: policylang.VerbRead}, true
	case "brin_desummarize_range", "brin_summarize_new_values", "brin_summarize_range", "gin_clean_pending_list":
		return effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbMaintain}, true

	// Settings, transactions, locks, notifications, large objects.
	case "set_config", "setseed", "pg_notify", "pg_export_snapshot", "pg_current_xact_id", "txid_current",
		"pg_stat_clear_snapshot", "pg_stat_force_next_flush", "pg_isolation_test_session_is_blocked",
		"pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
		"pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
		"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all",
		"lo_close", "lo_creat", "lo_create", "lo_from_bytea", "lo_get", "lo_lseek", "lo_lseek64", "lo_open", "lo_put",
		"lo_tell", "lo_tell64", "lo_truncate", "lo_truncate64", "lo_unlink", "loread", "lowrite":
		return effect{class: policylang.ClassFunction}, true

	// Triggers, handlers and validators, which nobody calls by name.
	case "RI_FKey_cascade_del", "RI_FKey_cascade_upd", "RI_FKey_check_ins", "RI_FKey_check_upd",
		"RI_FKey_noaction_del", "RI_FKey_noaction_upd", "RI_FKey_restrict_del", "RI_FKey_restrict_upd",
		"RI_FKey_setdefault_del", "RI_FKey_setdefault_upd", "RI_FKey_setnull_del", "RI_FKey_setnull_upd",
		"tsvector_update_trigger", "tsvector_update_trigger_column", "suppress_redundant_updates_trigger", "unique_key_recheck",
		"plpgsql_call_handler", "plpgsql_inline_handler", "plpgsql_validator",
		"fmgr_c_validator", "fmgr_internal_validator", "fmgr_sql_validator",
		"bernoulli", "system", "brinhandler", "bthandler", "ginhandler", "gisthandler", "hashhandler", "spghandler",
		"heap_tableam_handler", "dsnowball_init", "dsnowball_lexize":
		return effect{class: policylang.ClassFunction}, true

	case "pg_import_system_collations", "pg_extension_config_dump":
		return effect{class: policylang.ClassDDL}, true

	// Other sessions, the server, replication, statistics.
	case "pg_cancel_backend", "pg_terminate_backend", "pg_reload_conf", "pg_rotate_logfile", "pg_rotate_logfile_old",
		"pg_log_backend_memory_contexts", "pg_log_standby_snapshot", "pg_promote", "pg_switch_wal", "pg_create_restore_point",
		"pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup",
		"pg_wal_replay_pause", "pg_wal_replay_resume", "pg_logical_emit_message",
		"pg_stat_reset", "pg_stat_reset_replication_slot", "pg_stat_reset_shared", "pg_stat_reset_single_function_counters",
		"pg_stat_reset_single_table_counters", "pg_stat_reset_slru", "pg_stat_reset_subscription_stats", "pg_stat_statements_reset",
		"pg_create_logical_replication_slot", "pg_create_physical_replication_slot", "pg_copy_logical_replication_slot",
		"pg_copy_physical_replication_slot", "pg_drop_replication_slot", "pg_replication_slot_advance",
		"pg_replication_origin_advance", "pg_replication_origin_create", "pg_replication_origin_drop", "pg_replication_origin_progress",
		"pg_replication_origin_session_is_setup", "pg_replication_origin_session_progress", "pg_replication_origin_session_reset",
		"pg_replication_origin_session_setup", "pg_replication_origin_xact_reset", "pg_replication_origin_xact_setup",
		"pg_nextoid", "pg_stop_making_pinned_objects":
		return effect{class: policylang.ClassRole}, true

	// The server's files, and rows of any table from the log or from pages.
	case "pg_read_file", "pg_read_file_old", "pg_read_binary_file", "pg_stat_file", "pg_ls_dir", "pg_ls_logdir", "pg_ls_waldir",
		"pg_ls_tmpdir", "pg_ls_archive_statusdir", "pg_ls_logicalmapdir", "pg_ls_logicalsnapdir", "pg_ls_replslotdir",
		"lo_import", "lo_export",
		"pg_file_write", "pg_file_rename", "pg_file_unlink", "pg_file_sync", "pg_file_read", "pg_logdir_ls",
		"pg_logical_slot_get_changes", "pg_logical_slot_get_binary_changes",
		"pg_logical_slot_peek_changes", "pg_logical_slot_peek_binary_changes",
		"get_raw_page", "pg_get_wal_records_info", "pg_get_wal_block_info":
		return effect{class: policylang.ClassRole, opaque: true}, true

	// Other servers.
	case "dblink", "dblink_exec", "dblink_connect", "dblink_connect_u", "dblink_disconnect", "dblink_open", "dblink_fetch",
		"dblink_close", "dblink_send_query", "dblink_get_result", "dblink_cancel_query", "dblink_get_notify",
		"dblink_build_sql_insert", "dblink_build_sql_delete", "dblink_build_sql_update",
		"postgres_fdw_disconnect", "postgres_fdw_disconnect_all":
		return effect{class: policylang.ClassFunction, opaque: true}, true
	}
	if strings.HasPrefix(name, "binary_upgrade_") {
		return effect{class: policylang.ClassRole}, true
	}
	return effect{}, false
}

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
