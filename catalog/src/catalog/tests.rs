use std::{collections::BTreeMap, sync::Arc};

use glaredb_txn::ids::{SchemaVersion, TableId, Timestamp};

use crate::{
    Allocator, Catalog, CatalogChange, ChangeError, History, HistoryError, ObjectKind, Relation,
    descriptor::{Column, PrimaryKey, Schema, Table, builtin},
};

fn column(id: u32, name: &str, not_null: bool) -> Column {
    Column {
        id,
        number: i16::try_from(id).expect("a small id"),
        name: name.into(),
        type_oid: 23,
        typmod: -1,
        not_null,
        default: None,
        default_oid: 0,
        ..Column::default()
    }
}

/// A table `name` in `public` with columns a (its key) and b.
fn table(ids: &Allocator, name: &str) -> Table {
    let oid = ids.oid();
    Table {
        oid,
        name: name.into(),
        schema_oid: builtin::SCHEMA_PUBLIC,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: ids.oid(),
        array_type_oid: ids.oid(),
        storage: ids.table_id(),
        version: SchemaVersion(1),
        columns: vec![column(1, "a", true), column(2, "b", false)],
        next_column_id: 3,
        primary_key: Some(PrimaryKey {
            oid: ids.oid(),
            constraint_oid: ids.oid(),
            name: format!("{name}_pkey"),
            columns: vec![1],
        }),
        options: BTreeMap::from([("fillfactor".into(), "90".into())]),
        ..Table::default()
    }
}

fn start() -> (Catalog, Allocator) {
    let catalog = Catalog::empty().apply(&builtin::bootstrap()).expect("the bootstrap fits");
    let ids = Allocator::after(&catalog);
    (catalog, ids)
}

fn create(table: &Table) -> CatalogChange {
    let mut change = CatalogChange::default();
    change.create_table(table.clone());
    change
}

fn alter(table: &Table) -> CatalogChange {
    let mut change = CatalogChange::default();
    change.alter_table(table.clone());
    change
}

fn drop_table(table: &Table) -> CatalogChange {
    let mut change = CatalogChange::default();
    change.drop_table(table.oid);
    change
}

#[test]
fn finds_tables_by_every_name_they_have() {
    let (catalog, ids) = start();
    let t = table(&ids, "t");
    let catalog = catalog.apply(&create(&t)).expect("it fits");
    assert_eq!(**catalog.table("public", "t").expect("by name"), t);
    assert_eq!(**catalog.table_by_oid(t.oid).expect("by OID"), t);
    assert_eq!(**catalog.table_by_storage(t.storage).expect("by storage"), t);
    assert_eq!(**catalog.find_table(&["nowhere", "pg_catalog", "public"], "t").expect("it"), t);
    assert!(catalog.find_table(&["pg_catalog"], "t").is_none());
    assert!(matches!(
        catalog.relation(builtin::SCHEMA_PUBLIC, "t_pkey"),
        Some(Relation::KeyIndex(of)) if of.oid == t.oid
    ));
    assert!(catalog.table("public", "t_pkey").is_none(), "an index is no table");
    assert_eq!(catalog.table_with_inner_oid(t.row_type_oid).expect("by type").oid, t.oid);
    assert_eq!(catalog.next_oid(), t.primary_key.expect("a key").constraint_oid + 1);
    assert_eq!(catalog.next_table_id(), t.storage.next());
    assert_eq!(catalog.free_relation_name(builtin::SCHEMA_PUBLIC, "t", "pkey"), "t_pkey1");
    let long = "é".repeat(40);
    let name = catalog.free_relation_name(builtin::SCHEMA_PUBLIC, &long, "pkey");
    assert_eq!(name, format!("{}_pkey", "é".repeat(29)));
}

#[test]
fn leaves_the_old_catalog_as_it_is() {
    let (before, ids) = start();
    let t = table(&ids, "t");
    let with = before.apply(&create(&t)).expect("it fits");
    let without = with.apply(&drop_table(&t)).expect("it is there");
    assert_eq!(before.table_count(), 0);
    assert_eq!(with.table_count(), 1);
    assert_eq!(without.table_count(), 0);
    assert!(without.relation(builtin::SCHEMA_PUBLIC, "t_pkey").is_none());
    assert!(without.next_oid() > t.oid, "OIDs do not come back");
    let again = without.apply(&create(&table(&ids, "t"))).expect("the name is free");
    assert_eq!(again.table_count(), 1);
}

#[test]
fn refuses_names_ids_and_versions_that_clash() {
    let (catalog, ids) = start();
    let t = table(&ids, "t");
    let catalog = catalog.apply(&create(&t)).expect("it fits");
    let refused = |change: &CatalogChange| catalog.apply(change).expect_err("it does not fit");
    let taken =
        |name: &str| ChangeError::NameTaken { kind: ObjectKind::Relation, name: name.into() };

    assert_eq!(refused(&create(&table(&ids, "t"))), taken("t"));
    assert_eq!(refused(&create(&table(&ids, "t_pkey"))), taken("t_pkey"));
    let already = ChangeError::AlreadyThere { kind: ObjectKind::Relation, oid: t.oid };
    assert_eq!(refused(&create(&t)), already);
    assert_eq!(
        refused(&alter(&t)),
        ChangeError::VersionNotNewer { table: "t".into(), current: t.version, given: t.version }
    );
    let other = Table { oid: t.row_type_oid, ..table(&ids, "other") };
    assert_eq!(refused(&create(&other)), ChangeError::OidTaken { oid: t.row_type_oid });
    let other = Table { storage: t.storage, ..table(&ids, "other") };
    let storage_taken = ChangeError::StorageTaken { storage: t.storage, oid: t.oid };
    assert_eq!(refused(&create(&other)), storage_taken);
    let unknown = table(&ids, "unknown");
    let missing = ChangeError::NoSuchObject { kind: ObjectKind::Relation, oid: unknown.oid };
    assert_eq!(refused(&drop_table(&unknown)), missing);
    assert_eq!(refused(&alter(&unknown)), missing, "the dropped do not come back to life");
    let nowhere = Table { schema_oid: 99, ..table(&ids, "other") };
    let no_schema = ChangeError::NoSuchObject { kind: ObjectKind::Schema, oid: 99 };
    assert_eq!(refused(&create(&nowhere)), no_schema);
    let uncounted = CatalogChange { next_oid: 0, ..create(&table(&ids, "other")) };
    assert!(matches!(refused(&uncounted), ChangeError::OidNotCounted { .. }));
    let reserved = Table { storage: TableId::CATALOG, ..table(&ids, "other") };
    assert!(matches!(refused(&create(&reserved)), ChangeError::StorageNotCounted { .. }));
    let drop_schema =
        CatalogChange { drop_schemas: vec![builtin::SCHEMA_PUBLIC], ..CatalogChange::default() };
    let not_empty = ChangeError::SchemaNotEmpty { schema: "public".into(), relation: "t".into() };
    assert_eq!(refused(&drop_schema), not_empty);
    let cascade = CatalogChange { drop_tables: vec![t.oid], ..drop_schema };
    assert!(catalog.apply(&cascade).expect("together they go").schema("public").is_none());
    let drop_owner =
        CatalogChange { drop_roles: vec![builtin::ROLE_POSTGRES], ..CatalogChange::default() };
    assert!(matches!(refused(&drop_owner), ChangeError::StillNeeded { .. }));
}

#[test]
fn refuses_descriptors_that_contradict_themselves() {
    type Damage = fn(&mut Table);
    let damages: [(&str, Damage); 9] = [
        ("it has no name", |t| t.name.clear()),
        ("64 bytes", |t| t.name = "x".repeat(64)),
        ("appears twice", |t| t.columns[1].name = "a".into()),
        ("not below 3", |t| t.columns[1].id = 7),
        ("has number 1 behind 1", |t| t.columns[1].number = 1),
        ("without an OID", |t| t.columns[1].default = Some("1".into())),
        ("which it has not", |t| t.primary_key.as_mut().expect("a key").columns = vec![9]),
        ("may be null", |t| t.primary_key.as_mut().expect("a key").columns = vec![2]),
        ("has no columns", |t| t.primary_key.as_mut().expect("a key").columns.clear()),
    ];
    let (catalog, ids) = start();
    for (message, damage) in damages {
        let mut t = table(&ids, "t");
        damage(&mut t);
        let error = catalog.apply(&create(&t)).expect_err(message).to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    }
}

#[test]
fn tables_may_exchange_names() {
    let (catalog, ids) = start();
    let (mut a, mut b) = (table(&ids, "a"), table(&ids, "b"));
    let catalog = catalog.apply(&create(&a).then(create(&b))).expect("both fit");
    (a.name, b.name) = ("b".into(), "a".into());
    (a.version, b.version) = (SchemaVersion(2), SchemaVersion(2));
    let catalog = catalog.apply(&alter(&a).then(alter(&b))).expect("they exchange names");
    assert_eq!(catalog.table("public", "a").expect("a").oid, b.oid);
    assert_eq!(catalog.table("public", "b").expect("b").oid, a.oid);
}

#[test]
fn joins_the_changes_of_a_transaction() {
    let (catalog, ids) = start();
    let kept = table(&ids, "kept");
    let passing = table(&ids, "passing");
    let old = table(&ids, "old");
    let catalog = catalog.apply(&create(&old)).expect("it fits");
    let mut second = kept.clone();
    second.version = SchemaVersion(2);
    second.primary_key = None;
    let mut old_again = old.clone();
    old_again.version = SchemaVersion(2);
    let steps = [
        create(&kept),
        create(&passing),
        alter(&second),
        drop_table(&passing),
        alter(&old_again),
        drop_table(&old),
    ];
    let mut one_by_one = catalog.clone();
    let mut joined = CatalogChange::default();
    for step in steps {
        one_by_one = one_by_one.apply(&step).expect("each fits");
        joined = joined.then(step);
    }
    assert_eq!(catalog.apply(&joined).expect("together they fit"), one_by_one);
    assert_eq!(joined.drop_tables, [old.oid], "what never was is not dropped");
    assert_eq!(one_by_one.table("public", "kept").expect("kept").primary_key, None);
}

#[test]
fn survives_its_encoding() {
    let (catalog, ids) = start();
    let mut t = table(&ids, "t");
    t.columns[1].default = Some("now()".into());
    t.columns[1].default_oid = ids.oid();
    let mut change = create(&t);
    change.create_schema(Schema { oid: ids.oid(), name: "s".into(), owner: 10, comment: None });
    let catalog = catalog.apply(&change).expect("it fits");
    let bytes = catalog.encode();
    assert_eq!(Catalog::decode(&bytes).expect("its own bytes"), catalog);
    assert_eq!(Catalog::decode(&bytes).expect("its own bytes").encode(), bytes);
    for cut in 0..bytes.len() {
        // Some prefixes are messages too, of a smaller catalog; none may panic.
        let _ = Catalog::decode(&bytes[..cut]);
    }
    assert_eq!(CatalogChange::decode(&change.encode()).expect("its own bytes"), change);
}

#[test]
fn history_gives_each_snapshot_its_catalog() {
    let (empty, ids) = start();
    let at = Timestamp::from_millis;
    let t = table(&ids, "t");
    let created = Arc::new(empty.apply(&create(&t)).expect("it fits"));
    let mut truncated = t.clone();
    truncated.storage = ids.table_id();
    truncated.version = SchemaVersion(2);
    let truncated = Arc::new(created.apply(&alter(&truncated)).expect("it fits"));
    let dropped = Arc::new(truncated.apply(&drop_table(&t)).expect("it is there"));

    let mut history = History::starting(at(10), Arc::new(empty));
    history.push(at(20), created).expect("newer");
    history.push(at(30), truncated.clone()).expect("newer");
    history.push(at(40), dropped.clone()).expect("newer");
    let not_newer = HistoryError::NotNewer { given: at(40), newest: at(40) };
    assert_eq!(history.push(at(40), dropped), Err(not_newer));

    let storage = |ts| history.at(ts).expect("kept").table("public", "t").map(|t| t.storage);
    assert_eq!(storage(at(19)), None);
    assert_eq!(storage(at(20)), Some(TableId(1)));
    assert_eq!(storage(at(30)), Some(TableId(2)));
    assert_eq!(storage(at(39)), Some(TableId(2)));
    assert_eq!(storage(at(40)), None);
    assert_eq!(history.latest_timestamp(), at(40));

    assert_eq!(history.prune(at(29)), []);
    assert_eq!(history.at(at(19)), Err(HistoryError::Pruned { asked: at(19), oldest: at(20) }));
    assert_eq!(history.prune(at(35)), [TableId(1)]);
    assert_eq!(history.at(at(35)), Ok(&truncated));
    assert_eq!(history.prune(at(99)), [TableId(2)]);
    assert_eq!(history.prune(at(99)), []);
    assert_eq!(history.version_count(), 1);
}

/// Not a bound that fails on a slow machine: prints what one CREATE TABLE costs among 10,000.
#[test]
fn stays_cheap_with_ten_thousand_tables() {
    let (catalog, ids) = start();
    let mut all = CatalogChange::default();
    for n in 0..10_000 {
        all.create_table(table(&ids, &format!("table_{n}")));
    }
    let catalog = catalog.apply(&all).expect("they fit");
    let one = create(&table(&ids, "one_more"));
    let env = glaredb_txn::env::Env::real("/");
    let begin = env.clock.monotonic();
    let next = catalog.apply(&one).expect("it fits");
    println!("one more of 10,000 tables: {:?}", env.clock.monotonic() - begin);
    assert_eq!(next.table_count(), 10_001);
    assert_eq!(Catalog::decode(&next.encode()).expect("its own bytes"), next);
}
