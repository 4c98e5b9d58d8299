//! A resolver of a few lines decides who conflicts with whom.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use glaredb_txn::{
    commit::message::Scope,
    ids::{EntryIndex, LogId, Position, SchemaVersion},
};

use super::{Claims, claims};
use crate::{
    Allocator, Catalog, CatalogChange,
    descriptor::{Schema, Table, builtin},
};

/// Last write of each key.
#[derive(Default)]
struct Resolver {
    recent: HashMap<Bytes, Position>,
    next: u64,
}

impl Resolver {
    fn position(&self) -> Position {
        Position::new(LogId(0), EntryIndex(self.next), 0)
    }

    fn commit(&mut self, claims: &Claims) -> Result<(), ()> {
        let written = claims.writes.iter().map(|write| (&write.key, write.base));
        let asserted = claims.assertions.iter().map(|assertion| match &assertion.scope {
            Scope::Key { key, .. } => (key, assertion.base),
            Scope::Table => panic!("DDL asserts keys"),
        });
        for (key, base) in written.chain(asserted) {
            if self.recent.get(key).is_some_and(|last| *last > base) {
                return Err(());
            }
        }
        self.next += 1;
        let at = self.position();
        self.recent.extend(claims.writes.iter().map(|write| (write.key.clone(), at)));
        Ok(())
    }
}

struct Bench {
    catalog: Catalog,
    ids: Allocator,
}

impl Bench {
    fn new() -> Self {
        let catalog = Catalog::empty().apply(&builtin::bootstrap()).expect("the bootstrap fits");
        let ids = Allocator::after(&catalog);
        Self { catalog, ids }
    }

    fn table(&self, name: &str, schema_oid: u32) -> Table {
        Table {
            oid: self.ids.oid(),
            name: name.into(),
            schema_oid,
            owner: builtin::ROLE_POSTGRES,
            row_type_oid: self.ids.oid(),
            array_type_oid: self.ids.oid(),
            storage: self.ids.table_id(),
            version: SchemaVersion(1),
            columns: vec![],
            next_column_id: 1,
            primary_key: None,
            options: BTreeMap::new(),
            ..Table::default()
        }
    }

    /// Both planned on the same catalog: may the second commit after the first?
    fn both(&self, first: &CatalogChange, second: &CatalogChange) -> bool {
        let mut resolver = Resolver::default();
        let base = resolver.position();
        let first = claims(&self.catalog, base, first);
        let second = claims(&self.catalog, base, second);
        resolver.commit(&first).expect("nothing before it");
        resolver.commit(&second).is_ok()
    }
}

fn change(fill: impl FnOnce(&mut CatalogChange)) -> CatalogChange {
    let mut change = CatalogChange::default();
    fill(&mut change);
    change
}

#[test]
fn creators_conflict_only_over_a_name() {
    let bench = Bench::new();
    let create = |name| change(|c| c.create_table(bench.table(name, builtin::SCHEMA_PUBLIC)));
    assert!(bench.both(&create("a"), &create("b")));
    assert!(!bench.both(&create("a"), &create("a")));
    let elsewhere =
        change(|c| c.create_table(bench.table("a", builtin::SCHEMA_INFORMATION_SCHEMA)));
    assert!(bench.both(&create("a"), &elsewhere));
    let schema = |name: &str| {
        let schema = Schema { oid: bench.ids.oid(), name: name.into(), owner: 10, comment: None };
        change(|c| c.create_schema(schema))
    };
    assert!(bench.both(&schema("s"), &schema("t")));
    assert!(!bench.both(&schema("s"), &schema("s")));
    assert!(bench.both(&schema("a"), &create("a")), "a schema is no relation");
}

#[test]
fn dropping_a_schema_conflicts_with_creating_in_it_either_way() {
    let bench = Bench::new();
    let create = change(|c| c.create_table(bench.table("a", builtin::SCHEMA_PUBLIC)));
    let drop = change(|c| c.drop_schema(builtin::SCHEMA_PUBLIC));
    assert!(!bench.both(&create, &drop));
    assert!(!bench.both(&drop, &create));
    let elsewhere =
        change(|c| c.create_table(bench.table("a", builtin::SCHEMA_INFORMATION_SCHEMA)));
    assert!(bench.both(&elsewhere, &drop));
    assert!(bench.both(&drop, &elsewhere));
}

#[test]
fn changes_of_one_table_conflict() {
    let mut bench = Bench::new();
    let table = bench.table("a", builtin::SCHEMA_PUBLIC);
    let other = bench.table("b", builtin::SCHEMA_PUBLIC);
    let both = change(|c| {
        c.create_table(table.clone());
        c.create_table(other.clone());
    });
    bench.catalog = bench.catalog.apply(&both).expect("it fits");
    let alter = |table: &Table, name: &str| {
        let mut table = table.clone();
        table.version = table.version.next();
        table.name = name.into();
        change(|c| c.alter_table(table))
    };
    let drop = change(|c| c.drop_table(table.oid));
    assert!(!bench.both(&alter(&table, "a"), &alter(&table, "a")));
    assert!(!bench.both(&drop, &alter(&table, "a")), "a dropped table would come back");
    assert!(!bench.both(&alter(&table, "a"), &drop));
    assert!(!bench.both(&drop, &drop));
    assert!(bench.both(&drop, &alter(&other, "b")));
    assert!(!bench.both(&alter(&table, "c"), &alter(&other, "c")), "both take the name c");
    let reuse = change(|c| c.create_table(bench.table("a", builtin::SCHEMA_PUBLIC)));
    assert!(!bench.both(&reuse, &alter(&table, "c")), "one takes the name the other frees");
}

#[test]
fn dropping_a_role_conflicts_with_giving_it_something() {
    let bench = Bench::new();
    let create = change(|c| c.create_table(bench.table("a", builtin::SCHEMA_PUBLIC)));
    let drop = change(|c| c.drop_roles.push(builtin::ROLE_POSTGRES));
    assert!(!bench.both(&create, &drop));
    assert!(!bench.both(&drop, &create));
}
