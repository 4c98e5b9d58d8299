//! What depends on what: `pg_depend`, `pg_rewrite`.

use glaredb_catalog::{
    Relation,
    descriptor::{RelationKind, Table},
};
use glaredb_engine::{session::StatementContext, types::PgType};

use super::Source;
use crate::pg_catalog::{
    object_names,
    query_text::{self, Layout},
    relation_name,
    rows::{Cell, Rows, int},
    sql_text,
};

/// OIDs of the system tables that objects stand in.
pub(in crate::pg_catalog) mod class {
    pub(in crate::pg_catalog) const TYPE: u32 = 1247;
    pub(in crate::pg_catalog) const PROC: u32 = 1255;
    pub(in crate::pg_catalog) const RELATION: u32 = 1259;
    pub(in crate::pg_catalog) const ROLE: u32 = 1260;
    pub(in crate::pg_catalog) const DATABASE: u32 = 1262;
    pub(in crate::pg_catalog) const DEFAULT: u32 = 2604;
    pub(in crate::pg_catalog) const CONSTRAINT: u32 = 2606;
    pub(in crate::pg_catalog) const NAMESPACE: u32 = 2615;
    pub(in crate::pg_catalog) const REWRITE: u32 = 2618;
}

/// An object, or a column of one.
type Object = (u32, u32, i16);

pub(super) fn pg_depend(source: &Source, rows: &mut Rows) {
    let mut push = |(class, oid, part): Object, (on_class, on, on_part): Object, kind: &str| {
        rows.push([
            ("classid", Cell::Oid(class)),
            ("objid", Cell::Oid(oid)),
            ("objsubid", int(part)),
            ("refclassid", Cell::Oid(on_class)),
            ("refobjid", Cell::Oid(on)),
            ("refobjsubid", int(on_part)),
            ("deptype", kind.into()),
        ]);
    };
    for (_, table) in source.tables() {
        let relation = (class::RELATION, table.oid, 0);
        push(relation, (class::NAMESPACE, table.schema_oid, 0), "n");
        let row_type = (class::TYPE, table.row_type_oid, 0);
        push(row_type, relation, "i");
        push((class::TYPE, table.array_type_oid, 0), row_type, "i");
        for column in table.columns.iter().filter(|column| column.default.is_some()) {
            let of = (class::RELATION, table.oid, column.number);
            push((class::DEFAULT, column.default_oid, 0), of, "a");
        }
        if let Some(key) = &table.primary_key {
            let constraint = (class::CONSTRAINT, key.constraint_oid, 0);
            push((class::RELATION, key.oid, 0), constraint, "i");
            for column in key.columns.iter().filter_map(|id| table.column_by_id(*id)) {
                push(constraint, (class::RELATION, table.oid, column.number), "a");
            }
        }
        for (object, on, kind) in of_view(source, table) {
            push(object, on, kind);
        }
    }
}

/// The rule of a view belongs to it and depends on what its query reads.
fn of_view(source: &Source, view: &Table) -> Vec<(Object, Object, &'static str)> {
    let Some(query) = &view.view else { return Vec::new() };
    let rule = (class::REWRITE, view.oid, 0);
    let own = (class::RELATION, view.oid, 0);
    let mut found = vec![(rule, own, "i"), (rule, own, "n")];
    for oid in query.reads() {
        let Some(table) = source.catalog.table_by_oid(oid) else { continue };
        let used: Vec<_> =
            table.columns.iter().filter(|column| query.uses_column(oid, column.id)).collect();
        if used.is_empty() {
            found.push((rule, (class::RELATION, oid, 0), "n"));
        }
        found.extend(used.iter().map(|c| (rule, (class::RELATION, oid, c.number), "n")));
    }
    found
}

/// Rules are the queries of views. A rule has the OID of its view, which no other rule has.
pub(super) fn pg_rewrite(source: &Source, rows: &mut Rows) {
    let defined = rows.wants("ev_action");
    for (_, view) in source.tables().filter(|(_, table)| table.view.is_some()) {
        let action = defined
            .then(|| query_text::view(source.surroundings(), view.oid, Layout::view(false)))
            .flatten();
        rows.push([
            ("oid", view.oid.into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", view.oid.into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
            ("ev_qual", "<>".into()),
            // A tree there, its text here.
            ("ev_action", action.unwrap_or_default().into()),
        ]);
    }
}

/// `pg_describe_object`; `None` for what does not exist.
pub(in crate::pg_catalog) fn describe(
    context: &StatementContext,
    (class, oid, part): Object,
) -> Option<String> {
    let catalog = &context.catalog;
    let relation = |oid| {
        let name = object_names::print(context, &PgType::Regclass, oid);
        let kind = match catalog.relation_by_oid(oid) {
            Some(Relation::KeyIndex(_)) => "index",
            Some(Relation::Table(table)) => match table.kind {
                RelationKind::Table => "table",
                RelationKind::View => "view",
                RelationKind::MaterializedView => "materialized view",
                RelationKind::CompositeType => "composite type",
            },
            None => relation_name(catalog, oid).map(|_| "table")?,
        };
        Some(format!("{kind} {name}"))
    };
    let column = |table: &Table, number| {
        let column = table.columns.iter().find(|column| column.number == number)?;
        Some(format!("column {} of {}", column.name, relation(table.oid)?))
    };
    match class {
        class::RELATION if part == 0 => relation(oid),
        class::RELATION => column(catalog.table_by_oid(oid)?, part),
        class::TYPE => {
            let name = sql_text::format_type(context, oid, None);
            (name != "???").then(|| format!("type {name}"))
        }
        class::PROC => {
            let name = object_names::print(context, &PgType::Regprocedure, oid);
            (name != oid.to_string()).then(|| format!("function {name}"))
        }
        class::ROLE => catalog.role_by_oid(oid).map(|role| format!("role {}", role.name)),
        class::DATABASE => catalog.database_by_oid(oid).map(|d| format!("database {}", d.name)),
        class::NAMESPACE => catalog.schema_by_oid(oid).map(|s| format!("schema {}", s.name)),
        class::CONSTRAINT => {
            let table = catalog.table_with_inner_oid(oid)?;
            let key = table.primary_key.as_ref().filter(|key| key.constraint_oid == oid)?;
            Some(format!("constraint {} on {}", key.name, relation(table.oid)?))
        }
        class::DEFAULT => {
            let table = catalog.table_with_inner_oid(oid)?;
            let of = table.columns.iter().find(|column| column.default_oid == oid)?;
            Some(format!("default value for {}", column(table, of.number)?))
        }
        class::REWRITE => {
            catalog.table_by_oid(oid)?.view.as_ref()?;
            Some(format!("rule _RETURN on {}", relation(oid)?))
        }
        _ => None,
    }
}
