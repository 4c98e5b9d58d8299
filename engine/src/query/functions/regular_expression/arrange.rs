//! Expressions in the shape in which PostgreSQL takes a match apart.
//!
//! Which characters a group gets depends on what is weighed against what, so the parts must be
//! PostgreSQL's:
//!
//! - Neighbours without groups that all prefer the same are one part: it gets as much or as little
//!   as it can, whatever its first neighbour would prefer for itself.
//! - Of a repetition that is made at least once only the last round shows in groups: `x{m,n}` is
//!   `x{m-1,n-1}x`, whose first part has no groups and goes first.
//! - `x{0}` is nothing, and its groups match nothing.

use super::parse::{Node, Repeat};

/// What a part's neighbours must know of it.
#[derive(Clone, Copy, Default)]
struct Traits {
    /// Whether it prefers the longest match; `None`: it has no choice.
    longest: Option<bool>,
    /// Parts of it prefer the one, parts the other.
    mixed: bool,
    groups: bool,
    refers_back: bool,
}

impl Traits {
    fn with(self, other: Self) -> Self {
        let differ = matches!((self.longest, other.longest), (Some(a), Some(b)) if a != b);
        Self {
            longest: self.longest.or(other.longest),
            mixed: self.mixed || other.mixed || differ,
            groups: self.groups || other.groups,
            refers_back: self.refers_back || other.refers_back,
        }
    }

    /// A part that must be a part of its own.
    fn stands_alone(self) -> bool {
        self.mixed || self.groups || self.refers_back
    }
}

fn traits(node: &Node) -> Traits {
    let plain = Traits::default();
    match node {
        Node::Empty | Node::Set(_) | Node::Assertion(_) => plain,
        Node::Sequence(parts) => parts.iter().map(traits).fold(plain, Traits::with),
        Node::Either(branches) => {
            let longest = Traits { longest: Some(true), ..plain };
            branches.iter().map(traits).fold(longest, Traits::with)
        }
        Node::Group(_, inner) => Traits { groups: true, ..traits(inner) },
        Node::Back { .. } => Traits { refers_back: true, ..plain },
        Node::Repeat(repeat) if repeat.most == Some(0) => plain,
        Node::Repeat(repeat) => preference(repeat).with(traits(&repeat.of)),
    }
}

/// What a repetition adds to what is repeated.
fn preference(repeat: &Repeat) -> Traits {
    Traits { longest: (!repeat.fixed).then_some(repeat.greedy), ..Traits::default() }
}

/// The expression, to be taken apart part by part.
pub(super) fn arranged(node: Node) -> Node {
    match node {
        Node::Sequence(parts) => sequence(parts),
        Node::Either(branches) if branches.iter().any(Node::has_groups) => {
            Node::Either(branches.into_iter().map(arranged).collect())
        }
        Node::Group(number, inner) => Node::Group(number, Box::new(arranged(*inner))),
        Node::Repeat(repeat) => repetition(*repeat),
        other => other,
    }
}

fn sequence(parts: Vec<Node>) -> Node {
    let (mut out, mut run) = (Vec::new(), Vec::new());
    let mut so_far = Traits::default();
    for part in parts {
        let whole = so_far.with(traits(&part));
        if !whole.stands_alone() {
            run.push(part);
            so_far = whole;
            continue;
        }
        out.extend(one(std::mem::take(&mut run)));
        out.push(arranged(part));
        so_far = Traits::default();
    }
    out.extend(one(run));
    match out.len() {
        1 => out.remove(0),
        _ => Node::Sequence(out),
    }
}

fn one(mut run: Vec<Node>) -> Option<Node> {
    match run.len() {
        0 => None,
        1 => Some(run.remove(0)),
        _ => Some(Node::Sequence(run)),
    }
}

fn repetition(repeat: Repeat) -> Node {
    let (least, most) = (repeat.least, repeat.most);
    if most == Some(0) {
        return Node::Empty;
    }
    let of = traits(&repeat.of);
    if !of.groups && !of.refers_back || matches!(repeat.of, Node::Back { .. }) {
        return Node::Repeat(Box::new(repeat));
    }
    let agrees = !preference(&repeat).with(Traits { mixed: false, ..of }).mixed;
    if (least, most) == (1, Some(1)) && agrees {
        return arranged(repeat.of);
    }
    if least == 0 || of.refers_back {
        return Node::Repeat(Box::new(Repeat { of: arranged(repeat.of), ..repeat }));
    }
    let rounds = Repeat {
        of: without_groups(repeat.of.clone()),
        least: least - 1,
        most: most.map(|most| most - 1),
        ..repeat
    };
    Node::Sequence(vec![Node::Repeat(Box::new(rounds)), arranged(repeat.of)])
}

/// A part whose groups are parentheses and nothing else.
pub(super) fn without_groups(node: Node) -> Node {
    match node {
        Node::Group(_, inner) => without_groups(*inner),
        Node::Sequence(parts) => Node::Sequence(parts.into_iter().map(without_groups).collect()),
        Node::Either(parts) => Node::Either(parts.into_iter().map(without_groups).collect()),
        Node::Repeat(repeat) => {
            let of = without_groups(repeat.of.clone());
            Node::Repeat(Box::new(Repeat { of, ..*repeat }))
        }
        other => other,
    }
}
