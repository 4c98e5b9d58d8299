//! What the functions of `pg_catalog` see of the statement that calls them.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    config::ConfigOptions,
    error::{DataFusionError, Result},
};
use glaredb_catalog::Catalog;

use super::{
    Identity, Settings,
    settings::{Derived, PendingSetting, PendingSettings, parameters},
};
use crate::query::{option_extension::option_extension, planner::effective_search_path};

/// Of one statement; stands among the extensions of the `ConfigOptions` it is planned and executed
/// with, where scalar functions find it ([`StatementContext::of`]). Cheap to clone.
///
/// A plan with such a function in it holds for one statement: the optimizer may have folded calls.
#[derive(Clone, Debug)]
pub struct StatementContext {
    /// At the statement's snapshot, with the transaction's own changes.
    pub catalog: Arc<Catalog>,
    pub identity: Arc<Identity>,
    /// The settings in the form they are used; `search_path` as set.
    pub settings: Arc<Derived>,
    /// As SHOW prints them.
    values: Arc<Vec<String>>,
    custom: Arc<BTreeMap<String, String>>,
    all_settings: Settings,
    pending: PendingSettings,
}

impl StatementContext {
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        identity: Arc<Identity>,
        settings: &Settings,
        pending: PendingSettings,
    ) -> Self {
        Self {
            catalog,
            identity,
            settings: settings.derived().clone(),
            values: settings.values(),
            custom: settings.custom(),
            all_settings: settings.clone(),
            pending,
        }
    }

    /// `set_config`: the value as SHOW prints it, which holds from the next statement on.
    ///
    /// # Errors
    /// Those of SET.
    pub fn set_setting(
        &self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> std::result::Result<String, crate::error::SqlError> {
        let shown = self.all_settings.shown_after(name, value)?;
        let setting = PendingSetting { name: name.to_lowercase(), value: shown.clone(), local };
        self.pending.lock().push(setting);
        Ok(shown)
    }

    /// The value of a setting as SHOW prints it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        if let Some(value) = self.custom.get(&name.to_lowercase()) {
            return Some(value);
        }
        let index = parameters().iter().position(|p| p.name.eq_ignore_ascii_case(name))?;
        self.values.get(index).map(String::as_str)
    }

    /// The context of the statement these options belong to.
    ///
    /// # Errors
    /// There is none: the options were made for no statement.
    pub fn of(options: &ConfigOptions) -> Result<&Self> {
        options.extensions.get::<Self>().ok_or_else(|| {
            DataFusionError::Internal("a system function outside of a statement".into())
        })
    }

    /// See [`effective_search_path`].
    pub fn search_path(&self) -> impl Iterator<Item = &str> {
        effective_search_path(&self.settings.search_path, &self.identity.role)
    }
}

option_extension!(StatementContext, "glaredb_statement");
