package statement

import (
	"slices"
	"strings"
)

// ReasonParameter is the parameter by which a client says why it asks.
const ReasonParameter = "postern.reason"

// changeable is the allow-list of parameters that a client may SET: those that
// change neither who the session is, nor how text is read, nor what is logged.
var changeable = []string{
	"application_name", "array_nulls", "backend_flush_after", "bytea_output", "check_function_bodies",
	"client_connection_check_interval", "client_min_messages", "commit_delay", "commit_siblings", "constraint_exclusion",
	"cpu_index_tuple_cost", "cpu_operator_cost", "cpu_tuple_cost", "cursor_tuple_fraction", "datestyle",
	"deadlock_timeout", "default_statistics_target", "default_table_access_method", "default_tablespace",
	"default_text_search_config", "default_toast_compression", "default_transaction_deferrable",
	"default_transaction_isolation", "default_transaction_read_only", "effective_cache_size",
	"effective_io_concurrency", "escape_string_warning", "exit_on_error", "extra_float_digits", "from_collapse_limit",
	"gin_fuzzy_search_limit", "gin_pending_list_limit", "hash_mem_multiplier", "idle_in_transaction_session_timeout",
	"idle_session_timeout", "intervalstyle", "jit", "jit_above_cost", "jit_inline_above_cost",
	"jit_optimize_above_cost", "join_collapse_limit", "lc_messages", "lc_monetary", "lc_numeric", "lc_time",
	"lock_timeout", "logical_decoding_work_mem", "maintenance_io_concurrency", "maintenance_work_mem",
	"max_parallel_maintenance_workers", "max_parallel_workers", "max_parallel_workers_per_gather",
	"min_parallel_index_scan_size", "min_parallel_table_scan_size", "parallel_leader_participation",
	"parallel_setup_cost", "parallel_tuple_cost", "plan_cache_mode", "quote_all_identifiers", "random_page_cost",
	"recursive_worktable_factor", "restrict_nonsystem_relation_kind", "row_security", "search_path", "seq_page_cost", "seed", "statement_timeout",
	"synchronize_seqscans", "synchronous_commit", "tcp_keepalives_count", "tcp_keepalives_idle",
	"tcp_keepalives_interval", "tcp_user_timeout", "temp_buffers", "temp_tablespaces", "timezone",
	"timezone_abbreviations", "trace_sort", "transaction", "transaction_deferrable", "transaction_isolation",
	"transaction_read_only", "transaction_timeout", "vacuum_buffer_usage_limit", "vacuum_cost_delay",
	"vacuum_cost_limit", "vacuum_cost_page_dirty", "vacuum_cost_page_hit", "vacuum_cost_page_miss", "wal_skip_threshold",
	"work_mem", "xmlbinary", "xmloption",
}

// MaySet reports whether a client of a gateway may set a parameter to a value:
// an allow-list, since what a parameter changes may be how a text is read. The
// value is empty if it is not one constant, as in SET x TO DEFAULT.
func MaySet(name, value string) bool {
	name = strings.ToLower(name)
	switch {
	case name == ReasonParameter:
		return true
	case IsEncoding(name):
		v := strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(value))
		return v == "utf8" || v == "unicode" || v == ""
	case name == "standard_conforming_strings":
		return booleanText(value) == always
	case strings.HasPrefix(name, "enable_"), strings.HasPrefix(name, "geqo"):
		return true // the planner's switches
	case strings.Contains(name, ".") && !strings.HasPrefix(name, "postern."):
		return !isExtensionParameter(name) // an application's own
	}
	return slices.Contains(changeable, name)
}

// IsEncoding reports whether a parameter, in lower case, says how the client's
// text is encoded.
func IsEncoding(name string) bool { return name == "client_encoding" || name == "names" }

// MayReset reports whether a client may reset a parameter: to what it was at
// login, which is harmless but for who the session is.
func MayReset(name string) bool { return name != "role" && name != "session_authorization" }

// SetsParameters reports whether a statement of that effect does no more than
// set parameters. Where [MaySet] admits it, rules may deny it and need not allow
// it.
func (k SessionEffectKind) SetsParameters() bool {
	switch k { //nolint:exhaustive // the others do something else
	case Set, Reset, ResetAll, SetTransaction, SetConstraints:
		return true
	}
	return false
}

// isExtensionParameter reports whether a parameter belongs to a module whose
// settings change what is logged, run or trusted.
func isExtensionParameter(name string) bool {
	module, _, _ := strings.Cut(name, ".")
	return slices.Contains([]string{
		"pgaudit", "auto_explain", "plpgsql", "plperl", "plperlu", "plpython", "pltcl", "pg_stat_statements", "sepgsql", "passwordcheck", "credcheck", "set_user",
	}, module)
}
