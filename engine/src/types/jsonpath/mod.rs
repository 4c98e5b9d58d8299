//! The SQL/JSON path language: reading it as PostgreSQL does, with its errors, and writing its
//! normal form, which is what values of type `jsonpath` are in memory and in storage.

mod lexer;
mod parser;
mod write;

pub use self::{parser::parse, write::normal_form};

/// A path as it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct JsonPath {
    /// Whether structural errors count and arrays are not unwrapped.
    pub strict: bool,
    pub path: Path,
}

/// Steps, each applied to what the one before gives. Never empty.
pub type Path = Vec<Step>;

/// Operators with two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    StartsWith,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Binary {
    /// As it is written, and as errors call it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::StartsWith => "starts with",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    #[must_use]
    pub fn is_arithmetic(self) -> bool {
        use Binary::{Add, Divide, Modulo, Multiply, Subtract};
        matches!(self, Add | Subtract | Multiply | Divide | Modulo)
    }
}

/// Item methods without arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    KeyValue,
}

impl Method {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Double => "double",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
            Self::Abs => "abs",
            Self::KeyValue => "keyvalue",
        }
    }
}

/// Flags of `like_regex`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RegexFlags {
    pub ignore_case: bool,
    /// `.` matches line breaks, too.
    pub dot_all: bool,
    /// `^` and `$` match at line breaks.
    pub multi_line: bool,
    /// The pattern is a plain text.
    pub quote: bool,
    /// Written, but only together with `quote`, with which it says nothing.
    pub expanded: bool,
}

/// The level below which `.**` without bounds goes: none.
pub const ANY_DEPTH: u32 = u32::MAX;

#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Null,
    Bool(bool),
    /// Canonical text of a numeric.
    Number(String),
    String(String),
    /// `$name`.
    Variable(String),
    /// `$`.
    Root,
    /// `@`.
    Current,
    Last,
    /// `.name`.
    Key(String),
    /// `.*`.
    AnyKey,
    /// `[*]`.
    AnyElement,
    /// `[from to last, …]`.
    Elements(Vec<(Path, Option<Path>)>),
    /// `.**{first to last}`; [`ANY_DEPTH`] stands for `last` there, too.
    Any {
        first: u32,
        last: u32,
    },
    Method(Method),
    /// `.datetime(template)`.
    Datetime(Option<String>),
    /// `?(…)`.
    Filter(Path),
    Plus(Path),
    Minus(Path),
    Not(Path),
    IsUnknown(Path),
    Exists(Path),
    Binary(Binary, Path, Path),
    LikeRegex {
        value: Path,
        pattern: String,
        flags: RegexFlags,
    },
}

impl Step {
    /// Whether it is a condition: true, false or unknown.
    #[must_use]
    pub fn is_predicate(&self) -> bool {
        match self {
            Self::Binary(operator, ..) => !operator.is_arithmetic(),
            Self::Not(_) | Self::IsUnknown(_) | Self::Exists(_) | Self::LikeRegex { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
