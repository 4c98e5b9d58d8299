//! What filters say of many rows at once, of which only the least and the greatest values are known.
//!
//! `false` is certain: no row passes. Where it is not known how a filter compares values, or what the
//! values are, rows may pass. Bounds are those of the order in which Arrow's arrays compare: that is what
//! filters do, and whatever PostgreSQL compares otherwise is in the filter as a call of a function, of
//! which nothing is known here.

use std::{cmp::Ordering, sync::Arc};

use datafusion::{
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr,
            LikeExpr, Literal, NotExpr,
        },
    },
    scalar::ScalarValue,
};

use crate::{
    query::{
        functions::{array::search::is_equal_to_any, cast::is_canonical_float},
        planner::is_comparison,
    },
    types::PgType,
};

/// Longer lists of values are not looked at.
const LIST_MAX: usize = 2_000;

/// What is known of a column's values in some rows.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct ColumnRange {
    /// No value is less.
    pub(super) min: Option<ScalarValue>,
    /// No value is greater.
    pub(super) max: Option<ScalarValue>,
    pub(super) nulls: Nulls,
    /// Blanks at the end of a text that is compared with its values may not count.
    pub(super) ignores_blanks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nulls {
    Nowhere,
    Somewhere,
    /// There is nothing else.
    Everywhere,
}

impl Nulls {
    pub(super) fn of(nulls: u64, rows: u64) -> Self {
        match nulls {
            0 => Self::Nowhere,
            nulls if nulls >= rows => Self::Everywhere,
            _ => Self::Somewhere,
        }
    }
}

impl ColumnRange {
    /// `min` and `max`: of the values that are not NULL, as [`PgType::arrow_type`] has them.
    pub(super) fn new(
        pg_type: &PgType,
        min: Option<ScalarValue>,
        max: Option<ScalarValue>,
        nulls: Nulls,
    ) -> Self {
        let known = is_ordered_as_stored(pg_type);
        let bound = |value: Option<ScalarValue>| {
            value.filter(|value| known && !value.is_null() && !is_nan(value))
        };
        let ignores_blanks = matches!(pg_type, PgType::Bpchar(_));
        Self { min: bound(min), max: bound(max), nulls, ignores_blanks }
    }

    /// All rows have this value.
    pub(super) fn one(pg_type: &PgType, value: ScalarValue) -> Self {
        let nulls = if value.is_null() { Nulls::Everywhere } else { Nulls::Nowhere };
        Self::new(pg_type, Some(value.clone()), Some(value), nulls)
    }

    /// May a value compare so with `value`?
    fn may(&self, op: Operator, value: &ScalarValue) -> bool {
        // A comparison with NULL is never true.
        if self.nulls == Nulls::Everywhere || value.is_null() {
            return false;
        }
        if self.ignores_blanks && value.try_as_str().flatten().is_some_and(|t| t.ends_with(' ')) {
            return true;
        }
        let order =
            |bound: &Option<ScalarValue>| bound.as_ref().and_then(|bound| compare(bound, value));
        let (min, max) = (order(&self.min), order(&self.max));
        match op {
            Operator::Eq => min != Some(Ordering::Greater) && max != Some(Ordering::Less),
            Operator::NotEq => (min, max) != (Some(Ordering::Equal), Some(Ordering::Equal)),
            Operator::Lt => min.is_none_or(Ordering::is_lt),
            Operator::LtEq => min.is_none_or(Ordering::is_le),
            Operator::Gt => max.is_none_or(Ordering::is_gt),
            Operator::GtEq => max.is_none_or(Ordering::is_ge),
            _ => true,
        }
    }
}

/// Do the bounds that are kept of values of the type bound them as Arrow's arrays compare?
pub(super) fn is_ordered_as_stored(pg_type: &PgType) -> bool {
    match pg_type {
        PgType::Bool
        | PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Float4
        | PgType::Float8
        | PgType::Text
        | PgType::Varchar(_)
        | PgType::Bpchar(Some(_))
        | PgType::Name
        | PgType::Bytea
        | PgType::Date
        | PgType::Time(_)
        | PgType::Timestamp(_)
        | PgType::Timestamptz(_)
        | PgType::Uuid
        | PgType::Oid => true,
        PgType::Numeric(Some(shape)) => shape.decimal().is_some_and(|(digits, _)| digits <= 38),
        _ => false,
    }
}

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(value)) => value.is_nan(),
        ScalarValue::Float64(Some(value)) => value.is_nan(),
        _ => false,
    }
}

/// Where what is known of columns is found, by their places in the schema of a filter. `None`: nothing is
/// known.
pub(super) trait Ranges {
    fn range(&self, column: usize) -> Option<ColumnRange>;
}

/// May `filter` be true for any row? `false` is certain.
pub(super) fn may_pass(filter: &Arc<dyn PhysicalExpr>, ranges: &dyn Ranges) -> bool {
    if let Some(binary) = filter.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left(), binary.right());
        return match binary.op() {
            Operator::And => may_pass(left, ranges) && may_pass(right, ranges),
            Operator::Or => may_pass(left, ranges) || may_pass(right, ranges),
            op => may_compare(left, *op, right, ranges),
        };
    }
    if let Some(literal) = filter.downcast_ref::<Literal>() {
        return !matches!(literal.value(), ScalarValue::Boolean(None | Some(false)));
    }
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        return list.negated() || may_be_in(list, ranges);
    }
    if let Some(like) = filter.downcast_ref::<LikeExpr>() {
        return may_be_like(like, ranges);
    }
    let range = |expr: &Arc<dyn PhysicalExpr>| column(expr).and_then(|at| ranges.range(at));
    if filter.is::<Column>() {
        return range(filter).is_none_or(|of| of.may(Operator::Eq, &ScalarValue::from(true)));
    }
    if let Some(not) = filter.downcast_ref::<NotExpr>()
        && not.arg().is::<Column>()
    {
        return range(not.arg()).is_none_or(|of| of.may(Operator::Eq, &ScalarValue::from(false)));
    }
    if let Some(is_null) = filter.downcast_ref::<IsNullExpr>() {
        return range(is_null.arg()).is_none_or(|of| of.nulls != Nulls::Nowhere);
    }
    if let Some(is_not_null) = filter.downcast_ref::<IsNotNullExpr>() {
        return range(is_not_null.arg()).is_none_or(|of| of.nulls != Nulls::Everywhere);
    }
    if let Some(case) = filter.downcast_ref::<CaseExpr>() {
        let results = case.when_then_expr().iter().map(|(_, then)| then);
        // Without ELSE it is NULL.
        return results.chain(case.else_expr()).any(|result| may_pass(result, ranges));
    }
    if let Some(call) = filter.downcast_ref::<ScalarFunctionExpr>()
        && is_equal_to_any(call.fun())
        && let [value, array] = call.args()
    {
        return may_equal_any(value, array, ranges);
    }
    true
}

fn may_compare(
    left: &Arc<dyn PhysicalExpr>,
    op: Operator,
    right: &Arc<dyn PhysicalExpr>,
    ranges: &dyn Ranges,
) -> bool {
    let sides = match (column(left), right.downcast_ref::<Literal>()) {
        (Some(at), Some(literal)) => Some((at, op, literal)),
        _ => match (column(right), left.downcast_ref::<Literal>(), op.swap()) {
            (Some(at), Some(literal), Some(op)) => Some((at, op, literal)),
            _ => None,
        },
    };
    let Some((at, op, literal)) = sides else { return true };
    !is_comparison(op) || ranges.range(at).is_none_or(|range| range.may(op, literal.value()))
}

fn may_be_in(list: &InListExpr, ranges: &dyn Ranges) -> bool {
    if list.list().len() > LIST_MAX {
        return true;
    }
    let Some(range) = column(list.expr()).and_then(|at| ranges.range(at)) else { return true };
    list.list().iter().any(|item| match item.downcast_ref::<Literal>() {
        Some(literal) => range.may(Operator::Eq, literal.value()),
        None => true,
    })
}

/// By what texts begin with: they are ordered by their bytes.
fn may_be_like(like: &LikeExpr, ranges: &dyn Ranges) -> bool {
    let Some(range) = column(like.expr()).and_then(|at| ranges.range(at)) else { return true };
    let Some(pattern) = like.pattern().downcast_ref::<Literal>() else { return true };
    if range.nulls == Nulls::Everywhere || pattern.value().is_null() {
        return false;
    }
    let Some(pattern) = pattern.value().try_as_str().flatten() else { return true };
    if like.negated() || like.case_insensitive() || range.ignores_blanks {
        return true;
    }
    let prefix = literal_prefix(pattern);
    let text = |bound: &Option<ScalarValue>| {
        bound.as_ref().and_then(ScalarValue::try_as_str).flatten().map(str::to_owned)
    };
    let begins = |text: &str| text.as_bytes()[..text.len().min(prefix.len())].to_vec();
    // What begins with the prefix is at or after it, and before whatever begins with something greater.
    text(&range.max).is_none_or(|max| max >= prefix)
        && text(&range.min).is_none_or(|min| begins(&min).as_slice() <= prefix.as_bytes())
}

/// What every text begins with that matches.
fn literal_prefix(pattern: &str) -> String {
    let mut prefix = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => break,
            '\\' => prefix.extend(characters.next()),
            other => prefix.push(other),
        }
    }
    prefix
}

fn may_equal_any(
    value: &Arc<dyn PhysicalExpr>,
    array: &Arc<dyn PhysicalExpr>,
    ranges: &dyn Ranges,
) -> bool {
    let Some(range) = column(value).and_then(|at| ranges.range(at)) else { return true };
    let Some(literal) = array.downcast_ref::<Literal>() else { return true };
    if literal.value().is_null() {
        return false;
    }
    let ScalarValue::List(list) = literal.value() else { return true };
    let items = list.value(0);
    // Whatever they are, there is nothing to equal NULL.
    if range.nulls == Nulls::Everywhere {
        return false;
    }
    if items.len() > LIST_MAX {
        return true;
    }
    (0..items.len()).any(|n| {
        let item = ScalarValue::try_from_array(&items, n);
        // It compares floats as PostgreSQL does: every NaN and every zero is the same.
        item.is_ok_and(|item| range.may(Operator::Eq, &item))
    })
}

/// The place of a column, as it is or cast to a type that has the same values and more.
fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    use arrow::datatypes::DataType as D;
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column.index());
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        // It makes all zeros and all NaNs alike, as bounds are compared anyway.
        return is_canonical_float(call.fun()).then(|| column(call.args().first()?)).flatten();
    }
    let cast = expr.downcast_ref::<CastExpr>()?;
    let at = cast.expr().downcast_ref::<Column>()?.index();
    // Casts between integers, to more bits: of others the column's own type is not known here, but
    // a narrower one would have to be one that fails.
    matches!(cast.cast_type(), D::Int32 | D::Int64).then_some(at)
}

/// How values compare, where that is what all of their types' values do; `None`: not known.
fn compare(a: &ScalarValue, b: &ScalarValue) -> Option<Ordering> {
    use ScalarValue as V;
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Some(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (float(a), float(b)) {
        // Zeros are equal here, so that neither of them is beyond a bound that is the other. NaN is the
        // greatest value, and equal to itself.
        return Some(a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())));
    }
    match (a, b) {
        (V::Boolean(Some(a)), V::Boolean(Some(b))) => Some(a.cmp(b)),
        (V::Decimal128(Some(a), _, s), V::Decimal128(Some(b), _, t)) if s == t => Some(a.cmp(b)),
        (V::Date32(Some(a)), V::Date32(Some(b))) => Some(a.cmp(b)),
        (V::Time64Microsecond(Some(a)), V::Time64Microsecond(Some(b)))
        | (V::TimestampMicrosecond(Some(a), _), V::TimestampMicrosecond(Some(b), _)) => {
            Some(a.cmp(b))
        }
        (V::Utf8View(Some(a)) | V::Utf8(Some(a)), V::Utf8View(Some(b)) | V::Utf8(Some(b))) => {
            Some(a.as_bytes().cmp(b.as_bytes()))
        }
        (V::Binary(Some(a)), V::Binary(Some(b))) => Some(a.cmp(b)),
        (V::FixedSizeBinary(n, Some(a)), V::FixedSizeBinary(m, Some(b))) if n == m => {
            Some(a.cmp(b))
        }
        _ => None,
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int16(Some(n)) => Some(i64::from(*n)),
        ScalarValue::Int32(Some(n)) => Some(i64::from(*n)),
        ScalarValue::Int64(Some(n)) => Some(*n),
        ScalarValue::UInt32(Some(n)) => Some(i64::from(*n)),
        _ => None,
    }
}

fn float(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float32(Some(x)) => Some(f64::from(*x)),
        ScalarValue::Float64(Some(x)) => Some(*x),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::{
        common::config::ConfigOptions,
        physical_expr::expressions::{
            binary, case, cast, col, in_list, is_not_null, is_null, lit, not,
        },
    };

    use super::*;
    use crate::query::functions::cast::canonical_float;

    struct One(ColumnRange);

    impl Ranges for One {
        fn range(&self, column: usize) -> Option<ColumnRange> {
            (column == 0).then(|| self.0.clone())
        }
    }

    /// A column of a type, and rows with values between two.
    struct Rows {
        schema: Schema,
        range: One,
    }

    impl Rows {
        fn new(pg_type: &PgType, min: ScalarValue, max: ScalarValue, nulls: Nulls) -> Self {
            let field = |name| Field::new(name, pg_type.arrow_type(), true);
            let schema = Schema::new(vec![field("a"), field("unknown")]);
            Self { schema, range: One(ColumnRange::new(pg_type, Some(min), Some(max), nulls)) }
        }

        fn column(&self, name: &str) -> Arc<dyn PhysicalExpr> {
            col(name, &self.schema).expect("a column")
        }

        fn compare(&self, op: Operator, value: ScalarValue) -> Arc<dyn PhysicalExpr> {
            binary(self.column("a"), op, lit(value), &self.schema).expect("a comparison")
        }

        fn pass(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
            may_pass(filter, &self.range)
        }

        /// Of `=`, `<>`, `<`, `<=`, `>`, `>=` those that may hold.
        fn holding(&self, value: ScalarValue) -> String {
            use Operator as O;
            let all = [
                (O::Eq, "= "),
                (O::NotEq, "<> "),
                (O::Lt, "< "),
                (O::LtEq, "<= "),
                (O::Gt, "> "),
                (O::GtEq, ">= "),
            ];
            let may = |(op, _): &(O, &str)| self.pass(&self.compare(*op, value.clone()));
            all.into_iter().filter(may).map(|(_, name)| name).collect()
        }
    }

    const ALL: &str = "= <> < <= > >= ";

    #[test]
    fn values_beyond_the_bounds_do_not_pass() {
        let rows = Rows::new(&PgType::Int4, 10.into(), 20.into(), Nulls::Somewhere);
        for (value, holding) in [
            (9, "<> > >= "),
            (10, "= <> <= > >= "),
            (15, ALL),
            (20, "= <> < <= >= "),
            (21, "<> < <= "),
        ] {
            assert_eq!(rows.holding(value.into()), holding, "{value}");
        }
        assert_eq!(rows.holding(ScalarValue::Int32(None)), "");
        let same = Rows::new(&PgType::Int4, 7.into(), 7.into(), Nulls::Nowhere);
        assert_eq!(same.holding(7.into()), "= <= >= ");
        let wide = cast(rows.column("a"), &rows.schema, DataType::Int64).expect("a cast");
        let far = binary(wide, Operator::Gt, lit(20_i64), &rows.schema).expect("a comparison");
        assert!(!rows.pass(&far));
        let turned = binary(lit(21), Operator::LtEq, rows.column("a"), &rows.schema);
        assert!(!rows.pass(&turned.expect("a comparison")));
    }

    #[test]
    fn conjunctions_lists_and_cases_pass_with_one_of_their_parts() {
        let rows = Rows::new(&PgType::Int4, 10.into(), 20.into(), Nulls::Nowhere);
        let yes = || rows.compare(Operator::Eq, 11.into());
        let no = || rows.compare(Operator::Eq, 1.into());
        let unknown = || {
            let on = rows.column("unknown");
            binary(on, Operator::Eq, lit(1), &rows.schema).expect("a comparison")
        };
        let both = |a, op, b| binary(a, op, b, &rows.schema).expect("a conjunction");
        assert!(!rows.pass(&both(yes(), Operator::And, no())));
        assert!(!rows.pass(&both(unknown(), Operator::And, no())));
        assert!(rows.pass(&both(no(), Operator::Or, unknown())));
        assert!(!rows.pass(&both(no(), Operator::Or, no())));
        let among = |items: &[i32], negated| {
            let items = items.iter().map(|n| lit(*n)).collect();
            in_list(rows.column("a"), items, &negated, &rows.schema).expect("a list")
        };
        assert!(rows.pass(&among(&[1, 15], false)) && rows.pass(&among(&[1, 2], true)));
        assert!(!rows.pass(&among(&[1, 9, 21], false)));
        let choose =
            |then, otherwise| case(None, vec![(unknown(), then)], otherwise).expect("a case");
        assert!(!rows.pass(&choose(no(), Some(no()))) && !rows.pass(&choose(no(), None)));
        assert!(rows.pass(&choose(no(), Some(yes()))) && rows.pass(&choose(yes(), None)));
        assert!(!rows.pass(&lit(false)) && !rows.pass(&lit(ScalarValue::Boolean(None))));
        assert!(rows.pass(&not(no()).expect("a negation")), "it is not known");
    }

    #[test]
    fn nulls_are_counted() {
        for (nulls, is, is_not) in [
            (Nulls::Nowhere, false, true),
            (Nulls::Somewhere, true, true),
            (Nulls::Everywhere, true, false),
        ] {
            let rows = Rows::new(&PgType::Bool, true.into(), true.into(), nulls);
            assert_eq!(rows.pass(&is_null(rows.column("a")).expect("a test")), is);
            assert_eq!(rows.pass(&is_not_null(rows.column("a")).expect("a test")), is_not);
            assert_eq!(rows.pass(&rows.column("a")), is_not);
            assert!(!rows.pass(&not(rows.column("a")).expect("a negation")));
        }
    }

    #[test]
    fn floats_have_nan_and_two_zeros() {
        let rows = Rows::new(&PgType::Float8, (-0.0).into(), f64::NAN.into(), Nulls::Nowhere);
        assert_eq!(rows.holding(1e300.into()), ALL, "NaN is greater");
        assert_eq!(rows.holding((-1.0).into()), "<> > >= ");
        let zero = Rows::new(&PgType::Float8, 0.0.into(), 1.0.into(), Nulls::Nowhere);
        assert!(zero.holding((-0.0).into()).contains("= "));
        assert_eq!(zero.holding(f64::NAN.into()), "<> < <= ", "no value is NaN");
        assert_eq!(rows.holding(f64::NAN.into()), ALL, "some are");
        let reals = Rows::new(&PgType::Float4, 1.5_f32.into(), 2.5_f32.into(), Nulls::Nowhere);
        assert_eq!(reals.holding(2.5_f32.into()), "= <> < <= >= ");
        assert_eq!(reals.holding(f32::NAN.into()), "<> < <= ");
        // A comparison with zero is one of what canonical_float8 makes of the values.
        let args = vec![zero.column("a")];
        let call = |udf| {
            let options = Arc::new(ConfigOptions::default());
            ScalarFunctionExpr::try_new(udf, args.clone(), &zero.schema, options).expect("a call")
        };
        let canonical: Arc<dyn PhysicalExpr> = Arc::new(call(canonical_float()));
        let compared =
            |op| binary(Arc::clone(&canonical), op, lit(0.0), &zero.schema).expect("a comparison");
        assert!(!zero.pass(&compared(Operator::Lt)) && zero.pass(&compared(Operator::LtEq)));
    }

    #[test]
    fn patterns_begin_with_something() {
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        let rows = Rows::new(&PgType::Text, text("berg"), text("dorf"), Nulls::Nowhere);
        let matches = |pattern: &str, negated, ignore_case| {
            let expr = rows.column("a");
            let like = LikeExpr::new(negated, ignore_case, expr, lit(text(pattern)));
            rows.pass(&(Arc::new(like) as Arc<dyn PhysicalExpr>))
        };
        for may in ["b%", "berg%", "bern", "bergx_", "c%", "dor%", "dorf", "%x", "", "_z", "d_z"] {
            assert!(matches(may, false, false) || may.is_empty(), "{may}");
        }
        for never in ["a%", "bere%", "bad_", "dorfe%", "e%", "dos_", "\\%b", "B%", "dos\\%"] {
            assert!(!matches(never, false, false), "{never}");
            assert!(matches(never, true, false) && matches(never, false, true), "{never}");
        }
        assert!(matches("c\\_x", false, false) && matches("ä%", true, false));
        assert!(!matches("ä%", false, false));
        assert_eq!(literal_prefix("a\\%b\\\\c_d%"), "a%b\\c");
    }

    #[test]
    fn texts_are_bytes_and_blanks_may_not_count() {
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        let rows = Rows::new(&PgType::Text, text("b"), text("ä"), Nulls::Nowhere);
        assert_eq!(rows.holding(text("a ")), "<> > >= ");
        assert_eq!(rows.holding(text("B")), "<> > >= ");
        assert_eq!(rows.holding(text("z")), ALL);
        let blanks = Rows::new(&PgType::Bpchar(Some(5)), text("b"), text("b"), Nulls::Nowhere);
        assert_eq!(blanks.holding(text("b ")), ALL);
        assert_eq!(blanks.holding(text("c")), "<> < <= ");
        let number = |value| ScalarValue::Decimal128(Some(value), 10, 2);
        let shape = PgType::from_oid(1700, (10 << 16 | 2) + 4).expect("numeric(10,2)");
        let rows = Rows::new(&shape, number(100), number(200), Nulls::Nowhere);
        assert_eq!(rows.holding(number(201)), "<> < <= ");
        assert_eq!(rows.holding(ScalarValue::Decimal128(Some(9), 10, 0)), ALL, "another scale");
        // How these are kept says nothing of their order.
        let rows = Rows::new(&PgType::Numeric(None), text("10"), text("9"), Nulls::Nowhere);
        assert_eq!(rows.holding(text("5")), ALL);
    }
}
