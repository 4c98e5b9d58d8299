//! A query as PostgreSQL knows it after analysis: names resolved, types decided, casts put in.

use glaredb_engine::query::parser::WithClauses;

/// A type with its modifier (-1: none).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ty {
    pub(super) oid: u32,
    pub(super) typmod: i32,
}

impl Ty {
    pub(super) const fn of(oid: u32) -> Self {
        Self { oid, typmod: -1 }
    }
}

/// How a cast is made: decides where parentheses may be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Conversion {
    /// By a function.
    Function,
    /// The same bytes under another type, or through text.
    Relabel,
}

/// What a subquery in an expression is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SublinkKind {
    Exists,
    Any,
    All,
    Row,
    Scalar,
    Array,
}

/// Functions with a grammar of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Syntax {
    AtTimeZone,
    Extract,
    IsNormalized,
    Overlaps,
    Overlay,
    Position,
    Substring,
    TrimBoth,
    TrimLeading,
    TrimTrailing,
}

/// A call of a function, an aggregate or a window function.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Vec<Node>,
    /// Names of the arguments that have one, which are the last.
    pub(super) names: Vec<String>,
    pub(super) ty: Ty,
    pub(super) returns_set: bool,
    pub(super) syntax: Option<Syntax>,
    pub(super) variadic: bool,
    pub(super) star: bool,
    pub(super) distinct: bool,
    pub(super) order_by: Vec<Sort>,
    pub(super) within_group: bool,
    pub(super) filter: Option<Box<Node>>,
    pub(super) is_aggregate: bool,
    pub(super) over: Option<Over>,
}

/// A window: the name of one, or a definition.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Over {
    Named(String),
    Inline(Box<WindowSpec>),
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct WindowSpec {
    pub(super) base: Option<String>,
    pub(super) partition_by: Vec<Node>,
    pub(super) order_by: Vec<Sort>,
    pub(super) frame: Option<Frame>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Frame {
    pub(super) units: &'static str,
    pub(super) start: Bound,
    pub(super) end: Option<Bound>,
    pub(super) exclude: Option<&'static str>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Bound {
    CurrentRow,
    /// `None`: unbounded.
    Preceding(Option<Box<Node>>),
    Following(Option<Box<Node>>),
}

/// A key of ORDER BY, and whether it can only be an output column's number.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sort {
    pub(super) node: Node,
    /// Index into the targets of the query, for its own ORDER BY.
    pub(super) target: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: Option<bool>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Subscript {
    pub(super) slice: bool,
    pub(super) lower: Option<Node>,
    pub(super) upper: Option<Node>,
}

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    /// A column of an entry of the range table, `up` queries further out.
    Column {
        up: usize,
        table: usize,
        column: usize,
        ty: Ty,
    },
    /// The whole row of one.
    WholeRow {
        up: usize,
        table: usize,
        ty: Ty,
    },
    /// A constant's text, as its type prints it; `None`: NULL.
    Const {
        value: Option<String>,
        ty: Ty,
    },
    Call(Box<Call>),
    Cast {
        arg: Box<Node>,
        ty: Ty,
        implicit: bool,
        by: Conversion,
    },
    /// One operand: a prefix operator.
    Op {
        name: String,
        args: Vec<Node>,
        ty: Ty,
    },
    /// `left name ANY (right)`, or ALL.
    Quantified {
        name: String,
        any: bool,
        left: Box<Node>,
        right: Box<Node>,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Distinct {
        left: Box<Node>,
        right: Box<Node>,
    },
    NullIf {
        args: Vec<Node>,
        ty: Ty,
    },
    Coalesce {
        args: Vec<Node>,
        ty: Ty,
    },
    Extreme {
        greatest: bool,
        args: Vec<Node>,
        ty: Ty,
    },
    Case {
        operand: Option<Box<Node>>,
        whens: Vec<(Node, Node)>,
        otherwise: Box<Node>,
        ty: Ty,
    },
    IsNull {
        arg: Box<Node>,
        not: bool,
    },
    Truth {
        arg: Box<Node>,
        test: &'static str,
    },
    Array {
        items: Vec<Node>,
        ty: Ty,
    },
    Row {
        fields: Vec<Node>,
        ty: Option<Ty>,
    },
    CompareRows {
        name: String,
        left: Vec<Node>,
        right: Vec<Node>,
    },
    Sublink {
        kind: SublinkKind,
        test: Vec<Node>,
        name: String,
        query: Box<Query>,
        ty: Ty,
    },
    /// `CURRENT_DATE` and kin.
    Keyword {
        text: String,
        ty: Ty,
    },
    Collate {
        arg: Box<Node>,
        collation: String,
    },
    Subscripted {
        arg: Box<Node>,
        subscripts: Vec<Subscript>,
        ty: Ty,
    },
    Field {
        arg: Box<Node>,
        name: String,
        ty: Ty,
    },
    Grouping(Vec<Node>),
}

/// An element of GROUP BY. Numbers are indexes into the targets.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum GroupItem {
    Plain(usize),
    Empty,
    /// Several expressions in parentheses.
    List(Vec<usize>),
    Rollup(Vec<GroupItem>),
    Cube(Vec<GroupItem>),
    Sets(Vec<GroupItem>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Target {
    pub(super) node: Node,
    pub(super) name: String,
    /// Only there for ORDER BY and kin.
    pub(super) hidden: bool,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(super) enum DistinctClause {
    #[default]
    No,
    All,
    On(Vec<usize>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) materialized: Option<bool>,
    pub(super) query: Query,
    /// SEARCH and CYCLE.
    pub(super) clauses: Option<WithClauses>,
}

/// UNION and kin over subqueries of the range table.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum SetTree {
    Leaf(usize),
    Operation { name: &'static str, all: bool, left: Box<SetTree>, right: Box<SetTree> },
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Query {
    pub(super) recursive: bool,
    pub(super) ctes: Vec<Cte>,
    pub(super) tables: Vec<Table>,
    pub(super) from: Vec<From>,
    pub(super) filter: Option<Node>,
    pub(super) targets: Vec<Target>,
    pub(super) distinct: DistinctClause,
    pub(super) group_by: Vec<GroupItem>,
    pub(super) group_distinct: bool,
    pub(super) having: Option<Node>,
    pub(super) windows: Vec<(String, WindowSpec)>,
    pub(super) set: Option<SetTree>,
    pub(super) order_by: Vec<Sort>,
    pub(super) offset: Option<Node>,
    pub(super) limit: Option<Node>,
    pub(super) with_ties: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum From {
    Table(usize),
    Join(Box<Join>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum JoinType {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Join {
    /// Its entry in the range table.
    pub(super) table: usize,
    pub(super) ty: JoinType,
    pub(super) left: From,
    pub(super) right: From,
    /// How many columns USING or NATURAL merged: the first of the join's.
    pub(super) merged: usize,
    pub(super) using_alias: Option<String>,
    pub(super) on: Option<Node>,
}

/// A column of a join: where it comes from on each side, as (entry, column).
#[derive(Clone, PartialEq, Debug)]
pub(super) struct JoinColumn {
    pub(super) left: Option<(usize, usize)>,
    pub(super) right: Option<(usize, usize)>,
    /// What it stands for: a column of one of the sides, or something computed of both.
    pub(super) node: Node,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum TableKind {
    Relation { oid: u32 },
    Subquery(Box<Query>),
    Function { calls: Vec<Node>, rows_from: bool, ordinality: bool, definitions: Vec<(String, Ty)> },
    Values(Vec<Vec<Node>>),
    Cte,
    Join(Vec<JoinColumn>),
}

/// A column of an entry of the range table.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Column {
    /// As the view's query knows it, without an alias' list.
    pub(super) name: String,
    /// As it is called today; `None`: dropped since.
    pub(super) now: Option<String>,
    pub(super) ty: Ty,
}

/// An entry of the range table.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Table {
    pub(super) kind: TableKind,
    pub(super) alias: Option<Alias>,
    /// What it is called without an alias.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// How many of the columns the query knows: the rest came later.
    pub(super) known: usize,
    pub(super) lateral: bool,
    pub(super) sample: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Alias {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}
