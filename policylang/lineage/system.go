package lineage

import (
	"strings"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// hiddenColumns returns the columns of a system relation that hold values of
// tables, statistics over them, secrets, the texts of code and of other
// people's statements, or conditions that single rows out by their values (row
// policies, filters of publications). What other definitions say (bounds of
// partitions, predicates of indexes) is not hidden: it does not change with the
// values of a table. It reports false for relations of users, and for system
// views that are not listed: those are followed like any view. A system table
// that is not listed is hidden whole.
func hiddenColumns(r *pgcatalog.Relation) ([]string, bool) {
	if r.Schema != "pg_catalog" || r.OID >= pgcatalog.FirstUserOID {
		return nil, false
	}
	names, ok := systemRelations[r.Name]
	if !ok {
		return nil, false
	}
	return strings.Fields(names), true
}

// isForbidden reports whether a system relation may not be read at all, though
// system views that show a part of it may.
func isForbidden(r *pgcatalog.Relation) bool {
	return r.Schema == "pg_catalog" && r.OID < pgcatalog.FirstUserOID && (r.Name == "pg_authid" || r.Name == "pg_shadow")
}

// systemRelations lists the system relations that may be read, with the columns
// of each that are hidden; a tilde marks the text of a definition. The list
// covers PostgreSQL 13 to 18.
var systemRelations = map[string]string{
	"pg_aggregate":                  "",
	"pg_am":                         "",
	"pg_amop":                       "",
	"pg_amproc":                     "",
	"pg_attrdef":                    "",
	"pg_attribute":                  "attmissingval",
	"pg_auth_members":               "",
	"pg_authid":                     "rolpassword",
	"pg_cast":                       "",
	"pg_class":                      "relpages relallvisible relallfrozen",
	"pg_collation":                  "",
	"pg_constraint":                 "",
	"pg_conversion":                 "",
	"pg_database":                   "",
	"pg_db_role_setting":            "",
	"pg_default_acl":                "",
	"pg_depend":                     "",
	"pg_description":                "",
	"pg_enum":                       "",
	"pg_event_trigger":              "",
	"pg_extension":                  "",
	"pg_foreign_data_wrapper":       "",
	"pg_foreign_server":             "",
	"pg_foreign_table":              "",
	"pg_index":                      "",
	"pg_inherits":                   "",
	"pg_init_privs":                 "",
	"pg_language":                   "",
	"pg_largeobject_metadata":       "",
	"pg_namespace":                  "",
	"pg_opclass":                    "",
	"pg_operator":                   "",
	"pg_opfamily":                   "",
	"pg_parameter_acl":              "",
	"pg_partitioned_table":          "",
	"pg_policy":                     "~polqual ~polwithcheck",
	"pg_proc":                       "~prosrc ~probin ~prosqlbody ~proargdefaults",
	"pg_publication":                "",
	"pg_publication_namespace":      "",
	"pg_publication_rel":            "~prqual",
	"pg_range":                      "",
	"pg_replication_origin":         "",
	"pg_rewrite":                    "~ev_qual ~ev_action",
	"pg_seclabel":                   "",
	"pg_sequence":                   "",
	"pg_shdepend":                   "",
	"pg_shdescription":              "",
	"pg_shseclabel":                 "",
	"pg_statistic_ext":              "",
	"pg_subscription":               "subconninfo",
	"pg_subscription_rel":           "",
	"pg_tablespace":                 "",
	"pg_transform":                  "",
	"pg_trigger":                    "~tgargs ~tgqual",
	"pg_ts_config":                  "",
	"pg_ts_config_map":              "",
	"pg_ts_dict":                    "",
	"pg_ts_parser":                  "",
	"pg_ts_template":                "",
	"pg_type":                       "",
	"pg_user_mapping":               "umoptions",
	"pg_stat_activity":              "query",
	"pg_stat_ssl":                   "",
	"pg_stat_gssapi":                "",
	"pg_stat_replication":           "",
	"pg_cursors":                    "statement",
	"pg_prepared_statements":        "statement",
	"pg_stat_progress_analyze":      "",
	"pg_stat_progress_copy":         "",
	"pg_stat_progress_vacuum":       "",
	"pg_stat_progress_cluster":      "",
	"pg_stat_progress_basebackup":   "",
	"pg_stat_progress_create_index": "",
}
