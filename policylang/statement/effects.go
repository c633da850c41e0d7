package statement

import (
	"strings"
	"sync"

	"github.com/posternhq/postern/policylang"
)

// effect is what calling a function does, beyond computing a value from its
// arguments and from what anybody may look at.
type effect struct {
	class    policylang.Class // what a call counts as
	opaque   bool             // what it reads or does, the text does not show
	sql      int              // the argument, from 1, that is SQL to run; 0 for none
	relation int              // the argument, from 1, that names a relation; 0 for none
	verb     policylang.Verb  // what is done to the relation
}

// FunctionGroup is functions whose calls count for more than the reading of
// their arguments.
type FunctionGroup struct {
	Doc    string           // what they do
	Class  policylang.Class // what a call counts as at least
	Opaque bool             // what they read or do, the text does not show
	Names  []string         // a star at the end stands for any letters
}

// FunctionGroups lists the functions with effects. A function of pg_catalog
// that is in none of them computes its value and does nothing else: every
// immutable and stable one, and those volatile ones that only look at something;
// tests hold PostgreSQL's own lists against both. Functions of extensions are
// here where their names are well known and their arguments run SQL or reach
// the server. All others are unknown, and calls of them opaque until a catalog
// tells.
//
// The class is role for what reaches the server itself or its files: other
// sessions, configuration, replication, write-ahead log, statistics; ddl for
// what changes the catalog; function for everything else that outlives the
// call.
func FunctionGroups() []FunctionGroup {
	var out []FunctionGroup
	for _, g := range effectGroups() {
		out = append(out, FunctionGroup{Doc: g.doc, Class: g.class, Opaque: g.opaque, Names: g.names})
	}
	return out
}

// effectGroup is functions that have one effect.
type effectGroup struct {
	doc string
	effect
	names []string
}

func effectGroups() []effectGroup {
	return []effectGroup{
		{"Run SQL that is an argument. If it is a constant it is read like a nested statement, else the call is opaque.", effect{class: policylang.ClassFunction, sql: 1}, []string{
			"query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat", "crosstab", "crosstabn",
			"crosstab2", "crosstab3", "crosstab4",
		}},
		{"Read a whole table that an argument names.", effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbRead}, []string{
			"table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema",
		}},
		{"Run SQL, or read whole schemas, that the text does not show.", effect{class: policylang.ClassFunction, opaque: true}, []string{
			"cursor_to_xml", "cursor_to_xmlschema", "schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema",
			"database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema", "currtid2", "connectby",
			"xpath_table",
		}},
		{"Move a sequence on.", effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbUpdate}, []string{
			"nextval", "setval",
		}},
		{"Read a sequence's value in this session.", effect{class: policylang.ClassRead, relation: 1, verb: policylang.VerbRead}, []string{
			"currval",
		}},
		{"Tidy up an index.", effect{class: policylang.ClassFunction, relation: 1, verb: policylang.VerbMaintain}, []string{
			"brin_desummarize_range", "brin_summarize_new_values", "brin_summarize_range", "gin_clean_pending_list",
		}},
		{"Change settings, or hold locks, notifications, snapshots, transaction numbers and large objects. `set_config` with a name that is no constant is opaque and of class `role`, and so is one that changes the role.", effect{class: policylang.ClassFunction}, []string{
			"set_config", "setseed", "pg_notify", "pg_export_snapshot", "pg_current_xact_id", "txid_current",
			"pg_stat_clear_snapshot", "pg_stat_force_next_flush", "pg_isolation_test_session_is_blocked", "pg_advisory_lock",
			"pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_lock",
			"pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
			"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all", "lo_close", "lo_creat", "lo_create",
			"lo_from_bytea", "lo_get", "lo_lseek", "lo_lseek64", "lo_open", "lo_put", "lo_tell", "lo_tell64", "lo_truncate",
			"lo_truncate64", "lo_unlink", "loread", "lowrite",
		}},
		{"Code of triggers, languages, index methods and dictionaries, which nobody calls by name.", effect{class: policylang.ClassFunction}, []string{
			"RI_FKey_cascade_del", "RI_FKey_cascade_upd", "RI_FKey_check_ins", "RI_FKey_check_upd", "RI_FKey_noaction_del",
			"RI_FKey_noaction_upd", "RI_FKey_restrict_del", "RI_FKey_restrict_upd", "RI_FKey_setdefault_del",
			"RI_FKey_setdefault_upd", "RI_FKey_setnull_del", "RI_FKey_setnull_upd", "tsvector_update_trigger",
			"tsvector_update_trigger_column", "suppress_redundant_updates_trigger", "unique_key_recheck",
			"plpgsql_call_handler", "plpgsql_inline_handler", "plpgsql_validator", "fmgr_c_validator",
			"fmgr_internal_validator", "fmgr_sql_validator", "bernoulli", "system", "brinhandler", "bthandler", "ginhandler",
			"gisthandler", "hashhandler", "spghandler", "heap_tableam_handler", "dsnowball_init", "dsnowball_lexize",
		}},
		{"Change the catalog.", effect{class: policylang.ClassDDL}, []string{
			"pg_import_system_collations", "pg_extension_config_dump",
		}},
		{"Reach other sessions, the server's configuration, write-ahead log, replication and statistics.", effect{class: policylang.ClassRole}, []string{
			"pg_cancel_backend", "pg_terminate_backend", "pg_reload_conf", "pg_rotate_logfile", "pg_rotate_logfile_old",
			"pg_log_backend_memory_contexts", "pg_log_standby_snapshot", "pg_promote", "pg_switch_wal",
			"pg_create_restore_point", "pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup",
			"pg_wal_replay_pause", "pg_wal_replay_resume", "pg_logical_emit_message", "pg_stat_reset",
			"pg_stat_reset_replication_slot", "pg_stat_reset_shared", "pg_stat_reset_single_function_counters",
			"pg_stat_reset_single_table_counters", "pg_stat_reset_slru", "pg_stat_reset_subscription_stats",
			"pg_stat_statements_reset", "pg_create_logical_replication_slot", "pg_create_physical_replication_slot",
			"pg_copy_logical_replication_slot", "pg_copy_physical_replication_slot", "pg_drop_replication_slot",
			"pg_replication_slot_advance", "pg_replication_origin_advance", "pg_replication_origin_create",
			"pg_replication_origin_drop", "pg_replication_origin_progress", "pg_replication_origin_session_is_setup",
			"pg_replication_origin_session_progress", "pg_replication_origin_session_reset",
			"pg_replication_origin_session_setup", "pg_replication_origin_xact_reset", "pg_replication_origin_xact_setup",
			"pg_nextoid", "pg_stop_making_pinned_objects",
		}},
		{"Read and write the server's files, or rows of any table by way of the log or of raw pages.", effect{class: policylang.ClassRole, opaque: true}, []string{
			"pg_read_file", "pg_read_file_old", "pg_read_binary_file", "pg_stat_file", "pg_ls_dir", "pg_ls_logdir",
			"pg_ls_waldir", "pg_ls_tmpdir", "pg_ls_archive_statusdir", "pg_ls_logicalmapdir", "pg_ls_logicalsnapdir",
			"pg_ls_replslotdir", "lo_import", "lo_export", "pg_file_write", "pg_file_rename", "pg_file_unlink",
			"pg_file_sync", "pg_file_read", "pg_logdir_ls", "pg_logical_slot_get_changes",
			"pg_logical_slot_get_binary_changes", "pg_logical_slot_peek_changes", "pg_logical_slot_peek_binary_changes",
			"get_raw_page", "pg_get_wal_records_info", "pg_get_wal_block_info",
		}},
		{"Reach other servers.", effect{class: policylang.ClassFunction, opaque: true}, []string{
			"dblink", "dblink_exec", "dblink_connect", "dblink_connect_u", "dblink_disconnect", "dblink_open", "dblink_fetch",
			"dblink_close", "dblink_send_query", "dblink_get_result", "dblink_cancel_query", "dblink_get_notify",
			"dblink_build_sql_insert", "dblink_build_sql_delete", "dblink_build_sql_update", "postgres_fdw_disconnect",
			"postgres_fdw_disconnect_all",
		}},
		{"Used by pg_upgrade alone.", effect{class: policylang.ClassRole}, []string{upgradePrefix + "*"}},
	}
}

// upgradePrefix is what the functions of pg_upgrade begin with.
const upgradePrefix = "binary_upgrade_"

// functionEffects is the effects by name. It is made once and never changes.
var functionEffects = sync.OnceValue(func() map[string]effect {
	out := make(map[string]effect)
	for _, g := range effectGroups() {
		for _, name := range g.names {
			out[name] = g.effect
		}
	}
	return out
})

// functionEffect returns the effect of a function that has one.
func functionEffect(name string) (e effect, ok bool) {
	if strings.HasPrefix(name, upgradePrefix) {
		name = upgradePrefix + "*"
	}
	e, ok = functionEffects()[name]
	return e, ok
}
