//! A query made shorter for as long as it shows the same sort of difference.

use super::{Both, Verdict};
use crate::differential::Answer;

/// A word, or a group in parentheses.
#[derive(Clone, PartialEq)]
enum Part {
    Word(String),
    Group(Vec<Part>),
}

/// What may stand for a group.
const STAND_INS: [&str; 5] = ["true", "false", "null", "1", "( select 1 )"];

/// The longest run of parts that is left out at once.
const RUN_MAX: usize = 40;

fn parse(words: &mut std::vec::IntoIter<String>) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "(" => parts.push(Part::Group(parse(words))),
            ")" => break,
            _ => parts.push(Part::Word(word)),
        }
    }
    parts
}

fn parts_of(sql: &str) -> Vec<Part> {
    let spaced = sql.replace('(', " ( ").replace(')', " ) ").replace(',', " , ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    parse(&mut words.into_iter())
}

fn write(parts: &[Part], text: &mut String) {
    for part in parts {
        match part {
            Part::Word(word) => {
                if !text.is_empty() && !text.ends_with('(') && word != "," {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Part::Group(inner) => {
                let called = ["count", "max", "min", "sum", "coalesce", "nullif"];
                if !called.iter().any(|name| text.ends_with(name)) && !text.ends_with('(') {
                    text.push(' ');
                }
                text.push('(');
                write(inner, text);
                text.push(')');
            }
        }
    }
}

fn text_of(parts: &[Part]) -> String {
    let mut text = String::new();
    write(parts, &mut text);
    // A cast belongs to what is before it.
    text.replace(") ::", ")::")
}

/// Everything one step shorter, the shortest first.
fn shorter(parts: &[Part]) -> Vec<Vec<Part>> {
    let mut found = Vec::new();
    for length in (1..=parts.len().min(RUN_MAX)).rev() {
        for start in 0..=parts.len() - length {
            let mut rest = parts.to_vec();
            rest.drain(start..start + length);
            found.push(rest);
        }
    }
    for (index, part) in parts.iter().enumerate() {
        let Part::Group(inner) = part else { continue };
        let mut put = |with: Vec<Part>| {
            let mut rest = parts.to_vec();
            rest.splice(index..=index, with);
            found.push(rest);
        };
        for stand_in in STAND_INS {
            if text_of(std::slice::from_ref(part)).len() > stand_in.len() {
                put(parts_of(stand_in));
            }
        }
        put(inner.clone());
        for changed in shorter(inner) {
            put(vec![Part::Group(changed)]);
        }
    }
    found
}

fn sort_of(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Different { ours: Answer::Error(state, message), .. } => {
            let begin: String = message.chars().take(16).collect();
            Some(format!("{state} {begin}"))
        }
        Verdict::Different { ours: Answer::Broken(_), .. } => Some("broken".to_owned()),
        Verdict::Different { .. } => Some("rows".to_owned()),
        Verdict::Refused(_) => Some("refused".to_owned()),
        Verdict::Same | Verdict::Invalid => None,
    }
}

pub(super) async fn shrink(both: &Both, sql: &str) -> String {
    let mut parts = parts_of(sql);
    let wanted = sort_of(&both.compare(&text_of(&parts)).await);
    if wanted.is_none() {
        return sql.to_owned();
    }
    'again: loop {
        let mut candidates = shorter(&parts);
        candidates.sort_by_key(|c| text_of(c).len());
        for candidate in candidates {
            let text = text_of(&candidate);
            if sort_of(&both.compare(&text).await) == wanted {
                parts = candidate;
                continue 'again;
            }
        }
        return text_of(&parts);
    }
}
