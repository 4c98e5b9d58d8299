//! Sorting a few rows as PostgreSQL does: rows that are equal by all keys come in the order in which
//! its quicksort leaves them, so that what depends on their order (windows over ties, `LIMIT` above)
//! is the same as there. More rows go through DataFusion's sort, which spills.

use std::{cmp::Ordering, fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{
        Result, Statistics,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{OrderingRequirements, PhysicalExpr},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, PlanProperties,
        metrics::MetricsSet,
        replace_children_if_necessary,
        sorts::sort::SortExec,
        spill::get_record_batch_memory_size,
        statistics::{ChildStats, StatisticsArgs},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

/// Most rows that are sorted here, and the memory that they may take.
const ROWS_MAX: usize = 16_384;
const BYTES_MAX: usize = 16 << 20;

/// The rule that puts [`FewRowsSort`] in the place of sorts of one stream.
#[derive(Debug)]
pub struct SortFewRows;

impl PhysicalOptimizerRule for SortFewRows {
    fn name(&self) -> &str {
        "sort_few_rows"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(sort) = plan.downcast_ref::<SortExec>() else {
                return Ok(Transformed::no(plan));
            };
            let one = sort.input().output_partitioning().partition_count() == 1;
            if sort.fetch().is_some() || !one {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(FewRowsSort { sort: plan })))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A sort without a limit of one stream.
#[derive(Debug)]
struct FewRowsSort {
    /// A [`SortExec`].
    sort: Arc<dyn ExecutionPlan>,
}

impl FewRowsSort {
    fn input(&self) -> &Arc<dyn ExecutionPlan> {
        self.sort.children()[0]
    }
}

impl DisplayAs for FewRowsSort {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sort.fmt_as(format, f)
    }
}

impl ExecutionPlan for FewRowsSort {
    fn name(&self) -> &str {
        "SortExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.sort.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.sort.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.sort.required_input_ordering()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.sort.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.sort.apply_expressions(f)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let sort = replace_children_if_necessary(Arc::clone(&self.sort), children)?;
        Ok(Arc::new(Self { sort }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input().execute(partition, Arc::clone(&context))?;
        let schema = self.schema();
        let rows = sorted(Arc::clone(&self.sort), input, context);
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.sort.metrics()
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }
}

/// The rows of `input` in the order of `sort`.
async fn sorted(
    sort: Arc<dyn ExecutionPlan>,
    mut input: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let charged = MemoryConsumer::new("sort of few rows").register(context.memory_pool());
    let (mut batches, mut rows) = (Vec::new(), 0);
    let mut few = true;
    while let Some(batch) = input.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        // Twice: as they come, and sorted.
        let bytes = 2 * get_record_batch_memory_size(&batch);
        few = rows <= ROWS_MAX
            && charged.size() + bytes <= BYTES_MAX
            && charged.try_grow(bytes).is_ok();
        batches.push(batch);
        if !few {
            break;
        }
    }
    let schema = input.schema();
    if !few {
        drop(charged);
        let begun = futures::stream::iter(batches.into_iter().map(Ok));
        let all = RecordBatchStreamAdapter::new(Arc::clone(&schema), begun.chain(input));
        let all =
            Begun { like: Arc::clone(sort.children()[0]), rows: Mutex::new(Some(Box::pin(all))) };
        let sort = replace_children_if_necessary(sort, vec![Arc::new(all)])?;
        return sort.execute(0, context);
    }
    let shown = sort.schema();
    let batch_rows = context.session_config().batch_size();
    let pieces = match rows {
        0 => Vec::new(),
        _ => pieces(&in_order(&sort, &concat_batches(&schema, &batches)?)?, batch_rows),
    };
    let pieces = pieces.into_iter().map(move |piece| {
        // Charged for as long as somebody reads them.
        let _charged = &charged;
        Ok(piece)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(shown, futures::stream::iter(pieces))))
}

fn pieces(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let all = batch.num_rows();
    (0..all).step_by(rows.max(1)).map(|start| batch.slice(start, rows.min(all - start))).collect()
}

fn in_order(sort: &Arc<dyn ExecutionPlan>, batch: &RecordBatch) -> Result<RecordBatch> {
    let Some(sort) = sort.downcast_ref::<SortExec>() else {
        return Err(DataFusionError::Internal(format!("{} is no sort", sort.name())));
    };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for key in sort.expr().iter() {
        let column = key.expr.evaluate(batch)?.into_array(batch.num_rows())?;
        fields.push(SortField::new_with_options(column.data_type().clone(), key.options));
        columns.push(column);
    }
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    // Fewer than ROWS_MAX.
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    quicksort(&mut order, &|a, b| keys.row(a as usize).cmp(&keys.row(b as usize)));
    Ok(take_record_batch(batch, &UInt32Array::from(order))?)
}

type Compare<'c> = &'c dyn Fn(u32, u32) -> Ordering;

/// Bentley's and McIlroy's quicksort, with PostgreSQL's choices: insertion up to 6 items, nothing for
/// what is in order already, pivots of three and of nine from 8 and 41 items on.
fn quicksort(mut items: &mut [u32], compare: Compare<'_>) {
    loop {
        let n = items.len();
        if n < 7 {
            return insertion_sort(items, compare);
        }
        if items.windows(2).all(|pair| compare(pair[0], pair[1]).is_le()) {
            return;
        }
        let pivot = pivot(items, compare);
        items.swap(0, pivot);
        let (less, greater) = partition(items, compare);
        let (left_part, rest) = std::mem::take(&mut items).split_at_mut(less);
        let middle = rest.len() - greater;
        let right_part = &mut rest[middle..];
        // The smaller part first, by recursion, which bounds the stack.
        let (first, next) =
            if less <= greater { (left_part, right_part) } else { (right_part, left_part) };
        if first.len() > 1 {
            quicksort(first, compare);
        }
        if next.len() <= 1 {
            return;
        }
        items = next;
    }
}

fn insertion_sort(items: &mut [u32], compare: Compare<'_>) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && compare(items[at - 1], items[at]).is_gt() {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

fn pivot(items: &[u32], compare: Compare<'_>) -> usize {
    let n = items.len();
    let median = |a: usize, b: usize, c: usize| {
        let less = |a: usize, b: usize| compare(items[a], items[b]).is_lt();
        if less(a, b) {
            if less(b, c) {
                b
            } else if less(a, c) {
                c
            } else {
                a
            }
        } else if compare(items[b], items[c]).is_gt() {
            b
        } else if less(a, c) {
            a
        } else {
            c
        }
    };
    let middle = n / 2;
    if n == 7 {
        return middle;
    }
    if n <= 40 {
        return median(0, middle, n - 1);
    }
    let d = n / 8;
    median(
        median(0, d, 2 * d),
        median(middle - d, middle, middle + d),
        median(n - 1 - 2 * d, n - 1 - d, n - 1),
    )
}

/// Puts what is less than the first item in front and what is greater behind; how many of each.
fn partition(items: &mut [u32], compare: Compare<'_>) -> (usize, usize) {
    let n = items.len();
    // Equal items gather at both ends: below `a`, and above `d`; `b` and `c` run towards each other,
    // both one further than what they look at, so that they do not go below zero.
    let (mut a, mut b, mut c, mut d) = (1, 1, n, n);
    loop {
        while b < c {
            match compare(items[b], items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(a, b);
                    a += 1;
                }
                Ordering::Less => {}
            }
            b += 1;
        }
        while b < c {
            match compare(items[c - 1], items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(c - 1, d - 1);
                    d -= 1;
                }
                Ordering::Greater => {}
            }
            c -= 1;
        }
        if b >= c {
            break;
        }
        items.swap(b, c - 1);
        b += 1;
        c -= 1;
    }
    let (less, greater) = (b - a, d - c);
    let moved = a.min(less);
    (0..moved).for_each(|i| items.swap(i, b - moved + i));
    let moved = greater.min(n - d);
    (0..moved).for_each(|i| items.swap(b + i, n - moved + i));
    (less, greater)
}

/// What an input gave and gives, once.
struct Begun {
    like: Arc<dyn ExecutionPlan>,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun")
    }
}

impl DisplayAs for Begun {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun")
    }
}

impl ExecutionPlan for Begun {
    fn name(&self) -> &str {
        "Begun"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.like.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.lock().take();
        rows.ok_or_else(|| DataFusionError::Internal("an input is read twice".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::quicksort;

    /// Items whose keys are these, in the order that PostgreSQL 15 puts them in.
    fn order(keys: &[i32]) -> Vec<u32> {
        let mut items: Vec<u32> = (0..keys.len() as u32).collect();
        quicksort(&mut items, &|a, b| keys[a as usize].cmp(&keys[b as usize]));
        items
    }

    /// `tests/slt/ties.slt` has more of them.
    #[test]
    fn equal_items_come_as_in_postgresql() {
        assert_eq!(order(&[2, 1, 2, 1, 2, 1]), [1, 3, 5, 0, 2, 4], "few: as they come");
        assert_eq!(order(&[1, 1, 1, 2, 2, 2, 3, 3]), [0, 1, 2, 3, 4, 5, 6, 7], "in order");
        let ten = order(&[0, 2, 1, 2, 1, 0, 1, 3, 3, 0]);
        assert_eq!(ten, [9, 5, 0, 6, 4, 2, 3, 1, 7, 8]);
    }

    #[test]
    fn any_keys_come_in_order() {
        let mut state = 7_u64;
        for n in 0..300 {
            let keys: Vec<i32> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as i32 % (1 + n / 3)
                })
                .collect();
            let items = order(&keys);
            let mut all = items.clone();
            all.sort_unstable();
            assert!(all.iter().enumerate().all(|(i, item)| i == *item as usize), "all are there");
            let in_order = |pair: &[u32]| keys[pair[0] as usize] <= keys[pair[1] as usize];
            assert!(items.windows(2).all(in_order), "{n} keys");
        }
    }
}
