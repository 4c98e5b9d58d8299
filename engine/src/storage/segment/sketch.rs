//! How many different values are there? Exact for few, a HyperLogLog for many; sketches of parts
//! merge to the sketch of the whole.
//!
//! Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm",
//! 2007, with 64-bit hashes; the estimate is that of Ertl, "New cardinality estimation algorithms
//! for HyperLogLog sketches", 2017, which needs no tables and is unbiased for small numbers, too.

use glaredb_txn::codec::{DecodeError, Reader, Writer};

/// Bits of a hash that choose its register.
const INDEX_BITS: u32 = 10;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The greatest rank: one more than the bits that are left.
const RANK_MAX: u8 = (64 - INDEX_BITS + 1) as u8;
/// So many hashes are kept as they are.
const EXACT_MAX: usize = 64;

/// A sketch of a set of 64-bit hashes. The standard error is 3.3 %; up to 64 values are counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sketch(Form);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    /// Ascending, all different.
    Exact(Vec<u64>),
    /// The greatest rank of the hashes of each register.
    Registers(Box<[u8; REGISTERS]>),
    /// It was left out where there was no room for it.
    Unknown,
}

impl Default for Sketch {
    fn default() -> Self {
        Self(Form::Exact(Vec::new()))
    }
}

impl Sketch {
    /// Of a set of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Form::Unknown)
    }

    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.0, Form::Unknown)
    }

    pub fn insert(&mut self, hash: u64) {
        match &mut self.0 {
            Form::Unknown => {}
            Form::Registers(registers) => insert(registers, hash),
            Form::Exact(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                if hashes.len() < EXACT_MAX {
                    hashes.insert(place, hash);
                } else {
                    insert(self.registers(), hash);
                }
            }
        }
    }

    /// Make it the sketch of both sets.
    pub fn merge(&mut self, other: &Self) {
        if self.is_unknown() {
            return;
        }
        match &other.0 {
            Form::Unknown => *self = Self::unknown(),
            Form::Exact(hashes) => hashes.iter().for_each(|hash| self.insert(*hash)),
            Form::Registers(theirs) => {
                let ours = self.registers();
                ours.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a = (*a).max(*b));
            }
        }
    }

    fn registers(&mut self) -> &mut [u8; REGISTERS] {
        if let Form::Exact(hashes) = &self.0 {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| insert(&mut registers, *hash));
            self.0 = Form::Registers(registers);
        }
        match &mut self.0 {
            Form::Registers(registers) => registers,
            Form::Exact(_) | Form::Unknown => unreachable!("made registers above"),
        }
    }

    /// Is [`Sketch::distinct`] the number itself?
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.0, Form::Exact(_))
    }

    /// The number of different hashes; the greatest of all numbers if nothing is known.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        match &self.0 {
            Form::Unknown => u64::MAX,
            Form::Exact(hashes) => hashes.len() as u64,
            Form::Registers(registers) => estimate(registers).round() as u64,
        }
    }

    pub fn encode(&self, out: &mut Writer) {
        match &self.0 {
            Form::Exact(hashes) => {
                out.u8(0).varint(hashes.len() as u64);
                hashes.iter().for_each(|hash| {
                    out.u64(*hash);
                });
            }
            Form::Registers(registers) => {
                out.u8(1);
                // Six bits each, four in three bytes.
                for four in registers.chunks_exact(4) {
                    let bits = four.iter().rev().fold(0_u32, |bits, r| bits << 6 | u32::from(*r));
                    out.raw(&bits.to_le_bytes()[..3]);
                }
            }
            Form::Unknown => {
                out.u8(2);
            }
        }
    }

    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => {
                let count = input.count(8)?;
                if count > EXACT_MAX {
                    return Err(input.invalid("number of hashes", count as u64));
                }
                let mut hashes = Vec::with_capacity(count);
                for _ in 0..count {
                    let hash = input.u64()?;
                    if hashes.last().is_some_and(|last| *last >= hash) {
                        return Err(input.invalid("order of hashes", hash));
                    }
                    hashes.push(hash);
                }
                Ok(Self(Form::Exact(hashes)))
            }
            1 => {
                let packed = input.raw(REGISTERS / 4 * 3)?;
                let mut registers = Box::new([0; REGISTERS]);
                for (four, bytes) in registers.chunks_exact_mut(4).zip(packed.chunks_exact(3)) {
                    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                    for (n, register) in four.iter_mut().enumerate() {
                        *register = (bits >> (6 * n) & 63) as u8;
                        if *register > RANK_MAX {
                            return Err(input.invalid("rank", (*register).into()));
                        }
                    }
                }
                Ok(Self(Form::Registers(registers)))
            }
            2 => Ok(Self::unknown()),
            other => Err(input.invalid("form of a sketch", other.into())),
        }
    }
}

fn insert(registers: &mut [u8; REGISTERS], hash: u64) {
    let index = (hash >> (64 - INDEX_BITS)) as usize;
    let rest = hash << INDEX_BITS;
    let rank = (rest.leading_zeros() as u8 + 1).min(RANK_MAX);
    registers[index] = registers[index].max(rank);
}

/// Ertl's improved estimator (algorithm 6).
fn estimate(registers: &[u8; REGISTERS]) -> f64 {
    let mut counts = [0_u32; RANK_MAX as usize + 1];
    registers.iter().for_each(|rank| counts[usize::from(*rank)] += 1);
    let m = REGISTERS as f64;
    let full = usize::from(RANK_MAX);
    let mut z = m * tau(1.0 - f64::from(counts[full]) / m);
    for count in counts[1..full].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{segment::key_hash, testing::golden};

    #[test]
    fn what_is_unknown_stays_unknown() {
        let (mut unknown, mut known) = (Sketch::unknown(), of(0..10));
        unknown.insert(7);
        unknown.merge(&known);
        assert!(unknown.is_unknown() && !unknown.is_exact());
        known.merge(&unknown);
        assert!(known.is_unknown());
        assert_eq!(known.distinct(), u64::MAX);
        let mut out = Writer::new();
        known.encode(&mut out);
        let mut input = Reader::new(out.as_slice());
        assert_eq!((out.len(), Sketch::decode(&mut input)), (1, Ok(known)));
    }

    fn of(values: std::ops::Range<u64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.for_each(|n| sketch.insert(key_hash(&n.to_le_bytes())));
        sketch
    }

    #[test]
    fn few_values_are_counted_and_many_estimated() {
        for values in [0, 1, 2, 63, 64] {
            let sketch = of(0..values);
            assert!(sketch.is_exact());
            assert_eq!(sketch.distinct(), values);
        }
        for values in [65, 200, 1_000, 5_000, 100_000, 2_000_000] {
            let found = of(0..values).distinct() as f64;
            let wrong = (found / values as f64 - 1.0).abs();
            assert!(wrong < 0.10, "{found} of {values}");
        }
    }

    #[test]
    fn merging_is_the_same_as_inserting_all() {
        for (a, b) in [(0..30, 20..50), (0..30, 20..5_000), (0..5_000, 10..40), (0..9_000, 1..9)] {
            let mut merged = of(a.clone());
            merged.merge(&of(b.clone()));
            let both = of(a.start.min(b.start)..a.end.max(b.end));
            assert_eq!(merged.distinct(), both.distinct());
            assert_eq!(merged.is_exact(), both.is_exact());
        }
    }

    #[test]
    fn golden_sketches() {
        let mut text = String::new();
        for values in [0, 3, 500] {
            let sketch = of(0..values);
            let mut out = Writer::new();
            sketch.encode(&mut out);
            assert_eq!(Sketch::decode(&mut Reader::new(out.as_slice())), Ok(sketch));
            let hex: String = out.as_slice().iter().map(|b| format!("{b:02x}")).collect();
            text.push_str(&format!("{values} {hex}\n"));
        }
        golden("storage/segment/golden/sketches.txt", &text);
    }

    #[test]
    fn damaged_sketches_never_panic() {
        for values in [40, 400] {
            let mut out = Writer::new();
            of(0..values).encode(&mut out);
            let whole = out.into_vec();
            for at in 0..whole.len() {
                assert!(Sketch::decode(&mut Reader::new(&whole[..at])).is_err());
                let mut bytes = whole.clone();
                bytes[at] ^= 0x55;
                if let Ok(sketch) = Sketch::decode(&mut Reader::new(&bytes)) {
                    let _ = sketch.distinct();
                }
            }
        }
    }
}
