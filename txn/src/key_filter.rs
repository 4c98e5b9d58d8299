//! Which keys may there be among many? A 3-wise binary fuse filter with 12-bit fingerprints (Graf and
//! Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022): about 13.7 bits a key,
//! one absent key in 4,096 passes, no key that is there is turned away.
//!
//! The bytes are our own format (`docs/formats/segment.md`), pinned by a golden test. Row groups of
//! segments have one each, and a large commit names its keys to the resolver by such filters
//! (`commit::message::KeySet`).

use bytes::Bytes;
use twox_hash::XxHash64;

use crate::codec::{DecodeError, Reader, Writer};

/// Bits of a fingerprint.
const FINGERPRINT_BITS: usize = 12;
/// Seeds that are tried. One does in nine of ten cases.
const SEEDS_MAX: u64 = 200;
/// Largest distance of a key's three places.
const SEGMENT_LEN_MAX: u32 = 1 << 18;

/// Hash of an encoded key: XXH64, seed 0.
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    XxHash64::oneshot(0, key)
}

/// A filter over keys' hashes. What it says stays true for ever: it is immutable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFilter {
    shape: Shape,
    /// Fingerprints of [`FINGERPRINT_BITS`] each, the lowest bits first, and one byte more, so that
    /// two can always be read.
    fingerprints: Bytes,
}

/// Where keys go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    seed: u64,
    /// A power of two.
    segment_len: u32,
    /// Segments that a first place may be in. There are two more.
    segment_count: u32,
}

impl Shape {
    fn of(keys: usize) -> Self {
        let keys = keys.max(2) as f64;
        let exponent = (keys.ln() / 3.33_f64.ln() + 2.25).floor() as u32;
        let segment_len = (1 << exponent).min(SEGMENT_LEN_MAX);
        let factor = (0.875 + 0.25 * 1_000_000_f64.ln() / keys.ln()).max(1.125);
        let segments = (keys * factor / f64::from(segment_len)).ceil() as u32;
        Self { seed: 0, segment_len, segment_count: segments.saturating_sub(2).max(1) }
    }

    fn len(self) -> usize {
        (self.segment_count as usize + 2) * self.segment_len as usize
    }

    /// A hash that depends on the seed.
    fn mixed(self, hash: u64) -> u64 {
        let mut mixed = hash.wrapping_add(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }

    /// Three different places, in segments that follow one another.
    fn places(self, mixed: u64) -> [usize; 3] {
        let mask = u64::from(self.segment_len - 1);
        let range = u64::from(self.segment_count) * u64::from(self.segment_len);
        let first = ((u128::from(mixed) * u128::from(range)) >> 64) as u64;
        let len = u64::from(self.segment_len);
        let second = (first + len) ^ ((mixed >> 18) & mask);
        let third = (first + 2 * len) ^ (mixed & mask);
        [first as usize, second as usize, third as usize]
    }

    fn fingerprint(mixed: u64) -> u16 {
        ((mixed ^ (mixed >> 32)) & ((1 << FINGERPRINT_BITS) - 1)) as u16
    }
}

impl KeyFilter {
    /// A filter over the keys with these hashes, which may repeat.
    #[must_use]
    pub fn build(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        let mut shape = Shape::of(hashes.len());
        loop {
            if let Some(order) = peel(shape, &hashes) {
                return Self { shape, fingerprints: assign(shape, &order) };
            }
            shape.seed += 1;
            // The chance of this is below 10^-100, whatever the keys are.
            assert!(shape.seed < SEEDS_MAX, "no seed of {SEEDS_MAX} makes a filter");
        }
    }

    /// May there be a key with this hash? `false` is certain.
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        let mixed = self.shape.mixed(hash);
        let [a, b, c] = self.shape.places(mixed);
        let found = self.get(a) ^ self.get(b) ^ self.get(c);
        found == Shape::fingerprint(mixed)
    }

    fn get(&self, place: usize) -> u16 {
        get(&self.fingerprints, place)
    }

    /// The same in memory of its own: one that was decoded shares that of its input.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { shape: self.shape, fingerprints: Bytes::copy_from_slice(&self.fingerprints) }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.fingerprints.len() + size_of::<Self>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.varint(self.shape.seed)
            .varint(self.shape.segment_len.into())
            .varint(self.shape.segment_count.into())
            .bytes(&self.fingerprints);
    }

    /// Errors: the shape is impossible or the fingerprints are not as many as it needs.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seed = input.varint()?;
        let segment_len = input.varint_u32("segment length of a filter")?;
        if !segment_len.is_power_of_two() || segment_len > SEGMENT_LEN_MAX {
            return Err(input.invalid("segment length of a filter", segment_len.into()));
        }
        let segment_count = input.varint_u32("segment count of a filter")?;
        let shape = Shape { seed, segment_len, segment_count };
        let fingerprints = input.shared()?;
        if segment_count == 0 || fingerprints.len() != packed_len(shape) {
            return Err(input.invalid("segment count of a filter", segment_count.into()));
        }
        Ok(Self { shape, fingerprints })
    }
}

fn packed_len(shape: Shape) -> usize {
    (shape.len() * FINGERPRINT_BITS).div_ceil(8) + 1
}

fn get(packed: &[u8], place: usize) -> u16 {
    let bit = place * FINGERPRINT_BITS;
    let both = u16::from_le_bytes([packed[bit / 8], packed[bit / 8 + 1]]);
    (both >> (bit % 8)) & ((1 << FINGERPRINT_BITS) - 1)
}

fn set(packed: &mut [u8], place: usize, fingerprint: u16) {
    let bit = place * FINGERPRINT_BITS;
    let shifted = fingerprint << (bit % 8);
    let [low, high] = shifted.to_le_bytes();
    packed[bit / 8] |= low;
    packed[bit / 8 + 1] |= high;
}

/// Keys (mixed) in the order in which they can be taken out, each with the place that it had alone
/// then; `None`: with this seed there is no such order.
fn peel(shape: Shape, hashes: &[u64]) -> Option<Vec<(u64, usize)>> {
    let mut counts = vec![0_u32; shape.len()];
    let mut sums = vec![0_u64; shape.len()];
    for hash in hashes {
        let mixed = shape.mixed(*hash);
        for place in shape.places(mixed) {
            counts[place] += 1;
            sums[place] ^= mixed;
        }
    }
    let mut alone: Vec<usize> = (0..counts.len()).filter(|place| counts[*place] == 1).collect();
    let mut order = Vec::with_capacity(hashes.len());
    while let Some(place) = alone.pop() {
        if counts[place] != 1 {
            continue;
        }
        let mixed = sums[place];
        order.push((mixed, place));
        for other in shape.places(mixed) {
            counts[other] -= 1;
            sums[other] ^= mixed;
            if counts[other] == 1 {
                alone.push(other);
            }
        }
    }
    (order.len() == hashes.len()).then_some(order)
}

/// Who was taken out last is put in first: nobody after it has its place.
fn assign(shape: Shape, order: &[(u64, usize)]) -> Bytes {
    let mut packed = vec![0; packed_len(shape)];
    for (mixed, place) in order.iter().rev() {
        let others = shape.places(*mixed).into_iter().filter(|other| other != place);
        let rest = others.fold(0, |sum, other| sum ^ get(&packed, other));
        set(&mut packed, *place, rest ^ Shape::fingerprint(*mixed));
    }
    packed.into()
}

#[cfg(test)]
mod tests;
