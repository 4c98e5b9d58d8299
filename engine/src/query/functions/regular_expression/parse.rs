//! Patterns as trees.

use super::{
    Options, Syntax,
    arrange::without_groups,
    invalid,
    set::{Class, Set},
};
use crate::error::SqlError;

/// A part of an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Empty,
    Set(Set),
    Sequence(Vec<Self>),
    Either(Vec<Self>),
    /// A group with its number, from 1.
    Group(usize, Box<Self>),
    Repeat(Box<Repeat>),
    /// What the group with this number matched.
    Back {
        group: usize,
        ignore_case: bool,
    },
    Assertion(Assertion),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Repeat {
    pub(super) of: Node,
    pub(super) least: u32,
    /// `None`: as often as it goes.
    pub(super) most: Option<u32>,
    pub(super) greedy: bool,
    /// Written as `{m}`: prefers what the part itself prefers.
    pub(super) fixed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Assertion {
    TextStart,
    TextEnd,
    /// Of a line or of the text.
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    /// Between a word and what is none, or anywhere else.
    WordEdge(bool),
    Look {
        ahead: bool,
        wanted: bool,
        at: Box<Node>,
    },
}

impl Node {
    /// Whether the part prefers the longest match; `None`: it has no choice.
    pub(super) fn greedy(&self) -> Option<bool> {
        match self {
            Self::Empty | Self::Set(_) | Self::Back { .. } | Self::Assertion(_) => None,
            Self::Sequence(parts) => parts.iter().find_map(Self::greedy),
            Self::Either(_) => Some(true),
            Self::Group(_, inner) => inner.greedy(),
            Self::Repeat(repeat) if repeat.fixed => repeat.of.greedy(),
            Self::Repeat(repeat) => Some(repeat.greedy),
        }
    }

    pub(super) fn refers_back(&self) -> bool {
        match self {
            Self::Empty | Self::Set(_) | Self::Assertion(_) => false,
            Self::Back { .. } => true,
            Self::Sequence(parts) | Self::Either(parts) => parts.iter().any(Self::refers_back),
            Self::Group(_, inner) => inner.refers_back(),
            Self::Repeat(repeat) => repeat.of.refers_back(),
        }
    }

    /// Whether there is something in it that a match must be taken apart for.
    pub(super) fn has_groups(&self) -> bool {
        match self {
            Self::Empty | Self::Set(_) | Self::Assertion(_) => false,
            Self::Sequence(parts) | Self::Either(parts) => parts.iter().any(Self::has_groups),
            Self::Group(..) | Self::Back { .. } => true,
            Self::Repeat(repeat) => repeat.of.has_groups(),
        }
    }
}

pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) groups: usize,
}

/// Repetitions that may be asked for.
const REPEAT_MAX: u32 = 255;
/// Parentheses in each other.
const DEPTH_MAX: usize = 200;

pub(super) fn parse(pattern: &str, mut options: Options) -> Result<Parsed, SqlError> {
    let mut pattern = pattern;
    if options.syntax == Syntax::Advanced {
        if let Some(rest) = pattern.strip_prefix("***=") {
            (options.syntax, pattern) = (Syntax::Literal, rest);
        } else if let Some(rest) = pattern.strip_prefix("***:") {
            pattern = rest;
        } else if pattern.starts_with("***") {
            return Err(no_operand());
        }
    }
    if options.syntax == Syntax::Advanced
        && let Some(letters) = pattern.strip_prefix("(?")
        && letters.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        let end = letters.find(')').ok_or_else(|| invalid("invalid embedded option"))?;
        if !letters[..end].chars().all(|letter| options.take(letter)) {
            return Err(invalid("invalid embedded option"));
        }
        pattern = &letters[end + 1..];
    }
    if options.syntax == Syntax::Literal {
        let sets = pattern.chars().map(|c| Node::Set(Set::of(c, options.ignore_case)));
        return Ok(Parsed { root: Node::Sequence(sets.collect()), groups: 0 });
    }
    let chars = pattern.chars().collect();
    let mut parser = Parser { chars, at: 0, options, groups: 0, closed: Vec::new(), depth: 0 };
    let root = parser.alternatives()?;
    if parser.at < parser.chars.len() {
        return Err(unbalanced());
    }
    Ok(Parsed { root, groups: parser.groups })
}

fn unbalanced() -> SqlError {
    invalid("parentheses () not balanced")
}

fn bad_escape() -> SqlError {
    invalid("invalid escape \\ sequence")
}

fn no_operand() -> SqlError {
    invalid("quantifier operand invalid")
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    options: Options,
    groups: usize,
    /// Groups that are complete: what back references may name.
    closed: Vec<usize>,
    depth: usize,
}

/// What an escape is.
enum Escape {
    Char(char),
    Node(Node),
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn looks_at(&self, text: &str) -> bool {
        text.chars().zip(self.at..).all(|(c, at)| self.chars.get(at) == Some(&c))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.looks_at(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn basic(&self) -> bool {
        self.options.syntax == Syntax::Basic
    }

    fn advanced(&self) -> bool {
        self.options.syntax == Syntax::Advanced
    }

    fn set(&self, c: char) -> Node {
        Node::Set(Set::of(c, self.options.ignore_case))
    }

    /// White space and comments, where they do not count.
    fn skip(&mut self) -> Result<(), SqlError> {
        loop {
            match self.peek() {
                Some(c) if self.options.expanded && c.is_whitespace() => self.at += 1,
                Some('#') if self.options.expanded => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                Some('(') if self.advanced() && self.looks_at("(?#") => {
                    while self.peek().is_some_and(|c| c != ')') {
                        self.at += 1;
                    }
                    if self.peek().is_none() {
                        return Err(unbalanced());
                    }
                    self.at += 1;
                }
                _ => return Ok(()),
            }
        }
    }

    fn ends_branch(&self) -> bool {
        match self.peek() {
            None => true,
            Some('|' | ')') if !self.basic() => true,
            _ => self.basic() && self.looks_at("\\)"),
        }
    }

    fn alternatives(&mut self) -> Result<Node, SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid("regular expression is too complex"));
        }
        let mut branches = vec![self.branch()?];
        while !self.basic() && self.eat("|") {
            branches.push(self.branch()?);
        }
        self.depth -= 1;
        if branches.len() == 1 {
            return Ok(branches.remove(0));
        }
        Ok(Node::Either(branches))
    }

    fn branch(&mut self) -> Result<Node, SqlError> {
        let mut parts = Vec::new();
        self.skip()?;
        while !self.ends_branch() {
            let atom = self.atom(parts.is_empty())?;
            self.skip()?;
            parts.push(self.quantified(atom)?);
            self.skip()?;
        }
        Ok(match parts.len() {
            0 => Node::Empty,
            1 => parts.remove(0),
            _ => Node::Sequence(parts),
        })
    }

    fn atom(&mut self, first: bool) -> Result<Node, SqlError> {
        let Some(c) = self.peek() else { return Ok(Node::Empty) };
        self.at += 1;
        if self.basic() {
            return self.basic_atom(c, first);
        }
        Ok(match c {
            '(' => return self.group(),
            '*' | '+' | '?' => return Err(no_operand()),
            '{' if !self.advanced() || self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                return Err(no_operand());
            }
            '^' => self.line_start(),
            '$' => self.line_end(),
            '.' => Node::Set(Set::any(self.options.within_lines)),
            '[' => return self.bracket(),
            '\\' if self.advanced() => match self.escape(false)? {
                Escape::Char(c) => self.set(c),
                Escape::Node(node) => node,
            },
            '\\' => {
                let next = self.peek().ok_or_else(bad_escape)?;
                self.at += 1;
                self.set(next)
            }
            c => self.set(c),
        })
    }

    fn line_start(&self) -> Node {
        Node::Assertion(match self.options.line_anchors {
            true => Assertion::LineStart,
            false => Assertion::TextStart,
        })
    }

    fn line_end(&self) -> Node {
        Node::Assertion(match self.options.line_anchors {
            true => Assertion::LineEnd,
            false => Assertion::TextEnd,
        })
    }

    fn basic_atom(&mut self, c: char, first: bool) -> Result<Node, SqlError> {
        let starts = first;
        Ok(match c {
            '^' if starts => self.line_start(),
            '$' if self.ends_branch() => self.line_end(),
            '.' => Node::Set(Set::any(self.options.within_lines)),
            '[' => return self.bracket(),
            '\\' => {
                let next = self.peek().ok_or_else(bad_escape)?;
                self.at += 1;
                match next {
                    '(' => return self.group(),
                    '{' => return Err(no_operand()),
                    '<' => Node::Assertion(Assertion::WordStart),
                    '>' => Node::Assertion(Assertion::WordEnd),
                    '1'..='9' => self.back_reference(next as usize - '0' as usize)?,
                    other => self.set(other),
                }
            }
            c => self.set(c),
        })
    }

    fn back_reference(&self, group: usize) -> Result<Node, SqlError> {
        if !self.closed.contains(&group) {
            return Err(invalid("invalid backreference number"));
        }
        Ok(Node::Back { group, ignore_case: self.options.ignore_case })
    }

    /// Behind an opening parenthesis.
    fn group(&mut self) -> Result<Node, SqlError> {
        let kinds = [
            ("?:", None),
            ("?=", Some((true, true))),
            ("?!", Some((true, false))),
            ("?<=", Some((false, true))),
            ("?<!", Some((false, false))),
        ];
        if self.advanced() && self.looks_at("?") {
            for (mark, look) in kinds {
                if !self.eat(mark) {
                    continue;
                }
                let before = self.groups;
                let inner = self.alternatives()?;
                self.close()?;
                let Some((ahead, wanted)) = look else { return Ok(inner) };
                // Its groups capture nothing.
                self.groups = before;
                self.closed.retain(|group| *group <= before);
                let at = Box::new(without_groups(inner));
                return Ok(Node::Assertion(Assertion::Look { ahead, wanted, at }));
            }
            return Err(no_operand());
        }
        self.groups += 1;
        let number = self.groups;
        let inner = self.alternatives()?;
        self.close()?;
        self.closed.push(number);
        Ok(Node::Group(number, Box::new(inner)))
    }

    fn close(&mut self) -> Result<(), SqlError> {
        let mark = if self.basic() { "\\)" } else { ")" };
        if self.eat(mark) { Ok(()) } else { Err(unbalanced()) }
    }

    fn quantified(&mut self, atom: Node) -> Result<Node, SqlError> {
        let (mut atom, mut before) = (atom, false);
        while let Some((least, most, fixed)) = self.quantifier()? {
            // Neither an assertion nor what is repeated already.
            if before || matches!(atom, Node::Assertion(_)) {
                return Err(no_operand());
            }
            let greedy = !(self.advanced() && self.eat("?"));
            atom = Node::Repeat(Box::new(Repeat { of: atom, least, most, greedy, fixed }));
            before = true;
            self.skip()?;
        }
        Ok(atom)
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>, bool)>, SqlError> {
        let braces = if self.basic() { "\\{" } else { "{" };
        Ok(match self.peek() {
            Some('*') => {
                self.at += 1;
                Some((0, None, false))
            }
            Some('+') if !self.basic() => {
                self.at += 1;
                Some((1, None, false))
            }
            Some('?') if !self.basic() => {
                self.at += 1;
                Some((0, Some(1), false))
            }
            Some(_) if self.looks_at(braces) => {
                let width = braces.len();
                let digit = self.chars.get(self.at + width).is_some_and(char::is_ascii_digit);
                if self.advanced() && !digit {
                    return Ok(None);
                }
                self.at += width;
                Some(self.bounds()?)
            }
            _ => None,
        })
    }

    fn number(&mut self) -> Result<Option<u32>, SqlError> {
        let mut value = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let next = value.unwrap_or(0) * 10 + digit;
            if next > REPEAT_MAX {
                return Err(invalid("invalid repetition count(s)"));
            }
            value = Some(next);
            self.at += 1;
        }
        Ok(value)
    }

    fn bounds(&mut self) -> Result<(u32, Option<u32>, bool), SqlError> {
        let wrong = || invalid("invalid repetition count(s)");
        let least = self.number()?.ok_or_else(wrong)?;
        let (most, fixed) =
            if self.eat(",") { (self.number()?, false) } else { (Some(least), true) };
        if !self.eat(if self.basic() { "\\}" } else { "}" }) {
            let ends = self.peek().is_none();
            return Err(if ends { invalid("braces {} not balanced") } else { wrong() });
        }
        if most.is_some_and(|most| most < least) {
            return Err(wrong());
        }
        Ok((least, most, fixed))
    }

    /// Behind a backslash.
    fn escape(&mut self, in_bracket: bool) -> Result<Escape, SqlError> {
        let c = self.peek().ok_or_else(bad_escape)?;
        self.at += 1;
        let class = |class, negated| Escape::Node(Node::Set(Set::class(class, negated)));
        let assertion = |assertion| Escape::Node(Node::Assertion(assertion));
        Ok(match c {
            'a' => Escape::Char('\x07'),
            'b' => Escape::Char('\x08'),
            'B' => Escape::Char('\\'),
            'c' => {
                let control = self.peek().ok_or_else(bad_escape)?;
                self.at += 1;
                Escape::Char(char::from_u32(u32::from(control) & 0x1f).ok_or_else(bad_escape)?)
            }
            'e' => Escape::Char('\x1b'),
            'f' => Escape::Char('\x0c'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\x0b'),
            'u' => Escape::Char(self.code(16, 4, 4)?),
            'U' => Escape::Char(self.code(16, 8, 8)?),
            'x' => Escape::Char(self.code(16, 1, 255)?),
            'd' => class(Class::Digit, false),
            'D' => class(Class::Digit, true),
            's' => class(Class::Space, false),
            'S' => class(Class::Space, true),
            'w' => class(Class::Word, false),
            'W' => class(Class::Word, true),
            '0'..='9' if in_bracket || c == '0' => {
                self.at -= 1;
                Escape::Char(self.code(8, 1, 3)?)
            }
            '1'..='9' => return self.numbered(c),
            _ if in_bracket && c.is_ascii_alphanumeric() => return Err(bad_escape()),
            'A' => assertion(Assertion::TextStart),
            'Z' => assertion(Assertion::TextEnd),
            'm' => assertion(Assertion::WordStart),
            'M' => assertion(Assertion::WordEnd),
            'y' => assertion(Assertion::WordEdge(true)),
            'Y' => assertion(Assertion::WordEdge(false)),
            c if c.is_ascii_alphanumeric() => return Err(bad_escape()),
            c => Escape::Char(c),
        })
    }

    /// A back reference, or several digits that are a character in octal.
    fn numbered(&mut self, first: char) -> Result<Escape, SqlError> {
        let start = self.at - 1;
        let mut group = first as usize - '0' as usize;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)).filter(|_| group < 100) {
            group = group * 10 + digit as usize;
            self.at += 1;
        }
        if self.at - start == 1 || group <= self.groups {
            return self.back_reference(group).map(Escape::Node);
        }
        self.at = start;
        self.code(8, 1, 3).map(Escape::Char)
    }

    /// A character by the digits of its number.
    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char, SqlError> {
        let (mut value, mut count) = (0_u32, 0);
        while count < most
            && let Some(digit) = self.peek().and_then(|c| c.to_digit(radix))
        {
            value = value.saturating_mul(radix).saturating_add(digit);
            self.at += 1;
            count += 1;
        }
        let found = char::from_u32(value).filter(|_| count >= least);
        found.ok_or_else(bad_escape)
    }

    /// Behind an opening bracket.
    fn bracket(&mut self) -> Result<Node, SqlError> {
        for (mark, assertion) in [("[:<:]]", Assertion::WordStart), ("[:>:]]", Assertion::WordEnd)]
        {
            if self.eat(mark) {
                return Ok(Node::Assertion(assertion));
            }
        }
        let unbalanced = || invalid("brackets [] not balanced");
        let mut set = Set { ignore_case: self.options.ignore_case, ..Set::default() };
        set.negated = self.eat("^");
        set.within_line = set.negated && self.options.within_lines;
        let mut first = true;
        loop {
            let c = self.peek().ok_or_else(unbalanced)?;
            if c == ']' && !first {
                self.at += 1;
                return Ok(Node::Set(set));
            }
            first = false;
            if self.eat("[:") {
                let name = self.until(":]")?;
                let class = Class::named(&name);
                let class = class.ok_or_else(|| invalid("invalid character class"))?;
                // Without regard to case, both cases are letters.
                let either =
                    self.options.ignore_case && matches!(class, Class::Lower | Class::Upper);
                set.classes.push((if either { Class::Alpha } else { class }, false));
                continue;
            }
            if c == '\\' && self.advanced() {
                self.at += 1;
                match self.escape(true)? {
                    Escape::Node(Node::Set(inner)) => {
                        set.classes.extend(inner.classes);
                        continue;
                    }
                    Escape::Node(_) => return Err(bad_escape()),
                    Escape::Char(c) => self.range(c, &mut set)?,
                }
                continue;
            }
            let c = self.element()?;
            self.range(c, &mut set)?;
        }
    }

    /// One character in brackets.
    fn element(&mut self) -> Result<char, SqlError> {
        for (open, close) in [("[.", ".]"), ("[=", "=]")] {
            if self.eat(open) {
                let name: Vec<char> = self.until(close)?.chars().collect();
                return match name.as_slice() {
                    [c] => Ok(*c),
                    _ => Err(invalid("invalid collating element")),
                };
            }
        }
        let c = self.peek().ok_or_else(|| invalid("brackets [] not balanced"))?;
        self.at += 1;
        Ok(c)
    }

    fn until(&mut self, mark: &str) -> Result<String, SqlError> {
        let mut text = String::new();
        while !self.eat(mark) {
            text.push(self.peek().ok_or_else(|| invalid("brackets [] not balanced"))?);
            self.at += 1;
        }
        Ok(text)
    }

    /// A character, and what follows it as a range.
    fn range(&mut self, first: char, set: &mut Set) -> Result<(), SqlError> {
        let is_range = self.peek() == Some('-')
            && self.chars.get(self.at + 1).is_some_and(|next| *next != ']');
        if !is_range {
            set.ranges.push((first, first));
            return Ok(());
        }
        self.at += 1;
        let last = if self.peek() == Some('\\') && self.advanced() {
            self.at += 1;
            match self.escape(true)? {
                Escape::Char(c) => c,
                Escape::Node(_) => return Err(invalid("invalid character range")),
            }
        } else {
            self.element()?
        };
        if last < first {
            return Err(invalid("invalid character range"));
        }
        set.ranges.push((first, last));
        Ok(())
    }
}
