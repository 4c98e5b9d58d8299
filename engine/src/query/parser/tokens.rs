//! A cursor over a statement's tokens.

use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token, TokenWithSpan},
};

use crate::{
    error::{SqlError, sqlstate},
    query::statement::{RelationName, Statement},
};

pub(super) struct Cursor<'a> {
    pub(super) source: &'a Arc<str>,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

/// `syntax error at or near "x"`, or at the end.
pub(super) fn unexpected(source: &str, token: Option<&TokenWithSpan>) -> SqlError {
    let Some(token) = token else {
        return unexpected_end(source, &[]);
    };
    let range = (super::byte_of(source, token.span.start), super::byte_of(source, token.span.end));
    let text = match range {
        (Some(start), Some(end)) => source.get(start..end).map(str::to_owned),
        _ => None,
    };
    let text = text.unwrap_or_else(|| token.token.to_string());
    let message = format!("syntax error at or near \"{text}\"");
    let mut error = SqlError::new(sqlstate::SYNTAX_ERROR, message);
    error.position = super::position_of(source, token.span.start);
    error
}

/// A statement that ends too early: at its semicolon, or where the text ends.
pub(super) fn unexpected_end(source: &str, tokens: &[TokenWithSpan]) -> SqlError {
    let end = tokens.last().and_then(|token| super::byte_of(source, token.span.end));
    let rest = end.and_then(|end| source.get(end..)).unwrap_or("");
    match (end, rest.find(';')) {
        (Some(end), Some(at)) if rest[..at].trim().is_empty() => {
            SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at or near \";\"")
                .position(source[..end + at].chars().count() + 1)
        }
        _ => SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at end of input")
            .position(source.chars().count() + 1),
    }
}

/// An identifier as PostgreSQL folds it: lower case unless quoted, cut to 63 bytes.
pub fn fold_identifier(ident: &ast::Ident) -> String {
    let mut name =
        if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    if name.len() > 63 {
        let end = (0..=63).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
        name.truncate(end);
    }
    name
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a Arc<str>, tokens: &'a [TokenWithSpan]) -> Self {
        Self { source, tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.peek_nth(0)
    }

    pub(super) fn peek_nth(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + n).map(|t| &t.token)
    }

    pub(super) fn peek_is(&self, token: &Token) -> bool {
        self.peek() == Some(token)
    }

    /// The next token's text if it is an unquoted word.
    pub(super) fn peek_word(&self) -> Option<&'a str> {
        word(self.peek()?)
    }

    pub(super) fn is_keyword_at(&self, n: usize, keyword: &str) -> bool {
        self.peek_nth(n).and_then(word).is_some_and(|w| w.eq_ignore_ascii_case(keyword))
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// Moves over `n` tokens that were looked at.
    pub(super) fn skip(&mut self, n: usize) {
        self.at = (self.at + n).min(self.tokens.len());
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek_is(token);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword_at(0, keyword);
        self.at += usize::from(found);
        found
    }

    /// All of them or none.
    pub(super) fn eat_keywords(&mut self, keywords: &[&str]) -> bool {
        let found = keywords.iter().enumerate().all(|(n, k)| self.is_keyword_at(n, k));
        if found {
            self.at += keywords.len();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn expect_keyword(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.eat_keyword(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn end(&self) -> Result<(), SqlError> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn unexpected(&self) -> SqlError {
        self.unexpected_at(self.at)
    }

    /// The error of a token that is `n` further on.
    pub(super) fn unexpected_after(&self, n: usize) -> SqlError {
        self.unexpected_at(self.at + n)
    }

    /// Where the next token begins, in characters from 1.
    pub(super) fn position(&self) -> Option<usize> {
        let token = self.tokens.get(self.at)?;
        super::position_of(self.source, token.span.start)
    }

    pub(super) fn unexpected_at(&self, index: usize) -> SqlError {
        match self.tokens.get(index) {
            Some(token) => unexpected(self.source, Some(token)),
            None => unexpected_end(self.source, self.tokens),
        }
    }

    /// Where these keywords follow each other, anywhere in the rest.
    pub(super) fn find_keywords(&self, keywords: &[&str]) -> Option<usize> {
        (0..self.tokens.len().saturating_sub(self.at)).find(|start| {
            keywords.iter().enumerate().all(|(n, k)| self.is_keyword_at(start + n, k))
        })
    }

    /// An identifier, folded.
    pub(super) fn identifier(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) if matches!(word.quote_style, None | Some('"')) => {
                let ident = ast::Ident {
                    value: word.value.clone(),
                    quote_style: word.quote_style,
                    span: Span::empty(),
                };
                self.at += 1;
                Ok(fold_identifier(&ident))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `(a, b, …)`.
    pub(super) fn identifier_list(&mut self) -> Result<Vec<String>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.identifier()?];
        while self.eat(&Token::Comma) {
            names.push(self.identifier()?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// `[schema.]name`.
    pub(super) fn relation_name(&mut self) -> Result<RelationName, SqlError> {
        let start = self.tokens.get(self.at).map(|t| t.span.start);
        let position = start.and_then(|start| super::position_of(self.source, start));
        let mut parts = vec![self.identifier()?];
        while self.eat(&Token::Period) {
            parts.push(self.identifier()?);
        }
        relation_name(parts, position)
    }

    /// A string literal's value.
    pub(super) fn string(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Some(
                Token::SingleQuotedString(s)
                | Token::EscapedStringLiteral(s)
                | Token::NationalStringLiteral(s)
                | Token::UnicodeStringLiteral(s),
            ) => {
                self.at += 1;
                Ok(s.clone())
            }
            Some(Token::DollarQuotedString(s)) => {
                self.at += 1;
                Ok(s.value.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The value of an option in a parenthesised list, if one stands there.
    pub(super) fn option_value(&mut self) -> Option<String> {
        let negative = self.eat(&Token::Minus);
        let value = match self.peek()? {
            Token::Word(word) => word.value.clone(),
            Token::Number(digits, _) if negative => format!("-{digits}"),
            Token::Number(digits, _) => digits.clone(),
            _ => return self.string().ok(),
        };
        self.at += 1;
        Some(value)
    }

    /// The rest as a statement of its own.
    pub(super) fn statement_to_end(&mut self) -> Result<Statement, SqlError> {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        if rest.is_empty() {
            return Err(self.unexpected());
        }
        self.at = self.tokens.len();
        super::parse_statement(self.source, rest)
    }

    /// A statement within CREATE SCHEMA, which ends where the next one begins.
    pub(super) fn schema_element(&mut self) -> Result<Statement, SqlError> {
        let start = self.at;
        self.at += 1;
        self.skip_until(|c| c.is_keyword_at(0, "CREATE") || c.is_keyword_at(0, "GRANT"));
        super::parse_statement(self.source, &self.tokens[start..self.at])
    }

    /// The rest as a statement, less a final `WITH [NO] DATA`; whether data is wanted.
    pub(super) fn query_with_data(&mut self) -> Result<(Statement, bool), SqlError> {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        let tail = |n: usize, keyword: &str| {
            let token = rest.len().checked_sub(n).and_then(|i| rest.get(i));
            token.and_then(|t| word(&t.token)).is_some_and(|w| w.eq_ignore_ascii_case(keyword))
        };
        let (cut, with_data) = if tail(3, "WITH") && tail(2, "NO") && tail(1, "DATA") {
            (3, false)
        } else if tail(2, "WITH") && tail(1, "DATA") {
            (2, true)
        } else {
            (0, true)
        };
        let query = &rest[..rest.len() - cut];
        if query.is_empty() {
            return Err(self.unexpected());
        }
        self.at = self.tokens.len();
        Ok((super::parse_statement(self.source, query)?, with_data))
    }

    /// The rest as a statement, without these keywords at its end.
    pub(super) fn statement_before(&mut self, keywords: &[&str]) -> Result<Statement, SqlError> {
        if !self.ends_with(keywords) || self.at + keywords.len() >= self.tokens.len() {
            return self.statement_to_end();
        }
        let query = &self.tokens[self.at..self.tokens.len() - keywords.len()];
        self.at = self.tokens.len();
        super::parse_statement(self.source, query)
    }

    /// Whether the last tokens are these keywords.
    pub(super) fn ends_with(&self, keywords: &[&str]) -> bool {
        let Some(first) = self.tokens.len().checked_sub(keywords.len()) else { return false };
        first >= self.at
            && self.tokens[first..].iter().zip(keywords).all(|(token, keyword)| {
                word(&token.token).is_some_and(|w| w.eq_ignore_ascii_case(keyword))
            })
    }

    /// Whether nothing follows the next `n` tokens.
    pub(super) fn at_end_after(&self, n: usize) -> bool {
        self.at + n >= self.tokens.len()
    }

    /// `[schema.]relation.column`.
    pub(super) fn column_name(&mut self) -> Result<(RelationName, String), SqlError> {
        let position = self
            .tokens
            .get(self.at)
            .and_then(|token| super::position_of(self.source, token.span.start));
        let mut parts = vec![self.identifier()?];
        while self.eat(&Token::Period) {
            parts.push(self.identifier()?);
        }
        let column = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "column name must be qualified"));
        }
        Ok((relation_name(parts, position)?, column))
    }

    /// `(statement)`.
    pub(super) fn parenthesised_statement(&mut self) -> Result<Statement, SqlError> {
        self.expect(&Token::LParen)?;
        let start = self.at;
        self.skip_until(|_| false);
        let inside = &self.tokens[start..self.at];
        self.expect(&Token::RParen)?;
        super::parse_statement(self.source, inside)
    }

    /// Moves to the first token outside parentheses and brackets that is a closing one or satisfies `stop`.
    pub(super) fn skip_until(&mut self, mut stop: impl FnMut(&Self) -> bool) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth == 0 => return,
                Token::RParen | Token::RBracket => depth -= 1,
                _ if depth == 0 && stop(self) => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The source text of what `advance` moves over, and its tokens.
    pub(super) fn text_of(
        &mut self,
        advance: impl FnOnce(&mut Self),
    ) -> Result<(String, &'a [TokenWithSpan]), SqlError> {
        let start = self.at;
        advance(self);
        let tokens = &self.tokens[start..self.at];
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return Err(self.unexpected());
        };
        let bytes = (
            super::byte_of(self.source, first.span.start),
            super::byte_of(self.source, last.span.end),
        );
        let text = match bytes {
            (Some(from), Some(to)) => self.source.get(from..to).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        Ok((text, tokens))
    }

    /// A type name.
    pub(super) fn data_type(&mut self) -> Result<ast::DataType, SqlError> {
        self.sqlparser(|parser| parser.parse_data_type())
    }

    pub(super) fn query_to_end(&mut self) -> Result<Box<ast::Query>, SqlError> {
        self.sqlparser_to_end(|parser| parser.parse_query())
    }

    pub(super) fn expression_to_end(&mut self) -> Result<ast::Expr, SqlError> {
        self.sqlparser_to_end(|parser| parser.parse_expr())
    }

    pub(super) fn sqlparser_to_end<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        let parsed = self.sqlparser(parse)?;
        self.end()?;
        Ok(parsed)
    }

    /// Lets sqlparser parse something from here on.
    pub(super) fn sqlparser<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        let mut parser = super::sqlparser(rest);
        match parse(&mut parser) {
            Ok(parsed) => {
                self.at += parser.index().min(rest.len());
                Ok(parsed)
            }
            Err(error) => Err(super::syntax_error(self.source, rest, error)),
        }
    }
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    }
}

/// A relation name from its folded parts.
pub fn relation_name(
    mut parts: Vec<String>,
    position: Option<usize>,
) -> Result<RelationName, SqlError> {
    let too_many = |parts: &[String]| {
        let mut error = SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
        );
        error.position = position;
        error
    };
    if parts.len() > 2 {
        return Err(too_many(&parts));
    }
    let name = parts.pop().unwrap_or_default();
    Ok(RelationName { schema: parts.pop(), name, position })
}
