//! Memory of what functions make.
//!
//! DataFusion's operators charge what they keep, but what a function makes of one batch would be
//! charged to nobody, and 8,192 times `repeat('x', 10000000)` are 80 GB. So a function whose results
//! may be larger than its arguments says what it is about to make: from [`FREE_BYTES`] per batch on
//! it is charged to the memory of queries, and stays charged as long as the result is there; what
//! does not fit is refused with 53200. A single value over [`VALUE_BYTES_MAX`] is 54000.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayData, ArrayRef, make_array},
    buffer::Buffer,
};
use bytes::Bytes;
use datafusion::{
    common::Result,
    config::ConfigOptions,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

use super::scalar::internal;
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, option_extension::option_extension},
};

/// Longest value, as in PostgreSQL: one byte less than 1 GiB.
pub const VALUE_BYTES_MAX: usize = (1 << 30) - 1;
/// What a function may make of a batch without being charged.
const FREE_BYTES: usize = 1 << 20;

/// The memory that queries share; stands among the extensions of the options functions are called
/// with.
#[derive(Clone, Debug)]
pub struct QueryMemory(pub Arc<dyn MemoryPool>);

option_extension!(QueryMemory, "glaredb_memory");

/// Where a call of a function finds its memory. Looked for only when much is made.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a>(Option<&'a ConfigOptions>);

impl<'a> Memory<'a> {
    /// Of the statement these options belong to.
    #[must_use]
    pub fn of(options: &'a ConfigOptions) -> Self {
        Self(Some(options))
    }

    /// Of no statement: for constants that are computed when they are planned.
    #[must_use]
    pub fn of_planning() -> Self {
        Self(None)
    }

    fn pool(self) -> Option<&'a Arc<dyn MemoryPool>> {
        self.0?.extensions.get::<QueryMemory>().map(|memory| &memory.0)
    }

    /// To be asked before a value of `bytes` is made.
    ///
    /// # Errors
    /// 54000 for a value that is too long, 53200 for one that does not fit into the memory that is
    /// free now.
    pub fn check_value(self, bytes: usize) -> Result<(), SqlError> {
        if bytes <= FREE_BYTES {
            return Ok(());
        }
        if bytes > VALUE_BYTES_MAX {
            return Err(SqlError::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!("requested length too large: {bytes} bytes"),
            ));
        }
        let Some(pool) = self.pool() else { return Ok(()) };
        match pool.memory_limit() {
            MemoryLimit::Finite(limit) if bytes > limit.saturating_sub(pool.reserved()) => {
                Err(out_of_memory(format!("A value of {bytes} bytes was to be made.")))
            }
            _ => Ok(()),
        }
    }

    /// For the results of one batch.
    #[must_use]
    pub fn charge(self) -> Charge<'a> {
        Charge { memory: self, uncharged: 0, reservation: None }
    }
}

fn out_of_memory(detail: String) -> SqlError {
    SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory").detail(detail)
}

/// What the results of one batch take.
#[derive(Debug)]
pub struct Charge<'a> {
    memory: Memory<'a>,
    uncharged: usize,
    reservation: Option<MemoryReservation>,
}

impl Charge<'_> {
    /// To be called before `bytes` more are made.
    ///
    /// # Errors
    /// 53200.
    pub fn add(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.uncharged += bytes;
        if self.uncharged <= FREE_BYTES {
            return Ok(());
        }
        let Some(pool) = self.memory.pool() else {
            return Err(out_of_memory(format!("A constant of {bytes} bytes was to be made.")));
        };
        let reservation = self
            .reservation
            .get_or_insert_with(|| MemoryConsumer::new("results of a function").register(pool));
        reservation.try_grow(self.uncharged).map_err(sql_error)?;
        self.uncharged = 0;
        Ok(())
    }

    /// The results, charged as long as any of their buffers is there.
    ///
    /// # Errors
    /// None, for a valid array.
    pub fn attach(self, results: ArrayRef) -> Result<ArrayRef, SqlError> {
        let Some(reservation) = self.reservation else { return Ok(results) };
        let data = charged(results.to_data(), &Arc::new(reservation)).map_err(internal)?;
        Ok(make_array(data))
    }
}

/// A buffer with what was reserved for it and its siblings.
struct ChargedBuffer {
    buffer: Buffer,
    _reservation: Arc<MemoryReservation>,
}

impl AsRef<[u8]> for ChargedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

fn charged(
    data: ArrayData,
    reservation: &Arc<MemoryReservation>,
) -> Result<ArrayData, arrow::error::ArrowError> {
    let attach = |buffer: &Buffer| {
        let owner = ChargedBuffer { buffer: buffer.clone(), _reservation: Arc::clone(reservation) };
        Buffer::from(Bytes::from_owner(owner))
    };
    let buffers = data.buffers().iter().map(attach).collect();
    let children = data.child_data().iter().map(|child| charged(child.clone(), reservation));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    data.into_builder().buffers(buffers).child_data(children).build()
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringViewArray};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn options(pool: &Arc<dyn MemoryPool>) -> ConfigOptions {
        let mut options = ConfigOptions::new();
        options.extensions.insert(QueryMemory(Arc::clone(pool)));
        options
    }

    #[test]
    fn results_are_charged_until_their_last_slice_is_gone() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(8 << 20));
        let options = options(&pool);
        let text = "x".repeat(3 << 20);
        let mut charge = Memory::of(&options).charge();
        charge.add(text.len()).expect("it fits");
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str(), "short"]));
        let array = charge.attach(array).expect("a valid array");
        assert_eq!(pool.reserved(), 3 << 20);
        let slice = array.slice(0, 1);
        drop(array);
        assert_eq!(slice.as_string_view().value(0).len(), 3 << 20);
        assert_eq!(pool.reserved(), 3 << 20);
        drop(slice);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(8 << 20));
        let options = options(&pool);
        let memory = Memory::of(&options);
        let mut charge = memory.charge();
        charge.add(6 << 20).expect("it fits");
        assert_eq!(charge.add(6 << 20).expect_err("too much").sqlstate, sqlstate::OUT_OF_MEMORY);
        let refused = memory.check_value(4 << 20).expect_err("too much");
        assert_eq!(refused.sqlstate, sqlstate::OUT_OF_MEMORY);
        let refused = memory.check_value(1 << 30).expect_err("too long");
        assert_eq!(refused.sqlstate, sqlstate::PROGRAM_LIMIT_EXCEEDED);
        drop(charge);
        assert_eq!(pool.reserved(), 0);
        memory.check_value(4 << 20).expect("it fits");
    }
}
