use std::sync::Arc;

use arrow::{
    array::{Int32Array, StringViewArray},
    datatypes::Int32Type,
};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};

use super::*;
use crate::query::statement::FetchDirection as D;

const ROWS: i64 = 23;

/// Rows 1 to [`ROWS`] in batches of several sizes.
fn cursor(scroll: Scroll, pool: &Arc<dyn MemoryPool>) -> CursorRows {
    let mut first = 1;
    let mut batches = Vec::new();
    for size in [4, 1, 0, 7, 11] {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(first..first + size));
        first += size;
        batches.push(Ok(RecordBatch::try_from_iter([("n", column)]).expect("one column")));
    }
    let memory = MemoryConsumer::new("cursor").register(pool);
    CursorRows::new("c", Box::pin(futures::stream::iter(batches)), scroll, memory)
}

fn plenty() -> Arc<dyn MemoryPool> {
    Arc::new(GreedyMemoryPool::new(1 << 30))
}

async fn fetch(rows: &mut CursorRows, direction: D) -> Result<Vec<i64>, &'static str> {
    let mut left = rows.start(direction, false).await.map_err(|error| error.sqlstate)?;
    let mut found = Vec::new();
    while let Some(batch) = rows.next(&mut left).await.map_err(|error| error.sqlstate)? {
        let column = batch.column(0).as_primitive::<Int32Type>();
        found.extend(column.values().iter().map(|n| i64::from(*n)));
    }
    Ok(found)
}

/// What a cursor at `position` gives that goes any way.
fn model(position: &mut i64, direction: D) -> Vec<i64> {
    let end = ROWS + 1;
    let stand = |position: &mut i64, row: i64| {
        *position = row.clamp(0, end);
        (1..end).contains(position).then_some(*position).into_iter().collect()
    };
    let all = end + 1;
    let (rows, to): (Vec<i64>, i64) = match direction {
        D::Forward(0) | D::Relative(0) => return stand(position, *position),
        D::Absolute(row) if row >= 0 => return stand(position, row),
        D::Absolute(row) => return stand(position, end + row),
        D::Relative(rows) => return stand(position, *position + rows),
        D::Forward(count) if count > 0 => {
            ((*position + 1..=*position + count).collect(), *position + count)
        }
        D::Forward(count) => ((*position + count..*position).rev().collect(), *position + count),
        D::ForwardAll => ((*position + 1..all).collect(), all),
        D::BackwardAll => ((-1..*position).rev().collect(), -1),
    };
    *position = to.clamp(0, end);
    rows.into_iter().filter(|row| (1..end).contains(row)).collect()
}

#[tokio::test]
async fn every_way_through_the_rows() {
    let pool = plenty();
    let mut state = 1_u64;
    let mut random = |below: i64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as i64) % below
    };
    for scroll in [Scroll::Full, Scroll::Little] {
        for _ in 0..200 {
            let (mut rows, mut position) = (cursor(scroll, &pool), 0);
            for _ in 0..30 {
                let n = random(2 * ROWS + 8) - ROWS - 4;
                let direction = match random(8) {
                    0..=3 => D::Forward(n / 3),
                    4 => D::Absolute(n),
                    5 => D::Relative(n),
                    6 => D::ForwardAll,
                    _ => D::BackwardAll,
                };
                if random(20) == 0 {
                    rows.hold().await.expect("memory is there");
                }
                let expected = model(&mut position, direction);
                assert_eq!(fetch(&mut rows, direction).await, Ok(expected), "{direction:?}");
            }
        }
    }
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn what_only_goes_forward_keeps_what_it_needs() {
    let pool = plenty();
    let mut rows = cursor(Scroll::No, &pool);
    assert_eq!(fetch(&mut rows, D::Absolute(0)).await, Ok(vec![]));
    assert_eq!(fetch(&mut rows, D::Forward(2)).await, Ok(vec![1, 2]));
    for back in [D::Forward(-1), D::Forward(0), D::Absolute(1), D::Absolute(-1), D::BackwardAll] {
        let mut rows = cursor(Scroll::No, &pool);
        assert_eq!(fetch(&mut rows, D::Forward(2)).await, Ok(vec![1, 2]));
        assert_eq!(fetch(&mut rows, back).await, Err("55000"), "{back:?}");
        assert_eq!(fetch(&mut rows, D::Forward(1)).await, Err("55000"), "it has failed");
    }
    assert_eq!(rows.start(D::Forward(0), true).await.expect("it stands on a row"), Left::Current);
    assert_eq!(fetch(&mut rows, D::Relative(5)).await, Ok(vec![7]));
    assert!(pool.reserved() < 200, "one batch: {}", pool.reserved());
    assert_eq!(fetch(&mut rows, D::Absolute(9)).await, Ok(vec![9]));
    rows.hold().await.expect("memory is there");
    assert_eq!(fetch(&mut rows, D::ForwardAll).await, Ok((10..=ROWS).collect()));
    assert_eq!(fetch(&mut rows, D::Forward(1)).await, Ok(vec![]));
    assert_eq!(fetch(&mut rows, D::Forward(-1)).await, Err("55000"));
}

#[tokio::test]
async fn rows_that_do_not_fit_are_forgotten_or_refused() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(60));
    let mut rows = cursor(Scroll::Full, &pool);
    assert_eq!(fetch(&mut rows, D::ForwardAll).await, Err("53200"));
    assert_eq!(fetch(&mut rows, D::Forward(1)).await, Err("55000"));
    drop(rows);
    let mut rows = cursor(Scroll::Little, &pool);
    assert_eq!(fetch(&mut rows, D::ForwardAll).await, Ok((1..=ROWS).collect()));
    assert_eq!(fetch(&mut rows, D::Forward(-2)).await, Ok(vec![23, 22]));
    assert_eq!(fetch(&mut rows, D::Forward(1)).await, Ok(vec![23]));
    assert_eq!(fetch(&mut rows, D::Absolute(3)).await, Err("55000"));
}

#[test]
fn text_is_charged_with_its_letters() {
    let text = "x".repeat(1000);
    let column: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..100).map(|_| &text)));
    let batch = RecordBatch::try_from_iter([("text", column)]).expect("one column");
    assert!(memory_of(&batch) >= 100_000, "{}", memory_of(&batch));
    let part = memory_of(&batch.slice(0, 10));
    assert!((10_000..20_000).contains(&part), "{part}");
}
