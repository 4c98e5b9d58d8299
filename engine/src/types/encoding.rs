//! Character encodings other than UTF-8, which is how text is kept: for COPY and for clients.

mod tables;

use std::borrow::Cow;

use self::tables::{NONE, SINGLE_BYTE};
use crate::error::{SqlError, sqlstate};

/// How text comes from outside, and goes there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    #[default]
    Utf8,
    /// Bytes that nobody translates.
    SqlAscii,
    /// ASCII and 128 characters more.
    SingleByte(&'static SingleByte),
}

/// An encoding with one byte for each character.
#[derive(PartialEq, Eq, Debug)]
pub struct SingleByte {
    name: &'static str,
    /// Of the bytes from 0x80 on.
    high: [u16; 128],
}

/// Other names than those in [`SINGLE_BYTE`], lower case and without punctuation.
const ALIASES: [(&str, &str); 36] = [
    ("abc", "WIN1258"),
    ("alt", "WIN866"),
    ("iso88591", "LATIN1"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88595", "ISO_8859_5"),
    ("iso88596", "ISO_8859_6"),
    ("iso88597", "ISO_8859_7"),
    ("iso88598", "ISO_8859_8"),
    ("iso88599", "LATIN5"),
    ("iso885910", "LATIN6"),
    ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"),
    ("iso885915", "LATIN9"),
    ("iso885916", "LATIN10"),
    ("koi8", "KOI8R"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("vscii", "WIN1258"),
    ("win", "WIN1251"),
    ("windows1250", "WIN1250"),
    ("windows1251", "WIN1251"),
    ("windows1252", "WIN1252"),
    ("windows1253", "WIN1253"),
    ("windows1254", "WIN1254"),
    ("windows1255", "WIN1255"),
    ("windows1256", "WIN1256"),
    ("windows1257", "WIN1257"),
    ("windows1258", "WIN1258"),
    ("windows866", "WIN866"),
    ("windows874", "WIN874"),
    ("latin", "LATIN1"),
    ("unicode", "UTF8"),
    ("utf8", "UTF8"),
    ("sqlascii", "SQL_ASCII"),
];

/// Encodings of PostgreSQL with several bytes for a character, which are not built.
const MULTI_BYTE: [&str; 18] = [
    "big5",
    "euccn",
    "eucjis2004",
    "eucjp",
    "euckr",
    "euctw",
    "gb18030",
    "gbk",
    "johab",
    "mskanji",
    "muleinternal",
    "shiftjis",
    "shiftjis2004",
    "sjis",
    "uhc",
    "win932",
    "win936",
    "win949",
];

impl Encoding {
    /// The encoding by any of its names; `None` if PostgreSQL knows none of that name. Only letters
    /// and digits count.
    ///
    /// # Errors
    /// 0A000 for one that is not built.
    pub fn named(name: &str) -> Result<Option<Self>, SqlError> {
        let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let wanted = plain(name).to_ascii_lowercase();
        if MULTI_BYTE.contains(&wanted.as_str()) {
            return Err(SqlError::not_supported(format!("encoding \"{name}\"")));
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == wanted);
        Ok(match alias.map(|(_, name)| *name) {
            Some("UTF8") => Some(Self::Utf8),
            Some("SQL_ASCII") => Some(Self::SqlAscii),
            alias => {
                let name = alias.unwrap_or(&wanted);
                let known = SINGLE_BYTE.iter();
                let mut known = known.filter(|e| plain(e.name).eq_ignore_ascii_case(&plain(name)));
                known.next().map(Self::SingleByte)
            }
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF8",
            Self::SqlAscii => "SQL_ASCII",
            Self::SingleByte(encoding) => encoding.name,
        }
    }

    /// Whether text goes in and out as it is kept.
    #[must_use]
    pub fn is_utf8(self) -> bool {
        !matches!(self, Self::SingleByte(_))
    }

    /// Text of the encoding as UTF-8. Bytes of [`Utf8`](Self::Utf8) are not looked at.
    ///
    /// # Errors
    /// 22P05 for a byte that means nothing.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, SqlError> {
        let Self::SingleByte(encoding) = self else { return Ok(Cow::Borrowed(bytes)) };
        if bytes.is_ascii() {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut text = String::with_capacity(bytes.len() + bytes.len() / 4);
        for byte in bytes {
            match byte.checked_sub(0x80).map(|high| encoding.high[usize::from(high)]) {
                None => text.push(char::from(*byte)),
                Some(NONE) => return Err(untranslatable(&[*byte], encoding.name, "UTF8")),
                Some(code) => text.push(char::from_u32(code.into()).unwrap_or('\u{fffd}')),
            }
        }
        Ok(Cow::Owned(text.into_bytes()))
    }

    /// UTF-8 as text of the encoding.
    ///
    /// # Errors
    /// 22P05 for a character that it has not.
    pub fn encode(self, text: &[u8]) -> Result<Cow<'_, [u8]>, SqlError> {
        let Self::SingleByte(encoding) = self else { return Ok(Cow::Borrowed(text)) };
        if text.is_ascii() {
            return Ok(Cow::Borrowed(text));
        }
        let decoded = std::str::from_utf8(text)
            .map_err(|error| SqlError::internal(format!("text that is no UTF-8: {error}")))?;
        let mut bytes = Vec::with_capacity(decoded.len());
        for symbol in decoded.chars() {
            bytes.push(encoding.byte(symbol)?);
        }
        Ok(Cow::Owned(bytes))
    }

    /// The same with `?` for what the encoding has not: for messages about errors.
    #[must_use]
    pub fn encode_lossy(self, text: &str) -> Cow<'_, [u8]> {
        let Self::SingleByte(encoding) = self else { return Cow::Borrowed(text.as_bytes()) };
        text.chars().map(|symbol| encoding.byte(symbol).unwrap_or(b'?')).collect()
    }
}

impl SingleByte {
    fn byte(&self, symbol: char) -> Result<u8, SqlError> {
        if symbol.is_ascii() {
            return Ok(symbol as u8);
        }
        let code = u16::try_from(u32::from(symbol)).ok();
        let high = code.and_then(|code| self.high.iter().position(|high| *high == code));
        match high.and_then(|high| u8::try_from(high + 0x80).ok()) {
            Some(byte) => Ok(byte),
            None => {
                let mut bytes = [0; 4];
                let bytes = symbol.encode_utf8(&mut bytes).as_bytes();
                Err(untranslatable(bytes, "UTF8", self.name))
            }
        }
    }
}

/// 22021 for bytes that begin with what is no UTF-8; as many are named as the first one announces.
#[must_use]
pub fn invalid_utf8(rest: &[u8]) -> SqlError {
    let length = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let wrong: Vec<String> = rest.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    SqlError::new(
        sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" ")),
    )
}

fn untranslatable(bytes: &[u8], from: &str, to: &str) -> SqlError {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    SqlError::new(
        sqlstate::UNTRANSLATABLE_CHARACTER,
        format!(
            "character with byte sequence {} in encoding \"{from}\" has no equivalent in encoding \
             \"{to}\"",
            bytes.join(" ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Encoding {
        Encoding::named(name).expect("built").expect(name)
    }

    #[test]
    fn encodings_have_names_in_any_spelling() {
        for (name, canonical) in [
            ("latin1", "LATIN1"),
            ("ISO-8859-1", "LATIN1"),
            ("iso_8859_5", "ISO_8859_5"),
            ("iso-8859-5", "ISO_8859_5"),
            ("windows-1252", "WIN1252"),
            ("Win1252", "WIN1252"),
            ("koi8-r", "KOI8R"),
            ("UTF-8", "UTF8"),
            ("sql_ascii", "SQL_ASCII"),
        ] {
            assert_eq!(named(name).name(), canonical);
        }
        assert_eq!(Encoding::named("latin11"), Ok(None));
        assert_eq!(Encoding::named("Shift-JIS").expect_err("not built").sqlstate, "0A000");
    }

    #[test]
    fn text_is_translated_both_ways() {
        let latin1 = named("latin1");
        assert_eq!(latin1.decode(b"Z\xfcrich").expect("text").as_ref(), "Zürich".as_bytes());
        assert_eq!(latin1.encode("Zürich".as_bytes()).expect("text").as_ref(), b"Z\xfcrich");
        assert_eq!(named("latin9").encode("€".as_bytes()).expect("text").as_ref(), b"\xa4");
        assert_eq!(named("koi8r").decode(b"\xd0\xd2").expect("text").as_ref(), "пр".as_bytes());
        let error = latin1.encode("1 €".as_bytes()).expect_err("no euro");
        assert_eq!(
            (error.sqlstate, error.message.as_str()),
            (
                "22P05",
                "character with byte sequence 0xe2 0x82 0xac in encoding \"UTF8\" has no \
                 equivalent in encoding \"LATIN1\""
            )
        );
        assert_eq!(named("win1252").decode(b"\x81").expect_err("nothing").sqlstate, "22P05");
        assert_eq!(latin1.encode_lossy("1 €").as_ref(), b"1 ?");
    }

    #[test]
    fn every_byte_comes_back() {
        for encoding in &SINGLE_BYTE {
            let encoding = Encoding::SingleByte(encoding);
            for byte in 1..=255u8 {
                if let Ok(text) = encoding.decode(&[byte]) {
                    assert_eq!(encoding.encode(&text).as_deref(), Ok(&[byte][..]), "{encoding:?}");
                }
            }
        }
    }
}
