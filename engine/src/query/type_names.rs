//! Type names of SQL to [`PgType`]s.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectNamePart, TimezoneInfo,
};

use super::{parser::fold_identifier, quoting::quote_identifier};
use crate::{
    error::{SqlError, sqlstate},
    types::{NumericShape, PgType, RecordType, text::IntervalFields},
};

/// Longest `varchar(n)` and `char(n)`.
const LENGTH_MAX: u64 = 10_485_760;

/// Finds the type of rows with a name, given its schema, if it is written, and its own.
pub type Composites<'c> =
    &'c mut dyn FnMut(Option<&str>, &str) -> Result<Option<Arc<RecordType>>, SqlError>;

/// The built-in type a name in SQL stands for. 42704 if there is none, 0A000 for those of PostgreSQL
/// that are not supported yet.
pub fn pg_type(name: &DataType) -> Result<PgType, SqlError> {
    pg_type_among(name, &mut |_, _| Ok(None))
}

/// The same where the catalog is not known: what is no built-in type is a name, [unresolved].
///
/// [unresolved]: RecordType::unresolved
pub fn pg_type_or_name(name: &DataType) -> Result<PgType, SqlError> {
    pg_type_among(name, &mut |schema, name| {
        let quoted = quote_identifier(name);
        let name = match schema {
            Some(schema) => format!("{}.{quoted}", quote_identifier(schema)),
            None => quoted.into_owned(),
        };
        Ok(Some(Arc::new(RecordType::unresolved(name))))
    })
}

/// The type a name stands for, if types of rows are found among `composites`.
pub fn pg_type_among(name: &DataType, composites: Composites<'_>) -> Result<PgType, SqlError> {
    Ok(match name {
        DataType::Bool | DataType::Boolean => PgType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => PgType::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => PgType::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => PgType::Int8,
        DataType::Real | DataType::Float4 => PgType::Float4,
        DataType::DoublePrecision | DataType::Float8 => PgType::Float8,
        DataType::Float(info) => float(info)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => PgType::Text,
        DataType::Varchar(length)
        | DataType::CharacterVarying(length)
        | DataType::CharVarying(length) => PgType::Varchar(char_length("varchar", length)?),
        DataType::Char(length) | DataType::Character(length) => {
            PgType::Bpchar(Some(char_length("char", length)?.unwrap_or(1)))
        }
        DataType::Bytea => PgType::Bytea,
        DataType::Date => PgType::Date,
        DataType::Time(precision, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Time(digits(*precision)),
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::Timetz(digits(*precision)),
        },
        DataType::Timestamp(precision, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => {
                PgType::Timestamp(digits(*precision))
            }
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => {
                PgType::Timestamptz(digits(*precision))
            }
        },
        DataType::Interval { fields: None, precision: None } => PgType::Interval(None),
        DataType::Interval { fields: None, precision: Some(precision) } => {
            let precision = digits(Some(*precision)).unwrap_or(6);
            PgType::Interval(Some(IntervalFields::all(precision)))
        }
        DataType::Interval { fields: Some(fields), precision } => {
            let fields = fields.to_string().to_lowercase();
            let (first, last) = fields.split_once(" to ").unwrap_or((&fields, &fields));
            let fields = IntervalFields::new(first, last, digits(*precision));
            let invalid = || {
                let shown = format!("syntax error in the type interval {name}");
                SqlError::new(sqlstate::SYNTAX_ERROR, shown)
            };
            PgType::Interval(Some(fields.ok_or_else(invalid)?))
        }
        DataType::Uuid => PgType::Uuid,
        DataType::Regclass => PgType::Regclass,
        DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)) => {
            // However many dimensions are written, it is one type.
            match pg_type_among(of, composites)? {
                array @ PgType::Array(_) => array,
                of => PgType::Array(Arc::new(of)),
            }
        }
        DataType::Custom(parts, modifiers) => {
            let mut names = Vec::new();
            for part in &parts.0 {
                match part {
                    ObjectNamePart::Identifier(ident) => names.push(fold_identifier(ident)),
                    ObjectNamePart::Function(_) => return Err(unknown(&name.to_string())),
                }
            }
            let quoted = matches!(
                parts.0.last(),
                Some(ObjectNamePart::Identifier(ident)) if ident.quote_style.is_some()
            );
            named(&names, modifiers, quoted, composites)?
        }
        DataType::JSON => PgType::Json,
        DataType::JSONB => PgType::Jsonb,
        DataType::Bit(_) | DataType::BitVarying(_) | DataType::VarBit(_) => {
            return Err(unsupported(&name.to_string()));
        }
        DataType::GeometricType(_) | DataType::TsVector | DataType::TsQuery => {
            return Err(unsupported(&name.to_string()));
        }
        other => return Err(unknown(&other.to_string().to_lowercase())),
    })
}

fn named(
    names: &[String],
    modifiers: &[String],
    quoted: bool,
    composites: Composites<'_>,
) -> Result<PgType, SqlError> {
    let full = names.join(".");
    let name = match names {
        [schema, name] if schema == "pg_catalog" => name.as_str(),
        [name] => name.as_str(),
        [schema, name] => {
            let array = || name.strip_prefix('_');
            return match composites(Some(schema), name)? {
                Some(found) => Ok(PgType::Record(found)),
                None => match array().map(|of| composites(Some(schema), of)).transpose()? {
                    Some(Some(found)) => Ok(PgType::Array(Arc::new(PgType::Record(found)))),
                    _ => Err(unknown(&full)),
                },
            };
        }
        _ => return Err(unknown(&full)),
    };
    let number = |index: usize| modifiers.get(index).and_then(|m| m.parse::<u64>().ok());
    let length = |what| match (modifiers.len(), number(0)) {
        (0, _) => Ok(None),
        (1, Some(n)) => checked_length(what, n).map(Some),
        _ => Err(invalid_modifier(what)),
    };
    let of_name = match name {
        "varchar" => return length("varchar").map(PgType::Varchar),
        "bpchar" => {
            return length("char").map(PgType::Bpchar);
        }
        "numeric" | "decimal" if !modifiers.is_empty() => {
            let scale = modifiers.get(1).map_or(Some(0), |m| m.parse().ok());
            let (Some(precision), Some(scale)) = (number(0), scale) else {
                return Err(invalid_modifier("numeric"));
            };
            return numeric(&ExactNumberInfo::PrecisionAndScale(precision, scale));
        }
        "char" if quoted => PgType::Char,
        "bool" => PgType::Bool,
        "int2" => PgType::Int2,
        "int4" => PgType::Int4,
        "int8" => PgType::Int8,
        "float4" => PgType::Float4,
        "float8" => PgType::Float8,
        "numeric" => PgType::Numeric(None),
        "text" => PgType::Text,
        "name" => PgType::Name,
        "bytea" => PgType::Bytea,
        "date" => PgType::Date,
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => {
            let digits = match (modifiers.len(), number(0)) {
                (0, _) => None,
                (1, Some(precision)) => digits(Some(precision)),
                _ => return Err(invalid_modifier(name)),
            };
            return Ok(match name {
                "time" => PgType::Time(digits),
                "timetz" => PgType::Timetz(digits),
                "timestamp" => PgType::Timestamp(digits),
                "timestamptz" => PgType::Timestamptz(digits),
                _ => PgType::Interval(digits.map(IntervalFields::all)),
            });
        }
        "uuid" => PgType::Uuid,
        "oid" => PgType::Oid,
        "regclass" => PgType::Regclass,
        "regtype" => PgType::Regtype,
        "int2vector" => PgType::Int2vector,
        "oidvector" => PgType::Oidvector,
        "regproc" => PgType::Regproc,
        "regprocedure" => PgType::Regprocedure,
        "regoper" => PgType::Regoper,
        "regoperator" => PgType::Regoperator,
        "regcollation" => PgType::Regcollation,
        "regnamespace" => PgType::Regnamespace,
        "regrole" => PgType::Regrole,
        "void" => PgType::Void,
        "record" => PgType::Record(Arc::new(RecordType::anonymous([]))),
        "unknown" => PgType::Unknown,
        "json" => PgType::Json,
        "jsonb" => PgType::Jsonb,
        "jsonpath" => PgType::Jsonpath,
        "xml" | "money" | "inet" | "cidr" | "macaddr" | "bit" | "varbit" | "point" | "tsvector"
        | "tsquery" | "serial" | "bigserial" | "smallserial" | "serial4" | "serial8"
        | "serial2" | "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange"
        | "daterange" | "pg_lsn" | "xid" | "cid" | "tid" | "regconfig" | "aclitem" | "cstring" => {
            return Err(unsupported(name));
        }
        // The internal names of array types.
        _ => match (name.strip_prefix('_'), composites(None, name)?) {
            (_, Some(found)) => PgType::Record(found),
            (Some(of), None) if modifiers.is_empty() => {
                let of = [of.to_owned()];
                let of = named(&of, &[], false, composites).map_err(|_| unknown(&full))?;
                PgType::Array(Arc::new(of))
            }
            _ => return Err(unknown(&full)),
        },
    };
    if modifiers.is_empty() { Ok(of_name) } else { Err(invalid_modifier(name)) }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

fn unsupported(name: &str) -> SqlError {
    SqlError::not_supported(format!("type {}", name.to_lowercase()))
}

fn invalid_modifier(name: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid type modifier of {name}"))
}

fn float(info: &ExactNumberInfo) -> Result<PgType, SqlError> {
    let error = |message: &str| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    match info {
        ExactNumberInfo::None => Ok(PgType::Float8),
        ExactNumberInfo::Precision(0) => error("precision for type float must be at least 1 bit"),
        ExactNumberInfo::Precision(1..=24) => Ok(PgType::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(PgType::Float8),
        _ => error("precision for type float must be less than 54 bits"),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<PgType, SqlError> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(PgType::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let error = |message| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    if !(1..=1000).contains(&precision) {
        return error(format!("NUMERIC precision {precision} must be between 1 and 1000"));
    }
    if !(-1000..=1000).contains(&scale) {
        return error(format!("NUMERIC scale {scale} must be between -1000 and 1000"));
    }
    let shape = NumericShape { precision: precision as u16, scale: scale as i16 };
    Ok(PgType::Numeric(Some(shape)))
}

fn char_length(what: &str, length: &Option<CharacterLength>) -> Result<Option<u32>, SqlError> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: None }) => {
            checked_length(what, *length).map(Some)
        }
        Some(_) => Err(invalid_modifier(what)),
    }
}

fn checked_length(what: &str, length: u64) -> Result<u32, SqlError> {
    let error = |bound: String| {
        let message = format!("length for type {what} {bound}");
        Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
    };
    match length {
        0 => error("must be at least 1".to_owned()),
        1..=LENGTH_MAX => Ok(length as u32),
        _ => error(format!("cannot exceed {LENGTH_MAX}")),
    }
}

/// Digits of seconds, of which there are six at most.
fn digits(precision: Option<u64>) -> Option<u8> {
    precision.map(|digits| digits.min(6) as u8)
}
