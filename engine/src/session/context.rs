//! What one statement knows: its view, its catalog, the settings, and how names are found.

use std::sync::Arc;

use datafusion::{
    datasource::{provider_as_source, source_as_provider},
    execution::SessionState,
    logical_expr::{TableSource, execution_props::ExecutionProps},
    scalar::ScalarValue,
};
use glaredb_catalog::{
    Catalog, TEMPORARY_SCHEMA,
    descriptor::{Table as TableDescriptor, builtin},
};
use parking_lot::Mutex;

use super::{
    Engine, Identity, SessionObjects, Settings, StatementContext,
    engine::SystemTableContext,
    point::turns::Key,
    transaction::{Modes, Transaction},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::given_up::GivenUp,
        planner::{self, PlanContext, ResolvedColumn, ResolvedKind, ResolvedTable, TableResolver},
        quoting::quote_identifier,
        scan::{StatementView, StoredTable},
        statement::{IsolationLevel, RelationName},
    },
    types::{PgType, text::FormatSettings},
};

/// Everything a statement is executed with.
#[derive(Clone)]
pub(super) struct ExecutionContext {
    pub engine: Arc<Engine>,
    pub identity: Arc<Identity>,
    pub objects: Arc<SessionObjects>,
    pub settings: Settings,
    /// DataFusion's, with these settings and this catalog, without the view.
    pub state: Arc<SessionState>,
    pub transaction: Arc<Mutex<Transaction>>,
    /// Nothing follows in the transaction: what it wrote need not be readable.
    pub is_last: bool,
    pub view: Arc<StatementView>,
    pub catalog: Arc<Catalog>,
    pub transaction_start_us: i64,
    pub statement_start_us: i64,
}

impl ExecutionContext {
    /// Waits a little for another transaction that is changing the row with this key, and takes the
    /// statement's snapshot after that: it would only lose against the other.
    pub(super) async fn take_turn(&mut self, key: Key) -> Result<(), SqlError> {
        let holder = {
            let mut transaction = self.transaction.lock();
            if !transaction.waits_for(&key) {
                return Ok(());
            }
            let turns = self.engine.turns();
            *transaction.holder.get_or_insert_with(|| turns.holder())
        };
        let turn = self.engine.turns().take(holder, key).await;
        let mut transaction = self.transaction.lock();
        transaction.turns.extend(turn);
        let published = self.engine.database().snapshots().published();
        if published.position != self.view.snapshot.snapshot().position {
            let (view, catalog) = transaction.view()?;
            // A plan for another catalog is none: that statement goes on with its older snapshot.
            if Arc::ptr_eq(&catalog, &self.catalog) {
                self.view = view;
            }
        }
        Ok(())
    }

    /// The same statement with the catalog as the transaction has changed it by now, and seeing what it
    /// has written.
    pub(super) fn after_change(&self) -> Result<Self, SqlError> {
        let (view, catalog) = self.transaction.lock().view_at(&self.view)?;
        let mut state = SessionState::clone(&self.state);
        let known = StatementContext::of(state.config_options()).map_err(sql_error)?;
        let mut known = known.clone();
        known.catalog = Arc::clone(&catalog);
        state.config_mut().options_mut().extensions.insert(known);
        // Physical expressions take their options from there.
        state.mark_start_execution();
        Ok(Self { view, catalog, state: Arc::new(state), ..self.clone() })
    }

    /// From now on the statement is given up by what is returned, and not with the session's others.
    pub(super) fn give_up_apart(&mut self) -> GivenUp {
        let given_up = GivenUp::default();
        let mut state = SessionState::clone(&self.state);
        state.config_mut().options_mut().extensions.insert(given_up.clone());
        // Physical expressions take their options from there.
        state.mark_start_execution();
        self.state = Arc::new(state);
        given_up
    }

    /// Calls `plan` with what planning needs.
    pub(super) fn plan<T>(
        &self,
        plan: impl FnOnce(&PlanContext<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.plan_at(false, plan)
    }

    /// The same for plans that may be kept and run with [`run::at_once`](super::run::at_once).
    pub(super) fn plan_to_keep<T>(
        &self,
        plan: impl FnOnce(&PlanContext<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.plan_at(true, plan)
    }

    /// How values are written and read, with the names things have in this statement's catalog.
    pub(super) fn format(&self) -> FormatSettings {
        let names = StatementContext::of(self.state.config_options())
            .map(|known| self.engine.system_tables().names(known.clone()));
        self.settings.derived().format.with_names(names.unwrap_or_default())
    }

    /// The value of `now()`.
    pub(super) fn now(&self) -> ScalarValue {
        let zone = Some("UTC".into());
        ScalarValue::TimestampMicrosecond(Some(self.transaction_start_us), zone)
    }

    fn plan_at<T>(
        &self,
        now_stays_open: bool,
        plan: impl FnOnce(&PlanContext<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let modes = self.transaction.lock().modes;
        let setting = |name: &str| match modes.show(name) {
            Some(mode) => Some(mode),
            None => self.settings.show(name).ok().map(str::to_owned),
        };
        let format = self.format();
        let transaction_id = |assign| self.transaction.lock().id(assign);
        let context = PlanContext {
            transaction_id: &transaction_id,
            transaction_ids: self.engine.transaction_ids(),
            tables: self,
            functions: self.engine.functions(),
            search_path: &self.settings.derived().search_path,
            database: &self.identity.database,
            role: &self.identity.role,
            session_role: &self.identity.role,
            transaction_start_us: self.transaction_start_us,
            now_stays_open,
            statement_start_us: self.statement_start_us,
            format: &format,
            process_id: self.identity.process_id,
            setting: &setting,
        };
        plan(&context)
    }

    /// DataFusion's state for this statement: its scans find the view in it.
    pub(super) fn session_state(&self) -> SessionState {
        let mut state = SessionState::clone(&self.state);
        state.config_mut().set_extension(Arc::clone(&self.view));
        state
    }

    /// What expressions are evaluated with.
    pub(super) fn execution_props(&self) -> ExecutionProps {
        let mut props = ExecutionProps::new();
        props.mark_start_execution(Arc::clone(self.state.config_options()));
        props
    }

    /// The schemas searched for unqualified names of user objects, that exist.
    pub(super) fn search_path(&self) -> impl Iterator<Item = &str> {
        self.settings.derived().search_path.iter().map(|schema| match schema.as_str() {
            "$user" => self.identity.role.as_str(),
            schema => schema,
        })
    }

    /// The same statement with a schema for the session's temporary objects.
    pub(super) fn with_temporary_schema(&self) -> Result<Self, SqlError> {
        if self.catalog.temporary_schema().is_some() {
            return Ok(self.clone());
        }
        let owner = self.catalog.role(&self.identity.role);
        let owner = owner.map_or(builtin::ROLE_POSTGRES, |role| role.oid);
        let mut transaction = self.transaction.lock();
        transaction.create_temporary_schema(&self.view, &self.catalog, owner)?;
        drop(transaction);
        self.after_change()
    }

    /// Whether a new object of that name is temporary: it says so, or its schema does.
    ///
    /// # Errors
    /// 42P16 if one says so and the other does not.
    pub(super) fn creates_temporary(
        &self,
        name: &RelationName,
        temporary: bool,
    ) -> Result<bool, SqlError> {
        let own = self.catalog.temporary_schema().map(|schema| schema.name.as_str());
        match name.schema.as_deref() {
            Some(schema) if schema == TEMPORARY_SCHEMA || Some(schema) == own => Ok(true),
            Some(_) if temporary => Err(SqlError::new(
                sqlstate::INVALID_TABLE_DEFINITION,
                "cannot create temporary relation in non-temporary schema",
            )),
            Some(_) => Ok(temporary),
            None => {
                let mut path = self.settings.derived().search_path.iter();
                Ok(temporary || path.next().is_some_and(|first| first == TEMPORARY_SCHEMA))
            }
        }
    }

    /// The schema a new object goes to, which exists already if that is the one for temporary objects.
    ///
    /// # Errors
    /// 3F000.
    pub(super) fn creation_schema(
        &self,
        name: &RelationName,
        temporary: bool,
    ) -> Result<Arc<glaredb_catalog::descriptor::Schema>, SqlError> {
        match &name.schema {
            _ if temporary => self.schema(TEMPORARY_SCHEMA),
            Some(schema) => self.schema(schema),
            None => self
                .search_path()
                .find_map(|schema| self.catalog.schema(schema).cloned())
                .ok_or_else(|| {
                    SqlError::new(
                        sqlstate::INVALID_SCHEMA_NAME,
                        "no schema has been selected to create in",
                    )
                }),
        }
        .and_then(|schema| {
            if self.engine.system_tables().has_schema(&schema.name) {
                return Err(SqlError::new(
                    sqlstate::INSUFFICIENT_PRIVILEGE,
                    format!("permission denied to create in schema \"{}\"", schema.name),
                )
                .detail("System catalog modifications are currently disallowed."));
            }
            Ok(schema)
        })
    }

    pub(super) fn schema(
        &self,
        name: &str,
    ) -> Result<Arc<glaredb_catalog::descriptor::Schema>, SqlError> {
        self.catalog.schema(name).cloned().ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_SCHEMA_NAME,
                format!("schema \"{name}\" does not exist"),
            )
        })
    }

    /// The schema a relation stands in.
    pub(super) fn schema_of(
        &self,
        table: &TableDescriptor,
    ) -> Result<&Arc<glaredb_catalog::descriptor::Schema>, SqlError> {
        self.catalog
            .schema_by_oid(table.schema_oid)
            .ok_or_else(|| SqlError::internal(format!("\"{}\" has no schema", table.name)))
    }

    /// OID of the role that owns what the session creates in a schema.
    pub(super) fn owner(&self, schema: &glaredb_catalog::descriptor::Schema) -> u32 {
        self.catalog.role(&self.identity.role).map_or(schema.owner, |role| role.oid)
    }

    /// A relation's name, with its schema unless it is found without.
    pub(super) fn shown_relation(&self, table: &TableDescriptor) -> String {
        let name = RelationName { schema: None, name: table.name.clone(), position: None };
        let quoted = quote_identifier(&table.name);
        match self.catalog.schema_by_oid(table.schema_oid) {
            Some(schema) if self.find_table(&name).is_none_or(|found| found.oid != table.oid) => {
                format!("{}.{quoted}", quote_identifier(&schema.name))
            }
            _ => quoted.into_owned(),
        }
    }

    /// A user table or view by name; `None` if there is none.
    pub(super) fn find_table(&self, name: &RelationName) -> Option<&Arc<TableDescriptor>> {
        match &name.schema {
            Some(schema) => self.catalog.table(schema, &name.name),
            None => {
                self.tables_searched().find_map(|schema| self.catalog.table(schema, &name.name))
            }
        }
    }

    /// Where tables are looked for: the search path, behind the schema of temporary objects unless that
    /// is listed.
    fn tables_searched(&self) -> impl Iterator<Item = &str> {
        let listed = self.settings.derived().search_path.iter().any(|s| s == TEMPORARY_SCHEMA);
        (!listed).then_some(TEMPORARY_SCHEMA).into_iter().chain(self.search_path())
    }

    /// A user table by name.
    ///
    /// # Errors
    /// 42P01; 42809 for a system table.
    pub(super) fn user_table(
        &self,
        name: &RelationName,
    ) -> Result<&Arc<TableDescriptor>, SqlError> {
        if let Some(table) = self.find_table(name) {
            if !table.is_table() {
                let message = format!("\"{}\" is not a table", table.name);
                return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
            }
            return Ok(table);
        }
        let schema = name.schema.as_deref().unwrap_or("pg_catalog");
        if self.system_table(schema, &name.name).is_some() {
            return Err(SqlError::new(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", name.name),
            ));
        }
        Err(undefined_table(name))
    }

    /// A user table or materialized view by name.
    ///
    /// # Errors
    /// 42P01; 42809 for a view.
    pub(super) fn stored_relation(
        &self,
        name: &RelationName,
    ) -> Result<&Arc<TableDescriptor>, SqlError> {
        match self.find_table(name) {
            Some(table) if table.is_stored() => Ok(table),
            _ => self.user_table(name),
        }
    }

    /// A type that a statement names, which the parser may know by its name only.
    ///
    /// # Errors
    /// 42704.
    pub(super) fn resolved_type(&self, ty: &PgType) -> Result<PgType, SqlError> {
        self.plan(|plan| planner::resolved_type(plan, ty))
    }

    fn system_table(&self, schema: &str, name: &str) -> Option<super::engine::SystemTable> {
        let tables = self.engine.system_tables();
        if !tables.has_schema(schema) {
            return None;
        }
        let context = SystemTableContext {
            catalog: &self.catalog,
            settings: &self.settings,
            database: &self.identity.database,
            role: &self.identity.role,
            process_id: self.identity.process_id,
            objects: &self.objects,
            copies: self.engine.copies(),
        };
        tables.table(&context, schema, name)
    }

    /// Refuses to change a table that a cursor of the session reads.
    ///
    /// # Errors
    /// 55006.
    pub(super) fn check_unused(
        &self,
        table: &TableDescriptor,
        command: &str,
    ) -> Result<(), SqlError> {
        let cursors = self.objects.cursors.lock();
        if table.is_stored() && cursors.iter().any(|cursor| cursor.reads.contains(&table.storage)) {
            let message = format!(
                "cannot {command} \"{}\" because it is being used by active queries in this session",
                table.name
            );
            return Err(SqlError::new(sqlstate::OBJECT_IN_USE, message));
        }
        Ok(())
    }

    /// As [`check_writable`](Self::check_writable) for a statement that changes rows of a table: those
    /// of temporary tables are nobody else's.
    ///
    /// # Errors
    /// 25006, 0A000.
    pub(super) fn check_writes_rows(&self, command: &str, table: u32) -> Result<(), SqlError> {
        match self.catalog.table_by_oid(table) {
            Some(table) if self.catalog.is_temporary(table) => Ok(()),
            _ => self.check_writable(command),
        }
    }

    /// Refuses to write in a READ ONLY transaction, and in a SERIALIZABLE one.
    ///
    /// # Errors
    /// 25006, 0A000.
    pub(super) fn check_writable(&self, command: &str) -> Result<(), SqlError> {
        let Modes { read_only, isolation, .. } = self.transaction.lock().modes;
        if !read_only && isolation == IsolationLevel::Serializable {
            return Err(SqlError::not_supported(format!(
                "{command} in a SERIALIZABLE transaction"
            ))
            .hint("Transactions that only read may be SERIALIZABLE."));
        }
        if read_only {
            return Err(SqlError::new(
                sqlstate::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {command} in a read-only transaction"),
            ));
        }
        Ok(())
    }
}

pub(super) fn undefined_table(name: &RelationName) -> SqlError {
    let shown = match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    };
    let error =
        SqlError::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"));
    match name.position {
        Some(position) => error.position(position),
        None => error,
    }
}

impl TableResolver for ExecutionContext {
    fn table(&self, schema: &str, name: &str) -> Result<Option<ResolvedTable>, SqlError> {
        if let Some(system) = self.system_table(schema, name) {
            let columns = system.provider.schema();
            let columns = columns.fields().iter().zip(&system.types).enumerate();
            let columns = columns.map(|(index, (field, pg_type))| ResolvedColumn {
                name: field.name().clone(),
                number: i16::try_from(index + 1).unwrap_or(i16::MAX),
                pg_type: pg_type.clone(),
                not_null: !field.is_nullable(),
                default: None,
                hidden: false,
            });
            return Ok(Some(ResolvedTable {
                oid: system.oid,
                schema: schema.to_owned(),
                name: name.to_owned(),
                columns: columns.collect(),
                primary_key: Vec::new(),
                source: provider_as_source(system.provider),
                is_system: true,
                kind: ResolvedKind::Table,
                query: None,
                row_type: None,
            }));
        }
        let Some(table) = self.catalog.table(schema, name) else { return Ok(None) };
        self.engine.resolved_table(&self.catalog, schema, table).map(Some)
    }

    fn table_by_oid(&self, oid: u32) -> Result<Option<ResolvedTable>, SqlError> {
        let Some(table) = self.catalog.table_by_oid(oid) else { return Ok(None) };
        let schema = self.schema_of(table)?;
        self.engine.resolved_table(&self.catalog, &schema.name, table).map(Some)
    }

    fn schema_exists(&self, schema: &str) -> bool {
        self.engine.system_tables().has_schema(schema) || self.catalog.schema(schema).is_some()
    }

    fn temporary_schema(&self) -> Option<&str> {
        self.catalog.temporary_schema().map(|schema| schema.name.as_str())
    }

    fn dml_source(&self, table: &ResolvedTable) -> Result<Arc<dyn TableSource>, SqlError> {
        let stored = stored_table(table)?;
        Ok(provider_as_source(Arc::new(stored.with_locators())))
    }
}

/// The table of the database behind a resolved one.
///
/// # Errors
/// 42809 for a system table.
pub(super) fn stored_table(table: &ResolvedTable) -> Result<StoredTable, SqlError> {
    source_as_provider(&table.source)
        .ok()
        .and_then(|provider| provider.downcast_ref::<StoredTable>().cloned())
        .ok_or_else(|| {
            SqlError::new(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", table.name),
            )
        })
}
