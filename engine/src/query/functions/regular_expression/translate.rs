//! Expressions as the other engine has them.

use super::{
    parse::{Assertion, Node},
    set::Set,
};

/// The expression; `None` if the other engine does not have something in it.
pub(super) fn translated(root: &Node) -> Option<regex::Regex> {
    let mut out = String::new();
    write(root, &mut out)?;
    regex::Regex::new(&out).ok()
}

fn write(node: &Node, out: &mut String) -> Option<()> {
    match node {
        Node::Empty => out.push_str("(?:)"),
        Node::Set(set) => out.push_str(&set.translated()),
        Node::Sequence(parts) => parts.iter().try_for_each(|part| write(part, out))?,
        Node::Either(branches) => {
            out.push_str("(?:");
            for (n, branch) in branches.iter().enumerate() {
                if n > 0 {
                    out.push('|');
                }
                write(branch, out)?;
            }
            out.push(')');
        }
        Node::Group(_, inner) => {
            out.push('(');
            write(inner, out)?;
            out.push(')');
        }
        Node::Repeat(repeat) => {
            out.push_str("(?:");
            write(&repeat.of, out)?;
            let most = repeat.most.map_or_else(String::new, |most| most.to_string());
            out.push_str(&format!("){{{},{most}}}", repeat.least));
            if !repeat.greedy {
                out.push('?');
            }
        }
        Node::Back { .. } | Node::Assertion(Assertion::Look { .. }) => return None,
        Node::Assertion(assertion) => out.push_str(match assertion {
            Assertion::TextStart => r"\A",
            Assertion::TextEnd => r"\z",
            Assertion::LineStart => "(?m:^)",
            Assertion::LineEnd => "(?m:$)",
            Assertion::WordStart => r"\b{start}",
            Assertion::WordEnd => r"\b{end}",
            Assertion::WordEdge(true) => r"\b",
            Assertion::WordEdge(false) => r"\B",
            Assertion::Look { .. } => return None,
        }),
    }
    Some(())
}

/// A character of a pattern that is a sequence of such, and how often it stands there.
struct Item<'s> {
    set: &'s Set,
    least: u32,
    most: Option<u32>,
}

impl Item<'_> {
    fn varies(&self) -> bool {
        self.most != Some(self.least)
    }
}

/// Whether the other engine, which prefers what it finds first, finds the longest match and the same
/// groups. True if a pattern is a sequence of characters, and each that may be there more or less
/// often is none of those that may follow it: then there is one way to match at a place, as far as
/// it goes.
pub(super) fn chooses_alike(root: &Node) -> bool {
    let mut items = Vec::new();
    if !flatten(root, &mut items) {
        return false;
    }
    let outlines: Vec<(u128, bool)> = items.iter().map(|item| item.set.outline()).collect();
    (0..items.len()).filter(|at| items[*at].varies()).all(|at| {
        for next in at + 1..items.len() {
            let ((a, beyond_a), (b, beyond_b)) = (outlines[at], outlines[next]);
            if a & b != 0 || beyond_a && beyond_b {
                return false;
            }
            if items[next].least > 0 {
                break;
            }
        }
        true
    })
}

fn flatten<'n>(node: &'n Node, items: &mut Vec<Item<'n>>) -> bool {
    match node {
        Node::Empty => true,
        Node::Set(set) => {
            items.push(Item { set, least: 1, most: Some(1) });
            true
        }
        Node::Sequence(parts) => parts.iter().all(|part| flatten(part, items)),
        Node::Group(_, inner) => flatten(inner, items),
        Node::Repeat(repeat) if repeat.greedy => match &repeat.of {
            Node::Set(set) => {
                items.push(Item { set, least: repeat.least, most: repeat.most });
                true
            }
            _ => false,
        },
        Node::Assertion(Assertion::Look { .. }) | Node::Either(_) | Node::Back { .. } => false,
        Node::Repeat(_) => false,
        Node::Assertion(_) => true,
    }
}
