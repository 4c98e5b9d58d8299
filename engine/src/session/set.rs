//! SET, RESET, SHOW.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringViewArray},
    datatypes::Schema,
};

use super::{
    Block, Session,
    api::{Execution, FieldDescription, Notice},
    prepare::text_field,
    settings::parameters,
    transaction::Modes,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{IsolationLevel, SetVariable, TransactionModes},
    types::PgType,
};

impl Session {
    pub(super) fn set(&mut self, set: &SetVariable) -> Result<Execution, SqlError> {
        let done = || Ok(Execution::Command { tag: "SET".to_owned() });
        if let Some(modes) = transaction_modes(set)? {
            return self.set_transaction(false, modes);
        }
        if set.local && self.block == Block::Autocommit {
            self.settings.show(&set.name)?;
            self.notices.push(Notice::warning(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            ));
            return done();
        }
        self.begin_settings()?;
        self.settings.set(&set.name, set.values.as_deref(), set.local)?;
        done()
    }

    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<Execution, SqlError> {
        self.begin_settings()?;
        match name {
            Some(name) => {
                self.settings.set(name, None, false)?;
            }
            None => self.settings.reset_all()?,
        }
        Ok(Execution::Command { tag: "RESET".to_owned() })
    }

    /// Makes the changes of settings that queries asked for.
    pub(super) fn set_pending(&mut self) {
        if self.pending.lock().is_empty() {
            return;
        }
        let pending = std::mem::take(&mut *self.pending.lock());
        for setting in pending {
            // Local to a transaction that has ended already.
            if setting.local && self.block == Block::Autocommit {
                continue;
            }
            let value = Some(setting.value.as_str());
            // It was found right when it was asked for.
            let _ = self.settings.set_text(&setting.name, value, setting.local);
        }
    }

    /// What SET does in an implicit block is undone with it.
    fn begin_settings(&mut self) -> Result<(), SqlError> {
        if self.block == Block::Implicit && self.transaction.is_none() {
            self.statement_context()?;
        }
        Ok(())
    }

    /// The name of a parameter as SHOW heads its column.
    pub(super) fn shown_name(&self, name: &str) -> Result<String, SqlError> {
        if let "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" = name {
            return Ok(name.to_owned());
        }
        self.settings.show(name)?;
        let known = parameters().iter().find(|p| p.name.eq_ignore_ascii_case(name));
        Ok(known.map_or(name, |parameter| parameter.name).to_owned())
    }

    pub(super) fn show(&self, name: Option<&str>) -> Result<Execution, SqlError> {
        let (fields, columns): (Vec<FieldDescription>, Vec<Vec<String>>) = match name {
            Some(name) => {
                let value = match self.show_transaction(name) {
                    Some(value) => value,
                    None => self.settings.show(name)?.to_owned(),
                };
                (vec![text_field(&self.shown_name(name)?)], vec![vec![value]])
            }
            None => {
                let mut columns = vec![Vec::new(), Vec::new(), Vec::new()];
                for (parameter, value) in self.settings.all() {
                    columns[0].push(parameter.name.to_owned());
                    columns[1].push(value.to_owned());
                    columns[2].push(parameter.description.to_owned());
                }
                (["name", "setting", "description"].map(text_field).to_vec(), columns)
            }
        };
        text_rows(fields, columns, "SHOW")
    }

    fn show_transaction(&self, name: &str) -> Option<String> {
        let open = self.transaction.as_ref().map(|transaction| transaction.lock().modes);
        open.unwrap_or_else(|| Modes::default_in(self.settings.derived())).show(name)
    }
}

/// SET of the parameters that are modes of the transaction.
fn transaction_modes(set: &SetVariable) -> Result<Option<TransactionModes>, SqlError> {
    let value = set.values.as_ref().and_then(|values| values.first()).map(String::as_str);
    let mut modes = TransactionModes::default();
    match set.name.as_str() {
        "transaction_isolation" => {
            modes.isolation = Some(match value.map(str::to_ascii_lowercase).as_deref() {
                Some("read committed") => IsolationLevel::ReadCommitted,
                Some("read uncommitted") => IsolationLevel::ReadUncommitted,
                Some("repeatable read") => IsolationLevel::RepeatableRead,
                Some("serializable") => IsolationLevel::Serializable,
                other => {
                    return Err(SqlError::new(
                        sqlstate::INVALID_PARAMETER_VALUE,
                        format!(
                            "invalid value for parameter \"transaction_isolation\": \"{}\"",
                            other.unwrap_or("default")
                        ),
                    ));
                }
            });
        }
        "transaction_read_only" => {
            let value = value.unwrap_or("off");
            modes.read_only = Some(crate::types::text::parse_boolean(value)?);
        }
        "transaction_deferrable" => {
            let value = value.unwrap_or("off");
            modes.deferrable = Some(crate::types::text::parse_boolean(value)?);
        }
        _ => return Ok(None),
    }
    Ok(Some(modes))
}

/// A result of text columns.
pub(super) fn text_rows(
    fields: Vec<FieldDescription>,
    columns: Vec<Vec<String>>,
    tag: &str,
) -> Result<Execution, SqlError> {
    let schema: Vec<_> =
        fields.iter().map(|field| PgType::Text.field(&field.name, false)).collect();
    let columns = columns
        .into_iter()
        .map(|column| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(column)) })
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(schema)), columns)
        .map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(Execution::Rows {
        fields: fields.into(),
        stream: Box::pin(futures::stream::iter([Ok(batch)])),
        tag: tag.to_owned(),
        binary: false,
    })
}
