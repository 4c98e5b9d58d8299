//! The parameters there are, and what values they take.

use std::sync::LazyLock;

use super::{
    numbers::{self, kilobytes, milliseconds, show_kilobytes, show_milliseconds},
    without_effect::WITHOUT_EFFECT,
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        TimeZone,
        encoding::Encoding,
        text::{DateFormat, DateOrder, DateStyle},
    },
};

/// A run-time parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// As SHOW ALL prints it.
    pub name: &'static str,
    pub(super) kind: Kind,
    pub default: &'static str,
    pub description: &'static str,
    /// Sent to the client in ParameterStatus.
    pub reported: bool,
    /// Fixed by the server.
    pub read_only: bool,
}

/// Where `pg_settings.source` says a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Default,
    Session,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    /// Bounds.
    Int(i64, i64),
    /// Stored in milliseconds.
    Milliseconds,
    /// Milliseconds, or -1 for never.
    MillisecondsOrNever,
    /// The session's own role.
    Role,
    /// Stored in kB; bounds.
    Kilobytes(i64, i64),
    /// Stored in pages of 8 kB; bounds.
    Pages(i64, i64),
    /// Bounds.
    Real(f64, f64),
    /// The same, of milliseconds.
    RealMilliseconds(f64, f64),
    Text,
    Enum(&'static [&'static str]),
    /// Values PostgreSQL takes, of which those listed first work and the others get 0A000.
    Partly(&'static [&'static str], &'static [&'static str]),
    /// Identifiers.
    List,
    TimeZone,
    DateStyle,
    Encoding,
}

pub(super) const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Parameter {
    Parameter { name, kind, default, description, reported: false, read_only: false }
}

const fn reported(parameter: Parameter) -> Parameter {
    Parameter { reported: true, ..parameter }
}

const fn fixed(parameter: Parameter) -> Parameter {
    Parameter { read_only: true, ..parameter }
}

/// Locales that mean what is done here anyway.
const LOCALES: Kind = Kind::Enum(&["C", "POSIX", "C.UTF-8", "en_US.UTF-8"]);

const ISOLATION: Kind =
    Kind::Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const MESSAGES: Kind = Kind::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
]);

/// By name, in the order of SHOW ALL.
static WITH_EFFECT: [Parameter; 44] = [
    reported(parameter("application_name", Kind::Text, "", "Name of the client's application.")),
    parameter("array_nulls", Kind::Enum(&["on"]), "on", "Whether NULL in array input is a null."),
    parameter("bytea_output", Kind::Enum(&["hex", "escape"]), "hex", "Output format of bytea."),
    parameter(
        "check_function_bodies",
        Kind::Bool,
        "on",
        "Whether function bodies are checked when created.",
    ),
    reported(parameter("client_encoding", Kind::Encoding, "UTF8", "Encoding of the client.")),
    parameter("client_min_messages", MESSAGES, "notice", "Least severe message the client gets."),
    reported(parameter("DateStyle", Kind::DateStyle, "ISO, MDY", "Format of dates and times.")),
    parameter(
        "default_table_access_method",
        Kind::Enum(&["heap"]),
        "heap",
        "Access method of new tables.",
    ),
    parameter("default_tablespace", Kind::Enum(&[""]), "", "Tablespace of new tables."),
    parameter(
        "default_transaction_deferrable",
        Kind::Bool,
        "off",
        "Whether new transactions are deferrable; none waits for anything.",
    ),
    parameter(
        "default_transaction_isolation",
        ISOLATION,
        "read committed",
        "Isolation level of new transactions.",
    ),
    reported(parameter(
        "default_transaction_read_only",
        Kind::Bool,
        "off",
        "Whether new transactions are read only.",
    )),
    parameter(
        "enable_indexscan",
        Kind::Bool,
        "on",
        "Whether rows are read by their primary key where that is possible.",
    ),
    parameter(
        "extra_float_digits",
        Kind::Int(-15, 3),
        "1",
        "Digits of floating point output; above 0 is exact.",
    ),
    parameter(
        "idle_in_transaction_session_timeout",
        Kind::Milliseconds,
        "0",
        "Longest idle time in a transaction.",
    ),
    parameter(
        "idle_session_timeout",
        Kind::Milliseconds,
        "0",
        "Longest idle time outside of a transaction.",
    ),
    reported(fixed(parameter("in_hot_standby", Kind::Bool, "off", "Whether this is a standby."))),
    reported(fixed(parameter("integer_datetimes", Kind::Bool, "on", "Timestamps are integers."))),
    reported(parameter(
        "IntervalStyle",
        Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "postgres",
        "Format of intervals.",
    )),
    reported(fixed(parameter("is_superuser", Kind::Bool, "on", "Whether the user is superuser."))),
    fixed(parameter("lc_collate", Kind::Text, "C", "Order of strings: by code point.")),
    fixed(parameter("lc_ctype", Kind::Text, "C.UTF-8", "Classes of characters.")),
    parameter("lc_messages", LOCALES, "C", "Language of messages; always English."),
    parameter("lc_monetary", LOCALES, "C", "Format of money."),
    parameter("lc_numeric", LOCALES, "C", "Format of numbers."),
    parameter("lc_time", LOCALES, "C", "Names of days and months."),
    parameter(
        "lock_timeout",
        Kind::Milliseconds,
        "0",
        "Longest wait for a lock; nothing waits for one.",
    ),
    parameter(
        "log_min_duration_statement",
        Kind::MillisecondsOrNever,
        "-1",
        "Statements that run at least as long are logged.",
    ),
    fixed(parameter("max_identifier_length", Kind::Int(63, 63), "63", "Longest identifier.")),
    fixed(parameter("max_index_keys", Kind::Int(32, 32), "32", "Most columns of a key.")),
    parameter(
        "plan_cache_mode",
        Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "auto",
        "Whether statements of the simple protocol run on plans of earlier ones.",
    ),
    parameter(
        "restrict_nonsystem_relation_kind",
        Kind::Text,
        "",
        "Kinds of relations that may not be read unless they are the system's: view.",
    ),
    parameter("role", Kind::Role, "none", "The current role."),
    parameter("row_security", Kind::Bool, "on", "Accepted; there are no row policies."),
    parameter("search_path", Kind::List, "\"$user\", public", "Schemas searched for tables."),
    reported(fixed(parameter("server_encoding", Kind::Text, "UTF8", "Encoding of the database."))),
    reported(fixed(parameter(
        "server_version",
        Kind::Text,
        "15.0",
        "PostgreSQL's version spoken.",
    ))),
    fixed(parameter("server_version_num", Kind::Text, "150000", "The same as a number.")),
    reported(parameter("session_authorization", Kind::Role, "postgres", "The session's user.")),
    reported(parameter(
        "standard_conforming_strings",
        Kind::Partly(&["on"], &["off"]),
        "on",
        "Whether '…' takes backslashes literally.",
    )),
    parameter("statement_timeout", Kind::Milliseconds, "0", "Longest run of a statement."),
    parameter(
        "synchronous_commit",
        Kind::Partly(&["on", "local", "remote_write", "remote_apply"], &["off"]),
        "on",
        "A commit is durable when it returns.",
    ),
    reported(parameter("TimeZone", Kind::TimeZone, "UTC", "Zone of times shown and read.")),
    parameter("xmloption", Kind::Enum(&["content"]), "content", "There is no type xml."),
];

/// All, by name in lower case.
static PARAMETERS: LazyLock<Vec<Parameter>> = LazyLock::new(|| {
    let mut all = [&WITH_EFFECT[..], &WITHOUT_EFFECT[..]].concat();
    all.sort_by_key(|parameter| parameter.name.to_ascii_lowercase());
    all
});

/// Every parameter, by name.
#[must_use]
pub fn parameters() -> &'static [Parameter] {
    &PARAMETERS
}

pub(super) fn find(name: &str) -> Option<usize> {
    let lower = |name: &'static str| name.bytes().map(|byte| byte.to_ascii_lowercase());
    let wanted = || name.bytes().map(|byte| byte.to_ascii_lowercase());
    PARAMETERS.binary_search_by(|parameter| lower(parameter.name).cmp(wanted())).ok()
}

impl Parameter {
    /// `pg_settings.vartype`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "bool",
            Kind::Int(..)
            | Kind::Milliseconds
            | Kind::MillisecondsOrNever
            | Kind::Kilobytes(..)
            | Kind::Pages(..) => "integer",
            Kind::Real(..) | Kind::RealMilliseconds(..) => "real",
            Kind::Enum(_) | Kind::Partly(..) => "enum",
            _ => "string",
        }
    }

    /// `pg_settings.unit`.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Milliseconds | Kind::MillisecondsOrNever | Kind::RealMilliseconds(..) => {
                Some("ms")
            }
            Kind::Kilobytes(..) => Some("kB"),
            Kind::Pages(..) => Some("8kB"),
            _ => None,
        }
    }

    /// The least and the greatest value, in the unit.
    #[must_use]
    pub fn bounds(&self) -> Option<(String, String)> {
        let most = i64::from(i32::MAX);
        let (least, most) = match self.kind {
            Kind::Int(least, most) | Kind::Kilobytes(least, most) | Kind::Pages(least, most) => {
                (least, most)
            }
            Kind::Milliseconds => (0, most),
            Kind::MillisecondsOrNever => (-1, most),
            Kind::Real(least, most) | Kind::RealMilliseconds(least, most) => {
                return Some((numbers::show_real(least), numbers::show_real(most)));
            }
            _ => return None,
        };
        Some((least.to_string(), most.to_string()))
    }

    /// The values there are, if they can be listed.
    #[must_use]
    pub fn choices(&self) -> Option<Vec<&'static str>> {
        match self.kind {
            Kind::Enum(allowed) => Some(allowed.to_vec()),
            Kind::Partly(allowed, refused) => Some([allowed, refused].concat()),
            _ => None,
        }
    }

    /// A value that SHOW prints, in the unit and without it.
    #[must_use]
    pub fn in_unit(&self, shown: &str) -> String {
        let number = match self.kind {
            Kind::Milliseconds => milliseconds(shown),
            Kind::MillisecondsOrNever if shown != "-1" => milliseconds(shown),
            Kind::Kilobytes(..) if shown != "-1" => kilobytes(shown),
            Kind::Pages(..) => numbers::pages(shown),
            Kind::RealMilliseconds(..) => {
                return shown.trim_end_matches("ms").to_owned();
            }
            _ => None,
        };
        number.map_or_else(|| shown.to_owned(), |number| number.to_string())
    }

    /// The value as SHOW prints it.
    pub(super) fn validate(&self, values: &[String], current: &str) -> Result<String, SqlError> {
        let value = values.first().map_or("", String::as_str);
        match self.kind {
            Kind::Bool => match crate::types::text::parse_boolean(value) {
                Ok(on) => Ok(if on { "on" } else { "off" }.to_owned()),
                Err(_) => Err(SqlError::new(
                    sqlstate::INVALID_PARAMETER_VALUE,
                    format!("parameter \"{}\" requires a Boolean value", self.name),
                )),
            },
            Kind::Int(least, most) => {
                let number = numbers::integer(value).ok_or_else(|| self.invalid(value))?;
                if (least..=most).contains(&number) {
                    Ok(number.to_string())
                } else {
                    Err(self.out_of_range(number, least, most, ""))
                }
            }
            Kind::Real(least, most) => self.real(value, numbers::real(value), least, most, ""),
            Kind::RealMilliseconds(least, most) => {
                self.real(value, numbers::real_milliseconds(value), least, most, "ms")
            }
            Kind::Milliseconds => {
                let ms = milliseconds(value).ok_or_else(|| self.invalid(value))?;
                match i64::try_from(ms) {
                    Ok(ms) if ms <= i64::from(i32::MAX) => Ok(show_milliseconds(ms as u64)),
                    _ => Err(self.out_of_range(i64::MAX, 0, i64::from(i32::MAX), " ms")),
                }
            }
            Kind::MillisecondsOrNever if value.trim() == "-1" => Ok("-1".to_owned()),
            Kind::MillisecondsOrNever => {
                let ms = milliseconds(value).ok_or_else(|| self.invalid(value))?;
                match i32::try_from(ms) {
                    Ok(_) => Ok(show_milliseconds(ms)),
                    Err(_) => Err(self.out_of_range(i64::MAX, -1, i64::from(i32::MAX), " ms")),
                }
            }
            Kind::Role => match value {
                "postgres" => Ok(value.to_owned()),
                // RESET ROLE and SET ROLE NONE.
                "none" if self.default == "none" => Ok(value.to_owned()),
                "default" if self.default != "none" => Ok(self.default.to_owned()),
                _ => Err(SqlError::new(
                    sqlstate::INVALID_PARAMETER_VALUE,
                    format!("role \"{value}\" does not exist"),
                )),
            },
            Kind::Kilobytes(-1, _) if value.trim() == "-1" => Ok("-1".to_owned()),
            Kind::Kilobytes(least, most) => {
                let kb = kilobytes(value).ok_or_else(|| self.invalid_amount(value))?;
                let kb = i64::try_from(kb).unwrap_or(i64::MAX);
                if (least..=most).contains(&kb) {
                    Ok(show_kilobytes(kb as u64))
                } else {
                    Err(self.out_of_range(kb, least, most, " kB"))
                }
            }
            Kind::Pages(least, most) => {
                let pages = numbers::pages(value).ok_or_else(|| self.invalid_amount(value))?;
                let pages = i64::try_from(pages).unwrap_or(i64::MAX);
                if (least..=most).contains(&pages) {
                    Ok(show_kilobytes(pages as u64 * 8))
                } else {
                    Err(self.out_of_range(pages, least, most, " 8kB"))
                }
            }
            Kind::Text => Ok(value.to_owned()),
            Kind::Enum(allowed) => self.one_of(value, allowed, &[]),
            Kind::Partly(allowed, refused) => self.one_of(value, allowed, refused),
            Kind::List => Ok(join_list(values)),
            Kind::TimeZone => TimeZone::parse_setting(value)
                .map(|(_, name)| name)
                .ok_or_else(|| self.invalid(value)),
            Kind::DateStyle => self.date_style(values, current),
            // Only letters and digits of the name count: drivers send `'utf-8'` with its quotes.
            Kind::Encoding => {
                let encoding = Encoding::named(value)?.ok_or_else(|| self.invalid(value))?;
                Ok(encoding.name().to_owned())
            }
        }
    }

    fn one_of(&self, value: &str, allowed: &[&str], refused: &[&str]) -> Result<String, SqlError> {
        let wanted = match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" if allowed.contains(&"on") => "on".to_owned(),
            "false" | "no" | "0" if refused.contains(&"off") => "off".to_owned(),
            // Spelled as the parameter's own list does.
            other => allowed
                .iter()
                .find(|name| name.eq_ignore_ascii_case(other))
                .map_or_else(|| other.to_owned(), |name| (*name).to_owned()),
        };
        if allowed.contains(&wanted.as_str()) {
            Ok(wanted)
        } else if refused.contains(&wanted.as_str()) {
            Err(SqlError::not_supported(format!("{} = {wanted}", self.name)))
        } else {
            let mut all: Vec<&str> = allowed.to_vec();
            all.extend(refused);
            Err(self.invalid(value).hint(format!("Available values: {}.", all.join(", "))))
        }
    }

    fn date_style(&self, values: &[String], current: &str) -> Result<String, SqlError> {
        let joined = values.join(",");
        let default = DateStyle { format: DateFormat::Iso, order: DateOrder::Mdy };
        let (mut format, mut order) = (None, None);
        let conflict = |known: bool| {
            if known {
                Err(self.invalid(&joined).detail("Conflicting \"datestyle\" specifications."))
            } else {
                Ok(())
            }
        };
        for word in joined.split(',').map(str::trim) {
            let word = word.to_ascii_lowercase();
            let found = match word.as_str() {
                "iso" => Some(DateFormat::Iso),
                "sql" => Some(DateFormat::Sql),
                "german" => Some(DateFormat::German),
                _ if word.starts_with("postgres") => Some(DateFormat::Postgres),
                _ => None,
            };
            if let Some(found) = found {
                conflict(format.is_some_and(|known| known != found))?;
                format = Some(found);
                continue;
            }
            let found = match word.as_str() {
                "ymd" => DateOrder::Ymd,
                "dmy" => DateOrder::Dmy,
                "mdy" | "us" => DateOrder::Mdy,
                _ if word.starts_with("euro") => DateOrder::Dmy,
                _ if word.starts_with("noneuro") => DateOrder::Mdy,
                "default" => {
                    format = format.or(Some(default.format));
                    order = order.or(Some(default.order));
                    continue;
                }
                _ => {
                    let message = format!("Unrecognized key word: \"{word}\".");
                    return Err(self.invalid(&joined).detail(message));
                }
            };
            conflict(order.is_some_and(|known| known != found))?;
            order = Some(found);
        }
        let current = parse_date_style(current).unwrap_or(default);
        // In German the day comes first, unless something else was asked for.
        let usual = if format == Some(DateFormat::German) { DateOrder::Dmy } else { current.order };
        let style =
            DateStyle { format: format.unwrap_or(current.format), order: order.unwrap_or(usual) };
        Ok(show_date_style(style))
    }

    fn invalid(&self, value: &str) -> SqlError {
        SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"{}\": \"{value}\"", self.name),
        )
    }

    fn invalid_amount(&self, value: &str) -> SqlError {
        self.invalid(value)
            .hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
    }

    fn real(
        &self,
        value: &str,
        number: Option<f64>,
        least: f64,
        most: f64,
        unit: &str,
    ) -> Result<String, SqlError> {
        let number = number.ok_or_else(|| self.invalid(value))?;
        let shown = numbers::show_real(number);
        if (least..=most).contains(&number) {
            let unit = if number == 0.0 { "" } else { unit };
            return Ok(format!("{shown}{unit}"));
        }
        let space = if unit.is_empty() { "" } else { " " };
        let (least, most) = (numbers::show_real(least), numbers::show_real(most));
        Err(SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!(
                "{shown}{space}{unit} is outside the valid range for parameter \"{}\" ({least} .. {most})",
                self.name
            ),
        ))
    }

    fn out_of_range(&self, number: i64, least: i64, most: i64, unit: &str) -> SqlError {
        SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!(
                "{number}{unit} is outside the valid range for parameter \"{}\" ({least} .. {most})",
                self.name
            ),
        )
    }
}

/// What [`show_date_style`] wrote.
pub(super) fn parse_date_style(text: &str) -> Option<DateStyle> {
    let (format, order) = text.split_once(", ")?;
    Some(DateStyle {
        format: match format {
            "ISO" => DateFormat::Iso,
            "SQL" => DateFormat::Sql,
            "Postgres" => DateFormat::Postgres,
            "German" => DateFormat::German,
            _ => return None,
        },
        order: match order {
            "MDY" => DateOrder::Mdy,
            "DMY" => DateOrder::Dmy,
            "YMD" => DateOrder::Ymd,
            _ => return None,
        },
    })
}

fn show_date_style(style: DateStyle) -> String {
    let format = match style.format {
        DateFormat::Iso => "ISO",
        DateFormat::Sql => "SQL",
        DateFormat::Postgres => "Postgres",
        DateFormat::German => "German",
    };
    let order = match style.order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    format!("{format}, {order}")
}

/// Items of a list of identifiers; `"` quotes one.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (item, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut item = String::new();
            let mut end = quoted.len();
            let mut symbols = quoted.char_indices().peekable();
            while let Some((at, symbol)) = symbols.next() {
                if symbol != '"' {
                    item.push(symbol);
                } else if symbols.peek().is_some_and(|(_, next)| *next == '"') {
                    item.push('"');
                    symbols.next();
                } else {
                    end = at + 1;
                    break;
                }
            }
            (item, quoted.get(end..).unwrap_or(""))
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_lowercase(), &rest[end..])
        };
        items.push(item);
        rest = after.trim_start().strip_prefix(',').unwrap_or("").trim_start();
    }
    items.retain(|item| !item.is_empty());
    items
}

/// A single item is a list already, as a start-up parameter or a quoted SET brings it; several are
/// items as they are.
fn join_list(values: &[String]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let items: Vec<String> = match values {
        [one] if one.contains(['"', ',']) => split_list(one),
        _ => values.to_vec(),
    };
    if items.iter().all(String::is_empty) {
        return "\"\"".to_owned();
    }
    let quoted = items.iter().map(|item| {
        let plain = item.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && !item.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if plain { item.clone() } else { format!("\"{}\"", item.replace('"', "\"\"")) }
    });
    quoted.collect::<Vec<_>>().join(", ")
}
