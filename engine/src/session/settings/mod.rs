//! Run-time parameters: SET, SHOW, RESET. They obey transactions: what SET did in a transaction
//! that rolls back is undone, what SET LOCAL did ends with its transaction.

mod numbers;
mod table;
mod without_effect;

use std::{collections::BTreeMap, sync::Arc};

use table::Kind;
pub use table::{Parameter, Source, parameters};

use crate::{
    error::{SqlError, sqlstate},
    query::statement::IsolationLevel,
    types::{
        TimeZone,
        encoding::Encoding,
        text::{ByteaOutput, FormatSettings, IntervalStyle, Names},
    },
};

/// The settings of one session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By index into [`parameters`].
    current: Arc<Vec<String>>,
    /// What holds after the transaction commits.
    session: Arc<Vec<String>>,
    /// What holds if it rolls back.
    at_begin: Option<(Arc<Vec<String>>, Arc<Custom>)>,
    /// The same of parameters that nobody but clients knows.
    custom: Arc<Custom>,
    session_custom: Arc<Custom>,
    /// What RESET goes back to: start-up parameters over the defaults.
    reset: Arc<Vec<String>>,
    derived: Arc<Derived>,
}

/// Parameters of clients (`extension.name`), by name in lower case.
type Custom = BTreeMap<String, String>;

/// A change of a setting that a query asked for (`set_config`), made when its transaction goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingSetting {
    pub name: String,
    /// As SHOW prints it.
    pub value: String,
    pub local: bool,
}

/// What queries ask for while they run; the session shares it with them.
pub type PendingSettings = Arc<parking_lot::Mutex<Vec<PendingSetting>>>;

/// Values in the form they are used.
#[derive(Clone, Debug)]
pub struct Derived {
    pub format: FormatSettings,
    pub search_path: Vec<String>,
    /// 0: none.
    pub statement_timeout_ms: u64,
    /// Longest idle time of a session, in a transaction and outside of one; 0: any.
    pub idle_in_transaction_ms: u64,
    pub idle_session_ms: u64,
    /// Statements that run so long are logged; `None`: none is.
    pub log_duration_ms: Option<u64>,
    /// Which notices the client gets.
    pub least_notice: LeastNotice,
    pub default_isolation: IsolationLevel,
    pub default_read_only: bool,
    pub default_deferrable: bool,
    /// Whether statements of the simple protocol may run on plans of earlier ones.
    pub plan_cache: bool,
    /// Whether rows are read by their primary key where that is possible.
    pub key_access: bool,
}

/// The least severe notice a client gets (`client_min_messages`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LeastNotice {
    Notice,
    Warning,
    Error,
}

impl LeastNotice {
    /// Whether a notice of this severity is sent. INFO always is.
    #[must_use]
    pub fn sends(self, severity: &str) -> bool {
        match severity {
            "NOTICE" => self <= Self::Notice,
            "WARNING" => self <= Self::Warning,
            _ => true,
        }
    }
}

impl Settings {
    /// The defaults, with the parameters of the start-up message over them.
    ///
    /// # Errors
    /// 42704 for a parameter there is none of, 22023 for a value it does not take.
    pub fn new<'a>(
        startup: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SqlError> {
        let defaults: Vec<String> = parameters().iter().map(|p| p.default.to_owned()).collect();
        let defaults = Arc::new(defaults);
        let mut settings = Self {
            derived: Arc::new(derive(&defaults)?),
            current: defaults.clone(),
            session: defaults.clone(),
            at_begin: None,
            custom: Arc::default(),
            session_custom: Arc::default(),
            reset: defaults,
        };
        for (name, value) in startup {
            let index = index_of(name)?;
            let value = settings.validate(index, &[value.to_owned()])?;
            Arc::make_mut(&mut settings.reset)[index] = value;
        }
        settings.current.clone_from(&settings.reset);
        settings.session.clone_from(&settings.reset);
        settings.derived = Arc::new(derive(&settings.current)?);
        Ok(settings)
    }

    /// As SHOW prints it.
    ///
    /// # Errors
    /// 42704.
    pub fn show(&self, name: &str) -> Result<&str, SqlError> {
        if is_custom(name)
            && let Some(value) = self.custom.get(&name.to_lowercase())
        {
            return Ok(value);
        }
        Ok(&self.current[index_of(name)?])
    }

    /// What SHOW would print after SET of the parameter to `value`.
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn shown_after(&self, name: &str, value: Option<&str>) -> Result<String, SqlError> {
        let mut after = self.clone();
        after.set_text(name, value, true)?;
        after.show(name).map(str::to_owned)
    }

    /// SET to a value as SHOW prints it, where a list is one text.
    pub(super) fn set_text(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        let items = match value {
            Some(value) if takes_list(name) => Some(table::split_list(value)),
            other => other.map(|value| vec![value.to_owned()]),
        };
        self.set(name, items.as_deref(), local)
    }

    /// Every parameter with its value, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static Parameter, &str)> {
        parameters().iter().zip(self.current.iter().map(String::as_str))
    }

    /// Parameters the client is told of at start and when they change.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.all().filter(|(p, _)| p.reported).map(|(p, value)| (p.name, value))
    }

    /// The values as SHOW prints them, by index into [`parameters`].
    #[must_use]
    pub fn values(&self) -> Arc<Vec<String>> {
        self.current.clone()
    }

    #[must_use]
    pub fn derived(&self) -> &Arc<Derived> {
        &self.derived
    }

    /// SET: `values` are the items of a list; `None` is DEFAULT.
    ///
    /// # Errors
    /// 42704, 22023, 55P02 for a parameter that cannot be changed.
    pub fn set(
        &mut self,
        name: &str,
        values: Option<&[String]>,
        local: bool,
    ) -> Result<(), SqlError> {
        if is_custom(name) && table::find(name).is_none() {
            self.set_custom(name, values, local);
            return Ok(());
        }
        let index = index_of(name)?;
        let parameter = &parameters()[index];
        if parameter.read_only {
            return Err(SqlError::new(
                "55P02",
                format!("parameter \"{}\" cannot be changed", parameter.name),
            ));
        }
        let value = match values {
            Some(values) => self.validate(index, values)?,
            None => self.reset[index].clone(),
        };
        let mut current = Vec::clone(&self.current);
        current[index].clone_from(&value);
        self.derived = Arc::new(derive(&current)?);
        self.current = Arc::new(current);
        if !local {
            Arc::make_mut(&mut self.session)[index] = value;
        }
        Ok(())
    }

    fn set_custom(&mut self, name: &str, values: Option<&[String]>, local: bool) {
        let name = name.to_lowercase();
        // One that was reset is still known, and empty.
        let value = values.map(|values| values.join(", ")).unwrap_or_default();
        if !local {
            Arc::make_mut(&mut self.session_custom).insert(name.clone(), value.clone());
        }
        Arc::make_mut(&mut self.custom).insert(name, value);
        self.custom_changed();
    }

    /// What rests on these settings goes by the identity of `derived`.
    fn custom_changed(&mut self) {
        self.derived = Arc::new(Derived::clone(&self.derived));
    }

    /// The parameters of clients, by name in lower case.
    #[must_use]
    pub fn custom(&self) -> Arc<BTreeMap<String, String>> {
        self.custom.clone()
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) -> Result<(), SqlError> {
        let emptied = self.custom.keys().map(|name| (name.clone(), String::new())).collect();
        self.custom = Arc::new(emptied);
        self.session_custom.clone_from(&self.custom);
        self.current.clone_from(&self.reset);
        self.session.clone_from(&self.reset);
        self.derived = Arc::new(derive(&self.current)?);
        Ok(())
    }

    pub(super) fn begin(&mut self) {
        self.at_begin = Some((self.session.clone(), self.session_custom.clone()));
    }

    pub(super) fn end(&mut self, committed: bool) {
        let Some((session, custom)) = self.at_begin.take() else { return };
        if !committed {
            self.session = session;
            self.session_custom = custom;
        }
        if self.custom != self.session_custom {
            self.custom.clone_from(&self.session_custom);
            self.custom_changed();
        }
        if self.current != self.session {
            self.current.clone_from(&self.session);
            // Every value was derived from before.
            if let Ok(derived) = derive(&self.current) {
                self.derived = Arc::new(derived);
            }
        }
    }

    /// The value in the form SHOW prints.
    fn validate(&self, index: usize, values: &[String]) -> Result<String, SqlError> {
        let parameter = &parameters()[index];
        if values.len() != 1 && !matches!(parameter.kind, Kind::List | Kind::DateStyle) {
            return Err(SqlError::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("SET {} takes only one argument", parameter.name),
            ));
        }
        parameter.validate(values, &self.current[index])
    }
}

/// Whether the name is one that clients may make up: of two identifiers or more.
fn is_custom(name: &str) -> bool {
    let is_identifier = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    name.contains('.') && name.split('.').all(is_identifier)
}

/// Whether its value is a list of identifiers.
fn takes_list(name: &str) -> bool {
    table::find(name).is_some_and(|index| matches!(parameters()[index].kind, Kind::List))
}

fn index_of(name: &str) -> Result<usize, SqlError> {
    table::find(name).ok_or_else(|| {
        SqlError::new(
            sqlstate::UNDEFINED_OBJECT,
            format!("unrecognized configuration parameter \"{name}\""),
        )
    })
}

fn derive(values: &[String]) -> Result<Derived, SqlError> {
    let value = |name: &str| index_of(name).map(|index| values[index].as_str());
    let number = |name: &str| {
        value(name).map(|v| v.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse::<i64>())
    };
    let wrong = |name: &str| SqlError::internal(format!("parameter {name} has no usable value"));
    Ok(Derived {
        format: FormatSettings {
            names: Names::default(),
            encoding: Encoding::named(value("client_encoding")?)?
                .ok_or_else(|| wrong("client_encoding"))?,
            time_zone: TimeZone::parse_setting(value("timezone")?)
                .ok_or_else(|| wrong("TimeZone"))?
                .0,
            date_style: table::parse_date_style(value("datestyle")?)
                .ok_or_else(|| wrong("DateStyle"))?,
            interval_style: match value("intervalstyle")? {
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                "iso_8601" => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            },
            now_us: None,
            extra_float_digits: number("extra_float_digits")?
                .map_err(|_| wrong("extra_float_digits"))? as i32,
            bytea_output: match value("bytea_output")? {
                "escape" => ByteaOutput::Escape,
                _ => ByteaOutput::Hex,
            },
        },
        search_path: table::split_list(value("search_path")?),
        statement_timeout_ms: numbers::milliseconds(value("statement_timeout")?)
            .ok_or_else(|| wrong("statement_timeout"))?,
        idle_in_transaction_ms: numbers::milliseconds(value(
            "idle_in_transaction_session_timeout",
        )?)
        .ok_or_else(|| wrong("idle_in_transaction_session_timeout"))?,
        idle_session_ms: numbers::milliseconds(value("idle_session_timeout")?)
            .ok_or_else(|| wrong("idle_session_timeout"))?,
        log_duration_ms: numbers::milliseconds(value("log_min_duration_statement")?),
        least_notice: match value("client_min_messages")? {
            "warning" => LeastNotice::Warning,
            "error" => LeastNotice::Error,
            _ => LeastNotice::Notice,
        },
        default_isolation: match value("default_transaction_isolation")? {
            "read uncommitted" => IsolationLevel::ReadUncommitted,
            "repeatable read" => IsolationLevel::RepeatableRead,
            "serializable" => IsolationLevel::Serializable,
            _ => IsolationLevel::ReadCommitted,
        },
        default_read_only: value("default_transaction_read_only")? == "on",
        default_deferrable: value("default_transaction_deferrable")? == "on",
        plan_cache: value("plan_cache_mode")? != "force_custom_plan",
        key_access: value("enable_indexscan")? == "on",
    })
}

#[cfg(test)]
mod tests;
