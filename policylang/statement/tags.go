package statement

import "github.com/posternhq/postern/policylang/internal/ast"

// alterTag returns the command tag of ALTER for an object of that kind.
func alterTag(kind ast.ObjectType) string {
	switch {
	case among(kind, ast.ObjectType_OBJECT_COLUMN, ast.ObjectType_OBJECT_TABCONSTRAINT):
		kind = ast.ObjectType_OBJECT_TABLE
	case kind == ast.ObjectType_OBJECT_ATTRIBUTE:
		kind = ast.ObjectType_OBJECT_TYPE
	case kind == ast.ObjectType_OBJECT_DOMCONSTRAINT:
		kind = ast.ObjectType_OBJECT_DOMAIN
	}
	return "ALTER " + objectName(kind)
}

// objectName returns what command tags call an object of that kind, as
// PostgreSQL's CreateCommandTag does.
func objectName(kind ast.ObjectType) string {
	switch kind {
	case ast.ObjectType_OBJECT_ACCESS_METHOD:
		return "ACCESS METHOD"
	case ast.ObjectType_OBJECT_AGGREGATE:
		return "AGGREGATE"
	case ast.ObjectType_OBJECT_CAST:
		return "CAST"
	case ast.ObjectType_OBJECT_COLLATION:
		return "COLLATION"
	case ast.ObjectType_OBJECT_CONVERSION:
		return "CONVERSION"
	case ast.ObjectType_OBJECT_DATABASE:
		return "DATABASE"
	case ast.ObjectType_OBJECT_DOMAIN:
		return "DOMAIN"
	case ast.ObjectType_OBJECT_EVENT_TRIGGER:
		return "EVENT TRIGGER"
	case ast.ObjectType_OBJECT_EXTENSION:
		return "EXTENSION"
	case ast.ObjectType_OBJECT_FDW:
		return "FOREIGN DATA WRAPPER"
	case ast.ObjectType_OBJECT_FOREIGN_SERVER:
		return "SERVER"
	case ast.ObjectType_OBJECT_FOREIGN_TABLE:
		return "FOREIGN TABLE"
	case ast.ObjectType_OBJECT_FUNCTION:
		return "FUNCTION"
	case ast.ObjectType_OBJECT_INDEX:
		return "INDEX"
	case ast.ObjectType_OBJECT_LANGUAGE:
		return "LANGUAGE"
	case ast.ObjectType_OBJECT_LARGEOBJECT:
		return "LARGE OBJECT"
	case ast.ObjectType_OBJECT_MATVIEW:
		return "MATERIALIZED VIEW"
	case ast.ObjectType_OBJECT_OPCLASS:
		return "OPERATOR CLASS"
	case ast.ObjectType_OBJECT_OPERATOR:
		return "OPERATOR"
	case ast.ObjectType_OBJECT_OPFAMILY:
		return "OPERATOR FAMILY"
	case ast.ObjectType_OBJECT_POLICY:
		return "POLICY"
	case ast.ObjectType_OBJECT_PROCEDURE:
		return "PROCEDURE"
	case ast.ObjectType_OBJECT_PUBLICATION:
		return "PUBLICATION"
	case ast.ObjectType_OBJECT_ROLE:
		return "ROLE"
	case ast.ObjectType_OBJECT_ROUTINE:
		return "ROUTINE"
	case ast.ObjectType_OBJECT_RULE:
		return "RULE"
	case ast.ObjectType_OBJECT_SCHEMA:
		return "SCHEMA"
	case ast.ObjectType_OBJECT_SEQUENCE:
		return "SEQUENCE"
	case ast.ObjectType_OBJECT_STATISTIC_EXT:
		return "STATISTICS"
	case ast.ObjectType_OBJECT_SUBSCRIPTION:
		return "SUBSCRIPTION"
	case ast.ObjectType_OBJECT_TABLE:
		return "TABLE"
	case ast.ObjectType_OBJECT_TABLESPACE:
		return "TABLESPACE"
	case ast.ObjectType_OBJECT_TRANSFORM:
		return "TRANSFORM"
	case ast.ObjectType_OBJECT_TRIGGER:
		return "TRIGGER"
	case ast.ObjectType_OBJECT_TSCONFIGURATION:
		return "TEXT SEARCH CONFIGURATION"
	case ast.ObjectType_OBJECT_TSDICTIONARY:
		return "TEXT SEARCH DICTIONARY"
	case ast.ObjectType_OBJECT_TSPARSER:
		return "TEXT SEARCH PARSER"
	case ast.ObjectType_OBJECT_TSTEMPLATE:
		return "TEXT SEARCH TEMPLATE"
	case ast.ObjectType_OBJECT_TYPE:
		return "TYPE"
	case ast.ObjectType_OBJECT_USER_MAPPING:
		return "USER MAPPING"
	case ast.ObjectType_OBJECT_VIEW:
		return "VIEW"
	// These never appear in a tag.
	case ast.ObjectType_OBJECT_TYPE_UNDEFINED, ast.ObjectType_OBJECT_AMOP, ast.ObjectType_OBJECT_AMPROC, ast.ObjectType_OBJECT_ATTRIBUTE,
		ast.ObjectType_OBJECT_COLUMN, ast.ObjectType_OBJECT_DEFAULT, ast.ObjectType_OBJECT_DEFACL, ast.ObjectType_OBJECT_DOMCONSTRAINT,
		ast.ObjectType_OBJECT_PARAMETER_ACL, ast.ObjectType_OBJECT_PUBLICATION_NAMESPACE, ast.ObjectType_OBJECT_PUBLICATION_REL,
		ast.ObjectType_OBJECT_TABCONSTRAINT:
	}
	return "???"
}
