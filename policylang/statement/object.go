package statement

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// object reads definitions of everything that is neither a relation, a routine
// nor a role, and the commands that work on objects of any kind.
func (c *collector) object(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.DropStmt:
		c.definition(objectClass(m.GetRemoveType()))
		for _, n := range m.GetObjects() {
			c.named(m.GetRemoveType(), n, policylang.VerbDrop)
		}
		if m.GetBehavior() == ast.DropBehavior_DROP_CASCADE {
			c.relation("", "", policylang.VerbDrop) // whatever depends on them
		}
		return "DROP " + objectName(m.GetRemoveType()), true
	case *ast.RenameStmt:
		if m.GetRenameType() == ast.ObjectType_OBJECT_SCHEMA {
			c.definition(policylang.ClassDDL)
			c.relation(m.GetSubname(), "", policylang.VerbAlter)
			return "ALTER SCHEMA", true
		}
		c.renames(m.GetRenameType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		if m.GetRenameType() == ast.ObjectType_OBJECT_COLUMN {
			c.column(m.GetRelation().GetSchemaname(), m.GetRelation().GetRelname(), m.GetSubname())
			return alterTag(m.GetRelationType()), true
		}
		if isRelation(m.GetRenameType()) {
			c.relation(m.GetRelation().GetSchemaname(), m.GetNewname(), policylang.VerbCreate)
		}
		return alterTag(m.GetRenameType()), true
	case *ast.AlterObjectSchemaStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		if isRelation(m.GetObjectType()) {
			c.relation(m.GetNewschema(), m.GetRelation().GetRelname(), policylang.VerbCreate)
		}
		return alterTag(m.GetObjectType()), true
	case *ast.AlterObjectDependsStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		return alterTag(m.GetObjectType()), true
	case *ast.AlterOwnerStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassRole)
		return alterTag(m.GetObjectType()), true
	case *ast.CommentStmt:
		c.definition(policylang.ClassDDL)
		c.named(m.GetObjtype(), m.GetObject(), policylang.VerbAlter)
		return "COMMENT", true
	case *ast.SecLabelStmt:
		c.definition(policylang.ClassRole)
		c.named(m.GetObjtype(), m.GetObject(), policylang.VerbAlter)
		return "SECURITY LABEL", true
	case *ast.CreateSchemaStmt:
		c.definition(policylang.ClassDDL)
		for _, n := range m.GetSchemaElts() {
			c.statement(ast.Unwrap(n))
		}
		return "CREATE SCHEMA", true
	case *ast.DefineStmt:
		c.definition(policylang.ClassDDL)
		c.defineAll(m.GetDefinition())
		return "CREATE " + objectName(m.GetKind()), true
	}
	if tag := c.simpleObject(m); tag != "" {
		return tag, true
	}
	return c.typeObject(m)
}

// simpleObject reads definitions in which nothing but their kind matters.
func (c *collector) simpleObject(m any) (tag string) {
	switch m := m.(type) {
	case *ast.AlterOperatorStmt:
		c.defineAll(m.GetOptions())
		tag = "ALTER OPERATOR"
	case *ast.CreateOpClassStmt:
		c.defineAll(m.GetItems())
		tag = "CREATE OPERATOR CLASS"
	case *ast.CreateOpFamilyStmt:
		tag = "CREATE OPERATOR FAMILY"
	case *ast.AlterOpFamilyStmt:
		c.defineAll(m.GetItems())
		tag = "ALTER OPERATOR FAMILY"
	case *ast.CreateAmStmt:
		c.names(m.GetHandlerName())
		tag = "CREATE ACCESS METHOD"
	case *ast.CreateConversionStmt:
		c.names(m.GetFuncName())
		tag = "CREATE CONVERSION"
	case *ast.CreateCastStmt:
		c.names(m.GetFunc().GetObjname())
		tag = "CREATE CAST"
	case *ast.CreateTransformStmt:
		c.names(m.GetFromsql().GetObjname())
		c.names(m.GetTosql().GetObjname())
		tag = "CREATE TRANSFORM"
	case *ast.CreateEventTrigStmt:
		c.names(m.GetFuncname())
		tag = "CREATE EVENT TRIGGER"
	case *ast.AlterEventTrigStmt:
		tag = "ALTER EVENT TRIGGER"
	case *ast.AlterCollationStmt:
		tag = "ALTER COLLATION"
	case *ast.AlterTSDictionaryStmt:
		tag = "ALTER TEXT SEARCH DICTIONARY"
	case *ast.AlterTSConfigurationStmt:
		tag = "ALTER TEXT SEARCH CONFIGURATION"
	case *ast.CreateExtensionStmt:
		c.opaque() // runs the extension's script
		tag = "CREATE EXTENSION"
	case *ast.AlterExtensionStmt:
		c.opaque()
		tag = "ALTER EXTENSION"
	case *ast.AlterExtensionContentsStmt:
		c.named(m.GetObjtype(), m.GetObject(), policylang.VerbAlter)
		tag = "ALTER EXTENSION"
	default:
		return ""
	}
	c.definition(policylang.ClassDDL)
	return tag
}

// typeObject reads definitions of types and domains.
func (c *collector) typeObject(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.CompositeTypeStmt:
		tag = "CREATE TYPE"
	case *ast.CreateEnumStmt:
		tag = "CREATE TYPE"
	case *ast.CreateRangeStmt:
		c.defineAll(m.GetParams())
		tag = "CREATE TYPE"
	case *ast.AlterEnumStmt:
		tag = "ALTER TYPE"
	case *ast.AlterTypeStmt:
		c.defineAll(m.GetOptions())
		tag = "ALTER TYPE"
	case *ast.CreateDomainStmt:
		c.push(false)
		c.defineAll(m.GetConstraints())
		c.pop()
		tag = "CREATE DOMAIN"
	case *ast.AlterDomainStmt:
		if m.GetDef() != nil {
			c.push(false)
			c.define(ast.Unwrap(m.GetDef()))
			c.pop()
		}
		tag = "ALTER DOMAIN"
	default:
		return "", false
	}
	c.definition(policylang.ClassDDL)
	return tag, true
}

// renames reads ALTER … RENAME, SET SCHEMA, OWNER TO and DEPENDS ON.
func (c *collector) renames(kind ast.ObjectType, r *ast.RangeVar, object *ast.Node, class policylang.Class) {
	c.definition(worse(class, objectClass(kind)))
	if r != nil {
		c.rangeVar(r, policylang.VerbAlter)
		return
	}
	c.named(kind, object, policylang.VerbAlter)
}

// objectClass is the class of changing an object of that kind.
func objectClass(kind ast.ObjectType) policylang.Class {
	if among(kind, ast.ObjectType_OBJECT_ROLE, ast.ObjectType_OBJECT_POLICY, ast.ObjectType_OBJECT_USER_MAPPING, ast.ObjectType_OBJECT_TABLESPACE,
		ast.ObjectType_OBJECT_PUBLICATION, ast.ObjectType_OBJECT_SUBSCRIPTION, ast.ObjectType_OBJECT_DEFACL, ast.ObjectType_OBJECT_PARAMETER_ACL) {
		return policylang.ClassRole
	}
	return policylang.ClassDDL
}

// isRelation reports whether objects of that kind are relations.
func isRelation(kind ast.ObjectType) bool {
	return among(kind, ast.ObjectType_OBJECT_TABLE, ast.ObjectType_OBJECT_VIEW, ast.ObjectType_OBJECT_MATVIEW, ast.ObjectType_OBJECT_SEQUENCE,
		ast.ObjectType_OBJECT_INDEX, ast.ObjectType_OBJECT_FOREIGN_TABLE)
}

// named adds the relation that the name of an object of that kind means: the
// relation itself, the one it belongs to, or all of a schema.
func (c *collector) named(kind ast.ObjectType, object *ast.Node, verb policylang.Verb) {
	parts := objectParts(object)
	of := parts[:max(len(parts)-1, 0)]
	switch {
	case isRelation(kind):
		c.relationParts(parts, verb)
	case kind == ast.ObjectType_OBJECT_COLUMN && len(of) > 0:
		c.relationParts(of, policylang.VerbAlter)
		schema, table := lastTwo(of)
		c.column(schema, table, parts[len(of)])
	case among(kind, ast.ObjectType_OBJECT_TRIGGER, ast.ObjectType_OBJECT_RULE, ast.ObjectType_OBJECT_POLICY, ast.ObjectType_OBJECT_TABCONSTRAINT) && len(of) > 0:
		c.relationParts(of, policylang.VerbAlter)
	case kind == ast.ObjectType_OBJECT_SCHEMA:
		_, name := lastTwo(parts)
		c.relation(name, "", verb)
	case kind == ast.ObjectType_OBJECT_EXTENSION && verb == policylang.VerbDrop: // with all that belongs to it
		c.relation("", "", verb)
	}
	if o, ok := ast.Unwrap(object).(*ast.ObjectWithArgs); ok && !among(kind, ast.ObjectType_OBJECT_OPERATOR, ast.ObjectType_OBJECT_CAST) {
		c.names(o.GetObjname())
	}
}

func (c *collector) relationParts(parts []string, verb policylang.Verb) {
	schema, name := lastTwo(parts)
	c.relation(schema, name, verb)
}

func lastTwo(parts []string) (schema, name string) {
	switch len(parts) {
	case 0:
		return "", ""
	case 1:
		return "", parts[0]
	}
	return parts[len(parts)-2], parts[len(parts)-1]
}

// objectParts returns the parts of an object's name.
func objectParts(n *ast.Node) []string {
	switch m := ast.Unwrap(n).(type) {
	case *ast.List:
		return stringList(m.GetItems())
	case *ast.String:
		return []string{m.GetSval()}
	case *ast.RangeVar:
		if m.GetSchemaname() == "" {
			return []string{m.GetRelname()}
		}
		return []string{m.GetSchemaname(), m.GetRelname()}
	}
	return nil
}
