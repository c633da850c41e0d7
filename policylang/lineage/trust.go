package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// The trust table.
//
// A function of the server's own that is IMMUTABLE computes from its arguments
// and is trusted without being listed. One that is STABLE or VOLATILE is not
// unless it is listed here: STABLE functions read the catalog or run SQL given
// as text, VOLATILE ones act. The lists were made from the functions of
// PostgreSQL 15 and extended for 13 to 18; a function of a newer server that
// nobody has looked at is opaque.

// knownFunctions are the server's own functions that Volatility says too
// little about.
var knownFunctions = trustTable(map[trust]string{
	// Their results come from the arguments, the clock, the session, or from
	// those parts of the system catalogs that hold no values of tables.
	pureCode: `
		age date date_part date_trunc extract generate_series interval in_range isfinite length make_timestamptz
		now numeric overlaps statement_timestamp clock_timestamp timeofday time timestamp timestamptz timetz timezone
		to_char to_date to_number to_timestamp transaction_timestamp date_add date_subtract money xml
		array_to_json array_to_string concat concat_ws format quote_literal quote_nullable
		json_agg json_build_array json_build_object json_object_agg json_populate_record json_populate_recordset
		json_to_record json_to_recordset json_to_tsvector jsonb_agg jsonb_build_array jsonb_build_object
		json_agg_strict jsonb_agg_strict json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict
		jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict
		jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz jsonb_path_query_first_tz
		jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_to_record jsonb_to_recordset
		jsonb_to_tsvector row_to_json to_json to_jsonb xml_is_well_formed
		convert convert_from convert_to enum_first enum_last enum_range
		phraseto_tsquery plainto_tsquery to_tsquery to_tsvector ts_debug ts_headline ts_parse ts_token_type
		websearch_to_tsquery get_current_ts_config
		current_database current_schema current_schemas current_setting current_user session_user getpgusername
		system_user version inet_client_addr inet_client_port inet_server_addr inet_server_port pg_backend_pid
		pg_client_encoding getdatabaseencoding pg_char_to_encoding pg_encoding_to_char
		pg_column_compression pg_column_size pg_typeof pg_collation_for pg_input_is_valid pg_input_error_info
		aclexplode aclitemin aclitemout col_description obj_description shobj_description format_type
		has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
		has_function_privilege has_language_privilege has_largeobject_privilege has_parameter_privilege
		has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege
		has_tablespace_privilege has_type_privilege pg_has_role row_security_active
		oidvectortypes pg_collation_is_visible pg_conversion_is_visible pg_function_is_visible
		pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_statistics_obj_is_visible
		pg_table_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible pg_ts_parser_is_visible
		pg_ts_template_is_visible pg_type_is_visible pg_is_other_temp_schema pg_my_temp_schema
		pg_column_is_updatable pg_relation_is_updatable pg_relation_is_publishable pg_get_replica_identity_index
		pg_describe_object pg_identify_object pg_identify_object_as_address pg_get_object_address
		pg_get_catalog_foreign_keys pg_get_constraintdef pg_get_expr pg_get_function_arg_default
		pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_indexdef
		pg_get_keywords pg_get_partkeydef pg_get_publication_tables pg_get_serial_sequence
		pg_get_partition_constraintdef pg_get_triggerdef
		pg_get_statisticsobjdef pg_get_statisticsobjdef_columns pg_get_userbyid pg_basetype
		pg_index_column_has_property pg_index_has_property pg_indexam_has_property pg_options_to_table
		pg_partition_ancestors pg_partition_tree pg_sequence_parameters pg_settings_get_flags
		pg_available_extension_versions pg_available_extensions pg_extension_update_paths
		pg_collation_actual_version pg_database_collation_actual_version
		pg_conf_load_time pg_postmaster_start_time pg_is_in_recovery pg_jit_available pg_show_all_settings
		pg_timezone_abbrevs pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone pg_timezone_names
		pg_tablespace_databases pg_tablespace_location
		pg_trigger_depth pg_listening_channels pg_lock_status pg_blocking_pids pg_safe_snapshot_blocking_pids
		pg_prepared_xact pg_get_replication_slots pg_current_snapshot txid_current_snapshot
		pg_current_xact_id_if_assigned txid_current_if_assigned pg_xact_status txid_status mxid_age
		regclass to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc
		to_regprocedure to_regrole to_regtype to_regtypemod gen_random_uuid uuidv4 uuidv7`,

	// They return definitions, which may quote values of protected columns.
	definitionCode: `
		pg_get_viewdef pg_get_functiondef pg_get_function_sqlbody pg_get_ruledef
		pg_get_statisticsobjdef_expressions`,

	// They compute, but from statistics, sizes or the texts of other
	// statements, which differ with the values of protected columns.
	hiddenCode: `
		pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size pg_tablespace_size
		pg_stat_get_tuples_hot_updated pg_stat_get_xact_tuples_hot_updated pg_stat_get_tuples_newpage_updated
		pg_stat_get_blocks_fetched pg_stat_get_blocks_hit pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit
		pg_stat_get_activity pg_stat_get_backend_activity pg_cursor pg_prepared_statement pg_mcv_list_items`,

	// They change something small, or have a state that a later statement
	// could read.
	effectCode: `
		nextval currval lastval setval pg_sequence_last_value pg_sleep pg_sleep_for pg_sleep_until random random_normal
		pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
		pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
		pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
		pg_notify setseed pg_current_xact_id txid_current pg_stat_clear_snapshot`,

	settingCode: `set_config`,
})

// knownExtensions are the extensions whose compiled, immutable functions are
// trusted, each with the functions that are not as their volatility says.
var knownExtensions = map[string]map[string]trust{
	"btree_gin":     nil,
	"btree_gist":    nil,
	"citext":        nil,
	"cube":          nil,
	"earthdistance": nil,
	"fuzzystrmatch": nil,
	"hstore":        nil,
	"intarray":      nil,
	"isn":           nil,
	"ltree":         nil,
	"pg_trgm":       trustTable(map[trust]string{pureCode: "similarity_op word_similarity_op word_similarity_commutator_op strict_word_similarity_op strict_word_similarity_commutator_op"}),
	"pgcrypto":      trustTable(map[trust]string{effectCode: "gen_random_bytes gen_random_uuid gen_salt"}),
	"postgis":       nil,
	"seg":           nil,
	"tablefunc":     trustTable(map[trust]string{effectCode: "normal_rand"}),
	"unaccent":      trustTable(map[trust]string{pureCode: "unaccent"}),
	"uuid-ossp":     trustTable(map[trust]string{effectCode: "uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4"}),
	"vector":        nil,
}

func trustTable(lists map[trust]string) map[string]trust {
	table := map[string]trust{}
	for t, names := range lists {
		for _, name := range strings.Fields(names) {
			table[name] = t
		}
	}
	return table
}

// totalFunctions cannot fail, whatever the values of their arguments.
var totalFunctions = set(`
	lower upper initcap length char_length character_length octet_length bit_length
	md5 sha224 sha256 sha384 sha512 concat concat_ws btrim ltrim rtrim reverse left right replace translate ascii
	strpos position starts_with quote_ident quote_literal quote_nullable hashtext
	to_json to_jsonb row_to_json array_to_json json_agg jsonb_agg json_build_array jsonb_build_array
	count min max bool_and bool_or every any_value string_agg array_agg
	num_nulls num_nonnulls pg_typeof pg_column_size
	row_number rank dense_rank percent_rank cume_dist first_value last_value lag lead mode
	sign floor ceil ceiling round trunc isfinite
	pg_get_expr pg_size_pretty now current_database current_schema current_user session_user version`)

func set(names string) map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(names) {
		out[name] = true
	}
	return out
}

// wholeDateFields are the fields that every date and timestamp has.
var wholeDateFields = strings.Fields("year month day quarter week decade century dow doy isodow isoyear epoch")

// totalFunction reports whether a built-in function cannot fail on these
// arguments, whatever the values of those that are protected.
func totalFunction(name string, nodes []*ast.Node, args []value) bool {
	if totalFunctions[name] {
		return true
	}
	switch name {
	case "sum": // of whole numbers, into a wider type
		return len(args) == 1 && slices.Contains([]uint32{typeInt2, typeInt4, typeInt8}, args[0].typ)
	case "split_part": // a position of 0 is refused at run time
		return len(nodes) == 3 && isNatural(nodes[2]) && args[2].typ == typeInt4 && !isZero(nodes[2])
	case "substr", "substring": // a negative length is refused at run time
		return len(nodes) == 2 && args[1].typ == typeInt4 || len(nodes) == 3 && isNatural(nodes[2])
	case "json_build_object", "jsonb_build_object": // a key that is NULL is refused
		return len(nodes)%2 == 0 && !slices.ContainsFunc(keys(nodes), func(n *ast.Node) bool { _, ok := literal(n); return !ok })
	case "extract": // dates far away have no timestamp that could be cut, or that date_part would be given
		if len(nodes) != 2 || !slices.Contains([]uint32{typeDate, typeTimestamp, typeTimestamptz}, args[1].typ) {
			return false
		}
		field, ok := literal(nodes[0])
		return ok && slices.Contains(wholeDateFields, field)
	}
	return false
}

// keys are every other argument, from the first.
func keys(nodes []*ast.Node) []*ast.Node {
	var out []*ast.Node
	for i := 0; i < len(nodes); i += 2 {
		out = append(out, nodes[i])
	}
	return out
}

// isNatural reports whether the expression is a whole number, not negative.
func isNatural(n *ast.Node) bool {
	c, ok := ast.Unwrap(n).(*ast.A_Const)
	return ok && !c.Isnull && (c.GetIval() != nil && c.GetIval().Ival >= 0)
}

func isZero(n *ast.Node) bool {
	c, ok := ast.Unwrap(n).(*ast.A_Const)
	return ok && c.GetIval().GetIval() == 0
}
