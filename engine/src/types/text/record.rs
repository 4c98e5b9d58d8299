//! The text of rows: `(1,"a b",)`.

use crate::error::{SqlError, sqlstate};

/// The texts of a row's fields, of which there are `count`; `None` for NULL.
///
/// # Errors
/// 22P02 with PostgreSQL's details.
pub fn record_fields(text: &str, count: usize) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = |detail: &str| {
        let message = format!("malformed record literal: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message).detail(detail)
    };
    let is_space = super::array::is_space;
    let Some(inside) = text.trim_start_matches(is_space).strip_prefix('(') else {
        return Err(malformed("Missing left parenthesis."));
    };
    let mut rest = inside.chars();
    let mut fields = Vec::with_capacity(count);
    for n in 0..count {
        if n > 0 && next_if(&mut rest, ',').is_none() {
            return Err(malformed("Too few columns."));
        }
        fields.push(match peek(&rest) {
            Some(',' | ')') => None,
            _ => Some(field(&mut rest).ok_or_else(|| malformed("Unexpected end of input."))?),
        });
    }
    if next_if(&mut rest, ')').is_none() {
        return Err(malformed("Too many columns."));
    }
    if rest.any(|c| !is_space(c)) {
        return Err(malformed("Junk after right parenthesis."));
    }
    Ok(fields)
}

fn peek(rest: &std::str::Chars<'_>) -> Option<char> {
    rest.clone().next()
}

fn next_if(rest: &mut std::str::Chars<'_>, wanted: char) -> Option<char> {
    (peek(rest) == Some(wanted)).then(|| rest.next()).flatten()
}

/// A field up to what ends it; `None` if nothing does.
fn field(rest: &mut std::str::Chars<'_>) -> Option<String> {
    let mut text = String::new();
    let mut quoted = false;
    loop {
        if !quoted && matches!(peek(rest), Some(',' | ')')) {
            return Some(text);
        }
        match rest.next()? {
            '\\' => text.push(rest.next()?),
            // Twice inside of quotes, it stands for itself.
            '"' if quoted && next_if(rest, '"').is_some() => text.push('"'),
            '"' => quoted = !quoted,
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::record_fields;

    fn detail(text: &str, count: usize) -> String {
        record_fields(text, count).unwrap_err().detail.unwrap_or_default()
    }

    #[test]
    fn fields_are_unquoted_as_postgresql_does() {
        let some = |texts: &[&str]| texts.iter().map(|t| Some((*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(record_fields("(1,b)", 2).unwrap(), some(&["1", "b"]));
        assert_eq!(record_fields("  ( a , b )  ", 2).unwrap(), some(&[" a ", " b "]));
        assert_eq!(record_fields(r#"("a,b","")"#, 2).unwrap(), some(&["a,b", ""]));
        assert_eq!(record_fields(r#"("a""b",c\,d)"#, 2).unwrap(), some(&["a\"b", "c,d"]));
        assert_eq!(record_fields(r#"(a"b c"d)"#, 1).unwrap(), some(&["ab cd"]));
        assert_eq!(record_fields("(,)", 2).unwrap(), vec![None, None]);
        assert_eq!(record_fields(r#"("\"")"#, 1).unwrap(), some(&["\""]));
    }

    #[test]
    fn malformed_rows_are_refused_with_postgresqls_details() {
        assert_eq!(detail("1,2", 2), "Missing left parenthesis.");
        assert_eq!(detail("(1)", 2), "Too few columns.");
        assert_eq!(detail("(1,2,3)", 2), "Too many columns.");
        assert_eq!(detail("(1,2", 2), "Unexpected end of input.");
        assert_eq!(detail("(1,2) 3", 2), "Junk after right parenthesis.");
        assert_eq!(detail("(1,\"2)", 2), "Unexpected end of input.");
    }
}
