//! `to_char`, `to_date` and `to_timestamp` over dates and times: PostgreSQL's patterns.

mod read;
mod write;

pub use self::{
    read::{ParsedMoment, date, timestamp},
    write::{Zone, interval, moment},
};

/// A field of a pattern, without regard to how its name was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Ad,
    /// `A.D.`
    AdDotted,
    Am,
    /// `A.M.`
    AmDotted,
    Cc,
    D,
    Day,
    Dd,
    Ddd,
    Dy,
    /// Digits of the fraction.
    Ff(u8),
    Fx,
    Hh12,
    Hh24,
    I,
    Id,
    Iddd,
    Iw,
    Iy,
    Iyy,
    Iyyy,
    J,
    Mi,
    Mm,
    Mon,
    Month,
    Ms,
    Of,
    Q,
    Rm,
    Ss,
    /// Seconds of the day.
    Ssss,
    Tz,
    Tzh,
    Tzm,
    Us,
    W,
    Ww,
    Y,
    /// `Y,YYY`
    YComma,
    Yy,
    Yyy,
    Yyyy,
}

/// In upper case, longer ones before their beginnings. All may be written in lower case, too.
const NAMES: [(&str, Field); 58] = [
    ("A.D.", Field::AdDotted),
    ("A.M.", Field::AmDotted),
    ("AD", Field::Ad),
    ("AM", Field::Am),
    ("B.C.", Field::AdDotted),
    ("BC", Field::Ad),
    ("CC", Field::Cc),
    ("DAY", Field::Day),
    ("DDD", Field::Ddd),
    ("DD", Field::Dd),
    ("DY", Field::Dy),
    ("D", Field::D),
    ("FF1", Field::Ff(1)),
    ("FF2", Field::Ff(2)),
    ("FF3", Field::Ff(3)),
    ("FF4", Field::Ff(4)),
    ("FF5", Field::Ff(5)),
    ("FF6", Field::Ff(6)),
    ("FX", Field::Fx),
    ("HH24", Field::Hh24),
    ("HH12", Field::Hh12),
    ("HH", Field::Hh12),
    ("IDDD", Field::Iddd),
    ("ID", Field::Id),
    ("IW", Field::Iw),
    ("IYYY", Field::Iyyy),
    ("IYY", Field::Iyy),
    ("IY", Field::Iy),
    ("I", Field::I),
    ("J", Field::J),
    ("MI", Field::Mi),
    ("MM", Field::Mm),
    ("MONTH", Field::Month),
    ("MON", Field::Mon),
    ("MS", Field::Ms),
    ("OF", Field::Of),
    ("P.M.", Field::AmDotted),
    ("PM", Field::Am),
    ("Q", Field::Q),
    ("RM", Field::Rm),
    ("SSSSS", Field::Ssss),
    ("SSSS", Field::Ssss),
    ("SS", Field::Ss),
    ("TZH", Field::Tzh),
    ("TZM", Field::Tzm),
    ("TZ", Field::Tz),
    ("US", Field::Us),
    ("WW", Field::Ww),
    ("W", Field::W),
    ("Y,YYY", Field::YComma),
    ("YYYY", Field::Yyyy),
    ("YYY", Field::Yyy),
    ("YY", Field::Yy),
    ("Y", Field::Y),
    ("Day", Field::Day),
    ("Dy", Field::Dy),
    ("Month", Field::Month),
    ("Mon", Field::Mon),
];

/// How the letters of a field's value are written: as its name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Upper,
    Lower,
    Title,
}

/// A part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node<'p> {
    Field(FieldNode<'p>),
    Space(char),
    /// A sign that is no letter or digit.
    Separator(char),
    /// Any other character, and what stands in quotes.
    Char(char),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FieldNode<'p> {
    field: Field,
    /// As written.
    name: &'p str,
    case: Case,
    /// `FM`: without blanks and zeros around it.
    fill: bool,
    /// `TM`: a name without blanks behind it.
    local: bool,
    /// `TH` behind it; whether in upper case.
    ordinal: Option<bool>,
}

impl Field {
    /// Whether its text consists of digits.
    fn is_digits(self) -> bool {
        !matches!(
            self,
            Self::Ad
                | Self::AdDotted
                | Self::Am
                | Self::AmDotted
                | Self::Day
                | Self::Dy
                | Self::Month
                | Self::Mon
                | Self::Rm
                | Self::Fx
                | Self::Tz
                | Self::Tzh
                | Self::Of
        )
    }
}

/// The field that a text begins with.
fn field_at(text: &str) -> Option<(Field, &str, Case)> {
    let lower = |name: &str| {
        let mixed = name.bytes().any(|b| b.is_ascii_lowercase());
        !mixed && text.get(..name.len()).is_some_and(|start| start == name.to_ascii_lowercase())
    };
    let found = NAMES.iter().filter(|(name, _)| text.starts_with(name) || lower(name));
    let (name, field) = found.max_by_key(|(name, _)| name.len())?;
    let written = &text[..name.len()];
    let mut letters = written.bytes().filter(u8::is_ascii_alphabetic);
    let case = match (letters.next(), letters.next()) {
        (Some(first), _) if first.is_ascii_lowercase() => Case::Lower,
        (_, Some(second)) if second.is_ascii_lowercase() => Case::Title,
        _ => Case::Upper,
    };
    Some((*field, written, case))
}

fn starts_with_any<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    words.iter().find_map(|word| text.strip_prefix(word))
}

/// Cuts a pattern into its parts.
fn nodes(pattern: &str) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let fill = starts_with_any(rest, &["FM", "fm"]);
        // Names are English with or without TM.
        let local = starts_with_any(rest, &["TM", "tm"]);
        rest = fill.or(local).unwrap_or(rest);
        if let Some((field, name, case)) = field_at(rest) {
            rest = &rest[name.len()..];
            let mut ordinal = None;
            for (word, value) in [("TH", Some(true)), ("th", Some(false)), ("SP", None)] {
                if let Some(after) = rest.strip_prefix(word) {
                    ordinal = value;
                    rest = after;
                    break;
                }
            }
            let (fill, local) = (fill.is_some(), local.is_some());
            found.push(Node::Field(FieldNode { field, name, case, fill, local, ordinal }));
        } else if let Some(quoted) = rest.strip_prefix('"') {
            rest = quotation(quoted, &mut found);
        } else {
            let plain = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
            let mut chars = plain.chars();
            let Some(c) = chars.next() else { break };
            found.push(match c {
                c if is_separator(c) => Node::Separator(c),
                c if c.is_ascii_whitespace() || c == '\x0b' => Node::Space(c),
                c => Node::Char(c),
            });
            rest = chars.as_str();
        }
    }
    found
}

/// Characters up to the closing quote; what follows it.
fn quotation<'p>(quoted: &'p str, found: &mut Vec<Node<'p>>) -> &'p str {
    let mut chars = quoted.chars();
    while let Some(mut c) = chars.next() {
        if c == '"' {
            break;
        }
        if c == '\\'
            && let Some(next) = chars.next()
        {
            c = next;
        }
        found.push(Node::Char(c));
    }
    chars.as_str()
}

/// A printable ASCII sign that is no letter or digit.
fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// Roman numbers of the months, January first.
const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
