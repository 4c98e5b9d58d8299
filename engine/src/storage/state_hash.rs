//! An incremental, order-independent hash of a table's live rows.
//!
//! The hash of a table is the wrapping sum of the hashes of its rows, so an insertion adds and a
//! deletion subtracts, in any order. The hash of a row covers its id and its bytes in the row codec,
//! from which its key follows. Checkpoints carry the sum and loading recomputes it, so the function is
//! part of a format: `docs/formats/state-hash.md`.

use glaredb_txn::ids::RowId;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;

/// Hash of one row from its id and its encoded bytes.
#[must_use]
pub fn row_hash(row_id: RowId, row: &[u8]) -> u64 {
    let mut state = fold(row_id.0 ^ K0, row.len() as u64 ^ K1);
    let (words, rest) = row.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), K1);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(fold(state ^ u64::from_le_bytes(last), K2), K0)
}

/// Both halves of the product, as in wyhash.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by another implementation of `docs/formats/state-hash.md`.
    #[test]
    fn golden_hashes() {
        let bytes: Vec<u8> = (0..20).collect();
        assert_eq!(row_hash(RowId(0), b""), 11077657372805801254);
        assert_eq!(row_hash(RowId(1), b"\0"), 798546729573304708);
        assert_eq!(row_hash(RowId(1 << 63), &bytes), 276067786690470901);
    }
}
