//! `time with time zone` in memory and on disk: 16 bytes whose order is PostgreSQL's.
//!
//! The first eight are the time at Greenwich in microseconds, from the day's start there, so that
//! it may be negative or more than a day; the next four are the zone's seconds west of Greenwich;
//! both big-endian with the sign bit inverted. Four zero bytes fill up what a uuid takes. Two values
//! are equal if time and zone are, and the moment counts before the zone when they are sorted.

/// A time of day and its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeWithZone {
    /// Microseconds of the day, local.
    pub us: i64,
    /// Seconds east of Greenwich.
    pub east: i32,
}

impl TimeWithZone {
    /// The sixteen bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let greenwich = self.us - i64::from(self.east) * 1_000_000;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&greenwich.to_be_bytes());
        bytes[8..12].copy_from_slice(&(-self.east).to_be_bytes());
        bytes[0] ^= 0x80;
        bytes[8] ^= 0x80;
        bytes
    }

    /// The inverse of [`to_bytes`](Self::to_bytes); of fewer bytes, midnight at Greenwich.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let Some([a, b, c, d, e, f, g, h, i, j, k, l, ..]) = bytes.first_chunk::<16>() else {
            return Self { us: 0, east: 0 };
        };
        let greenwich = i64::from_be_bytes([a ^ 0x80, *b, *c, *d, *e, *f, *g, *h]);
        let east = i32::from_be_bytes([i ^ 0x80, *j, *k, *l]).wrapping_neg();
        Self { us: greenwich.wrapping_add(i64::from(east) * 1_000_000), east }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_order_and_go_back() {
        let at =
            |hour: i64, east: i32| TimeWithZone { us: hour * 3_600_000_000, east: east * 3600 };
        // At one moment, the zone in the east comes first.
        let ascending = [at(0, 15), at(12, 1), at(11, 0), at(10, -1), at(12, 0), at(24, -15)];
        for pair in ascending.windows(2) {
            assert!(pair[0].to_bytes() < pair[1].to_bytes(), "{pair:?}");
        }
        for time in ascending {
            assert_eq!(TimeWithZone::from_bytes(&time.to_bytes()), time);
        }
    }
}
