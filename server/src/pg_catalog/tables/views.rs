//! `pg_views`, `pg_matviews` and what the standard shows of views.

use glaredb_catalog::descriptor::{RelationKind, Table};

use super::Source;
use crate::pg_catalog::{
    query_text::{self, Layout},
    rows::Rows,
};

impl Source {
    /// Views of one kind with their schemas and, if those are looked at, definitions.
    fn views(&self, kind: RelationKind, defined: bool) -> Vec<(&str, &Table, String)> {
        let all = self.tables().filter(|(_, table)| table.kind == kind);
        all.filter_map(|(schema, table)| {
            let definition = match defined {
                true => query_text::view(self.surroundings(), table.oid, Layout::view(false))?,
                false => String::new(),
            };
            Some((schema, &**table, definition))
        })
        .collect()
    }
}

pub(super) fn pg_views(source: &Source, rows: &mut Rows) {
    for (schema, view, definition) in source.views(RelationKind::View, rows.wants("definition")) {
        rows.push([
            ("schemaname", schema.into()),
            ("viewname", view.name.as_str().into()),
            ("viewowner", source.role_name(view.owner).into()),
            ("definition", definition.into()),
        ]);
    }
}

pub(super) fn pg_matviews(source: &Source, rows: &mut Rows) {
    for (schema, view, definition) in
        source.views(RelationKind::MaterializedView, rows.wants("definition"))
    {
        rows.push([
            ("schemaname", schema.into()),
            ("matviewname", view.name.as_str().into()),
            ("matviewowner", source.role_name(view.owner).into()),
            ("hasindexes", false.into()),
            ("ispopulated", (!view.unpopulated).into()),
            ("definition", definition.into()),
        ]);
    }
}

/// `information_schema.views`.
pub(super) fn views(source: &Source, rows: &mut Rows) {
    let defined = rows.wants("view_definition");
    for (schema, view, definition) in source.views(RelationKind::View, defined) {
        rows.push([
            ("table_catalog", source.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", view.name.as_str().into()),
            ("view_definition", definition.into()),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
            ("is_trigger_updatable", "NO".into()),
            ("is_trigger_deletable", "NO".into()),
            ("is_trigger_insertable_into", "NO".into()),
        ]);
    }
}

/// `information_schema.view_table_usage` and, with columns, `view_column_usage`.
pub(super) fn usage(source: &Source, rows: &mut Rows, columns: bool) {
    let catalog = &source.catalog;
    for (schema, view) in source.tables().filter(|(_, table)| table.kind == RelationKind::View) {
        let Some(query) = &view.view else { continue };
        for oid in query.reads() {
            let Some(table) = catalog.table_by_oid(oid) else { continue };
            let Some(read_schema) = catalog.schema_by_oid(table.schema_oid) else { continue };
            if !columns {
                rows.push([
                    ("view_catalog", source.database.as_str().into()),
                    ("view_schema", schema.into()),
                    ("view_name", view.name.as_str().into()),
                    ("table_catalog", source.database.as_str().into()),
                    ("table_schema", read_schema.name.as_str().into()),
                    ("table_name", table.name.as_str().into()),
                ]);
                continue;
            }
            for column in table.columns.iter().filter(|c| query.uses_column(oid, c.id)) {
                rows.push([
                    ("view_catalog", source.database.as_str().into()),
                    ("view_schema", schema.into()),
                    ("view_name", view.name.as_str().into()),
                    ("table_catalog", source.database.as_str().into()),
                    ("table_schema", read_schema.name.as_str().into()),
                    ("table_name", table.name.as_str().into()),
                    ("column_name", column.name.as_str().into()),
                ]);
            }
        }
    }
}
