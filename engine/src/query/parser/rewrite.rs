//! PostgreSQL's grammar where sqlparser's is another one: tokens are put into a form that sqlparser
//! reads as PostgreSQL reads the original.

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use super::{
    position_of,
    tokens::unexpected,
    with_clauses::{self, FOLLOWED_BY},
};
use crate::error::{SqlError, sqlstate};

mod parts;

pub(in crate::query) use self::parts::PART;

/// What stands around the lower bound of `BETWEEN SYMMETRIC`; the planner knows it.
pub const SYMMETRIC: &str = "between symmetric";

/// The function that GROUPING SETS within another is called as; the planner knows it.
pub const GROUPING_SETS: &str = "grouping sets";

/// What the empty set within it is called, and what an empty select list holds where sqlparser
/// does not read one.
pub const NO_COLUMNS: &str = "no columns";

/// What is called with the last argument of a call where VARIADIC stands before it; the planner knows it.
pub const VARIADIC: &str = "variadic argument";

/// The field that `(row).*` asks for; the planner knows it.
pub const ALL_FIELDS: &str = "all fields";

/// How the last name in a USING begins that is the alias of its columns; the planner knows it.
pub const JOIN_ALIAS: &str = "join alias ";

/// What a frame's EXCLUDE takes out, and the mark that stands for it in front of what the window's
/// PARTITION BY lists; the planner knows them.
pub const EXCLUSIONS: [(&str, &str); 3] =
    [("CURRENT", "exclude current row"), ("GROUP", "exclude group"), ("TIES", "exclude ties")];

/// What stands in front of what GROUP BY DISTINCT lists; the planner knows it.
pub const DISTINCT_SETS: &str = "group by distinct";

/// Rewrites a statement's tokens.
///
/// # Errors
/// 42601 for two string constants side by side on one line; 0A000 for row locks; 42809 for ORDER BY
/// USING operators that do not order.
pub(super) fn rewrite(
    source: &str,
    tokens: Vec<TokenWithSpan>,
) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = joined_strings(source, tokens)?;
    let mut edits = Edits::default();
    // Where the grouping sets end that are open.
    let mut grouping_end = 0;
    for at in 0..tokens.len() {
        if tokens[at].token == Token::LParen && at < grouping_end && is_empty_set(&tokens, at) {
            edits.remove(at);
            edits.remove(at + 1);
            edits.insert(at, word(NO_COLUMNS, Some('"')));
        }
        if tokens[at].token == Token::Mul && follows_value(&tokens, at) {
            edits.remove(at);
            edits.insert(at, word(ALL_FIELDS, Some('"')));
        }
        let Token::Word(word) = &tokens[at].token else { continue };
        if word.quote_style.is_some() {
            continue;
        }
        match word.value.to_ascii_uppercase().as_str() {
            "UPDATE" if begins_statement(&tokens, at) => {
                parts::of_set(source, &tokens, at + 1, &mut edits);
            }
            "INTO" if at > 0 && is(&tokens, at - 1, "INSERT") => {
                parts::of_insert(source, &tokens, at + 1, &mut edits);
            }
            "ROLLUP" | "CUBE" if opens(&tokens, at + 1) && at >= grouping_end => {
                grouping_elements(&tokens, at + 1, &mut edits);
                grouping_end = closing(&tokens, at + 1).unwrap_or(at);
            }
            "GROUPING" if is(&tokens, at + 1, "SETS") && opens(&tokens, at + 2) => {
                if at < grouping_end {
                    edits.remove(at);
                    edits.remove(at + 1);
                    edits.insert(at, self::word(GROUPING_SETS, Some('"')));
                } else {
                    grouping_elements(&tokens, at + 2, &mut edits);
                    grouping_end = closing(&tokens, at + 2).unwrap_or(at);
                }
            }
            "SELECT" if lists_nothing(&tokens, at + 1) => {
                edits.insert(at + 1, self::word(NO_COLUMNS, Some('"')));
            }
            "TABLE" if begins_query(&tokens, at) => {
                // sqlparser takes what follows the name for a part of it.
                edits.remove(at);
                edits.insert(at, keyword_token("SELECT"));
                edits.insert(at, Token::Mul);
                edits.insert(at, keyword_token("FROM"));
            }
            "BY" if at > 0 && is(&tokens, at - 1, "GROUP") => {
                group_quantifier(&tokens, at, &mut edits)
            }
            "ANY" | "ALL" | "SOME" if opens(&tokens, at + 1) && is(&tokens, at + 2, "VALUES") => {
                quantified_values(&tokens, at + 1, &mut edits);
            }
            "USING" if opens(&tokens, at + 1) => join_alias(&tokens, at + 1, &mut edits),
            "USING" => order_operator(source, &tokens, at, &mut edits)?,
            "SUBSTRING" if opens(&tokens, at + 1) => similar_part(&tokens, at + 1, &mut edits),
            name if TYPES_UNKNOWN.contains(&name) && is_string(&tokens, at + 1) => {
                typed_string(&tokens, at, &mut edits);
            }
            "TRIM" if opens(&tokens, at + 1) => trim(&tokens, at + 2, &mut edits),
            "BETWEEN" if is(&tokens, at + 1, "ASYMMETRIC") => edits.remove(at + 1),
            "BETWEEN" if is(&tokens, at + 1, "SYMMETRIC") => symmetric(&tokens, at, &mut edits),
            // sqlparser knows two of the four strengths of row locks.
            "FOR" if are(&tokens, at + 1, &["NO", "KEY", "UPDATE"]) => {
                return Err(SqlError::not_supported("SELECT FOR NO KEY UPDATE"));
            }
            "FOR" if are(&tokens, at + 1, &["KEY", "SHARE"]) => {
                return Err(SqlError::not_supported("SELECT FOR KEY SHARE"));
            }
            "EXCLUDE" if is(&tokens, at + 1, "NO") && is(&tokens, at + 2, "OTHERS") => {
                (at..at + 3).for_each(|index| edits.remove(index));
            }
            "INTERVAL" if opens(&tokens, at + 1) => interval_precision(&tokens, at, &mut edits),
            "EXCLUDE" => exclusion(&tokens, at, &mut edits),
            "PRECEDING" | "FOLLOWING" => frame_offset(&tokens, at, &mut edits),
            "COLLATE" if follows_cast(&tokens, at) => collation(&tokens, at, &mut edits),
            "SEARCH" | "CYCLE" if at > 0 && tokens[at - 1].token == Token::RParen => {
                with_clauses(source, &tokens, at, &mut edits);
            }
            "VARIADIC" => variadic(&tokens, at, &mut edits),
            "AS" if opens(&tokens, at + 1) => column_definitions(&tokens, at, &mut edits),
            "ROW" if opens(&tokens, at + 1) && has_comma(&tokens, at + 1) => edits.remove(at),
            _ => {}
        }
    }
    Ok(edits.apply(tokens))
}

/// `name (a) AS (…) SEARCH … CYCLE …` as `name (a, "followed by SEARCH … CYCLE …") AS (…)`.
fn with_clauses(source: &str, tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let before = |at: usize, keyword: &str| at.checked_sub(1).filter(|at| is(tokens, *at, keyword));
    let Some((end, text)) = with_clauses::written(source, tokens, at) else { return };
    let Some(mut head) = opening(tokens, at - 1) else { return };
    if let Some(materialized) = before(head, "MATERIALIZED") {
        head = before(materialized, "NOT").unwrap_or(materialized);
    }
    let Some(head) = before(head, "AS").filter(|head| *head > 0) else { return };
    (at..end).for_each(|index| edits.remove(index));
    let clauses = (word(&format!("{FOLLOWED_BY}{text}"), Some('"')), Some(tokens[at].span));
    let inserted = match tokens[head - 1].token {
        Token::RParen => (head - 1, [(Token::Comma, None), clauses].to_vec()),
        _ => (head, [(Token::LParen, None), clauses, (Token::RParen, None)].to_vec()),
    };
    for (token, span) in inserted.1 {
        edits.insertions.push((inserted.0, token, span));
    }
}

/// `SUBSTRING (a SIMILAR b ESCAPE c)` as a call with commas.
fn similar_part(tokens: &[TokenWithSpan], open: usize, edits: &mut Edits) {
    let Some(end) = closing(tokens, open) else { return };
    let mut depth = 0_usize;
    let mut similar = false;
    for at in open + 1..end {
        match &tokens[at].token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            token if is_word(token, "SIMILAR") && !is(tokens, at + 1, "TO") => {
                similar = true;
                edits.remove(at);
                edits.insert(at, Token::Comma);
            }
            token if is_word(token, "ESCAPE") && similar => {
                edits.remove(at);
                edits.insert(at, Token::Comma);
            }
            _ => {}
        }
    }
}

/// Whether `.` stands in front of the token, and in front of that what ends no name: `(row).*`.
/// sqlparser reads the star after names only.
fn follows_value(tokens: &[TokenWithSpan], at: usize) -> bool {
    let mut before = at;
    while before >= 2 && tokens[before - 1].token == Token::Period {
        match tokens[before - 2].token {
            Token::RParen | Token::RBracket => return true,
            Token::Word(_) => before -= 2,
            _ => return false,
        }
    }
    false
}

/// `f(a, VARIADIC b)`: the argument becomes that of a call of [`VARIADIC`].
fn variadic(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let before = at.checked_sub(1).map(|before| &tokens[before].token);
    if !matches!(before, Some(Token::LParen | Token::Comma)) {
        return;
    }
    let Some(end) = opening(tokens, at).and_then(|open| closing(tokens, open)) else { return };
    edits.remove(at);
    edits.insert(at, word(VARIADIC, Some('"')));
    edits.insert(at, Token::LParen);
    edits.insert(end, Token::RParen);
}

/// `FROM f(…) AS (a int, b text)`: the function's name is that of the table.
fn column_definitions(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let query = ["SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE"];
    let of_query = tokens.get(at + 2).is_some_and(|t| t.token == Token::LParen)
        || query.iter().any(|keyword| is(tokens, at + 2, keyword));
    if of_query || at == 0 || tokens[at - 1].token != Token::RParen {
        return;
    }
    let name = opening(tokens, at - 1).and_then(|open| tokens.get(open.checked_sub(1)?));
    if let Some(name @ TokenWithSpan { token: Token::Word(_), .. }) = name {
        edits.insert(at + 1, name.token.clone());
    }
}

/// Types that sqlparser does not take in front of a string.
const TYPES_UNKNOWN: [&str; 12] = [
    "BPCHAR",
    "INT2VECTOR",
    "JSONPATH",
    "NAME",
    "OID",
    "OIDVECTOR",
    "REGNAMESPACE",
    "REGOPER",
    "REGPROC",
    "REGPROCEDURE",
    "REGROLE",
    "REGTYPE",
];

fn is_string(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at).is_some_and(|t| {
        matches!(
            t.token,
            Token::SingleQuotedString(_)
                | Token::EscapedStringLiteral(_)
                | Token::DollarQuotedString(_)
        )
    })
}

/// `name '…'` as a cast.
fn typed_string(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    edits.remove(at);
    edits.insert(at + 2, Token::DoubleColon);
    edits.insert(at + 2, tokens[at].token.clone());
}

/// `INTERVAL(2) '…'` as `INTERVAL '…' (2)`: sqlparser would lose the precision.
fn interval_precision(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let Some([open, number, close, value, ..]) = tokens.get(at + 1..) else { return };
    let (Token::Number(..), Token::RParen) = (&number.token, &close.token) else { return };
    if matches!(
        value.token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
    ) {
        for (index, token) in [open, number, close].into_iter().enumerate() {
            edits.remove(at + 1 + index);
            edits.insert(at + 5, token.token.clone());
        }
    }
}

/// Whether TABLE stands where a query begins: not behind CREATE and kin.
fn begins_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    let name = matches!(tokens.get(at + 1).map(|t| &t.token), Some(Token::Word(_)));
    let before = [
        "AS",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "ALL",
        "DISTINCT",
        "EXPLAIN",
        "ANALYZE",
        "VERBOSE",
        "FOR",
    ];
    let target = at >= 2
        && (is(tokens, at - 2, "INTO")
            || (at >= 4 && tokens[at - 2].token == Token::Period && is(tokens, at - 4, "INTO")));
    name && (at == 0
        || target
        || matches!(tokens[at - 1].token, Token::LParen | Token::RParen | Token::SemiColon)
        || before.iter().any(|k| is(tokens, at - 1, k)))
}

/// `GROUP BY ALL a` says nothing, `GROUP BY DISTINCT a` puts a mark in front of the list.
fn group_quantifier(tokens: &[TokenWithSpan], by: usize, edits: &mut Edits) {
    if is(tokens, by + 1, "ALL") {
        edits.remove(by + 1);
    } else if is(tokens, by + 1, "DISTINCT") {
        edits.remove(by + 1);
        edits.insert(by + 1, word(DISTINCT_SETS, Some('"')));
        edits.insert(by + 1, Token::Comma);
    }
}

/// `ANY (VALUES …)`: sqlparser takes what is no SELECT as an expression.
fn quantified_values(tokens: &[TokenWithSpan], open: usize, edits: &mut Edits) {
    let Some(close) = closing(tokens, open) else { return };
    let select = [keyword_token("SELECT"), Token::Mul, keyword_token("FROM"), Token::LParen];
    for token in select {
        edits.insert(open + 1, token);
    }
    edits.insert(close, Token::RParen);
    edits.insert(close, word("*VALUES*", Some('"')));
}

/// `ORDER BY a USING >`: as ASC or DESC.
fn order_operator(
    source: &str,
    tokens: &[TokenWithSpan],
    at: usize,
    edits: &mut Edits,
) -> Result<(), SqlError> {
    let Some(operator) = tokens.get(at + 1) else { return Ok(()) };
    let direction = match &operator.token {
        Token::Lt => "ASC",
        Token::Gt => "DESC",
        Token::CustomBinaryOperator(text) if text == "~<~" => "ASC",
        Token::CustomBinaryOperator(text) if text == "~>~" => "DESC",
        Token::Eq | Token::Neq | Token::LtEq | Token::GtEq | Token::CustomBinaryOperator(_) => {
            let message = format!("operator {} is not a valid ordering operator", operator.token);
            let mut error = SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message).hint(
                "Ordering operators must be \"<\" or \">\" members of btree operator families.",
            );
            error.position = position_of(source, operator.span.start);
            return Err(error);
        }
        _ => return Ok(()),
    };
    edits.remove(at);
    edits.remove(at + 1);
    edits.insert(at, keyword_token(direction));
    Ok(())
}

/// Whether a statement may begin with the token: not `FOR UPDATE`, nor a column of this name.
fn begins_statement(tokens: &[TokenWithSpan], at: usize) -> bool {
    at == 0
        || matches!(tokens[at - 1].token, Token::LParen | Token::RParen | Token::SemiColon)
        || ["AS", "EXPLAIN", "ANALYZE", "VERBOSE", "DO"].iter().any(|k| is(tokens, at - 1, k))
}

/// Insertions and removals by index of the token they stand at.
#[derive(Default)]
struct Edits {
    /// (index, token, place): in front of the token at the index, those of one index in order.
    /// Without a place of their own, errors name what stands at the index.
    insertions: Vec<(usize, Token, Option<Span>)>,
    removals: Vec<usize>,
}

impl Edits {
    fn insert(&mut self, at: usize, token: Token) {
        self.insertions.push((at, token, None));
    }

    fn remove(&mut self, at: usize) {
        self.removals.push(at);
    }

    fn apply(mut self, tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
        if self.insertions.is_empty() && self.removals.is_empty() {
            return tokens;
        }
        self.insertions.sort_by_key(|(at, ..)| *at);
        self.removals.sort_unstable();
        let mut insertions = self.insertions.into_iter().peekable();
        let mut result = Vec::with_capacity(tokens.len() + 8);
        let end = tokens.len();
        let last_span = tokens.last().map(|t| t.span);
        for (at, token) in tokens.into_iter().enumerate() {
            while let Some((_, inserted, place)) = insertions.next_if(|(i, ..)| *i == at) {
                let span = place.unwrap_or(token.span);
                result.push(TokenWithSpan { token: inserted, span });
            }
            if self.removals.binary_search(&at).is_err() {
                result.push(token);
            }
        }
        while let (Some((_, inserted, _)), Some(span)) =
            (insertions.next_if(|(i, ..)| *i == end), last_span)
        {
            result.push(TokenWithSpan { token: inserted, span });
        }
        result
    }
}

pub(super) fn is(tokens: &[TokenWithSpan], at: usize, keyword: &str) -> bool {
    tokens.get(at).is_some_and(|t| is_word(&t.token, keyword))
}

fn are(tokens: &[TokenWithSpan], at: usize, keywords: &[&str]) -> bool {
    (at..).zip(keywords).all(|(at, keyword)| is(tokens, at, keyword))
}

fn is_word(token: &Token, keyword: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword))
}

fn opens(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at).is_some_and(|t| t.token == Token::LParen)
}

/// Whether a select list ends where it begins, and not at FROM.
fn lists_nothing(tokens: &[TokenWithSpan], at: usize) -> bool {
    let ends = [
        "WHERE",
        "GROUP",
        "HAVING",
        "WINDOW",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "FOR",
    ];
    tokens.get(at).is_none_or(|t| matches!(t.token, Token::RParen | Token::SemiColon))
        || ends.iter().any(|end| is(tokens, at, end))
}

/// Whether `()` stands there as an element of a list inside parentheses inside grouping sets.
fn is_empty_set(tokens: &[TokenWithSpan], at: usize) -> bool {
    let next = tokens.get(at + 1).is_some_and(|t| t.token == Token::RParen);
    let before = at.checked_sub(1).map(|before| &tokens[before].token);
    if !next || !matches!(before, Some(Token::LParen | Token::Comma)) {
        return false;
    }
    let mut depth = 0_i32;
    for index in (0..at).rev() {
        match tokens[index].token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            // Those of the outermost list are read as they are.
            return is(tokens, index.saturating_sub(1), "SETS") && index > 2 && {
                let outer = &tokens[index - 3].token;
                matches!(outer, Token::LParen | Token::Comma)
            };
        }
    }
    false
}

fn word(text: &str, quote_style: Option<char>) -> Token {
    Token::Word(Word {
        value: text.to_owned(),
        quote_style,
        keyword: datafusion::sql::sqlparser::keywords::Keyword::NoKeyword,
    })
}

/// The index of the parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
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

/// The index of the first AND or OR after an operand that starts at `start`, if that is what ends
/// the operand. The AND of a BETWEEN in it does not.
fn connective_after(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let (mut depth, mut cases, mut betweens) = (0_usize, 0_usize, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return None,
            Token::RParen | Token::RBracket => depth -= 1,
            _ if depth > 0 => {}
            Token::Comma => return None,
            token if is_word(token, "CASE") => cases += 1,
            token if is_word(token, "END") && cases > 0 => cases -= 1,
            _ if cases > 0 => {}
            token if is_word(token, "BETWEEN") => betweens += 1,
            token if is_word(token, "AND") && betweens > 0 => betweens -= 1,
            token if is_word(token, "AND") || is_word(token, "OR") => return Some(at),
            token
                if ["WHEN", "THEN", "ELSE", "END", "FROM", "WHERE", "GROUP", "ORDER", "HAVING"]
                    .iter()
                    .any(|keyword| is_word(token, keyword)) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// `ROLLUP ((a)::int, b)`: sqlparser takes a parenthesis at the start of an element as that of a
/// list of expressions.
fn grouping_elements(tokens: &[TokenWithSpan], open: usize, edits: &mut Edits) {
    let Some(end) = closing(tokens, open) else { return };
    let mut start = open + 1;
    while start < end {
        let mut depth = 0_usize;
        let comma = (start..end).find(|&at| {
            match tokens[at].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && tokens[at].token == Token::Comma
        });
        let stop = comma.unwrap_or(end);
        if opens(tokens, start) && closing(tokens, start).is_some_and(|close| close + 1 < stop) {
            edits.insert(start, Token::LParen);
            edits.insert(stop, Token::RParen);
        }
        start = stop + 1;
    }
}

/// `TRIM (LEADING FROM a)` and `TRIM (FROM a)`: blanks are what is trimmed.
fn trim(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let side = ["LEADING", "TRAILING", "BOTH"].iter().any(|side| is(tokens, at, side));
    let blank = Token::SingleQuotedString(" ".to_owned());
    if side && is(tokens, at + 1, "FROM") {
        edits.insert(at + 1, blank);
    } else if is(tokens, at, "FROM") {
        edits.insert(at, blank);
    }
}

/// `a BETWEEN SYMMETRIC b AND c`: the lower bound becomes a call of [`SYMMETRIC`].
fn symmetric(tokens: &[TokenWithSpan], between: usize, edits: &mut Edits) {
    if let Some(end) = connective_after(tokens, between + 2) {
        edits.remove(between + 1);
        edits.insert(between + 2, word(SYMMETRIC, Some('"')));
        edits.insert(between + 2, Token::LParen);
        edits.insert(end, Token::RParen);
    }
}

/// `(… EXCLUDE TIES)` at the end of a window: sqlparser does not know it, so a mark goes to the
/// window's PARTITION BY.
fn exclusion(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let found = EXCLUSIONS.iter().find(|(keyword, _)| is(tokens, at + 1, keyword));
    let Some((keyword, mark)) = found else { return };
    let last = if *keyword == "CURRENT" { at + 2 } else { at + 1 };
    let ends = tokens.get(last + 1).is_some_and(|t| t.token == Token::RParen);
    if !ends || (*keyword == "CURRENT" && !is(tokens, last, "ROW")) {
        return;
    }
    let Some(open) = opening(tokens, at) else { return };
    (at..=last).for_each(|index| edits.remove(index));
    let clauses = ["PARTITION", "ORDER", "ROWS", "RANGE", "GROUPS"];
    // The name of another window comes first.
    let named = !clauses.iter().any(|clause| is(tokens, open + 1, clause));
    let place = if named { open + 2 } else { open + 1 };
    let mark = word(mark, Some('"'));
    if are(tokens, place, &["PARTITION", "BY"]) {
        edits.insert(place + 2, mark);
        edits.insert(place + 2, Token::Comma);
    } else {
        edits.insert(place, keyword_token("PARTITION"));
        edits.insert(place, keyword_token("BY"));
        edits.insert(place, mark);
    }
}

/// `RANGE '1 day'::interval PRECEDING`: sqlparser takes a string there as a whole interval.
fn frame_offset(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let mut depth = 0_i32;
    for index in (0..at).rev() {
        match &tokens[index].token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            Token::Word(_) if depth == 0 => {
                let begins = ["BETWEEN", "AND", "ROWS", "RANGE", "GROUPS"];
                if begins.iter().any(|keyword| is(tokens, index, keyword)) {
                    let string = matches!(
                        tokens[index + 1].token,
                        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)
                    );
                    if string {
                        edits.insert(index + 1, Token::LParen);
                        edits.insert(at, Token::RParen);
                    }
                    return;
                }
            }
            _ => {}
        }
        if depth < 0 {
            return;
        }
    }
}

/// `USING (a, b) AS c`: sqlparser does not know the alias, which becomes one more name.
fn join_alias(tokens: &[TokenWithSpan], open: usize, edits: &mut Edits) {
    let Some(close) = closing(tokens, open) else { return };
    let Some(Token::Word(alias)) = tokens.get(close + 2).map(|t| &t.token) else { return };
    if !is(tokens, close + 1, "AS") {
        return;
    }
    let name = super::fold_identifier(&datafusion::sql::sqlparser::ast::Ident {
        value: alias.value.clone(),
        quote_style: alias.quote_style,
        span: tokens[close + 2].span,
    });
    // The parenthesis moves to where the alias stands, so that the statement ends there if it does.
    (close..=close + 2).for_each(|at| edits.remove(at));
    edits.insert(close + 2, Token::Comma);
    edits.insert(close + 2, word(&format!("{JOIN_ALIAS}{name}"), Some('"')));
    edits.insert(close + 2, Token::RParen);
}

/// The index of the parenthesis that is open at `at`.
fn opening(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for index in (0..at).rev() {
        match tokens[index].token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(index),
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    None
}

fn keyword_token(text: &str) -> Token {
    Token::make_keyword(text)
}

/// Whether `::type` or `::type(n)` ends in front of `at`.
fn follows_cast(tokens: &[TokenWithSpan], at: usize) -> bool {
    let mut before = at;
    if before >= 3 && tokens[before - 1].token == Token::RParen {
        before -= 3;
    }
    before >= 2
        && matches!(tokens[before - 1].token, Token::Word(_))
        && tokens[before - 2].token == Token::DoubleColon
}

/// `a::text COLLATE "C"`: sqlparser knows COLLATE only next to a name or constant. Collations that
/// compare by bytes, as all text does here, say nothing and go away.
fn collation(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits) {
    let schema = is(tokens, at + 1, "pg_catalog")
        && tokens.get(at + 2).is_some_and(|t| t.token == Token::Period);
    let name = if schema { at + 3 } else { at + 1 };
    let Some(Token::Word(word)) = tokens.get(name).map(|t| &t.token) else { return };
    if ["C", "POSIX", "default", "ucs_basic"].contains(&word.value.as_str()) {
        (at..=name).for_each(|index| edits.remove(index));
    }
}

fn has_comma(tokens: &[TokenWithSpan], open: usize) -> bool {
    let Some(end) = closing(tokens, open) else { return false };
    let mut depth = 0_usize;
    tokens[open + 1..end].iter().any(|token| {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    })
}

/// Whether a comment of the form `/* … */` stands between two places.
fn comment_between(source: &str, from: Location, to: Location) -> bool {
    let (from, to) = (super::byte_of(source, from), super::byte_of(source, to));
    let between = from.zip(to).and_then(|(from, to)| source.get(from..to)).unwrap_or_default();
    between.lines().any(|line| line.split("--").next().unwrap_or_default().contains("/*"))
}

/// String constants that only a line break separates are one; on one line they are an error, where
/// sqlparser takes the second one as a name.
fn joined_strings(
    source: &str,
    tokens: Vec<TokenWithSpan>,
) -> Result<Vec<TokenWithSpan>, SqlError> {
    let pair = |pair: &[TokenWithSpan]| {
        matches!(
            (&pair[0].token, &pair[1].token),
            (
                Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_),
                Token::SingleQuotedString(_)
            )
        )
    };
    if !tokens.windows(2).any(pair) {
        return Ok(tokens);
    }
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let (
            Some(TokenWithSpan {
                token: Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text),
                span,
            }),
            Token::SingleQuotedString(more),
        ) = (result.last_mut(), &token.token)
        else {
            result.push(token);
            continue;
        };
        if span.end.line == token.span.start.line
            || comment_between(source, span.end, token.span.start)
        {
            return Err(unexpected(source, Some(&token)));
        }
        text.push_str(more);
        span.end = token.span.end;
    }
    Ok(result)
}
