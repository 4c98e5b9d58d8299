//! Calls, operators and casts with odd arguments: constants against constants, and aggregates and
//! windows over the table's rows.

mod moments;
mod nested_values;
mod numbers;
mod precedence;
mod rows;
mod texts;

use super::Random;

struct Calls {
    random: Random,
}

/// Makes one kind of statement.
type Kind = fn(&mut Calls) -> String;

/// What stands behind SELECT, or with `true` a whole statement.
const KINDS: [(&str, Kind, bool); 20] = [
    ("regular", Calls::regular_expression, false),
    ("likeness", Calls::likeness, false),
    ("string", Calls::string, false),
    ("bytes", Calls::bytes, false),
    ("array", Calls::array, false),
    ("arrays", Calls::more_of_arrays, false),
    ("document", Calls::document, false),
    ("documents", Calls::more_of_documents, false),
    ("number", Calls::number, false),
    ("extreme", Calls::extreme, false),
    ("cast", Calls::cast, false),
    ("number_pattern", Calls::number_pattern, false),
    ("moment", Calls::moment, false),
    ("moment_call", Calls::moment_call, false),
    ("moment_pattern", Calls::moment_pattern, false),
    ("moment_text", Calls::moment_text, true),
    ("interval_text", Calls::interval_text, true),
    ("aggregate", Calls::aggregate, false),
    ("window", Calls::window, false),
    ("precedence", Calls::precedence, false),
];

/// The names of the kinds of statements.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, ..)| *name)
}

/// A statement of one kind, or of any.
pub(super) fn statement(random: Random, kind: Option<&str>) -> String {
    let mut calls = Calls { random };
    let named = kind.and_then(|kind| KINDS.iter().find(|(name, ..)| *name == kind));
    let (_, make, whole) = match named {
        Some(kind) => kind,
        None => calls.random.pick(&KINDS),
    };
    let mut made = make(&mut calls);
    while is_listed(&made) {
        made = make(&mut calls);
    }
    if *whole { made } else { format!("select {made}") }
}

/// Whether a statement meets a difference that docs/postgres-differences.md lists.
fn is_listed(sql: &str) -> bool {
    let has = |part: &str| sql.contains(part);
    // The age of an infinite moment is an error, a series is made whole even under LIMIT, and a sign
    // beside Roman numbers and brackets is written.
    has("age(") && has("infinity")
        || has("generate_series") && has("0.0000015 s")
        || has("to_char") && (has("SG") && has("RN") || has("PR") && (has("SG") || has("MI")))
}

impl Calls {
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.random.below(from.len())]
    }
}
