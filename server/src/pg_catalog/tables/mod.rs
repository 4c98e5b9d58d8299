//! The rows of each system table.

mod class;
pub(super) mod collations;
pub(super) mod dependencies;
mod descriptions;
mod glare_catalog;
mod information_schema;
mod keys;
mod privileges;
mod roles;
mod schemas;
mod sessions;
mod standard_lists;
mod statistics;
pub(super) mod types;
mod views;

pub(super) use descriptions::{column_description, description};

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use glaredb_catalog::{Catalog, descriptor::Table};
use glaredb_engine::{
    session::{Copies, SessionObjects, Settings},
    types::text::FormatSettings,
};

use super::{
    Activities, StorageFigures, builtin_routines,
    definitions::{self, Definition},
    functions,
    provider::Wanted,
    query_text::Surroundings,
    restriction::Restriction,
    rows::Rows,
};

/// What a table's rows are made of.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) definition: &'static Definition,
    /// What rows are about.
    pub(super) relations: Restriction,
    pub(super) catalog: Arc<Catalog>,
    pub(super) database: String,
    /// The session's.
    pub(super) role: String,
    pub(super) search_path: Vec<String>,
    /// For `pg_settings` only.
    pub(super) settings: Option<Settings>,
    /// How values are written.
    pub(super) format: FormatSettings,
    pub(super) objects: Arc<SessionObjects>,
    pub(super) copies: Arc<Copies>,
    pub(super) figures: Arc<dyn StorageFigures>,
    pub(super) activities: Arc<dyn Activities>,
}

impl Source {
    /// What printed queries and expressions depend on.
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            catalog: &self.catalog,
            search_path: &self.search_path,
            format: &self.format,
        }
    }

    /// The wanted user tables with the names of their schemas, by schema and name.
    fn tables(&self) -> impl Iterator<Item = (&str, &Arc<Table>)> {
        self.relations.tables(&self.catalog).into_iter()
    }

    /// The wanted relations of the system, with the OIDs of their schemas.
    fn system_relations(&self) -> impl Iterator<Item = (u32, &'static Definition)> {
        definitions::all().iter().filter_map(|definition| {
            let schema_oid = class::system_schema_oid(definition.schema);
            let wanted = self.relations.takes_system(definition, schema_oid);
            wanted.then_some((schema_oid, definition))
        })
    }

    fn role_name(&self, oid: u32) -> String {
        self.catalog
            .role_by_oid(oid)
            .map_or_else(|| format!("unknown (OID={oid})"), |role| role.name.clone())
    }
}

/// Relations about what cannot exist here yet. The optimizer is told that they are empty, so that
/// what psql asks about each table's policies, publications, … costs nothing.
const ALWAYS_EMPTY: &[&str] = &[
    "administrable_role_authorizations",
    "applicable_roles",
    "attributes",
    "column_column_usage",
    "column_domain_usage",
    "column_options",
    "domain_constraints",
    "domain_udt_usage",
    "domains",
    "foreign_data_wrappers",
    "foreign_servers",
    "foreign_tables",
    "pg_auth_members",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_conversion",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_group",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_prepared_xacts",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_replication_origin",
    "pg_replication_slots",
    "pg_rules",
    "pg_seclabel",
    "pg_seclabels",
    "pg_sequence",
    "pg_sequences",
    "pg_shdepend",
    "pg_shseclabel",
    "pg_stat_replication",
    "pg_stat_user_functions",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_stats_ext",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_user_mapping",
    "pg_user_mappings",
    "referential_constraints",
    "routine_column_usage",
    "routine_routine_usage",
    "routine_sequence_usage",
    "routine_table_usage",
    "sequences",
    "transforms",
    "triggered_update_columns",
    "triggers",
    "user_defined_types",
    "user_mappings",
    "view_routine_usage",
];

pub(super) fn is_always_empty(definition: &Definition) -> bool {
    ALWAYS_EMPTY.binary_search(&definition.name).is_ok()
}

impl Source {
    /// The wanted rows of the table.
    pub(super) fn rows(&self, wanted: &Wanted<'_>) -> Result<RecordBatch> {
        let source = Self { relations: wanted.relations.clone(), ..self.clone() };
        fill(&source, Rows::new(self.definition, wanted.columns)).into_batch()
    }
}

fn fill(source: &Source, mut rows: Rows) -> Rows {
    match (source.definition.schema, source.definition.name) {
        (definitions::GLARE_CATALOG, name) => glare_catalog::fill(source, name, &mut rows),
        ("information_schema", name) => information_schema::fill(source, name, &mut rows),
        (_, name) => match name {
            "pg_class" => class::pg_class(source, &mut rows),
            "pg_attribute" => class::pg_attribute(source, &mut rows),
            "pg_attrdef" => class::pg_attrdef(source, &mut rows),
            "pg_tables" => class::pg_tables(source, &mut rows),
            "pg_views" => views::pg_views(source, &mut rows),
            "pg_matviews" => views::pg_matviews(source, &mut rows),
            "pg_index" => keys::pg_index(source, &mut rows),
            "pg_indexes" => keys::pg_indexes(source, &mut rows),
            "pg_constraint" => keys::pg_constraint(source, &mut rows),
            "pg_namespace" => schemas::pg_namespace(source, &mut rows),
            "pg_database" => schemas::pg_database(source, &mut rows),
            "pg_tablespace" => schemas::pg_tablespace(&mut rows),
            "pg_description" => descriptions::pg_description(source, &mut rows),
            "pg_shdescription" => descriptions::pg_shdescription(source, &mut rows),
            "pg_authid" => roles::pg_authid(source, &mut rows),
            "pg_roles" => roles::pg_roles(source, &mut rows),
            "pg_user" | "pg_shadow" => roles::pg_user(source, &mut rows),
            "pg_cursors" => sessions::pg_cursors(source, &mut rows),
            "pg_prepared_statements" => sessions::pg_prepared_statements(source, &mut rows),
            "pg_settings" => sessions::pg_settings(source, &mut rows),
            "pg_locks" => sessions::pg_locks(source, &mut rows),
            "pg_stat_database" => sessions::pg_stat_database(source, &mut rows),
            "pg_timezone_names" => {
                sessions::pg_timezone_names(functions::now_us(), &mut rows);
            }
            "pg_stat_user_indexes" | "pg_stat_all_indexes" => {
                statistics::pg_stat_indexes(source, &mut rows);
            }
            "pg_get_keywords" => rows.push_data(include_str!("../data/keywords.tsv")),
            "pg_depend" => dependencies::pg_depend(source, &mut rows),
            "pg_rewrite" => dependencies::pg_rewrite(source, &mut rows),
            "pg_aggregate" => rows.push_data(include_str!("../data/pg_aggregate.tsv")),
            "pg_stat_progress_copy" => sessions::pg_stat_progress_copy(source, &mut rows),
            "pg_stat_activity" => sessions::pg_stat_activity(source, &mut rows),
            "pg_stat_user_tables" | "pg_stat_all_tables" => {
                statistics::pg_stat_user_tables(source, &mut rows);
            }
            "pg_type" => types::pg_type(source, &mut rows),
            "pg_am" => rows.push_data(include_str!("../data/pg_am.tsv")),
            "pg_cast" => rows.push_data(include_str!("../data/pg_cast.tsv")),
            "pg_collation" => rows.push_data(collations::DATA),
            "pg_language" => rows.push_data(include_str!("../data/pg_language.tsv")),
            "pg_opclass" => rows.push_data(include_str!("../data/pg_opclass.tsv")),
            "pg_operator" => rows.push_data(builtin_routines::OPERATORS),
            "pg_opfamily" => rows.push_data(include_str!("../data/pg_opfamily.tsv")),
            "pg_proc" => rows.push_data(builtin_routines::FUNCTIONS),
            _ => {}
        },
    }
    rows
}
