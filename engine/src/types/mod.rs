//! PostgreSQL types and the Arrow types that carry them.
//!
//! A column's Arrow type says how values lie in memory; the field metadata key [`PG_TYPE_KEY`] says
//! which PostgreSQL type they are where Arrow alone does not tell (varchar(n) and text are both
//! `Utf8View`). An expression that lost its metadata gets the type that [`PgType::from_arrow`]
//! gives for its Arrow type.
//!
//! | PostgreSQL | Arrow |
//! |---|---|
//! | bool | Boolean |
//! | int2, int4, int8 | Int16, Int32, Int64 |
//! | float4, float8 | Float32, Float64 |
//! | numeric(p,s), p ≤ 38, 0 ≤ s ≤ p | Decimal128(p,s) |
//! | numeric(p,s), p ≤ 76, 0 ≤ s ≤ p | Decimal256(p,s) |
//! | numeric without precision | Utf8View, canonical text, digits and scale as given |
//! | other numeric(p,s) | the same, rounded to the scale |
//! | text, varchar, char(n), name | Utf8View |
//! | bytea | Binary |
//! | date | Date32, days since 1970-01-01 |
//! | time | Time64(µs) |
//! | timetz | FixedSizeBinary(16), see [`timetz`] |
//! | timestamp, timestamptz | Timestamp(µs), Timestamp(µs, "UTC") |
//! | interval | Interval(MonthDayNano) |
//! | uuid | FixedSizeBinary(16) |
//! | oid, regclass and kin (catalog only) | UInt32 |
//! | json | Utf8View, the text as given |
//! | jsonb | Binary, see [`jsonb`] |
//! | int2vector, oidvector (catalog only) | List, as arrays |
//! | jsonpath | Utf8View, its normal form |
//! | arrays | List of nullable `item`s, without metadata: the type of the whole says theirs |
//! | record, row types of tables, composite types | Struct of nullable fields called by their place, see [`record`] |

pub mod binary;
pub mod encoding;
pub mod json;
pub mod jsonb;
pub mod jsonpath;
pub mod record;
pub mod text;
mod time_zone;
pub mod timetz;

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

pub use self::record::RecordType;
use self::text::IntervalFields;
pub use self::time_zone::{Abbreviation, KnownZone, TimeZone, abbreviation};

/// Field metadata key under which [`PgType::metadata_value`] stands.
pub const PG_TYPE_KEY: &str = "pg_type";

/// A PostgreSQL type with its modifier.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PgType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `None`: digits and scale of every value as given.
    Numeric(Option<NumericShape>),
    Text,
    /// Length limit in characters.
    Varchar(Option<u32>),
    /// `char(n)`: kept without trailing blanks, which do not count; text output pads it again.
    /// Without a length, as expressions of several lengths have it: kept with its blanks.
    Bpchar(Option<u32>),
    /// The one-byte internal type `"char"`.
    Char,
    Name,
    Bytea,
    Date,
    /// With the digits of seconds it keeps, 0 to 6; None for all there are. So the next three.
    Time(Option<u8>),
    /// `time with time zone`, see [`timetz`].
    Timetz(Option<u8>),
    Timestamp(Option<u8>),
    Timestamptz(Option<u8>),
    /// With the fields it keeps and the digits of seconds.
    Interval(Option<IntervalFields>),
    Uuid,
    Oid,
    Regclass,
    Regtype,
    Regproc,
    Regprocedure,
    Regoper,
    Regoperator,
    Regcollation,
    Regnamespace,
    Regrole,
    /// What a `void` function returns; text output is empty.
    Void,
    /// A literal or NULL whose type nothing decided; sent as text.
    Unknown,
    /// One dimension, numbered from 1. The modifier is the elements'.
    Array(Arc<PgType>),
    /// `smallint`s numbered from 0, printed without braces. Of system tables only.
    Int2vector,
    /// The same of `oid`s.
    Oidvector,
    Json,
    Jsonb,
    Jsonpath,
    /// A row: `record`, the row type of a table, or what CREATE TYPE made.
    Record(Arc<RecordType>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NumericShape {
    /// 1 to 1000.
    pub precision: u16,
    /// -1000 to 1000: more than the precision, or digits rounded away before the point.
    pub scale: i16,
}

impl NumericShape {
    /// Precision and scale of the Arrow decimals that hold these values; `None` if they are too
    /// wide and kept as text.
    #[must_use]
    pub fn decimal(self) -> Option<(u8, i8)> {
        let precision = u8::try_from(self.precision).ok().filter(|p| *p <= 76)?;
        let scale = i8::try_from(self.scale).ok().filter(|s| (0..=precision as i8).contains(s))?;
        Some((precision, scale))
    }
}

impl PgType {
    /// OID in `pg_type`.
    #[must_use]
    pub fn oid(&self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Char => 18,
            Self::Name => 19,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int2vector => 22,
            Self::Int4 => 23,
            Self::Regproc => 24,
            Self::Text => 25,
            Self::Oid => 26,
            Self::Oidvector => 30,
            Self::Json => 114,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Unknown => 705,
            Self::Bpchar(_) => 1042,
            Self::Varchar(_) => 1043,
            Self::Date => 1082,
            Self::Time(_) => 1083,
            Self::Timetz(_) => 1266,
            Self::Timestamp(_) => 1114,
            Self::Timestamptz(_) => 1184,
            Self::Interval(_) => 1186,
            Self::Numeric(_) => 1700,
            Self::Regclass => 2205,
            Self::Regprocedure => 2202,
            Self::Regoper => 2203,
            Self::Regoperator => 2204,
            Self::Regtype => 2206,
            Self::Regcollation => 4191,
            Self::Void => 2278,
            Self::Uuid => 2950,
            Self::Jsonb => 3802,
            Self::Jsonpath => 4072,
            Self::Regnamespace => 4089,
            Self::Regrole => 4096,
            Self::Array(of) => of.array_oid(),
            Self::Record(record) => record.oid,
        }
    }

    /// OID of the array type over this type; 0 where there is none.
    #[must_use]
    pub fn array_oid(&self) -> u32 {
        match self {
            Self::Bool => 1000,
            Self::Bytea => 1001,
            Self::Char => 1002,
            Self::Name => 1003,
            Self::Int8 => 1016,
            Self::Int2 => 1005,
            Self::Int2vector => 1006,
            Self::Oidvector => 1013,
            Self::Int4 => 1007,
            Self::Regproc => 1008,
            Self::Text => 1009,
            Self::Oid => 1028,
            Self::Float4 => 1021,
            Self::Float8 => 1022,
            Self::Bpchar(_) => 1014,
            Self::Varchar(_) => 1015,
            Self::Date => 1182,
            Self::Time(_) => 1183,
            Self::Timetz(_) => 1270,
            Self::Timestamp(_) => 1115,
            Self::Timestamptz(_) => 1185,
            Self::Interval(_) => 1187,
            Self::Numeric(_) => 1231,
            Self::Regclass => 2210,
            Self::Regprocedure => 2207,
            Self::Regoper => 2208,
            Self::Regoperator => 2209,
            Self::Regtype => 2211,
            Self::Regcollation => 4192,
            Self::Uuid => 2951,
            Self::Json => 199,
            Self::Jsonb => 3807,
            Self::Jsonpath => 4073,
            Self::Regnamespace => 4090,
            Self::Regrole => 4097,
            Self::Record(record) => record.array_oid,
            Self::Unknown | Self::Void | Self::Array(_) => 0,
        }
    }

    /// Type modifier as in `pg_attribute.atttypmod`; -1 for none.
    #[must_use]
    pub fn typmod(&self) -> i32 {
        match self {
            Self::Varchar(Some(n)) | Self::Bpchar(Some(n)) => {
                i32::try_from(*n).unwrap_or(i32::MAX - 4) + 4
            }
            Self::Numeric(Some(shape)) => {
                ((i32::from(shape.precision) << 16) | (i32::from(shape.scale) & 0x7ff)) + 4
            }
            Self::Array(of) => of.typmod(),
            Self::Time(Some(digits))
            | Self::Timetz(Some(digits))
            | Self::Timestamp(Some(digits))
            | Self::Timestamptz(Some(digits)) => i32::from(*digits),
            Self::Interval(Some(fields)) => fields.typmod(),
            _ => -1,
        }
    }

    /// The type with this OID and modifier, if it is one of ours.
    #[must_use]
    pub fn from_oid(oid: u32, typmod: i32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::Char,
            19 => Self::Name,
            20 => Self::Int8,
            21 => Self::Int2,
            22 => Self::Int2vector,
            30 => Self::Oidvector,
            23 => Self::Int4,
            24 => Self::Regproc,
            25 => Self::Text,
            26 => Self::Oid,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            705 => Self::Unknown,
            1042 => Self::Bpchar(u32::try_from(typmod - 4).ok()),
            1043 => Self::Varchar(u32::try_from(typmod - 4).ok()),
            1082 => Self::Date,
            1083 => Self::Time(digits(typmod)),
            1114 => Self::Timestamp(digits(typmod)),
            1184 => Self::Timestamptz(digits(typmod)),
            1186 => Self::Interval(IntervalFields::from_typmod(typmod)),
            1266 => Self::Timetz(digits(typmod)),
            1700 => Self::Numeric((typmod >= 4).then(|| {
                let packed = typmod - 4;
                // The scale is an 11-bit two's complement number.
                let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
                NumericShape { precision: (packed >> 16) as u16, scale: scale as i16 }
            })),
            2205 => Self::Regclass,
            2202 => Self::Regprocedure,
            2203 => Self::Regoper,
            2204 => Self::Regoperator,
            2206 => Self::Regtype,
            4191 => Self::Regcollation,
            2278 => Self::Void,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            4072 => Self::Jsonpath,
            4089 => Self::Regnamespace,
            4096 => Self::Regrole,
            _ => {
                let element = Self::element_of_array(oid)?;
                Self::Array(Arc::new(Self::from_oid(element, typmod)?))
            }
        })
    }

    /// OID of the elements' type of an array type.
    fn element_of_array(oid: u32) -> Option<u32> {
        [
            Self::Bool,
            Self::Bytea,
            Self::Char,
            Self::Name,
            Self::Int8,
            Self::Int2,
            Self::Int4,
            Self::Regproc,
            Self::Text,
            Self::Oid,
            Self::Float4,
            Self::Float8,
            Self::Bpchar(None),
            Self::Varchar(None),
            Self::Date,
            Self::Time(None),
            Self::Timetz(None),
            Self::Timestamp(None),
            Self::Timestamptz(None),
            Self::Interval(None),
            Self::Numeric(None),
            Self::Regclass,
            Self::Regtype,
            Self::Regprocedure,
            Self::Regoper,
            Self::Regoperator,
            Self::Regcollation,
            Self::Uuid,
            Self::Regnamespace,
            Self::Regrole,
            Self::Json,
            Self::Jsonb,
            Self::Jsonpath,
        ]
        .into_iter()
        .find(|t| t.array_oid() == oid)
        .map(|t| t.oid())
    }

    /// How values of this type lie in memory.
    #[must_use]
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric(shape) => match shape.and_then(NumericShape::decimal) {
                Some((precision @ ..=38, scale)) => DataType::Decimal128(precision, scale),
                Some((precision, scale)) => DataType::Decimal256(precision, scale),
                None => DataType::Utf8View,
            },
            Self::Text
            | Self::Varchar(_)
            | Self::Bpchar(_)
            | Self::Char
            | Self::Name
            | Self::Void
            | Self::Unknown
            | Self::Json
            | Self::Jsonpath => DataType::Utf8View,
            Self::Bytea | Self::Jsonb => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Uuid | Self::Timetz(_) => DataType::FixedSizeBinary(16),
            Self::Oid
            | Self::Regclass
            | Self::Regtype
            | Self::Regproc
            | Self::Regprocedure
            | Self::Regoper
            | Self::Regoperator
            | Self::Regcollation
            | Self::Regnamespace
            | Self::Regrole => DataType::UInt32,
            Self::Array(of) => DataType::List(Arc::new(of.plan_field("item", true))),
            Self::Int2vector | Self::Oidvector => {
                let item = if *self == Self::Int2vector { Self::Int2 } else { Self::Oid };
                DataType::List(Arc::new(item.plan_field("item", true)))
            }
            Self::Record(record) => Self::struct_type(record),
        }
    }

    /// Type of the items of `int2vector` and `oidvector`; `None` for all other types.
    #[must_use]
    pub fn vector_item(&self) -> Option<Self> {
        match self {
            Self::Int2vector => Some(Self::Int2),
            Self::Oidvector => Some(Self::Oid),
            _ => None,
        }
    }

    /// Whether values are OIDs that are written and read as names: `regclass` and kin.
    #[must_use]
    pub fn is_object_name(&self) -> bool {
        *self != Self::Oid && self.arrow_type() == DataType::UInt32
    }

    /// Whether names of objects stand in the text of its values: [`is_object_name`], or an array of
    /// such.
    ///
    /// [`is_object_name`]: Self::is_object_name
    #[must_use]
    pub fn shows_names(&self) -> bool {
        match self {
            Self::Array(of) => of.shows_names(),
            Self::Record(record) => record.fields.iter().any(|field| field.ty.shows_names()),
            other => other.is_object_name(),
        }
    }

    /// A field of this type as plans hold it: the planner keeps types beside the plan, because
    /// fields of one column must be the same before and after expressions are simplified.
    #[must_use]
    pub fn plan_field(&self, name: &str, nullable: bool) -> Field {
        Field::new(name, self.arrow_type(), nullable)
    }

    /// A field of this type, with the metadata that keeps it.
    #[must_use]
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        Field::new(name, self.arrow_type(), nullable)
            .with_metadata(HashMap::from([(PG_TYPE_KEY.to_owned(), self.metadata_value())]))
    }

    /// `OID:typmod`.
    #[must_use]
    pub fn metadata_value(&self) -> String {
        format!("{}:{}", self.oid(), self.typmod())
    }

    /// The type of a field: from its metadata, else from its Arrow type.
    #[must_use]
    pub fn of_field(field: &Field) -> Self {
        field
            .metadata()
            .get(PG_TYPE_KEY)
            .and_then(|value| {
                let (oid, typmod) = value.split_once(':')?;
                Self::from_oid(oid.parse().ok()?, typmod.parse().ok()?)
            })
            // Metadata that an expression carried over to another Arrow type says nothing.
            .filter(|t| t.arrow_type().equals_datatype(field.data_type()))
            .unwrap_or_else(|| Self::from_arrow(field.data_type()))
    }

    /// Whether it is a numeric whose values are kept as text.
    #[must_use]
    pub fn is_unbounded_numeric(&self) -> bool {
        matches!(self, Self::Numeric(shape) if shape.and_then(NumericShape::decimal).is_none())
    }

    /// The type an expression of this Arrow type shows to a client.
    #[must_use]
    pub fn from_arrow(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 => Self::Int8,
            DataType::UInt32 => Self::Oid,
            DataType::UInt64 => Self::Numeric(Some(NumericShape { precision: 20, scale: 0 })),
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => {
                Self::Numeric(Some(NumericShape { precision: u16::from(*p), scale: i16::from(*s) }))
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytea,
            DataType::FixedSizeBinary(16) => Self::Uuid,
            DataType::FixedSizeBinary(_) => Self::Bytea,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time(None),
            DataType::Timestamp(_, None) => Self::Timestamp(None),
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz(None),
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval(None),
            DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
                Self::Array(Arc::new(Self::of_field(f)))
            }
            DataType::Dictionary(_, value) => Self::from_arrow(value),
            DataType::Struct(fields) => Self::Record(Arc::new(RecordType::from_arrow(fields))),
            _ => Self::Text,
        }
    }

    /// Digits after the point of the seconds that the type keeps, where it says so.
    #[must_use]
    pub fn second_digits(&self) -> Option<u8> {
        match self {
            Self::Time(digits)
            | Self::Timetz(digits)
            | Self::Timestamp(digits)
            | Self::Timestamptz(digits) => *digits,
            _ => None,
        }
    }

    /// The same type without length, precision, scale or fields.
    #[must_use]
    pub fn without_modifier(&self) -> Self {
        match self {
            Self::Varchar(_) => Self::Varchar(None),
            Self::Numeric(_) => Self::Numeric(None),
            Self::Bpchar(_) => Self::Bpchar(None),
            Self::Time(_) => Self::Time(None),
            Self::Timetz(_) => Self::Timetz(None),
            Self::Timestamp(_) => Self::Timestamp(None),
            Self::Timestamptz(_) => Self::Timestamptz(None),
            Self::Interval(_) => Self::Interval(None),
            Self::Array(of) => Self::Array(Arc::new(of.without_modifier())),
            Self::Record(record) if record.is_anonymous() => {
                Self::Record(Arc::new(record.without_modifiers()))
            }
            other => other.clone(),
        }
    }

    /// Name as `format_type` prints it.
    #[must_use]
    pub fn sql_name(&self) -> String {
        match self {
            Self::Bool => "boolean".into(),
            Self::Int2 => "smallint".into(),
            Self::Int4 => "integer".into(),
            Self::Int8 => "bigint".into(),
            Self::Float4 => "real".into(),
            Self::Float8 => "double precision".into(),
            Self::Numeric(None) => "numeric".into(),
            Self::Numeric(Some(s)) => format!("numeric({},{})", s.precision, s.scale),
            Self::Text => "text".into(),
            Self::Varchar(None) => "character varying".into(),
            Self::Varchar(Some(n)) => format!("character varying({n})"),
            Self::Bpchar(None) => "bpchar".into(),
            Self::Bpchar(Some(n)) => format!("character({n})"),
            Self::Char => "\"char\"".into(),
            Self::Name => "name".into(),
            Self::Bytea => "bytea".into(),
            Self::Date => "date".into(),
            Self::Time(digits) => format!("time{} without time zone", in_parentheses(*digits)),
            Self::Timetz(digits) => format!("time{} with time zone", in_parentheses(*digits)),
            Self::Timestamp(digits) => {
                format!("timestamp{} without time zone", in_parentheses(*digits))
            }
            Self::Timestamptz(digits) => {
                format!("timestamp{} with time zone", in_parentheses(*digits))
            }
            Self::Interval(fields) => {
                format!("interval{}", fields.map_or_else(String::new, IntervalFields::sql))
            }
            Self::Uuid => "uuid".into(),
            Self::Json => "json".into(),
            Self::Jsonb => "jsonb".into(),
            Self::Jsonpath => "jsonpath".into(),
            Self::Oid => "oid".into(),
            Self::Regclass => "regclass".into(),
            Self::Regtype => "regtype".into(),
            Self::Regprocedure => "regprocedure".into(),
            Self::Regoper => "regoper".into(),
            Self::Regoperator => "regoperator".into(),
            Self::Regcollation => "regcollation".into(),
            Self::Regproc => "regproc".into(),
            Self::Regnamespace => "regnamespace".into(),
            Self::Regrole => "regrole".into(),
            Self::Void => "void".into(),
            Self::Unknown => "unknown".into(),
            Self::Array(of) => format!("{}[]", of.sql_name()),
            Self::Int2vector => "int2vector".into(),
            Self::Oidvector => "oidvector".into(),
            Self::Record(record) => record.name.clone(),
        }
    }

    /// `pg_type.typlen`: bytes of a fixed-width type, -1 for varying, -2 for C strings.
    #[must_use]
    pub fn typlen(&self) -> i16 {
        match self {
            Self::Bool | Self::Char => 1,
            Self::Int2 => 2,
            Self::Int4
            | Self::Float4
            | Self::Date
            | Self::Oid
            | Self::Regclass
            | Self::Regtype
            | Self::Regproc
            | Self::Regprocedure
            | Self::Regoper
            | Self::Regoperator
            | Self::Regcollation
            | Self::Regnamespace
            | Self::Regrole
            | Self::Void => 4,
            Self::Int8
            | Self::Float8
            | Self::Time(_)
            | Self::Timestamp(_)
            | Self::Timestamptz(_) => 8,
            Self::Timetz(_) => 12,
            Self::Interval(_) | Self::Uuid => 16,
            Self::Name => 64,
            Self::Unknown => -2,
            _ => -1,
        }
    }
}

/// Digits of seconds as a modifier says them.
fn digits(typmod: i32) -> Option<u8> {
    u8::try_from(typmod).ok().filter(|digits| *digits <= 6)
}

fn in_parentheses(digits: Option<u8>) -> String {
    digits.map_or_else(String::new, |digits| format!("({digits})"))
}
