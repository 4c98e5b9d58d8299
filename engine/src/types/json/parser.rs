//! JSON text to a tree that knows where in the text everything stands.

use std::borrow::Cow;

use super::{
    DEPTH_MAX,
    lexer::{Fault, Lexer, Token},
    on_stack, too_deep,
};
use crate::error::SqlError;

/// A value of JSON text.
#[derive(Clone, Debug)]
pub struct Tree<'t> {
    /// The value as it stands in the text, without the blanks around it.
    pub text: &'t str,
    pub value: Value<'t>,
}

#[derive(Clone, Debug)]
pub enum Value<'t> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'t str),
    String(Cow<'t, str>),
    Array(Vec<Tree<'t>>),
    /// In the order of the text; keys may repeat.
    Object(Vec<(Cow<'t, str>, Tree<'t>)>),
}

enum Failure {
    Fault(Fault),
    TooDeep,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a text.
///
/// # Errors
/// 22P02 with PostgreSQL's words, 22P05 for `\u0000`, 54001 for more than [`DEPTH_MAX`] levels.
pub fn parse(text: &str) -> Result<Tree<'_>, SqlError> {
    run(text, true)
}

/// Checks a text, as input of type `json` does: escapes are not looked into.
///
/// # Errors
/// Those of [`parse`] but 22P05.
pub fn validate(text: &str) -> Result<(), SqlError> {
    run(text, false).map(drop)
}

fn run(text: &str, reads_strings: bool) -> Result<Tree<'_>, SqlError> {
    let mut parser = Parser { text, lexer: Lexer::new(text, reads_strings), keeps: reads_strings };
    parser.whole().map_err(|failure| match failure {
        Failure::Fault(fault) => parser.lexer.error(fault),
        Failure::TooDeep => too_deep(),
    })
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    /// Whether the tree is wanted.
    keeps: bool,
}

impl<'t> Parser<'t> {
    fn whole(&mut self) -> Result<Tree<'t>, Failure> {
        self.lexer.next()?;
        let tree = self.value(0)?;
        match self.lexer.token {
            Token::End => Ok(tree),
            _ => Err(self.unexpected(Fault::ExpectedEnd)),
        }
    }

    fn unexpected(&self, fault: Fault) -> Failure {
        Failure::Fault(if self.lexer.token == Token::End { Fault::ExpectedMore } else { fault })
    }

    fn expect(&mut self, token: Token, fault: Fault) -> Result<(), Failure> {
        if self.lexer.token != token {
            return Err(self.unexpected(fault));
        }
        Ok(self.lexer.next()?)
    }

    fn value(&mut self, depth: usize) -> Result<Tree<'t>, Failure> {
        let start = self.lexer.start;
        let value = match self.lexer.token {
            Token::ObjectStart | Token::ArrayStart if depth >= DEPTH_MAX => {
                return Err(Failure::TooDeep);
            }
            Token::ObjectStart => Value::Object(on_stack(|| self.object(depth + 1))?),
            Token::ArrayStart => Value::Array(on_stack(|| self.array(depth + 1))?),
            _ => self.scalar()?,
        };
        Ok(Tree { text: &self.text[start..self.lexer.previous_end], value })
    }

    fn scalar(&mut self) -> Result<Value<'t>, Failure> {
        let value = match self.lexer.token {
            Token::Null => Value::Null,
            Token::True => Value::Bool(true),
            Token::False => Value::Bool(false),
            Token::Number => Value::Number(&self.text[self.lexer.start..self.lexer.end]),
            Token::String => Value::String(std::mem::take(&mut self.lexer.string)),
            _ => return Err(self.unexpected(Fault::ExpectedValue)),
        };
        self.lexer.next()?;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Tree<'t>>, Failure> {
        let mut items = Vec::new();
        self.expect(Token::ArrayStart, Fault::ExpectedArrayFirst)?;
        if self.lexer.token != Token::ArrayEnd {
            loop {
                let item = self.value(depth)?;
                if self.keeps {
                    items.push(item);
                }
                if self.lexer.token != Token::Comma {
                    break;
                }
                self.lexer.next()?;
            }
        }
        self.expect(Token::ArrayEnd, Fault::ExpectedArrayNext)?;
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(Cow<'t, str>, Tree<'t>)>, Failure> {
        let mut fields = Vec::new();
        self.lexer.next()?;
        match self.lexer.token {
            Token::String => loop {
                let field = self.field(depth)?;
                if self.keeps {
                    fields.push(field);
                }
                if self.lexer.token != Token::Comma {
                    break;
                }
                self.lexer.next()?;
            },
            Token::ObjectEnd => {}
            _ => return Err(self.unexpected(Fault::ExpectedObjectFirst)),
        }
        self.expect(Token::ObjectEnd, Fault::ExpectedObjectNext)?;
        Ok(fields)
    }

    fn field(&mut self, depth: usize) -> Result<(Cow<'t, str>, Tree<'t>), Failure> {
        if self.lexer.token != Token::String {
            return Err(self.unexpected(Fault::ExpectedString));
        }
        let name = std::mem::take(&mut self.lexer.string);
        self.lexer.next()?;
        self.expect(Token::Colon, Fault::ExpectedColon)?;
        Ok((name, self.value(depth)?))
    }
}
