//! Query strings cut into what stays and the literals that are lifted out, in one pass, without
//! understanding more of them than where a literal begins and ends.

/// Longest query string that is looked at.
const LENGTH_MAX: usize = 4096;
/// Most literals that are lifted out.
const LITERALS_MAX: usize = 32;

/// A literal as it stands in the query string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Literal {
    Int4(i32),
    Int8(i64),
    /// What stands between the quotes, without doubled ones.
    String(String),
}

impl Literal {
    /// What stands for a literal in the shape. No text has these bytes.
    fn marker(&self) -> u8 {
        match self {
            Self::Int4(_) => 1,
            Self::Int8(_) => 2,
            Self::String(_) => 3,
        }
    }
}

/// A query string of one statement, taken apart. Kept to be filled again.
#[derive(Default, Debug)]
pub(super) struct Parts {
    /// The text with a marker for each literal.
    pub(super) shape: Vec<u8>,
    pub(super) literals: Vec<Literal>,
}

impl Parts {
    /// Takes `sql` apart; false for what is not worth it, or would take knowing SQL better:
    /// comments, parameters, several statements, strings other than the plain one.
    pub(super) fn take_apart(&mut self, sql: &str) -> bool {
        self.shape.clear();
        self.literals.clear();
        sql.len() <= LENGTH_MAX && self.read(sql).is_some()
    }

    /// The statement with `$n` where the literals stood.
    pub(super) fn with_params(&self) -> String {
        let mut sql = Vec::with_capacity(self.shape.len() + 4 * self.literals.len());
        let mut number = 0;
        for byte in &self.shape {
            match byte {
                1..=3 => {
                    number += 1;
                    sql.extend_from_slice(format!("${number}").as_bytes());
                }
                byte => sql.push(*byte),
            }
        }
        String::from_utf8_lossy(&sql).into_owned()
    }

    fn read(&mut self, sql: &str) -> Option<()> {
        let bytes = sql.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let end = match byte {
                b'\'' => {
                    let before = self.shape.last().copied().unwrap_or(b' ');
                    // E'…', B'…', U&'…' and kin.
                    if is_word(before) || before == b'&' {
                        return None;
                    }
                    let (text, end) = quoted(sql, at)?;
                    self.lift(Literal::String(text))?;
                    at = end;
                    continue;
                }
                b'"' => at + 2 + bytes[at + 1..].iter().position(|b| *b == b'"')?,
                b'0'..=b'9' => {
                    let end = at + word(&bytes[at..]);
                    let text = &sql[at..end];
                    if let Some(literal) = integer(text).filter(|_| !self.is_row_count()) {
                        self.lift(literal)?;
                        at = end;
                        continue;
                    }
                    end
                }
                b if is_word(b) => at + word(&bytes[at..]),
                b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
                b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
                b'$' | 0..=3 => return None,
                b';' => {
                    if !sql[at + 1..].trim().is_empty() {
                        return None;
                    }
                    bytes.len()
                }
                // `.5`
                b'.' => at + 1 + word(&bytes[at + 1..]),
                _ => at + 1,
            };
            self.shape.extend_from_slice(&bytes[at..end]);
            at = end;
        }
        Some(())
    }

    fn lift(&mut self, literal: Literal) -> Option<()> {
        if self.literals.len() == LITERALS_MAX {
            return None;
        }
        self.shape.push(literal.marker());
        self.literals.push(literal);
        Some(())
    }

    /// Whether LIMIT or OFFSET stands before the number that follows: it is part of the plan.
    fn is_row_count(&self) -> bool {
        let before = self.shape.trim_ascii_end();
        let mut words = before.rsplit(|byte| !is_word(*byte));
        let last = words.next().unwrap_or_default();
        before.len() < self.shape.len()
            && (last.eq_ignore_ascii_case(b"limit") || last.eq_ignore_ascii_case(b"offset"))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Length of the name or number at the start, with dots and dollars inside.
fn word(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| !is_word(*byte) && !matches!(byte, b'.' | b'$');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

fn integer(text: &str) -> Option<Literal> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.parse::<i32>() {
        Ok(value) => Some(Literal::Int4(value)),
        // Behind a minus it is no bigint.
        Err(_) if text.parse() == Ok(1_i64 << 31) => None,
        Err(_) => text.parse().ok().map(Literal::Int8),
    }
}

/// The string literal that begins at `start`, and where it ends.
fn quoted(sql: &str, start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut from = start + 1;
    loop {
        let end = from + sql[from..].find('\'')?;
        text.push_str(&sql[from..end]);
        if sql.as_bytes().get(end + 1) != Some(&b'\'') {
            return Some((text, end + 1));
        }
        text.push('\'');
        from = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(sql: &str) -> Option<(String, Vec<Literal>)> {
        let mut parts = Parts::default();
        parts.take_apart(sql).then(|| (parts.with_params(), parts.literals.clone()))
    }

    #[test]
    fn literals_are_lifted_out() {
        use Literal::{Int4, Int8, String};
        let string = |text: &str| String(text.to_owned());
        assert_eq!(
            apart("update t set a = a + -7, b = 'it''s' where c9 = 3000000000 and \"2\" = 1;"),
            Some((
                "update t set a = a + -$1, b = $2 where c9 = $3 and \"2\" = $4;".to_owned(),
                vec![Int4(7), string("it's"), Int8(3_000_000_000), Int4(1)],
            ))
        );
        assert_eq!(apart("select 1"), Some(("select $1".to_owned(), vec![Int4(1)])));
        assert_eq!(apart("values('')"), Some(("values($1)".to_owned(), vec![string("")])));
    }

    #[test]
    fn what_is_no_integer_and_counts_of_rows_stay() {
        for sql in [
            "select 1.5, .5, 1e5, 0x1f, 1_000, 99999999999999999999, 5.",
            "select a from t1.x2 limit 10 offset\n3",
            "begin",
        ] {
            assert_eq!(apart(sql), Some((sql.to_owned(), vec![])), "{sql}");
        }
    }

    #[test]
    fn what_takes_more_than_a_look_is_left_alone() {
        for sql in [
            "select 1 -- one",
            "select /* one */ 1",
            "select $1",
            "select $$a$$",
            "select 1; select 2",
            "select e'a'",
            "select E'a\\'b'",
            "select U&'a'",
            "select b'1'",
            "select 'a",
            "select \"a",
            "select \u{1}",
        ] {
            assert_eq!(apart(sql), None, "{sql}");
        }
    }
}
