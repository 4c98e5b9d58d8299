//! Bytes of the formats: integers, varints, length-prefixed strings, checked frames.
//!
//! All fixed-width integers are little-endian. Varints are LEB128 in their shortest form; a longer
//! form is refused, so that a value has one encoding only. [`Reader`] never panics and never
//! allocates more than its input is long, whatever the input is.

use bytes::Bytes;

/// Bytes that a checked frame adds: length and CRC32C.
pub const FRAME_HEADER_BYTES: usize = 8;

/// CRC32C of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Builds bytes.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Forget the content, keep the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.buffer
    }

    pub fn into_bytes(self) -> Bytes {
        self.buffer.into()
    }

    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.push(value);
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Unsigned LEB128: 1 byte below 128, at most 10.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
        self
    }

    /// Signed integer as a varint: 0, -1, 1, -2, … become 0, 1, 2, 3, …
    pub fn zigzag(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// Length as a varint, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }

    /// Length as a varint, then UTF-8.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// The bytes alone.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// A checked frame: length (u32), CRC32C of the content (u32), content.
    ///
    /// Panics if the content exceeds 4 GiB, which no format of ours allows.
    pub fn frame(&mut self, content: &[u8]) -> &mut Self {
        let len = u32::try_from(content.len()).expect("a frame's content is far below 4 GiB");
        self.u32(len).u32(checksum(content)).raw(content)
    }
}

/// What is wrong, and at which byte of the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {reason}")]
pub struct DecodeError {
    pub offset: usize,
    pub reason: DecodeReason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeReason {
    #[error("{needed} bytes needed, {left} left")]
    Truncated { needed: u64, left: usize },
    #[error("varint exceeds 64 bits or is not in its shortest form")]
    Varint,
    #[error("text is not UTF-8")]
    Utf8,
    #[error("{0} bytes left over")]
    Trailing(usize),
    #[error("CRC32C is {found:08x}, the content's is {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("{value} is not a valid {what}")]
    Invalid { what: &'static str, value: u64 },
}

/// Takes bytes apart. Never panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    /// What `input` is a view of, if it may be shared instead of copied.
    shared: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, offset: 0, shared: None }
    }

    /// As `new`; [`Reader::shared`] then shares `input`'s memory instead of copying.
    pub fn of(input: &'a Bytes) -> Self {
        Self { input, offset: 0, shared: Some(input) }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn remaining(&self) -> usize {
        self.input.len() - self.offset
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// An error at the current place: `value` is no valid `what`.
    pub fn invalid(&self, what: &'static str, value: u64) -> DecodeError {
        self.error(DecodeReason::Invalid { what, value })
    }

    fn error(&self, reason: DecodeReason) -> DecodeError {
        DecodeError { offset: self.offset, reason }
    }

    /// The next `count` bytes.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.remaining();
        if count > left {
            return Err(self.error(DecodeReason::Truncated { needed: count as u64, left }));
        }
        let bytes = &self.input[self.offset..self.offset + count];
        self.offset += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.raw(N)?.try_into().expect("raw returns as many bytes as asked for"))
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// 0 or 1; anything else is refused.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.invalid("bool", other.into())),
        }
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.offset;
        let refuse = || DecodeError { offset: start, reason: DecodeReason::Varint };
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(refuse());
            }
            value |= bits << shift;
            if byte < 0x80 {
                // A last byte of zero adds nothing: the shorter form is the valid one.
                return if byte == 0 && shift > 0 { Err(refuse()) } else { Ok(value) };
            }
        }
        Err(refuse())
    }

    /// A varint that fits 32 bits.
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.invalid(what, value))
    }

    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number of items of a list whose items take at least `item_bytes_min` (at least 1) bytes
    /// each: refused if the input cannot hold so many, so that a caller may reserve memory for it.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        let needed = count.saturating_mul(item_bytes_min.max(1) as u64);
        let left = self.remaining();
        if needed > left as u64 {
            return Err(self.error(DecodeReason::Truncated { needed, left }));
        }
        Ok(count as usize)
    }

    /// Length-prefixed bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.count(1)?;
        self.raw(count)
    }

    /// Length-prefixed bytes as `Bytes`: shared with the input under [`Reader::of`], else copied.
    pub fn shared(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.bytes()?;
        Ok(match self.shared {
            Some(whole) => whole.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        })
    }

    /// Length-prefixed UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.offset;
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes)
            .map_err(|_| DecodeError { offset: start, reason: DecodeReason::Utf8 })
    }

    /// A checked frame's content.
    pub fn frame(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()?;
        let found = self.u32()?;
        let start = self.offset;
        let content = self.raw(usize::try_from(len).unwrap_or(usize::MAX))?;
        let computed = checksum(content);
        if computed != found {
            let reason = DecodeReason::Checksum { found, computed };
            return Err(DecodeError { offset: start, reason });
        }
        Ok(content)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let bytes = &self.input[self.offset..];
        self.offset = self.input.len();
        bytes
    }

    /// Refuses what was not read.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeReason::Trailing(left))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_written_is_read_back() {
        let mut w = Writer::new();
        w.u8(7).bool(true).u16(300).u32(70_000).u64(1 << 40).u128(1 << 100);
        let varints = [0, 1, 127, 128, 16_383, 16_384, u64::MAX / 2, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -64, 64];
        for v in varints {
            w.varint(v);
        }
        for v in signed {
            w.zigzag(v);
        }
        w.bytes(b"abc").str("grüße").bytes(b"").frame(b"content");
        let bytes = w.into_bytes();

        let mut r = Reader::of(&bytes);
        assert_eq!(r.u8(), Ok(7));
        assert_eq!(r.bool(), Ok(true));
        assert_eq!(r.u16(), Ok(300));
        assert_eq!(r.u32(), Ok(70_000));
        assert_eq!(r.u64(), Ok(1 << 40));
        assert_eq!(r.u128(), Ok(1 << 100));
        for v in varints {
            assert_eq!(r.varint(), Ok(v));
        }
        for v in signed {
            assert_eq!(r.zigzag(), Ok(v));
        }
        assert_eq!(r.shared().unwrap(), "abc");
        assert_eq!(r.str(), Ok("grüße"));
        assert_eq!(r.shared().unwrap(), "");
        assert_eq!(r.frame().unwrap(), b"content");
        r.finish().unwrap();
    }

    #[test]
    fn a_value_has_one_encoding() {
        let refused: &[&[u8]] = &[
            &[0x80, 0x00],
            &[0xff, 0x80, 0x00],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x80; 11],
        ];
        for input in refused {
            let error = Reader::new(input).varint().unwrap_err();
            assert_eq!(error, DecodeError { offset: 0, reason: DecodeReason::Varint }, "{input:?}");
        }
        assert!(Reader::new(&[2]).bool().is_err());
    }

    #[test]
    fn lying_lengths_are_refused_before_memory_is_reserved() {
        let mut w = Writer::new();
        w.varint(u64::MAX);
        assert!(Reader::new(w.as_slice()).count(16).is_err());
        assert!(Reader::new(w.as_slice()).bytes().is_err());
        assert!(Reader::new(w.as_slice()).str().is_err());
        w.clear();
        w.u32(u32::MAX).u32(0);
        assert!(Reader::new(w.as_slice()).frame().is_err());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_of_a_frame_is_noticed() {
        let mut w = Writer::new();
        w.frame(b"some content");
        let whole = w.into_vec();
        for len in 0..whole.len() {
            assert!(Reader::new(&whole[..len]).frame().is_err(), "{len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::new(&flipped).frame().is_err(), "{bit}");
        }
    }

    #[test]
    fn leftovers_are_refused() {
        let mut r = Reader::new(&[1, 2]);
        r.u8().unwrap();
        let error = r.finish().unwrap_err();
        assert_eq!(error, DecodeError { offset: 1, reason: DecodeReason::Trailing(1) });
        assert_eq!(error.to_string(), "at byte 1: 1 bytes left over");
    }
}
