//! Regular expressions with PostgreSQL's syntax and PostgreSQL's choice among matches: the leftmost
//! one, and of those the longest, or the shortest, as the expression as a whole prefers.
//!
//! A match is found in two steps. [`matching`] computes which places an expression's part can end
//! at, as sets of places, so that time stays bounded by lengths; then it takes the match apart,
//! from left to right, each part ([`arrange`]) as long or short as it prefers. What another engine answers
//! alike, it answers: whether there is a match, and where it starts ([`translate`]).

mod arrange;
mod matching;
mod options;
mod parse;
mod set;
#[cfg(test)]
mod tests;
mod translate;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use hashbrown::HashMap;

pub use self::options::{Options, Syntax};
use self::parse::{Node, Parsed};
use crate::error::{SqlError, sqlstate};

/// Where the groups of a match lie, in bytes; the first is the whole.
pub type Groups = Vec<Option<(usize, usize)>>;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    /// As a match is taken apart.
    root: Node,
    groups: usize,
    /// The same in the other engine; `None` if that lacks something. It finds the same places to
    /// start, and with `exact` the same matches.
    other: Option<regex::Regex>,
    exact: bool,
}

/// 2201B.
fn invalid(what: &str) -> SqlError {
    SqlError::new(
        sqlstate::INVALID_REGULAR_EXPRESSION,
        format!("invalid regular expression: {what}"),
    )
}

/// A compiled expression; the last ones are remembered, as patterns are nearly always constants.
///
/// # Errors
/// 2201B for what is no expression.
pub fn compiled(pattern: &str, options: Options) -> Result<Arc<Expression>, SqlError> {
    type Cache = HashMap<(String, Options), Arc<Expression>>;
    const CACHE_MAX: usize = 64;
    static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
    let key = (pattern.to_owned(), options);
    if let Some(found) = CACHE.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Arc::clone(found));
    }
    let expression = Arc::new(Expression::new(pattern, options)?);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= CACHE_MAX {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&expression));
    Ok(expression)
}

impl Expression {
    /// # Errors
    /// 2201B for what is no expression.
    pub fn new(pattern: &str, options: Options) -> Result<Self, SqlError> {
        let Parsed { root, groups } = parse::parse(pattern, options)?;
        let other = translate::translated(&root);
        let exact = other.is_some() && translate::chooses_alike(&root);
        Ok(Self { root: arrange::arranged(root), groups, other, exact })
    }

    /// Groups without the whole match.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether there is a match anywhere.
    ///
    /// # Errors
    /// 57014 if nobody wants to know any more.
    pub fn is_match(&self, text: &str) -> Result<bool, SqlError> {
        match &self.other {
            Some(other) => Ok(other.is_match(text)),
            None => Ok(self.find(text, 0)?.is_some()),
        }
    }

    /// The first match from a byte on.
    ///
    /// # Errors
    /// 57014 if nobody wants to know any more.
    pub fn find(&self, text: &str, from: usize) -> Result<Option<Groups>, SqlError> {
        if self.exact
            && let Some(other) = &self.other
        {
            let Some(found) = other.captures_at(text, from) else { return Ok(None) };
            let group = |n| found.get(n).map(|part| (part.start(), part.end()));
            return Ok(Some((0..=self.groups).map(group).collect()));
        }
        if let Some(other) = &self.other {
            let Some(found) = other.find_at(text, from) else { return Ok(None) };
            return matching::at(&self.root, self.groups, text, found.start());
        }
        let places = text[from..].char_indices().map(|(at, _)| from + at);
        for start in places.chain([text.len()]) {
            if let Some(found) = matching::at(&self.root, self.groups, text, start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All matches from a byte on, at most `limit`.
    ///
    /// # Errors
    /// 57014 if nobody wants to know any more.
    pub fn find_all(&self, text: &str, from: usize, limit: usize) -> Result<Vec<Groups>, SqlError> {
        let mut all = Vec::new();
        self.each(text, from, limit, |found| {
            all.push(found);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands over matches from a byte on, at most `limit`. Behind an empty one the search goes on
    /// one character further.
    ///
    /// # Errors
    /// Those of `take`; 57014 if nobody wants to know any more.
    pub fn each(
        &self,
        text: &str,
        from: usize,
        limit: usize,
        mut take: impl FnMut(Groups) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut from = from;
        for _ in 0..limit {
            super::given_up::check()?;
            if from > text.len() {
                break;
            }
            let Some(found) = self.find(text, from)? else { break };
            let (start, end) = found[0].unwrap_or((from, from));
            let next = text[end..].chars().next().map_or(1, char::len_utf8);
            from = if start == end { end + next } else { end };
            take(found)?;
        }
        Ok(())
    }
}
