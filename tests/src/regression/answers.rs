//! What our answer to a step counts as.

use std::collections::BTreeSet;

use regex::Regex;

/// What an answer counts as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// What PostgreSQL says, to the last character; where the statement asks for no order, the rows
    /// may come in another.
    Identical,
    /// An error of ours that says what is not there, or an error on both sides in other words or
    /// with another code.
    ClearError,
    /// Other rows because of an earlier refusal: the statement is about a relation that could not
    /// be made, filled or changed.
    Follows,
    /// EXPLAIN's plans are each system's own.
    Plan,
    /// The same rows in another order though the statement asks for one: rows that are equal by
    /// what is asked for may come as they like, but nothing here knows whether these are.
    Order,
    /// Anything else: other rows, success instead of an error, an internal error, no answer.
    Wrong,
}

/// Compares the answers of one script, in their order.
pub struct Judge {
    /// Relations that are not as on the other side.
    tainted: BTreeSet<String>,
    /// The relation or the like that a statement makes, fills or changes.
    target: Regex,
    /// Relations that parts of a statement change, or are made to have rows of.
    further: Regex,
    word: Regex,
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

impl Judge {
    #[must_use]
    pub fn new() -> Self {
        let target = r"(?xis) ^ \s* (?:
            \\copy
            | create \s+ (?:or \s+ replace \s+)? (?:\w+ \s+)? (?:table | view | sequence | type | domain
                | function | procedure | aggregate | operator | index | schema | role | trigger | rule)
              (?:\s+ if \s+ not \s+ exists)?
            | (?:alter | drop | comment \s+ on | reindex | refresh) \s+ (?:materialized \s+)? \w+
              (?:\s+ if \s+ exists)? (?:\s+ only)?
            | insert \s+ into | merge \s+ into | delete \s+ from (?:\s+ only)? | update (?:\s+ only)?
            | truncate (?:\s+ table)? | copy | prepare | declare | cluster
            | with \b .*? \b (?: insert \s+ into | update | delete \s+ from)
            | select \b .*? \b into (?:\s+ (?:temp | temporary | unlogged))? (?:\s+ table)?
            ) \s+ ([a-z_0-9.]+)";
        let further = r"(?xis) \b (?: insert \s+ into | update | delete \s+ from) (?:\s+ only)? \s+ ([a-z_0-9.]+)
            | \b inherits \s* \( ([a-z_0-9.,\s]+) \)";
        Self {
            tainted: BTreeSet::new(),
            further: Regex::new(further).expect("a pattern"),
            target: Regex::new(target).expect("a pattern"),
            word: Regex::new(r"[A-Za-z_][A-Za-z_0-9]*").expect("a pattern"),
        }
    }

    /// Judges the next step; `found` is None where there was no answer.
    pub fn judge(&mut self, statement: &str, expected: &str, found: Option<&str>) -> Verdict {
        let verdict =
            found.map_or(Verdict::Wrong, |found| self.compare(statement, expected, found));
        let refused = matches!(verdict, Verdict::ClearError | Verdict::Follows | Verdict::Wrong);
        if refused {
            self.taint(statement);
        }
        verdict
    }

    /// Notes what is not as on the other side after a statement that was refused.
    fn taint(&mut self, statement: &str) {
        let targets =
            self.target.captures_iter(statement).chain(self.further.captures_iter(statement));
        let names: Vec<String> = targets
            .flat_map(|found| {
                found.iter().skip(1).flatten().map(|m| m.as_str()).collect::<Vec<_>>()
            })
            // With its schema: what is said of all that is in there is about it, too.
            .flat_map(|names| names.split(|c: char| c.is_whitespace() || c == ',' || c == '.'))
            .filter(|name| !name.is_empty() && *name != "public")
            .map(str::to_lowercase)
            .collect();
        self.tainted.extend(names);
        let first = statement.split_whitespace().next().unwrap_or_default().to_lowercase();
        match first.as_str() {
            "declare" => self.tainted.insert("pg_cursors".to_owned()),
            "prepare" => self.tainted.insert("pg_prepared_statements".to_owned()),
            _ => false,
        };
    }

    fn compare(&self, statement: &str, expected: &str, found: &str) -> Verdict {
        if expected == found || (!ordered(statement) && sorted(expected) == sorted(found)) {
            return Verdict::Identical;
        }
        let first = statement.split_whitespace().next().unwrap_or_default();
        if first.eq_ignore_ascii_case("explain") && !is_error(expected) {
            return Verdict::Plan;
        }
        if let Some(state) = state(found) {
            let internal = state.starts_with("XX") || state == "58000";
            return if internal { Verdict::Wrong } else { Verdict::ClearError };
        }
        if self.word.find_iter(statement).any(|w| self.tainted.contains(&w.as_str().to_lowercase()))
        {
            return Verdict::Follows;
        }
        if sorted(expected) == sorted(found) { Verdict::Order } else { Verdict::Wrong }
    }
}

fn ordered(statement: &str) -> bool {
    statement.to_lowercase().contains("order by")
}

fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    lines
}

fn is_error(answer: &str) -> bool {
    state(answer).is_some()
}

/// SQLSTATE of the first error in an answer.
fn state(answer: &str) -> Option<&str> {
    let at = answer
        .lines()
        .find_map(|line| line.strip_prefix("ERROR:  ").or_else(|| line.strip_prefix("FATAL:  ")))?;
    at.get(..5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(statement: &str, expected: &str, found: &str) -> Verdict {
        Judge::new().judge(statement, expected, Some(found))
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(verdict("select 1", " 1", " 1"), Verdict::Identical);
        assert_eq!(verdict("select x from t", "1\n2", "2\n1"), Verdict::Identical);
        assert_eq!(verdict("select x from t order by x", "1\n2", "2\n1"), Verdict::Order);
        assert_eq!(verdict("select x from t order by x", "1\n2", "2\n3"), Verdict::Wrong);
        assert_eq!(verdict("select 1", "1", "ERROR:  0A000: no"), Verdict::ClearError);
        assert_eq!(verdict("select 1", "1", "ERROR:  XX000: no"), Verdict::Wrong);
        assert_eq!(verdict("select 1", "ERROR:  22012: no", "1"), Verdict::Wrong);
        assert_eq!(verdict("explain select 1", "Result", "Values"), Verdict::Plan);
        assert_eq!(Judge::new().judge("select 1", "1", None), Verdict::Wrong);
    }

    #[test]
    fn what_follows_from_a_refusal_is_not_wrong() {
        for refused in
            ["insert into public.t values (1)", "copy t from 'x'", "create table t (a int)"]
        {
            let mut judge = Judge::new();
            judge.judge(refused, "", Some("ERROR:  0A000: no"));
            assert_eq!(judge.judge("select * from t", "1", Some("")), Verdict::Follows);
            assert_eq!(judge.judge("select * from u", "1", Some("")), Verdict::Wrong);
        }
        for refused in [
            "with d as (delete from u returning *) select * from d",
            "create table v () inherits (t, u)",
        ] {
            let mut judge = Judge::new();
            judge.judge(refused, "", Some("ERROR:  0A000: no"));
            assert_eq!(judge.judge("select * from u", "1", Some("")), Verdict::Follows);
            assert_eq!(judge.judge("select * from w", "1", Some("")), Verdict::Wrong);
        }
        let mut judge = Judge::new();
        judge.judge("declare c cursor for select f()", "", Some("ERROR:  0A000: no"));
        assert_eq!(judge.judge("select * from pg_cursors", "1", Some("")), Verdict::Follows);
    }
}
