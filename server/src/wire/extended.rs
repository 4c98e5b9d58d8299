//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Sync.

use std::{collections::HashMap, sync::Arc};

use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::{Execution, FieldDescription},
    types::PgType,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Format,
    connection::{Connection, Failure},
    frontend::{Bind, ParameterTypes, Target},
    portal::{Portal, PortalState, ResultFormats, Rows},
    session::{PreparedStatement, SqlSession},
};
use crate::decode;

/// Portals by name, and where the connection is between two Syncs.
pub(crate) struct Extended<P> {
    portals: HashMap<String, Portal<P>>,
    unnamed_portal: Option<Portal<P>>,
    /// An error came: everything up to the next Sync is ignored.
    skipping: bool,
    /// A message came since the last Sync.
    open: bool,
    /// The session's implicit transaction is open.
    block: bool,
}

impl<P> Default for Extended<P> {
    fn default() -> Self {
        Self {
            portals: HashMap::new(),
            unnamed_portal: None,
            skipping: false,
            open: false,
            block: false,
        }
    }
}

impl<P> Extended<P> {
    pub(crate) fn skipping(&self) -> bool {
        self.skipping
    }

    pub(crate) fn skip_to_sync(&mut self) {
        self.skipping = true;
    }

    pub(crate) fn open_block(&mut self) {
        self.block = true;
    }

    /// Whether an implicit transaction was open; it is the caller's to end.
    pub(crate) fn take_block(&mut self) -> bool {
        std::mem::take(&mut self.block)
    }

    pub(crate) fn drop_unnamed_portal(&mut self) {
        self.unnamed_portal = None;
    }

    /// Portals end with their transaction.
    pub(crate) fn drop_portals(&mut self) {
        self.unnamed_portal = None;
        if !self.portals.is_empty() {
            self.portals.clear();
        }
    }

    /// Portals end with the sub-transaction that opened them: those from when `savepoints` were set,
    /// or more.
    pub(crate) fn drop_portals_since(&mut self, savepoints: u64) {
        self.portals.retain(|_, portal| portal.savepoints < savepoints);
        if self.unnamed_portal.as_ref().is_some_and(|portal| portal.savepoints >= savepoints) {
            self.unnamed_portal = None;
        }
    }

    fn close_portal(&mut self, name: &str) {
        if name.is_empty() {
            self.unnamed_portal = None;
        } else {
            self.portals.remove(name);
        }
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal<P>, SqlError> {
        let portal =
            if name.is_empty() { self.unnamed_portal.as_mut() } else { self.portals.get_mut(name) };
        portal.ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_CURSOR_NAME,
                format!("portal \"{name}\" does not exist"),
            )
        })
    }
}

impl<S: SqlSession, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<S, IO> {
    /// A message of the extended protocol begins.
    fn open(&mut self) {
        if !self.extended.open {
            self.extended.open = true;
            self.clear_cancel();
        }
    }

    pub(crate) fn close(&mut self, target: Target, name: &str) {
        self.open();
        match target {
            Target::Statement => self.session.close_prepared(name),
            Target::Portal => self.extended.close_portal(name),
        }
        self.channel.output.close_complete();
    }

    pub(crate) async fn parse(
        &mut self,
        name: &str,
        sql: &str,
        parameter_types: ParameterTypes<'_>,
    ) -> Result<(), Failure> {
        self.open();
        self.registration.show_query(sql);
        self.arm();
        let types = declared_types(&self.session, parameter_types)?;
        let guard = self.channel.guard.clone();
        let mut statements = guard.run(self.session.parse(sql)).await??;
        if statements.len() > 1 {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        let prepared = guard.run(self.session.prepare(statements.pop(), &types)).await??;
        self.session.store_prepared(name, prepared)?;
        self.send_notices();
        self.channel.output.parse_complete();
        Ok(())
    }

    pub(crate) fn bind(&mut self, bind: &Bind<'_>) -> Result<(), Failure> {
        self.open();
        let prepared = self.session.prepared(bind.statement)?;
        let types = prepared.parameter_types();
        if types.len() != bind.parameter_count {
            return Err(SqlError::new(
                sqlstate::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                    bind.parameter_count,
                    bind.statement,
                    types.len()
                ),
            )
            .into());
        }
        let settings = self.session.settings_for(types.iter());
        let parameters = bind
            .parameters()
            .zip(types)
            .enumerate()
            .map(|(index, (value, pg_type))| {
                let format = bind.parameter_formats.get(index);
                decode::parameter(pg_type, value, format, index + 1, &settings)
            })
            .collect::<Result<_, _>>()?;
        let columns = prepared.fields().map_or(0, <[_]>::len);
        let formats = ResultFormats::new(&bind.result_formats, columns)?;
        let savepoints = self.session.savepoints_set();
        let state = PortalState::Bound(parameters);
        let portal = Portal { prepared, formats, savepoints, state };
        if bind.portal.is_empty() {
            self.extended.unnamed_portal = Some(portal);
        } else if self.extended.portals.contains_key(bind.portal)
            || self.session.cursor_fields(bind.portal).is_some()
        {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_CURSOR,
                format!("portal \"{}\" already exists", bind.portal),
            )
            .into());
        } else {
            self.extended.portals.insert(bind.portal.to_owned(), portal);
        }
        self.channel.output.bind_complete();
        Ok(())
    }

    pub(crate) fn describe(&mut self, target: Target, name: &str) -> Result<(), Failure> {
        self.open();
        let output = &mut self.channel.output;
        match target {
            Target::Statement => {
                let prepared = self.session.prepared(name)?;
                output.parameter_description(prepared.parameter_types().iter().map(PgType::oid));
                match prepared.fields() {
                    Some(fields) => output.row_description(fields, |_| Format::Text),
                    None => output.no_data(),
                }
            }
            Target::Portal => {
                // A cursor is a portal that DECLARE opened.
                if let Some(fields) = self.session.cursor_fields(name) {
                    output.row_description(fields, |_| Format::Text);
                    return Ok(());
                }
                let portal = self.extended.portal(name)?;
                match portal.prepared.fields() {
                    Some(fields) => output.row_description(fields, |i| portal.formats.get(i)),
                    None => output.no_data(),
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn execute(&mut self, name: &str, row_limit: usize) -> Result<(), Failure> {
        self.open();
        self.arm();
        let portal = self.extended.portal(name)?;
        let formats = portal.formats.clone();
        match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(parameters) => {
                let prepared = portal.prepared.clone();
                self.execute_bound(name, &prepared, parameters, &formats, row_limit).await
            }
            PortalState::Suspended(rows) => self.send_rows(name, rows, row_limit).await,
            PortalState::RowsSent(tag) => {
                self.channel.output.command_complete(&tag, 0);
                portal_state(&mut self.extended, name, PortalState::RowsSent(tag));
                Ok(())
            }
            PortalState::Done => Err(SqlError::new(
                sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("portal \"{name}\" cannot be run"),
            )
            .into()),
        }
    }

    async fn execute_bound(
        &mut self,
        name: &str,
        prepared: &Arc<S::Prepared>,
        parameters: Vec<glaredb_engine::session::api::ParamValue>,
        formats: &ResultFormats,
        row_limit: usize,
    ) -> Result<(), Failure> {
        let started = self.metrics.clock();
        // Alone before its Sync, a statement commits by itself, and what its commit gives is told
        // in its own answer. Otherwise all up to the Sync are one transaction.
        let alone = row_limit == 0 && self.channel.input.peek_kind() == Some(b'S');
        if !self.extended.block && !alone {
            self.session.begin_block();
            self.extended.block = true;
        }
        let guard = self.channel.guard.clone();
        let execution = guard.run(self.session.execute(prepared, parameters)).await??;
        self.send_notices();
        let tag = match execution {
            Execution::Empty => {
                self.channel.output.empty_query();
                return Ok(());
            }
            Execution::Command { tag } => tag,
            Execution::Rows { fields, stream, tag, .. } => {
                described_as(prepared.fields(), &fields)?;
                let rows = Rows::new(&fields, formats, stream, tag)?;
                self.send_rows(name, Box::new(rows), row_limit).await?;
                self.statement_done(started);
                return Ok(());
            }
            Execution::CopyIn(copy) => self.copy_in(copy).await?,
            Execution::CopyOut(copy) => self.copy_out(copy).await?,
        };
        self.channel.output.command_complete(&tag, 0);
        self.statement_done(started);
        Ok(())
    }

    async fn send_rows(
        &mut self,
        name: &str,
        mut rows: Box<Rows>,
        row_limit: usize,
    ) -> Result<(), Failure> {
        let settings = self.session.settings_for(rows.types());
        let sent = rows.send(&mut self.channel, &settings, row_limit).await?;
        self.metrics.rows_sent.add(sent.rows);
        self.send_notices();
        let state = if sent.suspended {
            self.channel.output.portal_suspended();
            PortalState::Suspended(rows)
        } else {
            let tag = rows.into_tag();
            self.channel.output.command_complete(&tag, sent.rows);
            PortalState::RowsSent(tag)
        };
        portal_state(&mut self.extended, name, state);
        Ok(())
    }

    /// Ends the implicit transaction and says ReadyForQuery.
    pub(crate) async fn sync(&mut self) -> Result<(), Failure> {
        self.extended.skipping = false;
        self.extended.open = false;
        // The rows of a suspended portal end with the transaction that reads them.
        if self.extended.take_block()
            && let Err(failure) = self.end_block().await
        {
            match failure {
                Failure::Sql(error) => self.report(&error)?,
                end @ Failure::End(_) => return Err(end),
            }
        }
        self.ready().await
    }
}

fn portal_state<P>(extended: &mut Extended<P>, name: &str, state: PortalState) {
    if let Ok(portal) = extended.portal(name) {
        portal.state = state;
    }
}

/// 0A000 if a statement gives other columns than its client was told.
fn described_as(
    told: Option<&[FieldDescription]>,
    given: &[FieldDescription],
) -> Result<(), SqlError> {
    let told = told.unwrap_or_default();
    let same = told.len() == given.len()
        && told.iter().zip(given).all(|(a, b)| a.pg_type.oid() == b.pg_type.oid());
    if same {
        Ok(())
    } else {
        Err(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "cached plan must not change result type",
        ))
    }
}

/// Types of the parameters that a Parse declares.
fn declared_types(
    session: &impl SqlSession,
    oids: ParameterTypes<'_>,
) -> Result<Vec<Option<PgType>>, SqlError> {
    oids.iter()
        .map(|oid| match oid {
            // "unknown" is what a driver says for a string without a type; char without a
            // length is not a type of a column.
            0 | 705 | 1042 => Ok(None),
            oid => session.type_of(oid).map(Some).ok_or_else(|| {
                SqlError::new(
                    sqlstate::UNDEFINED_OBJECT,
                    format!("parameter type with OID {oid} does not exist"),
                )
            }),
        })
        .collect()
}
