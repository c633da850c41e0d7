package statement

// alterTag returns the command tag of ALTER for an object of that kind.
func alterTag(kind ObjectType) string {
	switch {
	case among(kind, ObjectType_OBJECT_COLUMN, ObjectType_OBJECT_TABCONSTRAINT):
		kind = ObjectType_OBJECT_TABLE
	case kind == ObjectType_OBJECT_ATTRIBUTE:
		kind = ObjectType_OBJECT_TYPE
	case kind == ObjectType_OBJECT_DOMCONSTRAINT:
		kind = ObjectType_OBJECT_DOMAIN
	}
	return "ALTER " + objectName(kind)
}

// objectName returns what command tags call an object of that kind, as
// PostgreSQL's CreateCommandTag does.
func objectName(kind ObjectType) string {
	switch kind {
	case ObjectType_OBJECT_ACCESS_METHOD:
		return "ACCESS METHOD"
	case ObjectType_OBJECT_AGGREGATE:
		return "AGGREGATE"
	case ObjectType_OBJECT_CAST:
		return "CAST"
	case ObjectType_OBJECT_COLLATION:
		return "COLLATION"
	case ObjectType_OBJECT_CONVERSION:
		return "CONVERSION"
	case ObjectType_OBJECT_DATABASE:
		return "DATABASE"
	case ObjectType_OBJECT_DOMAIN:
		return "DOMAIN"
	case ObjectType_OBJECT_EVENT_TRIGGER:
		return "EVENT TRIGGER"
	case ObjectType_OBJECT_EXTENSION:
		return "EXTENSION"
	case ObjectType_OBJECT_FDW:
		return "FOREIGN DATA WRAPPER"
	case ObjectType_OBJECT_FOREIGN_SERVER:
		return "SERVER"
	case ObjectType_OBJECT_FOREIGN_TABLE:
		return "FOREIGN TABLE"
	case ObjectType_OBJECT_FUNCTION:
		return "FUNCTION"
	case ObjectType_OBJECT_INDEX:
		return "INDEX"
	case ObjectType_OBJECT_LANGUAGE:
		return "LANGUAGE"
	case ObjectType_OBJECT_LARGEOBJECT:
		return "LARGE OBJECT"
	case ObjectType_OBJECT_MATVIEW:
		return "MATERIALIZED VIEW"
	case ObjectType_OBJECT_OPCLASS:
		return "OPERATOR CLASS"
	case ObjectType_OBJECT_OPERATOR:
		return "OPERATOR"
	case ObjectType_OBJECT_OPFAMILY:
		return "OPERATOR FAMILY"
	case ObjectType_OBJECT_POLICY:
		return "POLICY"
	case ObjectType_OBJECT_PROCEDURE:
		return "PROCEDURE"
	case ObjectType_OBJECT_PUBLICATION:
		return "PUBLICATION"
	case ObjectType_OBJECT_ROLE:
		return "ROLE"
	case ObjectType_OBJECT_ROUTINE:
		return "ROUTINE"
	case ObjectType_OBJECT_RULE:
		return "RULE"
	case ObjectType_OBJECT_SCHEMA:
		return "SCHEMA"
	case ObjectType_OBJECT_SEQUENCE:
		return "SEQUENCE"
	case ObjectType_OBJECT_STATISTIC_EXT:
		return "STATISTICS"
	case ObjectType_OBJECT_SUBSCRIPTION:
		return "SUBSCRIPTION"
	case ObjectType_OBJECT_TABLE:
		return "TABLE"
	case ObjectType_OBJECT_TABLESPACE:
		return "TABLESPACE"
	case ObjectType_OBJECT_TRANSFORM:
		return "TRANSFORM"
	case ObjectType_OBJECT_TRIGGER:
		return "TRIGGER"
	case ObjectType_OBJECT_TSCONFIGURATION:
		return "TEXT SEARCH CONFIGURATION"
	case ObjectType_OBJECT_TSDICTIONARY:
		return "TEXT SEARCH DICTIONARY"
	case ObjectType_OBJECT_TSPARSER:
		return "TEXT SEARCH PARSER"
	case ObjectType_OBJECT_TSTEMPLATE:
		return "TEXT SEARCH TEMPLATE"
	case ObjectType_OBJECT_TYPE:
		return "TYPE"
	case ObjectType_OBJECT_USER_MAPPING:
		return "USER MAPPING"
	case ObjectType_OBJECT_VIEW:
		return "VIEW"
	// These never appear in a tag.
	case ObjectType_OBJECT_TYPE_UNDEFINED, ObjectType_OBJECT_AMOP, ObjectType_OBJECT_AMPROC, ObjectType_OBJECT_ATTRIBUTE,
		ObjectType_OBJECT_COLUMN, ObjectType_OBJECT_DEFAULT, ObjectType_OBJECT_DEFACL, ObjectType_OBJECT_DOMCONSTRAINT,
		ObjectType_OBJECT_PARAMETER_ACL, ObjectType_OBJECT_PUBLICATION_NAMESPACE, ObjectType_OBJECT_PUBLICATION_REL,
		ObjectType_OBJECT_TABCONSTRAINT:
	}
	return "???"
}
