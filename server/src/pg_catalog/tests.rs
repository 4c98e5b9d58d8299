use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Array, AsArray},
    datatypes::Field,
};
use datafusion::{
    config::ConfigOptions,
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, col, lit},
    scalar::ScalarValue,
};
use glaredb_catalog::{
    Allocator, Catalog, CatalogChange,
    descriptor::{
        Column, PrimaryKey, RelationKind, Schema, Table, View, ViewColumn, ViewRelation, builtin,
    },
};
use glaredb_engine::{
    session::{CursorFacts, Identity, PreparedFacts, SessionObjects, Settings, StatementContext},
    storage::{
        objects::{CacheCounts, ObjectFigures},
        rewrite::{JobKind, JobReport},
        segment::ResidentMetrics,
    },
    types::{PgType, text::FormatSettings},
};
use glaredb_txn::ids::{JobId, SchemaVersion, TableId};

use super::{
    Activities, Activity, PgCatalog, SegmentFigures, StorageFigures, TableFigures, definitions,
    provider::Wanted, query_text, restriction::Restriction, sql_text, tables,
};

struct Fixed;

impl StorageFigures for Fixed {
    fn table(&self, storage: TableId) -> Option<TableFigures> {
        let figures = TableFigures { rows: 7, row_bytes: 20_480, index_bytes: 100 };
        (storage == TableId(1)).then_some(figures)
    }

    fn segments(&self, storage: TableId) -> Vec<SegmentFigures> {
        let segment = SegmentFigures {
            segment: 5,
            object: "data/1/7-0.parquet".into(),
            rows: 100,
            deleted_rows: 3,
            bytes: 4_096,
            sort_order: "b, a".into(),
            keys: Some(("(1,a)".into(), "(9,z)".into())),
            commits_ms: (1_000, 2_000),
            footer_in_memory: true,
        };
        if storage == TableId(1) { vec![segment] } else { Vec::new() }
    }

    fn objects(&self) -> (ObjectFigures, ResidentMetrics) {
        let cache = CacheCounts { disk_hits: 2, disk_limit_bytes: 9, ..CacheCounts::default() };
        let objects = ObjectFigures { cache: Some(cache), ..ObjectFigures::default() };
        (objects, ResidentMetrics { hits: 11, ..ResidentMetrics::default() })
    }

    fn jobs(&self) -> Vec<JobReport> {
        let report = |kind, table| JobReport {
            job: JobId(7),
            kind,
            table: TableId(table),
            began_ms: 1_000,
            duration: Duration::from_millis(12),
            inputs: 2,
            outputs: 1,
            rows_read: 10,
            rows_written: 9,
            bytes_read: 8,
            bytes_written: 7,
            error: None,
        };
        vec![report(JobKind::Flush, 1), report(JobKind::Compaction, 999)]
    }
}

impl Activities for Fixed {
    fn list(&self) -> Vec<Activity> {
        vec![Activity {
            process_id: 42,
            role: "postgres".into(),
            database: "postgres".into(),
            application_name: "psql".into(),
            client: Some(([127, 0, 0, 1], 5000).into()),
            started_us: 1,
            query_started_us: None,
            transaction_started_us: Some(2),
            state: "idle in transaction",
            query: String::new(),
        }]
    }

    fn interrupt(&self, process_id: i32, _: bool) -> bool {
        process_id == 42
    }
}

fn column(id: u32, name: &str, type_oid: u32, typmod: i32, default: Option<&str>) -> Column {
    Column {
        id,
        number: i16::try_from(id).expect("small"),
        name: name.into(),
        type_oid,
        typmod,
        not_null: id < 3,
        default: default.map(str::to_owned),
        default_oid: default.map_or(0, |_| 16_500 + id),
        ..Column::default()
    }
}

/// `public."Orders"` (OID 16384, its key 16387) and `sales.t` without a key.
fn catalog() -> Catalog {
    let catalog = Catalog::empty().apply(&builtin::bootstrap()).expect("the bootstrap fits");
    let ids = Allocator::after(&catalog);
    let table = |name: &str, schema_oid| Table {
        oid: ids.oid(),
        name: name.into(),
        schema_oid,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: ids.oid(),
        array_type_oid: ids.oid(),
        storage: ids.table_id(),
        version: SchemaVersion(1),
        columns: vec![
            column(1, "id", 23, -1, None),
            column(2, "user", 1043, 24, None),
            column(3, "note", 25, -1, Some("'it''s'")),
        ],
        next_column_id: 4,
        primary_key: None,
        options: BTreeMap::from([("fillfactor".into(), "90".into())]),
        ..Table::default()
    };
    let mut orders = table("Orders", builtin::SCHEMA_PUBLIC);
    let mut other = table("t", 16_400);
    other.columns[2].default_oid = 16_510;
    orders.primary_key = Some(PrimaryKey {
        oid: 16_390,
        constraint_oid: 16_391,
        name: "Orders_pkey".into(),
        columns: vec![2, 1],
    });
    let mut change = CatalogChange::default();
    change.create_schema(Schema { oid: 16_400, name: "sales".into(), owner: 10, comment: None });
    let view = |name: &str, kind, oid| Table {
        oid,
        name: name.into(),
        kind,
        schema_oid: builtin::SCHEMA_PUBLIC,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: oid + 1,
        array_type_oid: oid + 2,
        storage: if kind == RelationKind::View { TableId::CATALOG } else { TableId(9) },
        version: SchemaVersion(1),
        columns: vec![column(3, "note", 25, -1, None)],
        next_column_id: 4,
        view: Some(View {
            query: "select note from sales.t".into(),
            relations: vec![ViewRelation {
                schema: Some("sales".into()),
                name: "t".into(),
                oid: other.oid,
                columns: vec![ViewColumn { id: 3, name: "note".into(), used: true }],
            }],
            options: Vec::new(),
        }),
        ..Table::default()
    };
    change.create_table(view("remarks", RelationKind::View, 16_600));
    change.create_table(view("kept", RelationKind::MaterializedView, 16_610));
    change.create_table(orders);
    change.create_table(other);
    catalog.apply(&change).expect("it fits")
}

/// A cursor and a prepared statement.
fn objects() -> SessionObjects {
    let cursor = CursorFacts {
        name: "c".into(),
        statement: "DECLARE c CURSOR FOR SELECT 1".into(),
        is_holdable: false,
        is_binary: false,
        is_scrollable: true,
        reads: [].into(),
        created_us: 1,
    };
    let prepared = PreparedFacts {
        text: "PREPARE p(int) AS SELECT $1".into(),
        prepared_us: 1,
        parameter_types: vec!["integer".into()],
        from_sql: true,
    };
    let objects = SessionObjects::default();
    objects.cursors.lock().push(cursor);
    objects.prepared.lock().insert("p".into(), prepared);
    objects
}

fn source(definition: &'static definitions::Definition) -> tables::Source {
    tables::Source {
        definition,
        relations: Restriction::default(),
        catalog: Arc::new(catalog()),
        database: "postgres".into(),
        role: "postgres".into(),
        search_path: vec!["pg_catalog".into(), "public".into()],
        settings: Some(Settings::new([]).expect("defaults")),
        format: FormatSettings::default(),
        copies: Arc::default(),
        objects: Arc::new(objects()),
        figures: Arc::new(Fixed),
        activities: Arc::new(Fixed),
    }
}

fn all() -> Wanted<'static> {
    Wanted { columns: None, relations: Restriction::default() }
}

/// Rows that a scan with these conditions makes, of one column.
fn restricted(name: &str, conditions: &[Expr]) -> usize {
    let definition = definitions::find("pg_catalog", name)
        .or_else(|| definitions::find("information_schema", name))
        .expect(name);
    for condition in conditions {
        assert!(Restriction::uses(definition, condition), "{name}: {condition}");
    }
    let relations = Restriction::new(definition, conditions);
    let batch = source(definition).rows(&Wanted { columns: Some(&[0]), relations }).expect(name);
    assert_eq!(batch.num_columns(), 1);
    batch.num_rows()
}

#[test]
fn conditions_on_relations_leave_out_the_others() {
    let one = || lit(ScalarValue::UInt32(Some(16_384)));
    let named = |name: &str| lit(ScalarValue::Utf8View(Some(name.into())));
    assert_eq!(restricted("pg_class", &[col("oid").eq(one())]), 2, "with its index");
    assert_eq!(restricted("pg_class", &[col("relname").eq(named("Orders_pkey"))]), 2);
    assert_eq!(restricted("pg_class", &[col("relname").eq(named("pg_class"))]), 1);
    let either = col("relname").eq(named("t")).or(named("pg_proc").eq(col("relname")));
    assert_eq!(restricted("pg_class", &[either]), 2);
    let list = col("relname").in_list(vec![named("t"), named("nothing")], false);
    assert_eq!(restricted("pg_class", &[list]), 1);
    let sales = col("relnamespace").eq(lit(ScalarValue::UInt32(Some(16_400))));
    assert_eq!(restricted("pg_class", std::slice::from_ref(&sales)), 1);
    assert_eq!(restricted("pg_class", &[sales, col("oid").eq(one())]), 0);
    assert_eq!(restricted("pg_attribute", &[col("attrelid").eq(one())]), 5);
    assert_eq!(restricted("pg_index", &[col("indrelid").eq(one())]), 1);
    let constraint = lit(ScalarValue::UInt32(Some(16_391)));
    assert_eq!(restricted("pg_constraint", &[col("oid").eq(constraint)]), 1);
    let in_public = col("table_schema").eq(named("sales"));
    assert_eq!(restricted("columns", &[in_public, col("table_name").eq(named("t"))]), 3);
    let definition = definitions::find("pg_catalog", "pg_class").expect("there");
    for other in [col("relkind").eq(named("r")), col("oid").not_eq(one()), col("relname").eq(one())]
    {
        assert!(!Restriction::uses(definition, &other), "{other}");
    }
}

#[test]
fn our_own_views_give_rows_of_their_columns() {
    for (name, rows) in
        [("segments", 1), ("cache", 3), ("requests", 0), ("flushes", 1), ("compactions", 1)]
    {
        let definition = definitions::find("glare_catalog", name).expect(name);
        let wanted = Wanted { columns: None, relations: Restriction::default() };
        let batch = source(definition).rows(&wanted).expect(name);
        assert_eq!(batch.num_columns(), definition.columns.len(), "{name}");
        assert_eq!(batch.num_rows(), rows, "{name}");
    }
    assert_eq!(definitions::ours().len(), 5);
    let listed = |d: &definitions::Definition| d.schema == "glare_catalog";
    assert!(!definitions::all().iter().any(listed), "PostgreSQL's lists stay as they are");
}

#[test]
fn every_relation_gives_rows_of_its_columns() {
    for definition in definitions::all() {
        let batch = source(definition).rows(&all()).expect(definition.name);
        // No COPY is under way here.
        let nothing = definition.name == "pg_stat_progress_copy";
        let empty = nothing || tables::is_always_empty(definition);
        assert_eq!(batch.num_rows() == 0, empty, "{}", definition.name);
        for (array, column) in batch.columns().iter().zip(&definition.columns) {
            let name = format!("{}.{}", definition.name, column.name);
            assert!(!column.not_null || array.null_count() == 0, "{name} has nulls");
            assert_eq!(*array.data_type(), column.pg_type.arrow_type(), "{name}");
        }
    }
}

fn count(name: &str) -> usize {
    let definition = definitions::find("pg_catalog", name).expect(name);
    source(definition).rows(&all()).expect("rows").num_rows()
}

#[test]
fn tables_show_what_is_in_the_catalog() {
    assert_eq!(count("pg_class"), definitions::all().len() + 5);
    let system: usize = definitions::all().iter().map(|d| d.columns.len()).sum();
    assert_eq!(count("pg_attribute"), system + 3 + 2 + 3 + 2);
    assert_eq!(count("pg_attrdef"), 2);
    assert_eq!(count("pg_index"), 1);
    assert_eq!(count("pg_constraint"), 1);
    assert_eq!(count("pg_namespace"), 4);
    assert_eq!(count("pg_database"), 1);
    assert_eq!(count("pg_roles"), 2);
    assert_eq!(count("pg_user"), 1);
    assert_eq!(count("pg_trigger"), 0);
    assert_eq!(count("pg_rewrite"), 2);
    assert_eq!(count("pg_locks"), 1);
    assert!(count("pg_timezone_names") > 400);
    assert!(definitions::find("pg_catalog", "pg_stats").is_none(), "not shown is not empty");
    assert!(definitions::find("public", "pg_class").is_none());
}

#[test]
fn oids_of_relations_are_unique() {
    let mut oids: Vec<_> =
        definitions::all().iter().flat_map(|d| [d.oid, d.row_type_oid]).collect();
    oids.sort_unstable();
    let all = oids.len();
    oids.dedup();
    assert_eq!(oids.len(), all);
    assert!(oids.last() < Some(&builtin::FIRST_USER_OID));
}

/// Calls a function by name and argument types; its result as text, `None` for null.
fn call(name: &str, arguments: &[(PgType, ScalarValue)]) -> Result<Option<String>, String> {
    let types: Vec<_> = arguments.iter().map(|(t, _)| t.clone()).collect();
    let functions = PgCatalog::new(Arc::new(Fixed), Arc::new(Fixed)).functions();
    let function = functions
        .iter()
        .find(|f| f.name == name && f.arguments == types)
        .unwrap_or_else(|| panic!("no {name}({types:?})"));
    let identity = Identity { role: "postgres".into(), database: "postgres".into(), process_id: 1 };
    let settings = Settings::new([]).expect("defaults");
    let context =
        StatementContext::new(Arc::new(catalog()), Arc::new(identity), &settings, Arc::default());
    let mut options = ConfigOptions::new();
    options.extensions.insert(context);
    let values = arguments.iter().map(|(_, value)| ColumnarValue::Scalar(value.clone()));
    let result = function.udf.invoke_with_args(ScalarFunctionArgs {
        args: values.collect(),
        arg_fields: types.iter().map(|t| Arc::new(t.field("argument", true))).collect(),
        number_rows: 1,
        return_field: Arc::new(Field::new("result", function.returns.arrow_type(), true)),
        config_options: Arc::new(options),
    });
    let array = result.map_err(|e| e.to_string())?.into_array(1).expect("an array");
    if array.is_null(0) {
        return Ok(None);
    }
    if let Some(list) = array.as_list_opt::<i32>() {
        let items = list.value(0);
        let items: Vec<_> = items.as_string_view().iter().flatten().collect();
        return Ok(Some(items.join(",")));
    }
    let value = ScalarValue::try_from_array(&array, 0).expect("a value");
    Ok(Some(value.to_string()))
}

fn oid(value: u32) -> (PgType, ScalarValue) {
    (PgType::Oid, ScalarValue::UInt32(Some(value)))
}

fn class(value: u32) -> (PgType, ScalarValue) {
    (PgType::Regclass, ScalarValue::UInt32(Some(value)))
}

fn int(value: Option<i32>) -> (PgType, ScalarValue) {
    (PgType::Int4, ScalarValue::Int32(value))
}

fn text(value: &str) -> (PgType, ScalarValue) {
    (PgType::Text, ScalarValue::Utf8View(Some(value.into())))
}

fn truth(value: bool) -> (PgType, ScalarValue) {
    (PgType::Bool, ScalarValue::Boolean(Some(value)))
}

fn gives(name: &str, arguments: &[(PgType, ScalarValue)], expected: Option<&str>) {
    assert_eq!(call(name, arguments), Ok(expected.map(str::to_owned)), "{name}");
}

#[test]
fn functions_print_objects_as_postgresql_does() {
    gives("format_type", &[oid(23), int(None)], Some("integer"));
    gives("format_type", &[oid(1700), int(Some(655_366))], Some("numeric(10,2)"));
    gives("format_type", &[oid(1042), int(Some(7))], Some("character(3)"));
    gives("format_type", &[oid(1042), int(Some(-1))], Some("bpchar"));
    gives("format_type", &[oid(1042), int(None)], Some("character"));
    gives("format_type", &[oid(1043), int(Some(24))], Some("character varying(20)"));
    gives("format_type", &[oid(1184), int(Some(-1))], Some("timestamp with time zone"));
    gives("format_type", &[oid(1009), int(None)], Some("text[]"));
    gives("format_type", &[oid(22), int(None)], Some("int2vector"));
    gives("format_type", &[oid(16_385), int(None)], Some("\"Orders\""));
    gives("format_type", &[oid(99_999), int(None)], Some("???"));
    gives("format_type", &[oid(0), int(None)], Some("-"));
    let definition =
        "CREATE UNIQUE INDEX \"Orders_pkey\" ON public.\"Orders\" USING btree (\"user\", id)";
    gives("pg_get_indexdef", &[oid(16_390)], Some(definition));
    gives("pg_get_indexdef", &[oid(16_390), int(Some(0)), truth(true)], Some(definition));
    gives("pg_get_indexdef", &[oid(16_390), int(Some(1)), truth(true)], Some("\"user\""));
    gives("pg_get_indexdef", &[oid(16_384)], None);
    gives("pg_get_constraintdef", &[oid(16_391)], Some("PRIMARY KEY (\"user\", id)"));
    gives("pg_get_constraintdef", &[oid(16_390)], None);
    gives("pg_get_userbyid", &[oid(10)], Some("postgres"));
    gives("pg_get_userbyid", &[oid(11)], Some("unknown (OID=11)"));
    gives("pg_encoding_to_char", &[int(Some(6))], Some("UTF8"));
}

#[test]
fn names_lead_to_oids_and_back() {
    gives("regclassin", &[text("\"Orders\"")], Some("16384"));
    gives("regclassin", &[text("public.\"Orders_pkey\"")], Some("16390"));
    gives("regclassin", &[text("pg_class")], Some("1259"));
    gives("regclassin", &[text("1259")], Some("1259"));
    let missing = call("regclassin", &[text("orders")]).expect_err("folded to lower case");
    assert!(missing.contains("relation \"orders\" does not exist"), "{missing}");
    gives("to_regclass", &[text("t")], None);
    gives("regclassout", &[class(16_384)], Some("\"Orders\""));
    let hidden = catalog().table("sales", "t").expect("there").oid;
    gives("regclassout", &[class(hidden)], Some("sales.t"));
    gives("regclassout", &[class(0)], Some("-"));
    gives("regclassout", &[class(99_999)], Some("99999"));
    gives("pg_table_is_visible", &[oid(16_384)], Some("true"));
    gives("pg_table_is_visible", &[oid(hidden)], Some("false"));
    gives("pg_table_is_visible", &[oid(1259)], Some("true"));
    gives("pg_table_is_visible", &[oid(99_999)], None);
    gives("to_regtype", &[text("character varying")], Some("1043"));
    gives("to_regtype", &[text("int4")], Some("23"));
    gives("to_regtype", &[text("\"Orders\"")], Some("16385"));
    gives("to_regtype", &[text("no_such")], None);
    let no_name = call("to_regtype", &[text("no such")]).expect_err("not one name");
    assert!(no_name.contains("syntax error at or near \"such\""), "{no_name}");
    gives("regtypeout", &[(PgType::Regtype, ScalarValue::UInt32(Some(20)))], Some("bigint"));
    gives("current_schemas", &[truth(true)], Some("pg_catalog,public"));
    gives("current_schemas", &[truth(false)], Some("public"));
    gives("current_schema", &[], Some("public"));
}

#[test]
fn sizes_are_those_of_storage() {
    gives("pg_relation_size", &[class(16_384)], Some("20480"));
    gives("pg_total_relation_size", &[class(16_384)], Some("20580"));
    gives("pg_relation_size", &[class(16_390)], Some("100"));
    gives("pg_relation_size", &[class(1259)], Some("0"));
    gives("pg_relation_size", &[class(99_999)], None);
    // As PostgreSQL 15 prints them.
    for (bytes, printed) in [
        (0, "0 bytes"),
        (10_239, "10239 bytes"),
        (10_240, "10 kB"),
        (-10_240, "-10 kB"),
        (20_480, "20 kB"),
        (10_484_735, "10239 kB"),
        (10_485_247, "10239 kB"),
        (10_485_248, "10 MB"),
        (1 << 40, "1024 GB"),
    ] {
        let bytes = (PgType::Int8, ScalarValue::Int64(Some(bytes)));
        gives("pg_size_pretty", &[bytes], Some(printed));
    }
}

#[test]
fn defaults_are_printed_with_their_types() {
    let (catalog, format) = (catalog(), FormatSettings::default());
    let around = query_text::Surroundings { catalog: &catalog, search_path: &[], format: &format };
    let printed = |type_oid, typmod, sql| {
        sql_text::default_expression(around, &column(1, "c", type_oid, typmod, Some(sql)))
    };
    assert_eq!(printed(25, -1, "'x'").as_deref(), Some("'x'::text"));
    assert_eq!(printed(1043, 24, "'x'").as_deref(), Some("'x'::character varying"));
    assert_eq!(printed(1042, 7, "'x'").as_deref(), Some("'x'::bpchar"));
    assert_eq!(printed(23, -1, "-1").as_deref(), Some("'-1'::integer"));
    assert_eq!(printed(23, -1, "42").as_deref(), Some("42"));
    assert_eq!(printed(1184, -1, "now()").as_deref(), Some("now()"));
    assert_eq!(printed(25, -1, "'a' || 'b'").as_deref(), Some("('a'::text || 'b'::text)"));
}

#[test]
fn names_are_read_as_sql_reads_them() {
    let parts = |text| sql_text::parse_name(text).map(|parts| parts.join("|"));
    assert_eq!(parts("Public.T").as_deref(), Some("public|t"));
    assert_eq!(parts("\"A\"\"b\" . c").as_deref(), Some("A\"b|c"));
    for bad in ["", "a.", ".a", "a b", "\"open", "a.\"b\"c"] {
        assert_eq!(parts(bad), None, "{bad}");
    }
}
