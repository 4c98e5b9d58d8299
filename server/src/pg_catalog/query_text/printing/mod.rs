//! Trees to text, with the names of today.

mod expressions;
mod from;
mod names;
mod queries;
mod windows;

use self::names::Names;
use super::{
    Layout, Surroundings,
    tree::{Node, Query, Table},
};

/// Columns by which clauses and nested queries are set in.
const STEP: isize = 8;
/// What lists and joins are set in by, in addition.
const SUBSTEP: isize = 4;
/// From here on, indentation grows slower and begins anew.
const INDENT_MAX: isize = 40;

/// A query's text, without a semicolon. `names`: what its results are called.
pub(super) fn query(
    around: Surroundings<'_>,
    query: &Query,
    names: &[&str],
    layout: Layout,
) -> String {
    let mut printer = Printer::new(around, layout);
    printer.query(query, Some(names), true);
    printer.out
}

/// An expression by itself.
pub(super) fn expression(around: Surroundings<'_>, node: &Node, layout: Layout) -> String {
    let mut printer = Printer::new(around, layout);
    printer.node(node, false);
    printer.out
}

/// A query whose parts are being printed.
struct Namespace<'q> {
    query: &'q Query,
    names: Names,
}

struct Printer<'a, 'q> {
    around: Surroundings<'a>,
    layout: Layout,
    out: String,
    indent: isize,
    /// The outermost query first.
    namespaces: Vec<Namespace<'q>>,
}

impl<'a, 'q> Printer<'a, 'q> {
    fn new(around: Surroundings<'a>, layout: Layout) -> Self {
        Self { around, layout, out: String::new(), indent: 0, namespaces: Vec::new() }
    }

    /// A key word that begins a line, set in from the level that `back` goes back to and with `more`
    /// blanks; afterwards the level is `ahead` further in. Without indentation, the word alone.
    fn keyword(&mut self, text: &str, back: isize, ahead: isize, more: isize) {
        if !self.layout.indent {
            self.out.push_str(text);
            return;
        }
        self.indent -= back;
        self.new_line(more);
        self.out.push_str(text);
        self.indent += ahead;
    }

    fn new_line(&mut self, more: isize) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        let level = match self.indent {
            level if level < INDENT_MAX => level.max(0),
            level => (INDENT_MAX + (level - INDENT_MAX) / (STEP / 2)) % INDENT_MAX,
        };
        let blanks = usize::try_from(level + more).unwrap_or_default();
        self.out.extend(std::iter::repeat_n(' ', blanks));
    }

    /// What `print` writes, apart from the rest.
    fn apart(&mut self, print: impl FnOnce(&mut Self)) -> String {
        let before = std::mem::take(&mut self.out);
        print(self);
        std::mem::replace(&mut self.out, before)
    }

    fn namespace(&self, up: usize) -> Option<&Namespace<'q>> {
        let at = self.namespaces.len().checked_sub(up + 1)?;
        self.namespaces.get(at)
    }

    fn table(&self, up: usize, table: usize) -> Option<&'q Table> {
        self.namespace(up)?.query.tables.get(table)
    }

    /// Items with commas between them.
    fn list<T>(&mut self, items: &'q [T], separator: &str, print: impl Fn(&mut Self, &'q T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push_str(separator);
            }
            print(self, item);
        }
    }
}
