//! `SEARCH` and `CYCLE` behind the queries of WITH, which sqlparser does not read.
//!
//! The clauses become one more name in the list of the query's columns, as they are written, and the
//! planner reads that again.

use datafusion::sql::sqlparser::{
    ast::{Ident, TableAlias, TableAliasColumnDef},
    tokenizer::{Token, TokenWithSpan},
};

use super::{byte_of, fold_identifier, rewrite::is, tokenize};

/// How the name begins that holds the clauses.
pub(super) const FOLLOWED_BY: &str = "followed by ";

/// The names given to the columns of a query of WITH, and the clauses that follow it.
#[must_use]
pub fn columns_and_clauses(alias: &TableAlias) -> (&[TableAliasColumnDef], Option<&Ident>) {
    match alias.columns.split_last() {
        Some((last, columns)) if last.name.value.starts_with(FOLLOWED_BY) => {
            (columns, Some(&last.name))
        }
        _ => (&alias.columns, None),
    }
}

/// `SEARCH DEPTH FIRST BY columns SET sequence`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    pub breadth_first: bool,
    pub columns: Vec<String>,
    pub sequence: String,
}

/// `CYCLE columns SET mark TO value DEFAULT default USING path`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cycle {
    pub columns: Vec<String>,
    pub mark: String,
    /// The texts of the value of rows that close a cycle, and of others; true and false without.
    pub values: Option<(String, String)>,
    pub path: String,
}

/// What follows a query of WITH: one of the two at least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WithClauses {
    pub search: Option<Search>,
    pub cycle: Option<Cycle>,
}

impl WithClauses {
    /// Reads the name that holds clauses; `None` if it holds none.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        let text = name.strip_prefix(FOLLOWED_BY)?;
        let tokens = tokenize(text).ok()?;
        let mut reader = Reader { source: text, tokens: &tokens, at: 0 };
        let clauses = reader.clauses()?;
        (reader.at == tokens.len()).then_some(clauses)
    }
}

/// The index after the clauses that begin at a token, and their text.
pub(super) fn written(
    source: &str,
    tokens: &[TokenWithSpan],
    at: usize,
) -> Option<(usize, String)> {
    let mut reader = Reader { source, tokens, at };
    reader.clauses()?;
    let text = reader.text(at, reader.at)?;
    Some((reader.at, text))
}

struct Reader<'t> {
    source: &'t str,
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl Reader<'_> {
    fn clauses(&mut self) -> Option<WithClauses> {
        let search = if self.keyword("SEARCH") { Some(self.search()?) } else { None };
        let cycle = if self.keyword("CYCLE") { Some(self.cycle()?) } else { None };
        (search.is_some() || cycle.is_some()).then_some(WithClauses { search, cycle })
    }

    fn search(&mut self) -> Option<Search> {
        let breadth_first = self.keyword("BREADTH");
        if !breadth_first && !self.keyword("DEPTH") {
            return None;
        }
        if !(self.keyword("FIRST") && self.keyword("BY")) {
            return None;
        }
        let columns = self.columns()?;
        let sequence = if self.keyword("SET") { self.name()? } else { return None };
        Some(Search { breadth_first, columns, sequence })
    }

    fn cycle(&mut self) -> Option<Cycle> {
        let columns = self.columns()?;
        let mark = if self.keyword("SET") { self.name()? } else { return None };
        let values = match self.keyword("TO") {
            false => None,
            true => Some((self.constant("DEFAULT")?, self.constant("USING")?)),
        };
        let named = values.is_some() || self.keyword("USING");
        let path = if named { self.name()? } else { return None };
        Some(Cycle { columns, mark, values, path })
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = is(self.tokens, self.at, keyword);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> Option<String> {
        let Token::Word(word) = &self.tokens.get(self.at)?.token else { return None };
        self.at += 1;
        let ident = Ident { quote_style: word.quote_style, ..Ident::new(word.value.clone()) };
        Some(fold_identifier(&ident))
    }

    fn columns(&mut self) -> Option<Vec<String>> {
        let mut columns = vec![self.name()?];
        while self.tokens.get(self.at).is_some_and(|t| t.token == Token::Comma) {
            self.at += 1;
            columns.push(self.name()?);
        }
        Some(columns)
    }

    /// What stands in front of a keyword, which is read, too.
    fn constant(&mut self, end: &str) -> Option<String> {
        let begin = self.at;
        while !is(self.tokens, self.at, end) {
            let token = &self.tokens.get(self.at)?.token;
            if matches!(token, Token::SemiColon) {
                return None;
            }
            self.at += 1;
        }
        let text = self.text(begin, self.at);
        self.at += 1;
        text
    }

    /// The source from one token up to another.
    fn text(&self, begin: usize, end: usize) -> Option<String> {
        let first = self.tokens.get(begin)?;
        let last = self.tokens.get(end.checked_sub(1)?)?;
        let from = byte_of(self.source, first.span.start)?;
        let to = byte_of(self.source, last.span.end)?;
        self.source.get(from..to).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_read_as_written() {
        let text =
            "search depth first by F, \"T\" set seq cycle f set c to 'y' default 'n' using p";
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let search = Search {
            breadth_first: false,
            columns: strings(&["f", "T"]),
            sequence: "seq".to_owned(),
        };
        let cycle = Cycle {
            columns: strings(&["f"]),
            mark: "c".to_owned(),
            values: Some(("'y'".to_owned(), "'n'".to_owned())),
            path: "p".to_owned(),
        };
        let both = WithClauses { search: Some(search), cycle: Some(cycle) };
        assert_eq!(WithClauses::read(&format!("{FOLLOWED_BY}{text}")), Some(both));
        assert_eq!(WithClauses::read(text), None);
        for text in
            ["", "search", "cycle a set", "search first by a set s", "cycle a set b using c d"]
        {
            assert_eq!(WithClauses::read(&format!("{FOLLOWED_BY}{text}")), None, "{text}");
        }
    }
}
