//! Which rows of a system table a scan needs: what its conditions say of relations, so that a
//! statement about one table looks at one, not at all.

use std::collections::BTreeSet;

use datafusion::{
    logical_expr::{BinaryExpr, Expr, Operator},
    scalar::ScalarValue,
};
use glaredb_catalog::{Catalog, Relation, descriptor::Table};

use super::definitions::Definition;

/// Relations that rows are about. Rows of others may come too: conditions are checked again.
#[derive(Clone, Default, Debug)]
pub(super) struct Restriction {
    /// OIDs of relations or of what belongs to one: its index, constraint, types, defaults.
    oids: Option<BTreeSet<u32>>,
    /// Names of relations.
    names: Option<BTreeSet<String>>,
    schema_names: Option<BTreeSet<String>>,
    schema_oids: Option<BTreeSet<u32>>,
}

/// What a column says of the relation its row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    Oid,
    Name,
    SchemaName,
    SchemaOid,
}

fn says(table: &Definition, column: &str) -> Option<Says> {
    Some(match (table.name, column) {
        ("pg_class" | "pg_constraint" | "pg_type" | "pg_attrdef" | "pg_rewrite", "oid")
        | ("pg_class", "reltype")
        | ("pg_attribute", "attrelid")
        | ("pg_attrdef", "adrelid")
        | ("pg_index", "indexrelid" | "indrelid")
        | ("pg_constraint", "conrelid" | "conindid")
        | ("pg_type", "typrelid" | "typarray")
        | ("pg_rewrite", "ev_class")
        | ("pg_stat_user_tables" | "pg_stat_all_tables", "relid") => Says::Oid,
        ("pg_class" | "pg_stat_user_tables" | "pg_stat_all_tables", "relname")
        | ("pg_tables" | "pg_indexes" | "pg_stats", "tablename")
        | ("pg_indexes", "indexname")
        | ("pg_views", "viewname")
        | ("pg_matviews", "matviewname") => Says::Name,
        (_, "table_name") if table.schema == "information_schema" => match table.name {
            // Named by what the view reads, not by the view.
            "view_table_usage" | "view_column_usage" => return None,
            _ => Says::Name,
        },
        (_, "table_schema") if table.schema == "information_schema" => match table.name {
            "view_table_usage" | "view_column_usage" => return None,
            _ => Says::SchemaName,
        },
        (_, "schemaname") => Says::SchemaName,
        ("pg_class", "relnamespace")
        | ("pg_type", "typnamespace")
        | ("pg_constraint", "connamespace") => Says::SchemaOid,
        _ => return None,
    })
}

impl Restriction {
    /// Whether a condition restricts a scan of the table.
    pub(super) fn uses(table: &Definition, condition: &Expr) -> bool {
        read(table, condition).is_some()
    }

    /// Those that all of these conditions leave.
    pub(super) fn new(table: &Definition, conditions: &[Expr]) -> Self {
        let mut restriction = Self::default();
        for condition in conditions {
            let Some((says, values)) = read(table, condition) else { continue };
            let oids = || values.iter().filter_map(oid).collect::<BTreeSet<_>>();
            let texts = || values.iter().filter_map(text).collect::<BTreeSet<_>>();
            match says {
                Says::Oid => narrow(&mut restriction.oids, oids()),
                Says::Name => narrow(&mut restriction.names, texts()),
                Says::SchemaName => narrow(&mut restriction.schema_names, texts()),
                Says::SchemaOid => narrow(&mut restriction.schema_oids, oids()),
            }
        }
        restriction
    }

    /// Whether a system relation is wanted.
    pub(super) fn takes_system(&self, definition: &Definition, schema_oid: u32) -> bool {
        let has = |oids: &BTreeSet<u32>| {
            oids.contains(&definition.oid) || oids.contains(&definition.row_type_oid)
        };
        self.oids.as_ref().is_none_or(has)
            && self.names.as_ref().is_none_or(|names| names.contains(definition.name))
            && self.takes_schema(definition.schema, schema_oid)
    }

    fn takes_schema(&self, name: &str, oid: u32) -> bool {
        self.schema_names.as_ref().is_none_or(|names| names.contains(name))
            && self.schema_oids.as_ref().is_none_or(|oids| oids.contains(&oid))
    }

    /// User tables that are wanted, with the names of their schemas, by schema and name.
    pub(super) fn tables<'c>(
        &self,
        catalog: &'c Catalog,
    ) -> Vec<(&'c str, &'c std::sync::Arc<Table>)> {
        let schemas =
            catalog.schemas().filter(|schema| self.takes_schema(&schema.name, schema.oid));
        if let Some(oids) = &self.oids {
            let tables = oids.iter().filter_map(|oid| match catalog.relation_by_oid(*oid) {
                Some(Relation::Table(table) | Relation::KeyIndex(table)) => Some(table),
                None => catalog.table_with_inner_oid(*oid),
            });
            let mut found: Vec<_> = tables
                .filter_map(|table| {
                    let schema = catalog.schema_by_oid(table.schema_oid)?;
                    let wanted = self.takes_schema(&schema.name, schema.oid);
                    wanted.then_some((schema.name.as_str(), table))
                })
                .collect();
            found.sort_by_key(|(schema, table)| (*schema, &table.name));
            found.dedup_by_key(|(_, table)| table.oid);
            return found;
        }
        if let Some(names) = &self.names {
            let mut found = Vec::new();
            for schema in schemas {
                let relations = names.iter().filter_map(|name| catalog.relation(schema.oid, name));
                found.extend(relations.map(|relation| match relation {
                    Relation::Table(table) | Relation::KeyIndex(table) => {
                        (schema.name.as_str(), table)
                    }
                }));
            }
            found.sort_by_key(|(schema, table)| (*schema, &table.name));
            found.dedup_by_key(|(_, table)| table.oid);
            return found;
        }
        schemas
            .flat_map(|schema| {
                catalog.tables_in(schema.oid).map(|table| (schema.name.as_str(), table))
            })
            .collect()
    }
}

fn narrow<T: Ord>(known: &mut Option<BTreeSet<T>>, values: BTreeSet<T>) {
    match known {
        Some(known) => known.retain(|value| values.contains(value)),
        none => *none = Some(values),
    }
}

fn oid(value: &ScalarValue) -> Option<u32> {
    match value {
        ScalarValue::UInt32(oid) => *oid,
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    value.try_as_str().flatten().map(str::to_owned)
}

/// The column that a condition is about and the values it leaves of it.
fn read(table: &Definition, condition: &Expr) -> Option<(Says, Vec<ScalarValue>)> {
    let (column, values) = values(condition)?;
    let says = says(table, column)?;
    let fits = |value: &ScalarValue| {
        value.is_null()
            || match says {
                Says::Oid | Says::SchemaOid => oid(value).is_some(),
                Says::Name | Says::SchemaName => text(value).is_some(),
            }
    };
    values.iter().all(fits).then_some((says, values))
}

/// `c = v`, `c in (v, …)`, `c = v or c = w`, `c ~ '^(v)$'`.
fn values(condition: &Expr) -> Option<(&str, Vec<ScalarValue>)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            match (&**left, &**right) {
                (Expr::Column(column), Expr::Literal(value, _))
                | (Expr::Literal(value, _), Expr::Column(column)) => {
                    Some((&column.name, vec![value.clone()]))
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (column, mut of_left) = values(left)?;
            let (other, of_right) = values(right)?;
            of_left.extend(of_right);
            (column == other).then_some((column, of_left))
        }
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = &*list.expr else { return None };
            let values = list.list.iter().map(|item| match item {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            });
            Some((&column.name, values.collect::<Option<_>>()?))
        }
        // As psql asks for a name.
        Expr::ScalarFunction(call) if call.func.name() == "textregexeq" => {
            let [Expr::Column(column), Expr::Literal(pattern, _), ..] = call.args.as_slice() else {
                return None;
            };
            let pattern = pattern.try_as_str().flatten()?;
            let name = pattern.strip_prefix("^(")?.strip_suffix(")$")?;
            let plain = |c: char| c.is_alphanumeric() || c == '_';
            let value = ScalarValue::Utf8View(Some(name.to_owned()));
            name.chars().all(plain).then_some((&column.name, vec![value]))
        }
        _ => None,
    }
}
