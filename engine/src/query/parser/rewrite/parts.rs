//! Assignment to parts of columns: `SET a[1] = …` and `INSERT INTO t (a[1])`. sqlparser knows names
//! as targets only: the subscripts become a name behind the column's, which the planner reads.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Edits, closing, is, is_word, opens, word};
use crate::query::parser::byte_of;

/// What the name that stands for subscripts begins with. No statement can have it.
pub(in crate::query) const PART: char = '\0';

/// The targets of SET behind UPDATE at `from`.
pub(super) fn of_set(source: &str, tokens: &[TokenWithSpan], from: usize, edits: &mut Edits) {
    let mut depth = 0_usize;
    let mut sets = false;
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        match &token.token {
            Token::LParen if sets && depth == 0 && begins_target(tokens, at) => {
                let end = closing(tokens, at).unwrap_or(at);
                of_list(source, tokens, at, end, edits);
                depth += 1;
            }
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return,
            Token::RParen | Token::RBracket => depth -= 1,
            _ if depth > 0 => {}
            Token::SemiColon => return,
            token if is_word(token, "SET") => sets = true,
            // `IS DISTINCT FROM` is no end.
            token
                if ["WHERE", "FROM", "RETURNING"].iter().any(|k| is_word(token, k))
                    && !is(tokens, at - 1, "DISTINCT") =>
            {
                return;
            }
            Token::Word(_) if sets && begins_target(tokens, at) => {
                at = target(source, tokens, at, edits);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

fn begins_target(tokens: &[TokenWithSpan], at: usize) -> bool {
    at > 0 && (is(tokens, at - 1, "SET") || tokens[at - 1].token == Token::Comma)
}

/// The columns of INSERT INTO whose table's name stands at `at`.
pub(super) fn of_insert(source: &str, tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let Some(open) = (at..tokens.len()).find(|&n| match &tokens[n].token {
        Token::LParen => true,
        token => {
            !matches!(token, Token::Word(_) | Token::Period)
                || ["VALUES", "SELECT", "DEFAULT", "WITH"].iter().any(|k| is_word(token, k))
        }
    }) else {
        return;
    };
    let query = ["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|k| is(tokens, open + 1, k));
    if opens(tokens, open) && !opens(tokens, open + 1) && !query {
        of_list(source, tokens, open, closing(tokens, open).unwrap_or(open), edits);
    }
}

/// The targets in a list in parentheses.
fn of_list(source: &str, tokens: &[TokenWithSpan], open: usize, end: usize, edits: &mut Edits) {
    let mut at = open + 1;
    while at < end {
        let first = at == open + 1 || tokens[at - 1].token == Token::Comma;
        at = match tokens[at].token {
            Token::Word(_) if first => target(source, tokens, at, edits),
            _ => at + 1,
        };
    }
}

/// The target whose name stands at `at`; where what follows it begins.
fn target(source: &str, tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) -> usize {
    let start = at + 1;
    let mut end = start;
    while tokens.get(end).is_some_and(|t| t.token == Token::LBracket) {
        let Some(close) = closing_bracket(tokens, end) else { return start };
        end = close + 1;
    }
    if end == start {
        return start;
    }
    let bytes =
        (byte_of(source, tokens[start].span.start), byte_of(source, tokens[end - 1].span.end));
    let (Some(from), Some(to)) = bytes else { return end };
    let Some(text) = source.get(from..to) else { return end };
    edits.insert(start, Token::Period);
    edits.insert(start, word(&format!("{PART}{text}"), Some('"')));
    (start..end).for_each(|n| edits.remove(n));
    end
}

fn closing_bracket(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LBracket => depth += 1,
            Token::RBracket => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
