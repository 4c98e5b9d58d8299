//! A session straight on DataFusion, without tables: what the wire runs on until the engine has
//! sessions.

use std::{collections::HashMap, sync::Arc};

use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::{Execution, FieldDescription, Notice, ParamValue, TransactionStatus},
    types::{PgType, text::FormatSettings},
};

use crate::{
    errors::datafusion_error,
    wire::{PreparedStatement, SessionFactory, SqlSession, StartupParameters},
};

pub(crate) struct BareSessions;

pub(crate) struct BareSession {
    context: SessionContext,
    reports: Vec<(&'static str, String)>,
    prepared: HashMap<String, Arc<BareStatement>>,
    format: FormatSettings,
}

pub(crate) struct BareStatement {
    sql: String,
    fields: Arc<[FieldDescription]>,
}

impl PreparedStatement for BareStatement {
    fn parameter_types(&self) -> &[PgType] {
        &[]
    }

    fn fields(&self) -> Option<&[FieldDescription]> {
        Some(&self.fields)
    }
}

impl SessionFactory for BareSessions {
    type Session = BareSession;

    async fn connect(&self, parameters: StartupParameters) -> Result<BareSession, SqlError> {
        if parameters.user != "postgres" {
            return Err(SqlError::new(
                sqlstate::INVALID_AUTHORIZATION,
                format!("role \"{}\" does not exist", parameters.user),
            ));
        }
        Ok(BareSession {
            context: SessionContext::new(),
            prepared: HashMap::new(),
            format: FormatSettings::default(),
            reports: vec![
                ("server_version", "15.0".to_owned()),
                ("server_encoding", "UTF8".to_owned()),
                ("client_encoding", "UTF8".to_owned()),
                ("DateStyle", "ISO, MDY".to_owned()),
                ("integer_datetimes", "on".to_owned()),
                ("standard_conforming_strings", "on".to_owned()),
            ],
        })
    }
}

impl SqlSession for BareSession {
    type Statement = String;
    type Prepared = BareStatement;

    fn parse(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        let sql = sql.trim().trim_end_matches(';');
        Ok(if sql.is_empty() { Vec::new() } else { vec![sql.to_owned()] })
    }

    fn begin_block(&mut self) {}

    async fn end_block(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    async fn prepare(
        &mut self,
        sql: Option<String>,
        _: &[Option<PgType>],
    ) -> Result<Arc<BareStatement>, SqlError> {
        let sql = sql.ok_or_else(|| SqlError::not_supported("an empty statement"))?;
        let frame = self
            .context
            .sql(&sql)
            .await
            .map_err(|error| SqlError::new(sqlstate::SYNTAX_ERROR, error.to_string()))?;
        let fields = frame
            .schema()
            .fields()
            .iter()
            .map(|field| FieldDescription {
                name: field.name().clone(),
                pg_type: PgType::of_field(field),
                table_oid: 0,
                column_number: 0,
            })
            .collect();
        Ok(Arc::new(BareStatement { sql, fields }))
    }

    async fn execute(
        &mut self,
        prepared: &Arc<BareStatement>,
        _: Vec<ParamValue>,
    ) -> Result<Execution, SqlError> {
        let frame = self.context.sql(&prepared.sql).await.map_err(datafusion_error)?;
        let stream = frame.execute_stream().await.map_err(datafusion_error)?;
        let stream = Box::pin(stream.map_err(datafusion_error));
        Ok(Execution::Rows {
            fields: prepared.fields.clone(),
            stream,
            tag: "SELECT {n}".to_owned(),
        })
    }

    fn store_prepared(&mut self, name: &str, one: Arc<BareStatement>) -> Result<(), SqlError> {
        self.prepared.insert(name.to_owned(), one);
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<BareStatement>, SqlError> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_SQL_STATEMENT_NAME,
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    fn close_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    fn statement_failed(&mut self) {}

    fn status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.reports)
    }

    fn format_settings(&self) -> &FormatSettings {
        &self.format
    }

    fn statement_timeout(&self) -> Option<std::time::Duration> {
        None
    }
}
