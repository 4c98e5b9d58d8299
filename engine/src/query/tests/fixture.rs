//! Tables in memory and a session over them.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, UInt64Type},
};
use datafusion::{
    catalog::MemTable,
    datasource::provider_as_source,
    execution::SessionStateBuilder,
    logical_expr::{LogicalPlan, TableSource},
    physical_plan::collect,
    prelude::SessionConfig,
};

use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        functions::Functions,
        parser,
        planner::{
            self, LOCATOR_COLUMNS, PlanContext, PlannedDml, ResolvedColumn, ResolvedKind,
            ResolvedTable, TableResolver,
        },
        statement::StatementKind,
    },
    session::transaction_ids::TransactionIds,
    types::{
        PgType,
        text::{FormatSettings, write_text},
    },
};

/// A table: its definition and rows as text, `None` for NULL.
struct Table {
    resolved: ResolvedTable,
    dml: Arc<dyn TableSource>,
}

#[derive(Default)]
pub(super) struct Database {
    tables: HashMap<String, Table>,
    functions: Functions,
    format: FormatSettings,
}

impl Database {
    /// Creates a table from `CREATE TABLE`, with rows of text values.
    pub(super) fn create(&mut self, sql: &str, rows: &[&[Option<&str>]]) {
        let statement = parser::parse(sql).expect("the test's SQL parses").remove(0);
        let StatementKind::CreateTable(table) = statement.kind else { panic!("{sql}") };
        let columns: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, c)| ResolvedColumn {
                name: c.name.clone(),
                number: index as i16 + 1,
                pg_type: c.pg_type.clone(),
                not_null: c.not_null,
                default: c.default.clone(),
                hidden: false,
            })
            .collect();
        let key = table.primary_key.map_or_else(Vec::new, |key| {
            let place = |name| columns.iter().position(|c| &c.name == name);
            key.columns.iter().filter_map(place).collect()
        });
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let mut builder =
                    crate::types::text::ColumnBuilder::new(&column.pg_type, rows.len())
                        .expect("a column type");
                for row in rows {
                    match row[index] {
                        None => builder.append_null(),
                        Some(text) => builder.append(text, &self.format).expect("a value"),
                    }
                }
                builder.finish()
            })
            .collect();
        let fields: Vec<Field> =
            columns.iter().map(|c| c.pg_type.field(&c.name, !c.not_null)).collect();
        let source = memory(fields.clone(), arrays.clone());
        let mut located = vec![
            Field::new(LOCATOR_COLUMNS[0], DataType::UInt64, false),
            Field::new(LOCATOR_COLUMNS[1], DataType::UInt32, false),
            Field::new(LOCATOR_COLUMNS[2], DataType::UInt64, false),
        ];
        located.extend(fields);
        let count = rows.len() as u64;
        let mut all: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![1; rows.len()])),
            Arc::new(UInt32Array::from_iter_values(0..count as u32)),
            Arc::new(UInt64Array::from_iter_values(0..count)),
        ];
        all.extend(arrays);
        let dml = memory(located, all);
        let oid = 16_384 + self.tables.len() as u32;
        let resolved = ResolvedTable {
            oid,
            schema: "public".to_owned(),
            name: table.name.name.clone(),
            columns,
            primary_key: key,
            source,
            is_system: false,
            kind: ResolvedKind::Table,
            query: None,
            row_type: None,
        };
        self.tables.insert(table.name.name, Table { resolved, dml });
    }

    fn planned<T>(
        &self,
        plan: impl FnOnce(&PlanContext<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let setting = |name: &str| (name == "server_version").then(|| "15.0".to_owned());
        let path = ["$user".to_owned(), "public".to_owned()];
        let transaction_ids = TransactionIds::starting(1);
        plan(&PlanContext {
            transaction_id: &|_| None,
            transaction_ids: &transaction_ids,
            tables: self,
            functions: &self.functions,
            search_path: &path,
            database: "postgres",
            role: "postgres",
            session_role: "postgres",
            // 2024-02-29 12:34:56.789 UTC
            transaction_start_us: 1_709_210_096_789_000,
            now_stays_open: false,
            statement_start_us: 1_709_210_096_789_000,
            format: &self.format,
            process_id: 42,
            setting: &setting,
        })
    }

    /// The result as `psql -At` prints it: columns by `|`, rows by newline, NULL as `∅`.
    pub(super) fn query(&self, sql: &str) -> Result<String, SqlError> {
        let statement = parser::parse(sql)?.remove(0);
        let planned = self.planned(|c| planner::plan_query(c, &statement, &[]))?;
        let types: Vec<_> = planned.fields.iter().map(|f| f.pg_type.clone()).collect();
        self.run(planned.plan, &types)
    }

    /// The types of the parameters.
    pub(super) fn params(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        let statement = parser::parse(sql)?.remove(0);
        let params = match statement.kind {
            StatementKind::Query(_) => {
                self.planned(|c| planner::plan_query(c, &statement, &[]))?.params
            }
            _ => self.planned(|c| planner::plan_dml(c, &statement, &[]))?.params,
        };
        Ok(params.iter().map(PgType::sql_name).collect())
    }

    pub(super) fn dml(&self, sql: &str) -> Result<PlannedDml, SqlError> {
        let statement = parser::parse(sql)?.remove(0);
        self.planned(|c| planner::plan_dml(c, &statement, &[]))
    }

    /// The rows of a DML plan.
    pub(super) fn dml_rows(&self, sql: &str) -> Result<String, SqlError> {
        let planned = self.dml(sql)?;
        let plan = planned.plan.clone();
        let types: Vec<_> = plan.schema().fields().iter().map(|f| PgType::of_field(f)).collect();
        self.run(plan, &types)
    }

    pub(super) fn run(&self, plan: LogicalPlan, types: &[PgType]) -> Result<String, SqlError> {
        let config = SessionConfig::new().with_target_partitions(2).with_batch_size(3);
        let state = SessionStateBuilder::new()
            .with_optimizer_rules(crate::query::optimizer::rules())
            .with_default_features()
            .with_config(config)
            .with_query_planner(Arc::new(crate::query::series_rows::Planner))
            .build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let batches = runtime.block_on(async {
            let plan = state.optimize(&plan).map_err(sql_error)?;
            let physical = state.create_physical_plan(&plan).await.map_err(sql_error)?;
            collect(physical, state.task_ctx()).await.map_err(sql_error)
        })?;
        let mut lines = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                lines.push(self.line(batch, row, types));
            }
        }
        Ok(lines.join("\n"))
    }

    fn line(&self, batch: &RecordBatch, row: usize, types: &[PgType]) -> String {
        let value = |(array, ty): (&ArrayRef, &PgType)| {
            if array.is_null(row) {
                return "∅".to_owned();
            }
            // Locators have no PostgreSQL type.
            if *array.data_type() == DataType::UInt64 {
                return array.as_primitive::<UInt64Type>().value(row).to_string();
            }
            if !array.data_type().equals_datatype(&ty.arrow_type()) {
                return format!("a column of {} for {ty:?}", array.data_type());
            }
            let mut out = Vec::new();
            write_text(array, row, ty, &self.format, &mut out);
            String::from_utf8(out).expect("text is UTF-8")
        };
        batch.columns().iter().zip(types).map(value).collect::<Vec<_>>().join("|")
    }
}

fn memory(fields: Vec<Field>, arrays: Vec<ArrayRef>) -> Arc<dyn TableSource> {
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("columns fit");
    let table = MemTable::try_new(schema, vec![vec![batch]]).expect("batches fit");
    provider_as_source(Arc::new(table))
}

impl TableResolver for Database {
    fn table(&self, schema: &str, name: &str) -> Result<Option<ResolvedTable>, SqlError> {
        Ok((schema == "public")
            .then(|| self.tables.get(name))
            .flatten()
            .map(|t| t.resolved.clone()))
    }

    fn table_by_oid(&self, oid: u32) -> Result<Option<ResolvedTable>, SqlError> {
        let found = self.tables.values().find(|table| table.resolved.oid == oid);
        Ok(found.map(|table| table.resolved.clone()))
    }

    fn schema_exists(&self, schema: &str) -> bool {
        schema == "public"
    }

    fn dml_source(&self, table: &ResolvedTable) -> Result<Arc<dyn TableSource>, SqlError> {
        Ok(Arc::clone(&self.tables[&table.name].dml))
    }
}

/// A database without tables.
pub(super) fn empty() -> Database {
    Database::default()
}
