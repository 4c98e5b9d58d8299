//! Keys of values whose Arrow form does not compare as PostgreSQL compares them: arrays and jsonb.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BinaryBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{infallible, internal, strict_charged};
use crate::{storage::codec::key::KeyEncoder, types::PgType};

/// Bytes that compare as the values of the type do; equal for equal values.
#[must_use]
pub fn key(of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let compute = strict_charged(DataType::Binary, move |args, memory| {
        let mut charge = memory.charge();
        let keys = encoder.encode_stored(args).map_err(internal)?;
        let bytes = keys.iter().map(<[u8]>::len).sum();
        charge.add(bytes)?;
        let mut out = BinaryBuilder::with_capacity(keys.len(), bytes);
        for (row, key) in keys.iter().enumerate() {
            if args[0].is_null(row) {
                out.append_null();
            } else {
                out.append_value(key);
            }
        }
        charge.attach(Arc::new(out.finish()) as ArrayRef)
    });
    infallible("comparison_key", format!("{of:?}"), DataType::Binary, compute)
}
