//! The words of date and time input, as PostgreSQL cuts them.

use super::{DAYS, MONTHS, Wrong};

/// What a token looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Digits, perhaps with a point.
    Number,
    /// Letters.
    Word,
    /// Digits and letters with `-`, `/` or `.` between them; or a zone's name with such signs.
    Date,
    /// With colons.
    Time,
    /// A sign and digits.
    Zone,
    /// A sign and letters.
    Signed,
}

/// A token, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// More tokens are no date.
const TOKENS_MAX: usize = 25;

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    token: String,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn sees(&self, wanted: impl Fn(u8) -> bool) -> bool {
        self.peek().is_some_and(wanted)
    }

    /// Appends the bytes that are wanted to the token.
    fn take(&mut self, wanted: impl Fn(u8) -> bool) {
        while let Some(byte) = self.peek().filter(|byte| wanted(*byte)) {
            self.token.push(char::from(byte.to_ascii_lowercase()));
            self.at += 1;
        }
    }

    fn take_one(&mut self) {
        if let Some(byte) = self.peek() {
            self.token.push(char::from(byte.to_ascii_lowercase()));
            self.at += 1;
        }
    }

    fn number(&mut self) -> Kind {
        self.take(digit);
        if self.sees(|b| b == b':') {
            self.take(|b| digit(b) || matches!(b, b':' | b'.'));
            return Kind::Time;
        }
        let Some(separator @ (b'-' | b'/' | b'.')) = self.peek() else { return Kind::Number };
        self.take_one();
        if !self.sees(digit) {
            self.take(|b| b.is_ascii_alphanumeric() || b == separator);
            return Kind::Date;
        }
        self.take(digit);
        if self.sees(|b| b == separator) {
            self.take_one();
            self.take(|b| digit(b) || b == separator);
            return Kind::Date;
        }
        if separator == b'.' { Kind::Number } else { Kind::Date }
    }

    fn word(&mut self) -> Kind {
        self.take(|b| b.is_ascii_alphabetic());
        let is_date = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            Some(b) if b == b'+' || digit(b) => special(&self.token).is_none(),
            _ => false,
        };
        if !is_date {
            return Kind::Word;
        }
        let part = |b: u8| b.is_ascii_alphanumeric() || b"+-/_.:".contains(&b);
        self.take(part);
        Kind::Date
    }
}

fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// Cuts the text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, token: String::new() };
    let mut found = Vec::new();
    while let Some(byte) = scanner.peek() {
        let kind = match byte {
            b if b.is_ascii_whitespace() || b == 0x0b => {
                scanner.at += 1;
                continue;
            }
            b'0'..=b'9' => scanner.number(),
            b'.' => {
                scanner.take_one();
                scanner.take(digit);
                Kind::Number
            }
            b if b.is_ascii_alphabetic() => scanner.word(),
            b'+' | b'-' => {
                scanner.take_one();
                while scanner.sees(|b| b.is_ascii_whitespace()) {
                    scanner.at += 1;
                }
                if scanner.sees(digit) || scanner.sees(|b| b == b'.') {
                    scanner.take(|b| digit(b) || matches!(b, b':' | b'.' | b'-'));
                    Kind::Zone
                } else if scanner.sees(|b| b.is_ascii_alphabetic()) {
                    scanner.take(|b| b.is_ascii_alphabetic());
                    Kind::Signed
                } else {
                    return Err(Wrong::Syntax);
                }
            }
            // Other signs only keep tokens apart.
            b if b.is_ascii_punctuation() => {
                scanner.at += 1;
                continue;
            }
            _ => return Err(Wrong::Syntax),
        };
        if found.len() == TOKENS_MAX {
            return Err(Wrong::Syntax);
        }
        found.push(Token { kind, text: std::mem::take(&mut scanner.token) });
    }
    Ok(found)
}

/// What the number behind a word counts: `y2001m12d27h04mm05s06`, `j2451187`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Label {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Julian,
    /// ISO 8601's `T`.
    Time,
    /// Names of fields that no input has.
    Other,
}

/// Words with a meaning of their own, but for zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Special {
    Now,
    Today,
    Tomorrow,
    Yesterday,
    AllBalls,
    Epoch,
    Late,
    Early,
    /// January is 1.
    Month(i64),
    Weekday,
    /// Behind a time: whether it is after noon.
    Half(bool),
    /// Whether it is before Christ.
    Era(bool),
    /// `DST` behind a zone.
    Daylight,
    Label(Label),
    /// `at`, `on`.
    Ignored,
}

/// The meaning of a word in lower case.
pub(super) fn special(word: &str) -> Option<Special> {
    use self::{Label as L, Special as S};
    let named = |names: &[&str], extra: &[(&str, usize)]| {
        let same =
            |name: &str| word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3]);
        let extra = || extra.iter().find(|(name, _)| *name == word).map(|(_, at)| *at);
        names.iter().position(|name| same(name)).or_else(extra)
    };
    if let Some(month) = named(&MONTHS, &[("sept", 8)]) {
        return Some(S::Month(month as i64 + 1));
    }
    let days = [("tues", 2), ("weds", 3), ("thur", 4), ("thurs", 4)];
    if named(&DAYS, &days).is_some() {
        return Some(S::Weekday);
    }
    Some(match word {
        "now" => S::Now,
        "today" => S::Today,
        "tomorrow" => S::Tomorrow,
        "yesterday" => S::Yesterday,
        "allballs" => S::AllBalls,
        "epoch" => S::Epoch,
        "infinity" | "+infinity" => S::Late,
        "-infinity" => S::Early,
        "am" => S::Half(false),
        "pm" => S::Half(true),
        "ad" => S::Era(false),
        "bc" => S::Era(true),
        "dst" => S::Daylight,
        "at" | "on" => S::Ignored,
        "t" => S::Label(L::Time),
        "y" => S::Label(L::Year),
        "m" => S::Label(L::Month),
        "d" => S::Label(L::Day),
        "h" => S::Label(L::Hour),
        "mm" => S::Label(L::Minute),
        "s" => S::Label(L::Second),
        "j" | "jd" | "julian" => S::Label(L::Julian),
        "dow" | "doy" | "isodow" | "isoyear" => S::Label(L::Other),
        _ => return None,
    })
}
