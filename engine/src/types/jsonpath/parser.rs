//! jsonpath text to steps.

use super::{
    ANY_DEPTH, Binary, JsonPath, Method, Path, RegexFlags, Step,
    lexer::{Lexer, Token},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{json::on_stack, text::canonical_numeric},
};

/// How deep expressions may nest, and how long chains of operators may be: what walks them recurses.
const DEPTH_MAX: usize = 1_000;

/// Words with a meaning of their own, and whether they have it in lower case only.
const KEYWORDS: [(&str, bool); 22] = [
    ("is", false),
    ("to", false),
    ("abs", false),
    ("lax", false),
    ("flag", false),
    ("last", false),
    ("null", true),
    ("size", false),
    ("true", true),
    ("type", false),
    ("with", false),
    ("false", true),
    ("floor", false),
    ("double", false),
    ("exists", false),
    ("starts", false),
    ("strict", false),
    ("ceiling", false),
    ("unknown", false),
    ("datetime", false),
    ("keyvalue", false),
    ("like_regex", false),
];

fn keyword(word: &str) -> Option<&'static str> {
    KEYWORDS
        .into_iter()
        .find(
            |(keyword, lower)| {
                if *lower { word == *keyword } else { word.eq_ignore_ascii_case(keyword) }
            },
        )
        .map(|(keyword, _)| keyword)
}

/// Reads a path.
///
/// # Errors
/// 42601 and 22P02 with PostgreSQL's words, 2201B for a pattern that is no regular expression,
/// 54001 for one that nests too deep.
pub fn parse(text: &str) -> Result<JsonPath, SqlError> {
    let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
    parser.lexer.next()?;
    if parser.lexer.token == Token::End {
        let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
    }
    let strict = parser.eats_word("strict")?;
    if !strict {
        parser.eats_word("lax")?;
    }
    let path = parser.or()?;
    if parser.lexer.token != Token::End {
        return Err(parser.lexer.syntax_error());
    }
    check(&path, false, false)?;
    Ok(JsonPath { strict, path })
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    depth: usize,
}

impl Parser<'_> {
    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.lexer.token, Token::Symbol(s) if s == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.lexer.token, Token::Word(w) if keyword(w) == Some(word))
    }

    fn eats(&mut self, symbol: &str) -> Result<bool, SqlError> {
        let found = self.is_symbol(symbol);
        if found {
            self.lexer.next()?;
        }
        Ok(found)
    }

    fn eats_word(&mut self, word: &str) -> Result<bool, SqlError> {
        let found = self.is_word(word);
        if found {
            self.lexer.next()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.eats(symbol)? { Ok(()) } else { Err(self.lexer.syntax_error()) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.eats_word(word)? { Ok(()) } else { Err(self.lexer.syntax_error()) }
    }

    /// Runs what recurses.
    fn deeper<R>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<R, SqlError>,
    ) -> Result<R, SqlError> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        let result = on_stack(|| body(self));
        self.depth -= 1;
        result
    }

    /// The path, if it is a condition, or is none: errors otherwise.
    fn of_kind(&self, path: Path, predicate: bool) -> Result<Path, SqlError> {
        if is_predicate(&path) == predicate { Ok(path) } else { Err(self.lexer.syntax_error()) }
    }

    /// A chain of operators of one strength.
    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Path, SqlError>,
        operators: &[Binary],
        predicates: bool,
    ) -> Result<Path, SqlError> {
        let mut left = operand(self)?;
        let mut length = 0;
        loop {
            let found = operators.iter().find(|operator| self.is_symbol(operator.symbol()));
            let Some(operator) = found else { return Ok(left) };
            left = self.of_kind(left, predicates)?;
            length += 1;
            if length > DEPTH_MAX {
                return Err(too_deep());
            }
            self.lexer.next()?;
            let right = operand(self)?;
            let right = self.of_kind(right, predicates)?;
            left = vec![Step::Binary(*operator, left, right)];
        }
    }

    fn or(&mut self) -> Result<Path, SqlError> {
        self.chain(Self::and, &[Binary::Or], true)
    }

    fn and(&mut self) -> Result<Path, SqlError> {
        self.chain(Self::not, &[Binary::And], true)
    }

    fn not(&mut self) -> Result<Path, SqlError> {
        if !self.eats("!")? {
            return self.comparison();
        }
        let inner = if self.is_word("exists") {
            self.primary()?
        } else {
            self.expect("(")?;
            let inner = self.deeper(Self::or)?;
            let inner = self.of_kind(inner, true)?;
            self.expect(")")?;
            inner
        };
        Ok(vec![Step::Not(inner)])
    }

    fn comparison(&mut self) -> Result<Path, SqlError> {
        use Binary::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let left = self.sum()?;
        let operator = match &self.lexer.token {
            Token::Symbol("==") => Equal,
            Token::Symbol("!=" | "<>") => NotEqual,
            Token::Symbol("<") => Less,
            Token::Symbol("<=") => LessOrEqual,
            Token::Symbol(">") => Greater,
            Token::Symbol(">=") => GreaterOrEqual,
            Token::Word(_) if self.is_word("starts") => {
                let value = self.of_kind(left, false)?;
                self.lexer.next()?;
                self.expect_word("with")?;
                let start = match &self.lexer.token {
                    Token::String(text) => Step::String(text.clone()),
                    Token::Variable(name) => Step::Variable(name.clone()),
                    _ => return Err(self.lexer.syntax_error()),
                };
                self.lexer.next()?;
                return Ok(vec![Step::Binary(Binary::StartsWith, value, vec![start])]);
            }
            Token::Word(_) if self.is_word("like_regex") => {
                let value = self.of_kind(left, false)?;
                self.lexer.next()?;
                return self.like_regex(value);
            }
            _ => return Ok(left),
        };
        let left = self.of_kind(left, false)?;
        self.lexer.next()?;
        let right = self.sum()?;
        let right = self.of_kind(right, false)?;
        Ok(vec![Step::Binary(operator, left, right)])
    }

    fn string(&mut self) -> Result<String, SqlError> {
        let Token::String(text) = &self.lexer.token else {
            return Err(self.lexer.syntax_error());
        };
        let text = text.clone();
        self.lexer.next()?;
        Ok(text)
    }

    fn like_regex(&mut self, value: Path) -> Result<Path, SqlError> {
        let pattern = self.string()?;
        let flags = if self.eats_word("flag")? { self.string()? } else { String::new() };
        let flags = regex_flags(&flags)?;
        Ok(vec![Step::LikeRegex { value, pattern, flags }])
    }

    fn sum(&mut self) -> Result<Path, SqlError> {
        self.chain(Self::product, &[Binary::Add, Binary::Subtract], false)
    }

    fn product(&mut self) -> Result<Path, SqlError> {
        self.chain(Self::unary, &[Binary::Multiply, Binary::Divide, Binary::Modulo], false)
    }

    fn unary(&mut self) -> Result<Path, SqlError> {
        let minus = self.is_symbol("-");
        if !minus && !self.is_symbol("+") {
            return self.primary();
        }
        self.lexer.next()?;
        let operand = self.deeper(Self::unary)?;
        let operand = self.of_kind(operand, false)?;
        Ok(match operand.as_slice() {
            [Step::Number(text)] if minus => vec![Step::Number(match text.strip_prefix('-') {
                Some(positive) => positive.to_owned(),
                None if text.bytes().all(|b| matches!(b, b'0' | b'.')) => text.clone(),
                None => format!("-{text}"),
            })],
            [Step::Number(_)] => operand,
            _ if minus => vec![Step::Minus(operand)],
            _ => vec![Step::Plus(operand)],
        })
    }

    fn primary(&mut self) -> Result<Path, SqlError> {
        let first = match self.lexer.token.clone() {
            Token::Symbol("(") => return self.parenthesis(),
            Token::Symbol("$") => Step::Root,
            Token::Symbol("@") => Step::Current,
            Token::String(text) => Step::String(text),
            Token::Variable(name) => Step::Variable(name),
            Token::Integer(text) | Token::Number(text) => Step::Number(canonical_numeric(&text)?),
            Token::Word(word) => match keyword(&word) {
                Some("null") => Step::Null,
                Some("true") => Step::Bool(true),
                Some("false") => Step::Bool(false),
                Some("last") => Step::Last,
                Some("exists") => {
                    self.lexer.next()?;
                    self.expect("(")?;
                    let inner = self.deeper(Self::or)?;
                    let inner = self.of_kind(inner, false)?;
                    self.expect(")")?;
                    return Ok(vec![Step::Exists(inner)]);
                }
                _ => return Err(self.lexer.syntax_error()),
            },
            _ => return Err(self.lexer.syntax_error()),
        };
        self.lexer.next()?;
        let mut path = vec![first];
        self.accessors(&mut path)?;
        Ok(path)
    }

    fn parenthesis(&mut self) -> Result<Path, SqlError> {
        self.lexer.next()?;
        let mut path = self.deeper(Self::or)?;
        self.expect(")")?;
        if is_predicate(&path) && self.is_word("is") {
            self.lexer.next()?;
            self.expect_word("unknown")?;
            return Ok(vec![Step::IsUnknown(path)]);
        }
        self.accessors(&mut path)?;
        Ok(path)
    }

    fn accessors(&mut self, path: &mut Path) -> Result<(), SqlError> {
        loop {
            let step = if self.eats(".")? {
                self.member()?
            } else if self.eats("[")? {
                self.elements()?
            } else if self.eats("?")? {
                self.expect("(")?;
                let condition = self.deeper(Self::or)?;
                let condition = self.of_kind(condition, true)?;
                self.expect(")")?;
                Step::Filter(condition)
            } else {
                return Ok(());
            };
            path.push(step);
        }
    }

    fn member(&mut self) -> Result<Step, SqlError> {
        if self.eats("*")? {
            return Ok(Step::AnyKey);
        }
        if self.eats("**")? {
            return self.levels();
        }
        let (name, word) = match self.lexer.token.clone() {
            Token::String(name) => (name, None),
            Token::Word(name) => {
                let word = keyword(&name);
                (name, word)
            }
            _ => return Err(self.lexer.syntax_error()),
        };
        self.lexer.next()?;
        if !self.is_symbol("(") {
            return Ok(Step::Key(name));
        }
        let method = match word {
            Some("type") => Method::Type,
            Some("size") => Method::Size,
            Some("double") => Method::Double,
            Some("ceiling") => Method::Ceiling,
            Some("floor") => Method::Floor,
            Some("abs") => Method::Abs,
            Some("keyvalue") => Method::KeyValue,
            Some("datetime") => {
                self.lexer.next()?;
                let template = match self.is_symbol(")") {
                    true => None,
                    false => Some(self.string()?),
                };
                self.expect(")")?;
                return Ok(Step::Datetime(template));
            }
            _ => return Err(self.lexer.syntax_error()),
        };
        self.lexer.next()?;
        self.expect(")")?;
        Ok(Step::Method(method))
    }

    fn levels(&mut self) -> Result<Step, SqlError> {
        if !self.eats("{")? {
            return Ok(Step::Any { first: 0, last: ANY_DEPTH });
        }
        let first = self.level()?;
        let last = if self.eats_word("to")? { self.level()? } else { first };
        self.expect("}")?;
        Ok(Step::Any { first, last })
    }

    fn level(&mut self) -> Result<u32, SqlError> {
        let level = match &self.lexer.token {
            Token::Word(_) if self.is_word("last") => ANY_DEPTH,
            Token::Integer(text) => text.parse::<i32>().map_err(|_| {
                let message = format!("value \"{text}\" is out of range for type integer");
                SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
            })? as u32,
            _ => return Err(self.lexer.syntax_error()),
        };
        self.lexer.next()?;
        Ok(level)
    }

    fn elements(&mut self) -> Result<Step, SqlError> {
        if self.eats("*")? {
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        let mut elements = Vec::new();
        loop {
            let from = self.subscript()?;
            let to = if self.eats_word("to")? { Some(self.subscript()?) } else { None };
            elements.push((from, to));
            if !self.eats(",")? {
                break;
            }
        }
        self.expect("]")?;
        Ok(Step::Elements(elements))
    }

    fn subscript(&mut self) -> Result<Path, SqlError> {
        let path = self.deeper(Self::sum)?;
        self.of_kind(path, false)
    }
}

fn is_predicate(path: &[Step]) -> bool {
    matches!(path, [only] if only.is_predicate())
}

fn too_deep() -> SqlError {
    SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .detail(format!("A jsonpath nests at most {DEPTH_MAX} levels deep."))
}

fn regex_flags(text: &str) -> Result<RegexFlags, SqlError> {
    let mut flags = RegexFlags::default();
    for c in text.chars() {
        match c {
            'i' => flags.ignore_case = true,
            's' => flags.dot_all = true,
            'm' => flags.multi_line = true,
            'x' => flags.expanded = true,
            'q' => flags.quote = true,
            c => {
                let message = "invalid input syntax for type jsonpath";
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).detail(format!(
                    "Unrecognized flag character \"{c}\" in LIKE_REGEX predicate."
                )));
            }
        }
    }
    if flags.expanded && !flags.quote {
        let message = "XQuery \"x\" flag (expanded regular expressions) is not implemented";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(flags)
}

/// Refuses `@` outside of filters and `last` outside of subscripts.
fn check(path: &[Step], in_filter: bool, in_subscript: bool) -> Result<(), SqlError> {
    let syntax = |message: &str| Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    let inner = |path: &Path| on_stack(|| check(path, in_filter, in_subscript));
    for step in path {
        match step {
            Step::Current if !in_filter => return syntax("@ is not allowed in root expressions"),
            Step::Last if !in_subscript => {
                return syntax("LAST is allowed only in array subscripts");
            }
            Step::Filter(path) => on_stack(|| check(path, true, in_subscript))?,
            Step::Plus(path)
            | Step::Minus(path)
            | Step::Not(path)
            | Step::IsUnknown(path)
            | Step::Exists(path)
            | Step::LikeRegex { value: path, .. } => inner(path)?,
            Step::Binary(_, left, right) => {
                inner(left)?;
                inner(right)?;
            }
            Step::Elements(elements) => {
                for (from, to) in elements {
                    for path in std::iter::once(from).chain(to) {
                        on_stack(|| check(path, in_filter, true))?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
