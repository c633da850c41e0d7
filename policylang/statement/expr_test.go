package statement

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// TestEveryExpressionIsKnown has a query for each node that the grammar can
// put into one: it must be found in the tree, and understood.
func TestEveryExpressionIsKnown(t *testing.T) {
	expressions := map[string]string{
		"A_ArrayExpr":               "select array[a, 1]",
		"A_Const":                   "select 1, 2.5, 'a', true, b'1', null",
		"A_Expr":                    "select a + 1, a in (1, 2), a between 1 and 2, a like 'x', a is distinct from b, a = any (array[1]), nullif(a, b), a operator(pg_catalog.+) 1 from t",
		"A_Indices":                 "select a[1], a[1:2], a[:] from t",
		"A_Indirection":             "select (a).b, (f.x).y[1] from t f",
		"A_Star":                    "select * from t",
		"Alias":                     "select x.y from t x (y)",
		"BitString":                 "select b'1', x'1F'",
		"BoolExpr":                  "select a and b or not c from t",
		"Boolean":                   "select true",
		"BooleanTest":               "select a is true, a is not unknown from t",
		"CaseExpr":                  "select case a when 1 then 2 else 3 end from t",
		"CaseWhen":                  "select case when a then b end from t",
		"CoalesceExpr":              "select coalesce(a, 1) from t",
		"CollateClause":             `select a collate "C" from t`,
		"ColumnDef":                 "select * from json_to_record('{}') as x (a int)",
		"ColumnRef":                 "select a, t.a from t",
		"CommonTableExpr":           "with x as (select 1) select * from x",
		"CTECycleClause":            "with recursive x as (select 1 as a union all select a from x) cycle a set c using p select * from x",
		"CTESearchClause":           "with recursive x as (select 1 as a union all select a from x) search depth first by a set s select * from x",
		"CurrentOfExpr":             "delete from t where current of c",
		"Float":                     "select 1.5",
		"FuncCall":                  "select count(distinct a order by b) filter (where c), count(*), rank() within group (order by a), lower(variadic array[a]) from t",
		"GroupingFunc":              "select grouping(a) from t group by a",
		"GroupingSet":               "select a from t group by grouping sets (a, rollup (a, b), cube (a), ())",
		"IndexElem":                 "insert into t (a) values (1) on conflict (a, (lower(b))) do nothing",
		"InferClause":               "insert into t (a) values (1) on conflict on constraint c do nothing",
		"Integer":                   "select 1",
		"IntoClause":                "select 1 into t",
		"JoinExpr":                  "select * from a left join b using (c) cross join d full join e on a.x = e.x",
		"JsonAggConstructor":        "select json_arrayagg(a order by b returning jsonb) from t",
		"JsonArrayAgg":              "select json_arrayagg(a) from t",
		"JsonArrayConstructor":      "select json_array(a, 1 null on null) from t",
		"JsonArrayQueryConstructor": "select json_array(select a from t returning text)",
		"JsonFormat":                "select json_object('a': 'b' format json)",
		"JsonIsPredicate":           "select a is json object with unique keys from t",
		"JsonKeyValue":              "select json_object('a': b) from t",
		"JsonObjectAgg":             "select json_objectagg(a: b) from t",
		"JsonObjectConstructor":     "select json_object('a' value b absent on null) from t",
		"JsonOutput":                "select json_object('a': 1 returning jsonb)",
		"JsonReturning":             "select json_object('a': 1 returning text format json encoding utf8)",
		"JsonValueExpr":             "select json_array(a format json) from t",
		"List":                      "values (1, 2)",
		"LockingClause":             "select * from t for update of t skip locked",
		"MergeWhenClause":           "merge into t using s on t.a = s.a when matched then delete",
		"MinMaxExpr":                "select greatest(a, b), least(1, 2) from t",
		"MultiAssignRef":            "update t set (a, b) = (1, 2) where c = 1",
		"NamedArgExpr":              "select make_interval(days => a) from t",
		"Node":                      "select 1",
		"NullTest":                  "select a is null from t",
		"OnConflictClause":          "insert into t values (1) on conflict do nothing",
		"ParamRef":                  "select $1",
		"RangeFunction":             "select * from generate_series(1, 2) with ordinality, rows from (unnest(array[1]), lower('a')) as r",
		"RangeSubselect":            "select * from (select 1) x",
		"RangeTableFunc":            "select * from xmltable(xmlnamespaces('x' as y), '/r' passing a columns b int path 'c' default 1, o for ordinality)",
		"RangeTableFuncCol":         "select * from xmltable('/r' passing '<r/>' columns b int)",
		"RangeTableSample":          "select * from t tablesample bernoulli (10) repeatable (5)",
		"RangeVar":                  "select * from only a.b",
		"ResTarget":                 "select a as b from t",
		"RowExpr":                   "select row(a, 1), (a, b) from t",
		"SQLValueFunction":          "select current_user, current_timestamp(3), localtime, session_user, current_schema, current_catalog",
		"SetToDefault":              "update t set a = default where b = 1",
		"SortBy":                    "select a from t order by a desc nulls last, b using <",
		"String":                    "select a from t",
		"SubLink":                   "select exists (select 1), (select 1), array(select 1), a in (select 1), a > all (select 1), (a, b) = (select 1, 2) from t",
		"TypeCast":                  "select a::int, cast(a as text[]), int '1', a::varchar(5), a::_int4, a::regclass from t",
		"TypeName":                  "select a::double precision from t",
		"WindowDef":                 "select sum(a) over w, sum(a) over (partition by b order by c rows between 1 preceding and f.x following) from t f window w as (order by d)",
		"WithClause":                "with x as materialized (select 1) select * from x",
		"XmlExpr":                   "select xmlelement(name a, xmlattributes(b as c), d), xmlforest(a, b as x), xmlconcat(a, b), xmlpi(name x, a), xmlroot(a, version '1'), xmlparse(document a), a is document from t",
		"XmlSerialize":              "select xmlserialize(content a as text) from t",
	}
	for node, sql := range expressions {
		tree, err := Parse(sql, Limits{})
		if err != nil {
			t.Errorf("%s: %v", node, err)
			continue
		}
		st := &tree.Statements[0]
		if node != "Node" && !inTree(ast.Unwrap(st.Node()), node) {
			t.Errorf("%s: not in the tree of %s", node, sql)
		}
		newSyntax := strings.HasPrefix(strings.Join(st.Facts.Unknown, " "), "syntax json_")
		if st.Facts.Known.Opaque || len(st.Facts.Unknown) > 0 && !newSyntax {
			t.Errorf("%s: opaque: %s: %v", node, sql, st.Facts.Unknown)
		}
	}

	// Everything else is part of a statement that has a golden file, or never
	// comes out of the parser.
	partOfStatements := strings.Fields(`AccessPriv AlterTableCmd Constraint CreateOpClassItem DefElem FunctionParameter ObjectWithArgs
		PartitionBoundSpec PartitionCmd PartitionElem PartitionRangeDatum PartitionSpec PublicationObjSpec PublicationTable ReplicaIdentityStmt RoleSpec
		StatsElem TableLikeClause TriggerTransition VacuumRelation`)
	analyzed := strings.Fields(`Aggref AlternativeSubPlan ArrayCoerceExpr ArrayExpr CallContext CaseTestExpr CoerceToDomain CoerceToDomainValue
		CoerceViaIO CollateExpr ConvertRowtypeExpr DistinctExpr FieldSelect FieldStore FromExpr FuncExpr InferenceElem InlineCodeBlock IntList
		JsonConstructorExpr MergeAction NextValueExpr NullIfExpr OidList OnConflictExpr OpExpr Param Query RTEPermissionInfo RangeTblEntry
		RangeTblFunction RangeTblRef RelabelType RowCompareExpr RowMarkClause ScalarArrayOpExpr SortGroupClause SubPlan SubscriptingRef TableFunc
		TableSampleClause TargetEntry Var WindowClause WindowFunc WithCheckOption`)
	for _, name := range grammarNodes() {
		_, known := expressions[name]
		if !known && !strings.HasSuffix(name, "Stmt") && !contains(partOfStatements, name) && !contains(analyzed, name) {
			t.Errorf("node %s is new: say what it does", name)
		}
	}
	for _, name := range analyzed {
		c := collector{reading: reading{limits: Limits{}.withDefaults()}}
		c.push(false)
		c.node(newMessage(t, name))
		if !c.dynamic {
			t.Errorf("%s, which no parser makes, is not opaque", name)
		}
	}
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// inTree reports whether a message of that type is in the tree. Constants hold
// theirs without a node around.
func inTree(m any, node string) bool {
	if k, ok := m.(*ast.A_Const); ok {
		switch node {
		case "Integer":
			return k.GetIval() != nil
		case "Float":
			return k.GetFval() != nil
		case "Boolean":
			return k.GetBoolval() != nil
		case "BitString":
			return k.GetBsval() != nil
		}
	}
	if typeIs(m, node) {
		return true
	}
	found := false
	ast.Children(m, func(child any) { found = found || inTree(child, node) })
	return found
}
