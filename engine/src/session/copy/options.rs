//! What the options of a COPY mean, and which go together: PostgreSQL's checks in PostgreSQL's order.

use crate::{
    error::{SqlError, sqlstate},
    query::statement::{Copy, CopyOption, CopyOptionValue},
    types::encoding::Encoding,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CopyFormat {
    Text,
    Csv,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CopyHeader {
    No,
    Yes,
    Match,
}

/// Columns that an option names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CopyColumns {
    None,
    All,
    Some(Vec<String>),
}

/// The options of a COPY with their defaults.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub format: CopyFormat,
    pub freeze: bool,
    /// One byte. Tab for text, comma for csv, unless given.
    pub delimiter: u8,
    /// `\N` for text, empty for csv, unless given.
    pub null: String,
    pub header: CopyHeader,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: CopyColumns,
    pub force_not_null: CopyColumns,
    pub force_null: CopyColumns,
    /// `None`: the client's.
    pub encoding: Option<Encoding>,
}

/// Options as they stand, before defaults and consistency.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    freeze: Option<bool>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<CopyHeader>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<CopyColumns>,
    force_not_null: Option<CopyColumns>,
    force_null: Option<CopyColumns>,
    encoding: Option<Encoding>,
}

impl Options {
    /// # Errors
    /// 42601, 22023, 0A000 as PostgreSQL words them.
    pub(super) fn new(copy: &Copy) -> Result<Self, SqlError> {
        let mut given = Given::default();
        for option in &copy.options {
            given.take(option, copy.from)?;
        }
        given.checked(copy.from)
    }
}

/// Sets what was not set before.
fn set<T>(slot: &mut Option<T>, value: T, option: &CopyOption) -> Result<(), SqlError> {
    if slot.is_some() {
        return Err(at(option, sqlstate::SYNTAX_ERROR, "conflicting or redundant options"));
    }
    *slot = Some(value);
    Ok(())
}

fn at(option: &CopyOption, sqlstate: &'static str, message: impl Into<String>) -> SqlError {
    let mut error = SqlError::new(sqlstate, message);
    error.position = option.position;
    error
}

fn text(option: &CopyOption) -> Result<String, SqlError> {
    match &option.value {
        CopyOptionValue::None => {
            let message = format!("{} requires a parameter", option.name);
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, message))
        }
        CopyOptionValue::Text(text) => Ok(text.clone()),
        CopyOptionValue::All => Ok("*".to_owned()),
        CopyOptionValue::Columns(names) => Ok(names.join(".")),
    }
}

/// `None` for a text that is no switch.
fn switch(option: &CopyOption) -> Result<Option<bool>, SqlError> {
    if option.value == CopyOptionValue::None {
        return Ok(Some(true));
    }
    Ok(match text(option)?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    })
}

fn columns(option: &CopyOption, all: bool) -> Result<CopyColumns, SqlError> {
    match &option.value {
        CopyOptionValue::All if all => Ok(CopyColumns::All),
        CopyOptionValue::Columns(names) => Ok(CopyColumns::Some(names.clone())),
        _ => {
            let message =
                format!("argument to option \"{}\" must be a list of column names", option.name);
            Err(at(option, sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

impl Given {
    fn take(&mut self, option: &CopyOption, from: bool) -> Result<(), SqlError> {
        match option.name.as_str() {
            "format" => {
                let name = text(option)?;
                let format = match name.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    _ => {
                        let message = format!("COPY format \"{name}\" not recognized");
                        return Err(at(option, sqlstate::INVALID_PARAMETER_VALUE, message));
                    }
                };
                set(&mut self.format, format, option)
            }
            "freeze" => {
                let message = "freeze requires a Boolean value";
                let wrong = || SqlError::new(sqlstate::SYNTAX_ERROR, message);
                set(&mut self.freeze, switch(option)?.ok_or_else(wrong)?, option)
            }
            "delimiter" => set(&mut self.delimiter, text(option)?, option),
            "null" => set(&mut self.null, text(option)?, option),
            "header" => set(&mut self.header, header(option, from)?, option),
            "quote" => set(&mut self.quote, text(option)?, option),
            "escape" => set(&mut self.escape, text(option)?, option),
            "force_quote" => set(&mut self.force_quote, columns(option, true)?, option),
            "force_not_null" => set(&mut self.force_not_null, columns(option, false)?, option),
            "force_null" => set(&mut self.force_null, columns(option, false)?, option),
            "encoding" => {
                let encoding = Encoding::named(&text(option)?)?.ok_or_else(|| {
                    let message = "argument to option \"encoding\" must be a valid encoding name";
                    at(option, sqlstate::INVALID_PARAMETER_VALUE, message)
                })?;
                set(&mut self.encoding, encoding, option)
            }
            name => {
                let message = format!("option \"{name}\" not recognized");
                Err(at(option, sqlstate::SYNTAX_ERROR, message))
            }
        }
    }

    fn checked(self, from: bool) -> Result<Options, SqlError> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        if format == CopyFormat::Binary {
            self.check_binary()?;
        }
        let default = if csv { b',' } else { b'\t' };
        let delimiter = single_byte(self.delimiter.as_deref(), default, "delimiter")?;
        let null = self.null.clone().unwrap_or_else(|| if csv { "" } else { "\\N" }.to_owned());
        check_delimiter(delimiter, &null, csv)?;
        let header = self.header.unwrap_or(CopyHeader::No);
        if format == CopyFormat::Binary && header != CopyHeader::No {
            return refuse("cannot specify HEADER in BINARY mode");
        }
        let quote = self.quote(csv)?;
        if csv && delimiter == quote {
            let message = "COPY delimiter and quote must be different";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let escape = self.escape(csv, quote)?;
        self.check_forced(csv, from)?;
        if null.as_bytes().contains(&delimiter) {
            return refuse("COPY delimiter must not appear in the NULL specification");
        }
        if csv && null.as_bytes().contains(&quote) {
            return refuse("CSV quote character must not appear in the NULL specification");
        }
        Ok(Options {
            format,
            freeze: self.freeze.unwrap_or(false),
            delimiter,
            null,
            header,
            quote,
            escape,
            force_quote: self.force_quote.unwrap_or(CopyColumns::None),
            force_not_null: self.force_not_null.unwrap_or(CopyColumns::None),
            force_null: self.force_null.unwrap_or(CopyColumns::None),
            encoding: self.encoding,
        })
    }

    fn check_binary(&self) -> Result<(), SqlError> {
        for (given, name) in
            [(self.delimiter.is_some(), "DELIMITER"), (self.null.is_some(), "NULL")]
        {
            if given {
                let message = format!("cannot specify {name} in BINARY mode");
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
        }
        Ok(())
    }

    fn quote(&self, csv: bool) -> Result<u8, SqlError> {
        if !csv && self.quote.is_some() {
            return refuse("COPY quote available only in CSV mode");
        }
        single_byte(self.quote.as_deref(), b'"', "quote")
    }

    fn escape(&self, csv: bool, quote: u8) -> Result<u8, SqlError> {
        if !csv && self.escape.is_some() {
            return refuse("COPY escape available only in CSV mode");
        }
        single_byte(self.escape.as_deref(), quote, "escape")
    }

    fn check_forced(&self, csv: bool, from: bool) -> Result<(), SqlError> {
        for (given, name, direction) in [
            (self.force_quote.is_some(), "force quote", "TO"),
            (self.force_not_null.is_some(), "force not null", "FROM"),
            (self.force_null.is_some(), "force null", "FROM"),
        ] {
            if given && !csv {
                return refuse(format!("COPY {name} available only in CSV mode"));
            }
            if given && from != (direction == "FROM") {
                return refuse(format!("COPY {name} only available using COPY {direction}"));
            }
        }
        Ok(())
    }
}

fn header(option: &CopyOption, from: bool) -> Result<CopyHeader, SqlError> {
    match switch(option)? {
        Some(true) => Ok(CopyHeader::Yes),
        Some(false) => Ok(CopyHeader::No),
        None => {
            let value = text(option)?;
            if !value.eq_ignore_ascii_case("match") {
                let message = "header requires a Boolean value or \"match\"";
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
            if !from {
                return refuse(format!("cannot use \"{value}\" with HEADER in COPY TO"));
            }
            Ok(CopyHeader::Match)
        }
    }
}

fn check_delimiter(delimiter: u8, null: &str, csv: bool) -> Result<(), SqlError> {
    let invalid = |message: &str| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    if matches!(delimiter, b'\n' | b'\r') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if null.contains(['\r', '\n']) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
        return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, SqlError> {
    Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
}

fn single_byte(value: Option<&str>, default: u8, what: &str) -> Result<u8, SqlError> {
    match value.map(str::as_bytes) {
        None => Ok(default),
        Some(&[byte]) => Ok(byte),
        Some(_) => refuse(format!("COPY {what} must be a single one-byte character")),
    }
}
