//! Window functions over frames that DataFusion does not have: with EXCLUDE, with ranges by offsets
//! of any type, with ends that may cross; and those whose arguments differ by row.
//!
//! A whole partition is evaluated at once. The arguments of a [`FramedFunction`] are those of the
//! function, its filter, the keys of the order, and what bounds the frame; see [`Shape`].

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, DynComparator, Int32Array, UInt64Array,
        make_comparator, new_empty_array, new_null_array,
    },
    compute::{SortOptions, filter, interleave, partition, take},
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        Accumulator, AggregateUDF, PartitionEvaluator, Signature, Volatility, WindowUDF,
        WindowUDFImpl,
        function::{AccumulatorArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
    physical_expr::expressions::{Column, Literal},
    physical_plan::PhysicalExpr,
};

use crate::{
    error::{SqlError, sqlstate},
    query::{errors::external, functions::given_up},
};

/// What is computed over the frame, or over the partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Computed {
    Aggregate(Arc<AggregateUDF>),
    First,
    Last,
    /// Arguments: the value and its number in the frame, from 1.
    Nth,
    /// Arguments: the value, how many rows before, what stands for rows that are not there.
    Lag,
    Lead,
    /// The partition in so many parts.
    Ntile,
}

/// What rows, groups of peers or ranges bound a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Units {
    Rows,
    Range,
    Groups,
}

/// One end of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    Unbounded,
    CurrentRow,
    /// So far before the current row, as the arguments say.
    Preceding,
    Following,
}

impl End {
    fn has_offset(self) -> bool {
        matches!(self, Self::Preceding | Self::Following)
    }
}

/// What is taken out of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Exclude {
    #[default]
    NoOthers,
    CurrentRow,
    Group,
    Ties,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    pub units: Units,
    pub start: End,
    pub end: End,
    pub exclude: Exclude,
}

/// What the arguments are, in this order: `args` of the function; a boolean if `filtered`; a column
/// for each of `keys`, by which the rows are ordered; then for rows and groups an Int64 for each end
/// with an offset, for ranges the ordered value and for each end with an offset where it lies and
/// whether the offset is not negative.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    pub args: usize,
    pub filtered: bool,
    pub keys: Vec<SortOptions>,
    pub frame: Frame,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct FramedFunction {
    /// Plans tell expressions apart by how they are shown: the shape is part of it.
    name: String,
    computed: Computed,
    shape: Shape,
    signature: Signature,
}

/// A window function over a frame.
#[must_use]
pub fn framed(computed: Computed, shape: Shape) -> Arc<WindowUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let name = shown(&computed, &shape);
    Arc::new(WindowUDF::new_from_impl(FramedFunction { name, computed, shape, signature }))
}

fn shown(computed: &Computed, shape: &Shape) -> String {
    let name = match computed {
        Computed::Aggregate(udf) => udf.name(),
        Computed::First => "first_value",
        Computed::Last => "last_value",
        Computed::Nth => "nth_value",
        // These do not look at the frame.
        Computed::Lag => return "lag".to_owned(),
        Computed::Lead => return "lead".to_owned(),
        Computed::Ntile => return "ntile".to_owned(),
    };
    let Shape { args, filtered, frame: Frame { units, start, end, exclude }, .. } = shape;
    let filter = if *filtered { " FILTER" } else { "" };
    format!("{name}[{args}{filter} {units:?} {start:?} {end:?} EXCLUDE {exclude:?}]")
}

impl WindowUDFImpl for FramedFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let fields = args.input_fields();
        Ok(Box::new(Evaluator {
            computed: self.computed.clone(),
            shape: self.shape.clone(),
            returns: returned(&self.computed, fields.get(..self.shape.args).unwrap_or(fields))?,
            fields: fields.to_vec(),
            exprs: args.input_exprs().to_vec(),
        }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let fields = args.input_fields();
        let fields = fields.get(..self.shape.args).unwrap_or(fields);
        let returns = returned(&self.computed, fields)?;
        Ok(Arc::new(Field::new(args.name(), returns, true)))
    }
}

fn returned(computed: &Computed, fields: &[FieldRef]) -> Result<DataType> {
    match (computed, fields.first()) {
        (Computed::Aggregate(udf), _) => Ok(udf.return_field(fields)?.data_type().clone()),
        (Computed::Ntile, _) => Ok(DataType::Int32),
        (_, Some(value)) => Ok(value.data_type().clone()),
        (_, None) => internal_err!("a window function without a value"),
    }
}

#[derive(Debug)]
struct Evaluator {
    computed: Computed,
    shape: Shape,
    returns: DataType,
    fields: Vec<FieldRef>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(new_empty_array(&self.returns));
        }
        let (args, rest) = values.split_at(self.shape.args);
        match &self.computed {
            Computed::Ntile => return ntile(&args[0], rows),
            Computed::Lag => return shifted(args, rows, true),
            Computed::Lead => return shifted(args, rows, false),
            _ => {}
        }
        let (wanted, rest) = match (self.shape.filtered, rest) {
            (true, [first, rest @ ..]) => (Some(first.as_boolean().clone()), rest),
            _ => (None, rest),
        };
        let frames = Frames::new(&self.shape, rest, rows)?;
        match &self.computed {
            Computed::Aggregate(udf) => self.aggregate(udf, args, wanted.as_ref(), &frames),
            computed => {
                let number = |row: usize| match (computed, args.get(1)) {
                    (Computed::Nth, Some(numbers)) => nth(numbers, row),
                    (Computed::Last, _) => Ok(Some(u64::MAX)),
                    _ => Ok(Some(1)),
                };
                let mut found = Vec::with_capacity(rows);
                for row in 0..rows {
                    let pieces = frames.pieces(row)?;
                    found.push(number(row).map_err(external)?.and_then(|n| pieces.nth(n)));
                }
                Ok(take(&args[0], &UInt64Array::from(found), None)?)
            }
        }
    }
}

/// The argument of `nth_value` in a row.
fn nth(numbers: &ArrayRef, row: usize) -> std::result::Result<Option<u64>, SqlError> {
    let numbers = numbers.as_primitive::<Int64Type>();
    if numbers.is_null(row) {
        return Ok(None);
    }
    match u64::try_from(numbers.value(row)) {
        Ok(n) if n > 0 => Ok(Some(n)),
        _ => Err(SqlError::new("22016", "argument of nth_value must be greater than zero")),
    }
}

impl Evaluator {
    fn accumulator(&self, udf: &AggregateUDF, slides: bool) -> Result<Box<dyn Accumulator>> {
        let fields = &self.fields[..self.shape.args];
        let schema = Schema::new(fields.to_vec());
        // Some look at constants among their arguments.
        let expr = |(index, expr): (usize, &Arc<dyn PhysicalExpr>)| -> Arc<dyn PhysicalExpr> {
            match expr.downcast_ref::<Literal>() {
                Some(_) => Arc::clone(expr),
                None => Arc::new(Column::new(fields[index].name(), index)),
            }
        };
        let exprs: Vec<_> = self.exprs[..self.shape.args].iter().enumerate().map(expr).collect();
        let args = AccumulatorArgs {
            return_field: udf.return_field(fields)?,
            schema: &schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: udf.name(),
            is_distinct: false,
            exprs: &exprs,
            expr_fields: fields,
        };
        if slides { udf.create_sliding_accumulator(args) } else { udf.accumulator(args) }
    }

    fn aggregate(
        &self,
        udf: &AggregateUDF,
        args: &[ArrayRef],
        wanted: Option<&BooleanArray>,
        frames: &Frames,
    ) -> Result<ArrayRef> {
        let part = |range: &Range<usize>| -> Result<Vec<ArrayRef>> {
            let slice = |arg: &ArrayRef| arg.slice(range.start, range.len());
            let Some(wanted) = wanted else { return Ok(args.iter().map(slice).collect()) };
            let wanted = wanted.slice(range.start, range.len());
            args.iter().map(|arg| Ok(filter(&slice(arg), &wanted)?)).collect()
        };
        let slides = self.shape.frame.start != End::Unbounded;
        let mut current = self.accumulator(udf, slides)?;
        // What was added to a float cannot be taken away again exactly.
        let exact = !args.iter().any(|arg| arg.data_type().is_floating());
        let retracts = exact && slides && current.supports_retract_batch();
        let mut done = Pieces::default();
        let mut value = current.evaluate()?;
        let mut results = Vec::with_capacity(frames.rows);
        for row in 0..frames.rows {
            let pieces = frames.pieces(row)?;
            if pieces != done {
                match (done.only(), pieces.only()) {
                    (Some(before), Some(now))
                        if before.start <= now.start
                            && before.end <= now.end
                            && now.start <= before.end
                            && (retracts || before.start == now.start) =>
                    {
                        if before.start < now.start {
                            current.retract_batch(&part(&(before.start..now.start))?)?;
                        }
                        if before.end < now.end {
                            current.update_batch(&part(&(before.end..now.end))?)?;
                        }
                    }
                    _ => {
                        current = self.accumulator(udf, slides)?;
                        for range in pieces.ranges() {
                            current.update_batch(&part(range)?)?;
                        }
                    }
                }
                value = current.evaluate()?;
                done = pieces;
            }
            results.push(value.clone());
        }
        ScalarValue::iter_to_array(results)
    }
}

/// The rows of a frame, in order; none of the ranges is empty.
#[derive(Clone, PartialEq, Eq, Default)]
struct Pieces {
    ranges: [Range<usize>; 3],
    count: usize,
}

impl Pieces {
    fn add(&mut self, range: Range<usize>) {
        if range.start >= range.end {
            return;
        }
        if let Some(last) = self.count.checked_sub(1)
            && self.ranges[last].end == range.start
        {
            self.ranges[last].end = range.end;
            return;
        }
        self.ranges[self.count] = range;
        self.count += 1;
    }

    fn ranges(&self) -> &[Range<usize>] {
        &self.ranges[..self.count]
    }

    fn only(&self) -> Option<&Range<usize>> {
        match self.ranges() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The row with this number, from 1; the last with the greatest number there is.
    fn nth(&self, number: u64) -> Option<u64> {
        if number == u64::MAX {
            return self.ranges().last().map(|range| range.end as u64 - 1);
        }
        let mut left = number - 1;
        for range in self.ranges() {
            if left < range.len() as u64 {
                return Some(range.start as u64 + left);
            }
            left -= range.len() as u64;
        }
        None
    }
}

/// The frames of the rows of a partition.
struct Frames {
    rows: usize,
    frame: Frame,
    /// The groups of peers, and which of them each row is in.
    groups: Vec<Range<usize>>,
    group_of: Vec<usize>,
    start: Offset,
    end: Offset,
}

/// How far an end with an offset lies away.
enum Offset {
    None,
    Count(usize),
    /// Where it lies for each row.
    Place {
        /// Rows whose value is not NULL.
        known: Range<usize>,
        /// Compares the value of one row with the place of another.
        compare: DynComparator,
    },
}

impl Frames {
    fn new(shape: &Shape, values: &[ArrayRef], rows: usize) -> Result<Self> {
        let (keys, mut bounds) = values.split_at(shape.keys.len());
        let groups = if keys.is_empty() {
            std::iter::once(0..rows).collect()
        } else {
            partition(keys)?.ranges()
        };
        let mut group_of = vec![0; rows];
        for (number, group) in groups.iter().enumerate() {
            group_of[group.clone()].fill(number);
        }
        let Frame { units, start, end, .. } = shape.frame;
        let ordered = match bounds {
            [first, rest @ ..]
                if units == Units::Range && (start.has_offset() || end.has_offset()) =>
            {
                bounds = rest;
                Some((first, shape.keys.first().copied().unwrap_or_default()))
            }
            _ => None,
        };
        let mut offset = |end: End, what: &str| -> Result<Offset> {
            if !end.has_offset() {
                return Ok(Offset::None);
            }
            match (ordered, bounds) {
                (None, [count, rest @ ..]) => {
                    bounds = rest;
                    Ok(Offset::Count(count_of(count, what).map_err(external)?))
                }
                (Some((value, options)), [place, valid, rest @ ..]) => {
                    bounds = rest;
                    check_range(valid.as_boolean(), what).map_err(external)?;
                    let nulls = value.null_count();
                    let known = if options.nulls_first { nulls..rows } else { 0..rows - nulls };
                    Ok(Offset::Place { known, compare: make_comparator(value, place, options)? })
                }
                _ => internal_err!("a frame without its {what} offset"),
            }
        };
        let (start, end) = (offset(start, "starting")?, offset(end, "ending")?);
        Ok(Self { rows, frame: shape.frame.clone(), groups, group_of, start, end })
    }

    /// Where the frame of a row begins.
    fn start(&self, row: usize) -> usize {
        let group = self.group_of[row];
        match (self.frame.start, self.frame.units, &self.start) {
            (End::Unbounded, ..) => 0,
            (End::CurrentRow, Units::Rows, _) => row,
            (End::CurrentRow, ..) => self.groups[group].start,
            (End::Preceding, Units::Rows, Offset::Count(n)) => row.saturating_sub(*n),
            (End::Following, Units::Rows, Offset::Count(n)) => row.saturating_add(*n),
            (End::Preceding, _, Offset::Count(n)) => self.groups[group.saturating_sub(*n)].start,
            (End::Following, _, Offset::Count(n)) => {
                self.groups.get(group.saturating_add(*n)).map_or(self.rows, |g| g.start)
            }
            (_, _, Offset::Place { known, compare }) if known.contains(&row) => {
                first_in(known, |other| compare(other, row).is_ge())
            }
            _ => self.groups[group].start,
        }
    }

    /// The row behind the last of the frame of a row.
    fn end(&self, row: usize) -> usize {
        let group = self.group_of[row];
        match (self.frame.end, self.frame.units, &self.end) {
            (End::Unbounded, ..) => self.rows,
            (End::CurrentRow, Units::Rows, _) => row + 1,
            (End::CurrentRow, ..) => self.groups[group].end,
            (End::Preceding, Units::Rows, Offset::Count(n)) => (row + 1).saturating_sub(*n),
            (End::Following, Units::Rows, Offset::Count(n)) => (row + 1).saturating_add(*n),
            (End::Preceding, _, Offset::Count(n)) => {
                group.checked_sub(*n).map_or(0, |group| self.groups[group].end)
            }
            (End::Following, _, Offset::Count(n)) => {
                self.groups.get(group.saturating_add(*n)).map_or(self.rows, |g| g.end)
            }
            (_, _, Offset::Place { known, compare }) if known.contains(&row) => {
                first_in(known, |other| compare(other, row).is_gt())
            }
            _ => self.groups[group].end,
        }
    }

    fn pieces(&self, row: usize) -> Result<Pieces> {
        given_up::check().map_err(external)?;
        let start = self.start(row).min(self.rows);
        let end = self.end(row).min(self.rows).max(start);
        let out = match self.frame.exclude {
            Exclude::NoOthers => end..end,
            Exclude::CurrentRow => row..row + 1,
            Exclude::Group | Exclude::Ties => self.groups[self.group_of[row]].clone(),
        };
        let mut pieces = Pieces::default();
        pieces.add(start..end.min(out.start));
        if self.frame.exclude == Exclude::Ties && (start..end).contains(&row) {
            pieces.add(row..row + 1);
        }
        pieces.add(start.max(out.end)..end);
        Ok(pieces)
    }
}

/// The first row of a range that is so, given that all behind it are; the end if none is.
fn first_in(range: &Range<usize>, is_so: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_so(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn count_of(counts: &ArrayRef, what: &str) -> std::result::Result<usize, SqlError> {
    let counts = counts.as_primitive::<Int64Type>();
    if counts.is_null(0) {
        let message = format!("frame {what} offset must not be null");
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
    }
    usize::try_from(counts.value(0)).map_err(|_| {
        let message = format!("frame {what} offset must not be negative");
        SqlError::new("22013", message)
    })
}

fn check_range(valid: &BooleanArray, what: &str) -> std::result::Result<(), SqlError> {
    if valid.is_null(0) {
        let message = format!("frame {what} offset must not be null");
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
    }
    if !valid.value(0) {
        let message = "invalid preceding or following size in window function";
        return Err(SqlError::new("22013", message));
    }
    Ok(())
}

/// `ntile`: by its argument in the partition's first row.
fn ntile(parts: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let parts = parts.as_primitive::<Int64Type>();
    if parts.is_null(0) {
        return Ok(new_null_array(&DataType::Int32, rows));
    }
    let parts = match usize::try_from(parts.value(0)) {
        Ok(parts) if parts > 0 => parts,
        _ => {
            let message = "argument of ntile must be greater than zero";
            return Err(external(SqlError::new("22014", message)));
        }
    };
    // The first parts have one row more than the others.
    let (size, longer) = (rows / parts, rows % parts);
    let part = |row: usize| {
        let in_longer = longer * (size + 1);
        let part =
            if row < in_longer { row / (size + 1) } else { longer + (row - in_longer) / size };
        i32::try_from(part + 1).unwrap_or(i32::MAX)
    };
    Ok(Arc::new(Int32Array::from_iter_values((0..rows).map(part))))
}

/// `lag` and `lead`.
fn shifted(args: &[ArrayRef], rows: usize, back: bool) -> Result<ArrayRef> {
    let value = &args[0];
    let offsets = args.get(1).map(|offsets| offsets.as_primitive::<Int64Type>());
    let nothing = new_null_array(value.data_type(), 1);
    let otherwise = args.get(2);
    let sources: Vec<&dyn Array> =
        vec![value.as_ref(), otherwise.map_or(nothing.as_ref(), |o| o.as_ref()), nothing.as_ref()];
    let mut places = Vec::with_capacity(rows);
    for row in 0..rows {
        let offset = match offsets {
            None => Some(1),
            Some(offsets) => offsets.is_valid(row).then(|| offsets.value(row)),
        };
        places.push(match offset {
            None => (2, 0),
            Some(offset) => {
                let offset = if back { offset.checked_neg() } else { Some(offset) };
                let place = offset
                    .and_then(|offset| isize::try_from(offset).ok())
                    .and_then(|offset| row.checked_add_signed(offset))
                    .filter(|place| *place < rows);
                match place {
                    Some(place) => (0, place),
                    None if otherwise.is_some() => (1, row),
                    None => (2, 0),
                }
            }
        });
    }
    Ok(interleave(&sources, &places)?)
}
