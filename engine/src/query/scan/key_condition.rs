//! What filters say of a table's primary key: which keys, or which ranges of them, rows can have.
//!
//! ```text
//! (a, b) is the key          a = 1 AND b IN (2, 3)      two keys
//!                            a IN (1, 2) AND b > $1     two ranges
//!                            a = 1 OR a = 5 AND b < 0   one range each
//! ```
//! Values may be parameters. What is found is complete: no row outside of it passes the filters. A
//! filter that says no more than the keys do is *implied* by them and need not be looked at again.

use std::borrow::Cow;

use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::{
    logical_expr::{
        BinaryExpr, Cast, Expr, Operator,
        execution_props::ExecutionProps,
        utils::{split_binary, split_conjunction},
    },
    scalar::ScalarValue,
};

use super::{StoredTable, key_lookup::Known};
use crate::{
    query::functions::array::search::is_equal_to_any, storage::codec::key::KeyEncoder,
    types::PgType,
};

/// Most keys and ranges of one condition.
const SPANS_MAX: usize = 1000;

/// Of the primary key of one table.
#[derive(Clone, Debug)]
pub(crate) struct KeyCondition {
    /// One of them holds.
    alternatives: Vec<Alternative>,
}

/// A condition over the first columns of a key.
#[derive(Clone, Debug, Default)]
struct Alternative {
    /// Each of the first columns is one of these values.
    prefix: Vec<OneOf>,
    /// The column behind them is above and below.
    lower: Option<Edge>,
    upper: Option<Edge>,
}

#[derive(Clone, Debug)]
enum OneOf {
    Value(Known),
    List(Vec<Known>),
    /// The elements of an array.
    Elements(Known),
}

#[derive(Clone, Debug)]
struct Edge {
    value: Known,
    inclusive: bool,
}

/// Keys that rows may have, encoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    pub(super) start: Bytes,
    pub(super) end: End,
}

/// Where the keys of a span end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum End {
    /// It is the one key that it starts with.
    Here,
    /// Before this one.
    Before(Bytes),
    /// With the last one there is.
    Open,
}

impl Span {
    /// Its key, if it is one.
    pub(crate) fn key(&self) -> Option<&Bytes> {
        (self.end == End::Here).then_some(&self.start)
    }
}

/// What one conjunct says of one column of the key.
enum Test {
    Equal(OneOf),
    Lower(Edge),
    Upper(Edge),
}

/// A condition, and which of the conjuncts it was made of it implies.
pub(super) struct Found {
    pub(super) condition: KeyCondition,
    pub(super) implied: Vec<bool>,
}

impl KeyCondition {
    /// Every key.
    pub(super) fn everything() -> Self {
        Self { alternatives: vec![Alternative::default()] }
    }

    /// The narrowest condition that the conjuncts of the filters of a scan give; `None` if they say
    /// nothing of the first column of its key.
    pub(super) fn of(
        table: &StoredTable,
        conjuncts: &[&Expr],
        props: &ExecutionProps,
    ) -> Option<Found> {
        table.schema.key()?;
        let (alternative, implied) = Alternative::of(table, conjuncts, props);
        let narrower = |split: &Vec<Alternative>| {
            let least = split.iter().map(|one| one.prefix.len()).min().unwrap_or_default();
            !alternative.says_something() || least > alternative.prefix.len()
        };
        if let Some(alternatives) = split_alternatives(table, conjuncts, props).filter(narrower) {
            // Each stands for all conjuncts, but the choice among them is left to be made.
            let implied = vec![false; conjuncts.len()];
            return Some(Found { condition: Self { alternatives }, implied });
        }
        alternative
            .says_something()
            .then(|| Found { condition: Self { alternatives: vec![alternative] }, implied })
    }

    /// Whether every key meets it.
    pub(super) fn is_everything(&self) -> bool {
        self.alternatives.iter().any(|alternative| !alternative.says_something())
    }

    /// Whether it lists whole keys of so many columns.
    pub(super) fn lists_keys(&self, columns: usize) -> bool {
        self.alternatives.iter().all(|alternative| alternative.prefix.len() == columns)
    }

    /// How many of the key's first columns have one value each.
    pub(super) fn columns_pinned(&self) -> usize {
        let [alternative] = self.alternatives.as_slice() else { return 0 };
        let pinned = |one_of: &&OneOf| matches!(one_of, OneOf::Value(_));
        alternative.prefix.iter().take_while(pinned).count()
    }

    /// The values of the whole key, if it is one.
    pub(super) fn one_key(&self, table: &StoredTable) -> Option<Vec<Known>> {
        let [alternative] = self.alternatives.as_slice() else { return None };
        if alternative.prefix.len() != table.schema.key()?.len() {
            return None;
        }
        let value = |one_of: &OneOf| match one_of {
            OneOf::Value(known) => Some(known.clone()),
            _ => None,
        };
        alternative.prefix.iter().map(value).collect()
    }

    /// Its keys in order, none of them in two spans. `None`: a value is of another type than its
    /// column, or there are too many.
    pub(super) fn spans(&self, table: &StoredTable, params: &[ScalarValue]) -> Option<Vec<Span>> {
        let mut spans = Vec::new();
        for alternative in &self.alternatives {
            alternative.spans(table, params, &mut spans)?;
            if spans.len() > SPANS_MAX {
                return None;
            }
        }
        Some(disjoint(spans))
    }

    /// As EXPLAIN shows it.
    pub(super) fn show(&self, table: &StoredTable) -> String {
        let shown = self.alternatives.iter().map(|alternative| alternative.show(table));
        shown.collect::<Vec<_>>().join(" OR ")
    }
}

/// In order, with what overlaps or comes twice put together.
fn disjoint(mut spans: Vec<Span>) -> Vec<Span> {
    if spans.len() < 2 {
        return spans;
    }
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        let Some(last) = merged.last_mut() else {
            merged.push(span);
            continue;
        };
        let overlaps = match &last.end {
            End::Open => true,
            End::Here => last.start == span.start,
            End::Before(end) => span.start < *end,
        };
        if !overlaps {
            merged.push(span);
        } else if last.end == End::Here
            || span.end == End::Open
            || matches!((&last.end, &span.end), (End::Before(a), End::Before(b)) if b > a)
        {
            last.end = span.end;
        }
    }
    merged
}

/// The alternatives of the first conjunct with OR that gives any, each with the other conjuncts.
fn split_alternatives(
    table: &StoredTable,
    conjuncts: &[&Expr],
    props: &ExecutionProps,
) -> Option<Vec<Alternative>> {
    conjuncts.iter().enumerate().find_map(|(place, conjunct)| {
        let choices = split_binary(conjunct, Operator::Or);
        if !(2..=SPANS_MAX).contains(&choices.len()) || test(table, conjunct, props).is_some() {
            return None;
        }
        let others = conjuncts.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<&Expr> = others.map(|(_, expr)| *expr).collect();
        let alternatives = choices.into_iter().map(|choice| {
            let mut all = split_conjunction(choice);
            all.extend_from_slice(&others);
            Some(Alternative::of(table, &all, props).0).filter(Alternative::says_something)
        });
        alternatives.collect()
    })
}

impl Alternative {
    /// What conjuncts say together, and which of them it implies.
    fn of(table: &StoredTable, conjuncts: &[&Expr], props: &ExecutionProps) -> (Self, Vec<bool>) {
        let columns = table.schema.key().map_or(0, <[usize]>::len);
        let mut implied = vec![false; conjuncts.len()];
        let mut tests: Vec<(usize, usize, Test)> = Vec::new();
        for (place, conjunct) in conjuncts.iter().enumerate() {
            if let Some((column, test)) = test(table, conjunct, props) {
                tests.push((place, column, test));
            }
        }
        let mut found = Self::default();
        for column in 0..columns {
            let equal = |single: bool| {
                tests.iter().position(|(_, of, test)| {
                    let Test::Equal(one_of) = test else { return false };
                    *of == column && matches!(one_of, OneOf::Value(_)) == single
                })
            };
            // One value rather than a list.
            let Some(at) = equal(true).or_else(|| equal(false)) else {
                for (place, of, test) in tests {
                    let slot = match &test {
                        Test::Lower(_) => &mut found.lower,
                        Test::Upper(_) => &mut found.upper,
                        Test::Equal(_) => continue,
                    };
                    if of == column && slot.is_none() {
                        implied[place] = true;
                        let (Test::Lower(edge) | Test::Upper(edge)) = test else { continue };
                        *slot = Some(edge);
                    }
                }
                break;
            };
            let (place, _, Test::Equal(one_of)) = tests.swap_remove(at) else { break };
            implied[place] = true;
            found.prefix.push(one_of);
        }
        (found, implied)
    }

    fn says_something(&self) -> bool {
        !self.prefix.is_empty() || self.lower.is_some() || self.upper.is_some()
    }

    fn spans(
        &self,
        table: &StoredTable,
        params: &[ScalarValue],
        out: &mut Vec<Span>,
    ) -> Option<()> {
        let (key, encoder) = (table.schema.key()?, table.schema.key_encoder()?);
        let column = |at: usize| Column {
            encoder,
            at,
            data_type: table.schema.arrow().field(key[at]).data_type(),
        };
        let mut starts = vec![Vec::new()];
        for (at, one_of) in self.prefix.iter().enumerate() {
            starts = column(at).append_each(starts, one_of, params)?;
        }
        if self.prefix.len() == key.len() {
            let keys = starts.into_iter();
            out.extend(keys.map(|key| Span { start: key.into(), end: End::Here }));
            return Some(());
        }
        for start in starts {
            let (mut from, mut to) = (Some(start.clone()), successor(&start));
            if self.lower.is_some() || self.upper.is_some() {
                let column = column(self.prefix.len());
                if let Some(edge) = &self.lower {
                    from = column.lower(start.clone(), edge, params)?;
                }
                if let Some(edge) = &self.upper {
                    match column.upper(start, edge, params)? {
                        Upper::Nothing => continue,
                        Upper::Before(end) => to = Some(end),
                        Upper::Open => {}
                    }
                }
            }
            let Some(from) = from else { continue };
            let end = to.map_or(End::Open, |to| End::Before(to.into()));
            if matches!(&end, End::Before(to) if to.as_ref() <= from.as_slice()) {
                continue;
            }
            out.push(Span { start: from.into(), end });
        }
        Some(())
    }

    fn show(&self, table: &StoredTable) -> String {
        let key = table.schema.key().unwrap_or_default();
        let name = |at: usize| table.schema.columns()[key[at]].name.as_str();
        let prefix = self.prefix.iter().enumerate().map(|(at, one_of)| match one_of {
            OneOf::Value(known) => format!("{} = {}", name(at), known.show()),
            OneOf::List(list) => {
                let list: Vec<String> = list.iter().map(Known::show).collect();
                format!("{} IN ({})", name(at), list.join(", "))
            }
            OneOf::Elements(known) => format!("{} = ANY ({})", name(at), known.show()),
        });
        let edge = |edge: &Option<Edge>, sign: &str| {
            edge.as_ref().map(|edge| {
                let equal = if edge.inclusive { "=" } else { "" };
                format!("{} {sign}{equal} {}", name(self.prefix.len()), edge.value.show())
            })
        };
        let edges = [edge(&self.lower, ">"), edge(&self.upper, "<")];
        let all: Vec<String> = prefix.chain(edges.into_iter().flatten()).collect();
        format!("({})", all.join(" AND "))
    }
}

/// A column of the key, by its place in it.
struct Column<'a> {
    encoder: &'a KeyEncoder,
    at: usize,
    data_type: &'a DataType,
}

/// Where a range ends.
enum Upper {
    Before(Vec<u8>),
    /// Where the keys of its first columns do.
    Open,
    Nothing,
}

impl Column<'_> {
    /// Each beginning of a key with each of the values behind it.
    fn append_each(
        &self,
        mut starts: Vec<Vec<u8>>,
        one_of: &OneOf,
        params: &[ScalarValue],
    ) -> Option<Vec<Vec<u8>>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut add = |value: &ScalarValue| -> Option<()> {
            // What is NULL or beyond the column's type equals nothing.
            if let Fit::Value(value) = self.fit(value)? {
                parts.push(self.part(Vec::new(), &value)?);
            }
            Some(())
        };
        match one_of {
            OneOf::Value(known) => add(known.value(params)?.as_ref())?,
            OneOf::List(list) => {
                for known in list {
                    add(known.value(params)?.as_ref())?;
                }
            }
            OneOf::Elements(known) => {
                let value = known.value(params)?;
                let ScalarValue::List(array) = value.as_ref() else { return None };
                if !value.is_null() {
                    let elements = array.value(0);
                    if elements.len() > SPANS_MAX {
                        return None;
                    }
                    for n in 0..elements.len() {
                        add(&ScalarValue::try_from_array(&elements, n).ok()?)?;
                    }
                }
            }
        }
        if let [part] = parts.as_slice() {
            starts.iter_mut().for_each(|start| start.extend_from_slice(part));
            return Some(starts);
        }
        if starts.len().saturating_mul(parts.len()) > SPANS_MAX {
            return None;
        }
        let each = |start: Vec<u8>| {
            parts.iter().map(|part| [&start[..], part].concat()).collect::<Vec<_>>()
        };
        Some(starts.into_iter().flat_map(each).collect())
    }

    fn fit<'v>(&self, value: &'v ScalarValue) -> Option<Fit<'v>> {
        fit(value, &self.encoder.types()[self.at], self.data_type)
    }

    fn part(&self, mut start: Vec<u8>, value: &ScalarValue) -> Option<Vec<u8>> {
        self.encoder.encode_part(self.at, &value.to_array().ok()?, &mut start).ok()?;
        Some(start)
    }

    /// Where keys above an edge start; `Some(None)`: there are none.
    fn lower(
        &self,
        start: Vec<u8>,
        edge: &Edge,
        params: &[ScalarValue],
    ) -> Option<Option<Vec<u8>>> {
        Some(match self.fit(edge.value.value(params)?.as_ref())? {
            Fit::Null | Fit::Above => None,
            Fit::Below => Some(start),
            Fit::Value(value) => {
                let from = self.part(start, &value)?;
                if edge.inclusive { Some(from) } else { successor(&from) }
            }
        })
    }

    fn upper(&self, start: Vec<u8>, edge: &Edge, params: &[ScalarValue]) -> Option<Upper> {
        Some(match self.fit(edge.value.value(params)?.as_ref())? {
            Fit::Null | Fit::Below => Upper::Nothing,
            Fit::Above => Upper::Open,
            Fit::Value(value) => {
                let to = self.part(start, &value)?;
                if edge.inclusive {
                    successor(&to).map_or(Upper::Open, Upper::Before)
                } else {
                    Upper::Before(to)
                }
            }
        })
    }
}

/// The least bytes above all that begin so; `None` if there are none.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = bytes[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// A value beside those of a column.
pub(super) enum Fit<'a> {
    /// As the column would hold it.
    Value(Cow<'a, ScalarValue>),
    Null,
    /// An integer less, or greater, than the column's type has.
    Below,
    Above,
}

/// What a value is beside a column's; `None`: it does not compare with them as their keys do.
pub(super) fn fit<'a>(
    value: &'a ScalarValue,
    pg_type: &PgType,
    column: &DataType,
) -> Option<Fit<'a>> {
    if value.is_null() {
        return Some(Fit::Null);
    }
    // As a char(n) it would have lost its blanks: it is a text, to which they count.
    if matches!(pg_type, PgType::Bpchar(_))
        && matches!(value, ScalarValue::Utf8View(Some(text)) if text.ends_with(' '))
    {
        return None;
    }
    if value.data_type() == *column {
        return Some(Fit::Value(Cow::Borrowed(value)));
    }
    let integer = match value {
        ScalarValue::Int16(Some(n)) => i64::from(*n),
        ScalarValue::Int32(Some(n)) => i64::from(*n),
        ScalarValue::Int64(Some(n)) => *n,
        _ => return None,
    };
    let (fitting, least) = match column {
        DataType::Int16 => (i16::try_from(integer).ok().map(ScalarValue::from), i16::MIN.into()),
        DataType::Int32 => (i32::try_from(integer).ok().map(ScalarValue::from), i32::MIN.into()),
        DataType::Int64 => (Some(ScalarValue::from(integer)), i64::MIN),
        _ => return None,
    };
    Some(match fitting {
        Some(fitting) => Fit::Value(Cow::Owned(fitting)),
        None if integer < least => Fit::Below,
        None => Fit::Above,
    })
}

/// What a conjunct says of a column of the key, by the column's place in it.
fn test(table: &StoredTable, conjunct: &Expr, props: &ExecutionProps) -> Option<(usize, Test)> {
    match conjunct {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            let choices = split_binary(conjunct, Operator::Or);
            if choices.len() > SPANS_MAX {
                return None;
            }
            let mut column = None;
            let mut values = Vec::with_capacity(choices.len());
            for choice in choices {
                match test(table, choice, props)? {
                    (of, Test::Equal(OneOf::Value(value))) if *column.get_or_insert(of) == of => {
                        values.push(value);
                    }
                    _ => return None,
                }
            }
            Some((column?, Test::Equal(OneOf::List(values))))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match key_column(table, left) {
                Some(column) => (column, *op, right),
                None => (key_column(table, right)?, op.swap()?, left),
            };
            let value = Known::computed(value, props)?;
            let edge = |inclusive| Edge { value: value.clone(), inclusive };
            Some((
                column,
                match op {
                    Operator::Eq => Test::Equal(OneOf::Value(value)),
                    Operator::Gt => Test::Lower(edge(false)),
                    Operator::GtEq => Test::Lower(edge(true)),
                    Operator::Lt => Test::Upper(edge(false)),
                    Operator::LtEq => Test::Upper(edge(true)),
                    _ => return None,
                },
            ))
        }
        Expr::InList(list) if !list.negated && list.list.len() <= SPANS_MAX => {
            let column = key_column(table, &list.expr)?;
            let values =
                list.list.iter().map(|item| Known::computed(item, props)).collect::<Option<_>>()?;
            Some((column, Test::Equal(OneOf::List(values))))
        }
        Expr::ScalarFunction(call) if is_equal_to_any(&call.func) => {
            let [value, array] = call.args.as_slice() else { return None };
            let column = key_column(table, value)?;
            Some((column, Test::Equal(OneOf::Elements(Known::computed(array, props)?))))
        }
        _ => None,
    }
}

/// The place in the key of a column, as it is or as a wider integer.
fn key_column(table: &StoredTable, expr: &Expr) -> Option<usize> {
    let column = match expr {
        Expr::Column(column) => column,
        Expr::Cast(Cast { expr, field }) => {
            let Expr::Column(column) = expr.as_ref() else { return None };
            let from = table.schema.arrow().field_with_name(&column.name).ok()?.data_type();
            let widens = matches!(
                (from, field.data_type()),
                (DataType::Int16, DataType::Int32 | DataType::Int64)
                    | (DataType::Int32, DataType::Int64)
            );
            if !widens {
                return None;
            }
            column
        }
        _ => return None,
    };
    let key = table.schema.key()?;
    key.iter().position(|ordinal| table.schema.columns()[*ordinal].name == column.name)
}
