package statement

import "github.com/posternhq/postern/policylang"

// object reads definitions of everything that is neither a relation, a routine
// nor a role, and the commands that work on objects of any kind.
func (c *collector) object(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *DropStmt:
		c.definition(objectClass(m.GetRemoveType()))
		for _, n := range m.GetObjects() {
			c.named(m.GetRemoveType(), n, policylang.VerbDrop)
		}
		if m.GetBehavior() == DropBehavior_DROP_CASCADE {
			c.relation("", "", policylang.VerbDrop) // whatever depends on them
		}
		return "DROP " + objectName(m.GetRemoveType()), true
	case *RenameStmt:
		if m.GetRenameType() == ObjectType_OBJECT_SCHEMA {
			c.definition(policylang.ClassDDL)
			c.relation(m.GetSubname(), "", policylang.VerbAlter)
			return "ALTER SCHEMA", true
		}
		c.renames(m.GetRenameType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		if m.GetRenameType() == ObjectType_OBJECT_COLUMN {
			c.column(m.GetRelation().GetSchemaname(), m.GetRelation().GetRelname(), m.GetSubname())
			return alterTag(m.GetRelationType()), true
		}
		if isRelation(m.GetRenameType()) {
			c.relation(m.GetRelation().GetSchemaname(), m.GetNewname(), policylang.VerbCreate)
		}
		return alterTag(m.GetRenameType()), true
	case *AlterObjectSchemaStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		if isRelation(m.GetObjectType()) {
			c.relation(m.GetNewschema(), m.GetRelation().GetRelname(), policylang.VerbCreate)
		}
		return alterTag(m.GetObjectType()), true
	case *AlterObjectDependsStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassDDL)
		return alterTag(m.GetObjectType()), true
	case *AlterOwnerStmt:
		c.renames(m.GetObjectType(), m.GetRelation(), m.GetObject(), policylang.ClassRole)
		return alterTag(m.GetObjectType()), true
	case *CommentStmt:
		c.definition(policylang.ClassDDL)
		c.named(m.GetObjtype(), m.GetObject(), policylang.VerbAlter)
		return "COMMENT", true
	case *SecLabelStmt:
		c.definition(policylang.ClassRole)
		c.named(m.GetObjtype(), m.GetObject(), policylang.VerbAlter)
		return "SECURITY LABEL", true
	case *CreateSchemaStmt:
		c.definition(policylang.ClassDDL)
		for _, n := range m.GetSchemaElts() {
			c.statement(Unwrap(n))
		}
		return "CREATE SCHEMA", true
	case *DefineStmt:
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
	case *AlterOperatorStmt:
		c.defineAll(m.GetOptions())
		tag = "ALTER OPERATOR"
	case *CreateOpClassStmt:
		c.defineAll(m.GetItems())
		tag = "CREATE OPERATOR CLASS"
	case *CreateOpFamilyStmt:
		tag = "CREATE OPERATOR FAMILY"
	case *AlterOpFamilyStmt:
		c.defineAll(m.GetItems())
		tag = "ALTER OPERATOR FAMILY"
	case *CreateAmStmt:
		c.names(m.GetHandlerName())
		tag = "CREATE ACCESS METHOD"
	case *CreateConversionStmt:
		c.names(m.GetFuncName())
		tag = "CREATE CONVERSION"
	case *CreateCastStmt:
		c.names(m.GetFunc().GetObjname())
		tag = "CREATE CAST"
	case *CreateTransformStmt:
		c.names(m.GetFromsql().GetObjname())
		c.names(m.GetTosql().GetObjname())
		tag = "CREATE TRANSFORM"
	case *CreateEventTrigStmt:
		c.names(m.GetFuncname())
		tag = "CREATE EVENT TRIGGER"
	case *AlterEventTrigStmt:
		tag = "ALTER EVENT TRIGGER"
	case *AlterCollationStmt:
		tag = "ALTER COLLATION"
	case *AlterTSDictionaryStmt:
		tag = "ALTER TEXT SEARCH DICTIONARY"
	case *AlterTSConfigurationStmt:
		tag = "ALTER TEXT SEARCH CONFIGURATION"
	case *CreateExtensionStmt:
		c.opaque() // runs the extension's script
		tag = "CREATE EXTENSION"
	case *AlterExtensionStmt:
		c.opaque()
		tag = "ALTER EXTENSION"
	case *AlterExtensionContentsStmt:
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
	case *CompositeTypeStmt:
		tag = "CREATE TYPE"
	case *CreateEnumStmt:
		tag = "CREATE TYPE"
	case *CreateRangeStmt:
		c.defineAll(m.GetParams())
		tag = "CREATE TYPE"
	case *AlterEnumStmt:
		tag = "ALTER TYPE"
	case *AlterTypeStmt:
		c.defineAll(m.GetOptions())
		tag = "ALTER TYPE"
	case *CreateDomainStmt:
		c.push(false)
		c.defineAll(m.GetConstraints())
		c.pop()
		tag = "CREATE DOMAIN"
	case *AlterDomainStmt:
		if m.GetDef() != nil {
			c.push(false)
			c.define(Unwrap(m.GetDef()))
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
func (c *collector) renames(kind ObjectType, r *RangeVar, object *Node, class policylang.Class) {
	c.definition(worse(class, objectClass(kind)))
	if r != nil {
		c.rangeVar(r, policylang.VerbAlter)
		return
	}
	c.named(kind, object, policylang.VerbAlter)
}

// objectClass is the class of changing an object of that kind.
func objectClass(kind ObjectType) policylang.Class {
	if among(kind, ObjectType_OBJECT_ROLE, ObjectType_OBJECT_POLICY, ObjectType_OBJECT_USER_MAPPING, ObjectType_OBJECT_TABLESPACE,
		ObjectType_OBJECT_PUBLICATION, ObjectType_OBJECT_SUBSCRIPTION, ObjectType_OBJECT_DEFACL, ObjectType_OBJECT_PARAMETER_ACL) {
		return policylang.ClassRole
	}
	return policylang.ClassDDL
}

// isRelation reports whether objects of that kind are relations.
func isRelation(kind ObjectType) bool {
	return among(kind, ObjectType_OBJECT_TABLE, ObjectType_OBJECT_VIEW, ObjectType_OBJECT_MATVIEW, ObjectType_OBJECT_SEQUENCE,
		ObjectType_OBJECT_INDEX, ObjectType_OBJECT_FOREIGN_TABLE)
}

// named adds the relation that the name of an object of that kind means: the
// relation itself, the one it belongs to, or all of a schema.
func (c *collector) named(kind ObjectType, object *Node, verb policylang.Verb) {
	parts := objectParts(object)
	of := parts[:max(len(parts)-1, 0)]
	switch {
	case isRelation(kind):
		c.relationParts(parts, verb)
	case kind == ObjectType_OBJECT_COLUMN && len(of) > 0:
		c.relationParts(of, policylang.VerbAlter)
		schema, table := lastTwo(of)
		c.column(schema, table, parts[len(of)])
	case among(kind, ObjectType_OBJECT_TRIGGER, ObjectType_OBJECT_RULE, ObjectType_OBJECT_POLICY, ObjectType_OBJECT_TABCONSTRAINT) && len(of) > 0:
		c.relationParts(of, policylang.VerbAlter)
	case kind == ObjectType_OBJECT_SCHEMA:
		_, name := lastTwo(parts)
		c.relation(name, "", verb)
	case kind == ObjectType_OBJECT_EXTENSION && verb == policylang.VerbDrop: // with all that belongs to it
		c.relation("", "", verb)
	}
	if o, ok := Unwrap(object).(*ObjectWithArgs); ok && !among(kind, ObjectType_OBJECT_OPERATOR, ObjectType_OBJECT_CAST) {
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
func objectParts(n *Node) []string {
	switch m := Unwrap(n).(type) {
	case *List:
		return stringList(m.GetItems())
	case *String:
		return []string{m.GetSval()}
	case *RangeVar:
		if m.GetSchemaname() == "" {
			return []string{m.GetRelname()}
		}
		return []string{m.GetSchemaname(), m.GetRelname()}
	}
	return nil
}
