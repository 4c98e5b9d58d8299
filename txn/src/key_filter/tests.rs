use super::*;

fn hashes(keys: std::ops::Range<u64>) -> Vec<u64> {
    keys.map(|n| key_hash(&n.to_be_bytes())).collect()
}

#[test]
fn no_key_is_turned_away() {
    for keys in [0, 1, 2, 3, 4, 5, 7, 10, 33, 100, 1_000, 98_304] {
        let there = hashes(0..keys);
        let filter = KeyFilter::build(there.iter().chain(&there).copied().collect());
        assert!(there.iter().all(|hash| filter.may_contain(*hash)), "{keys} keys");
    }
}

#[test]
fn one_absent_key_in_a_thousand_passes_at_most() {
    let filter = KeyFilter::build(hashes(0..98_304));
    let bits = filter.memory_bytes() * 8;
    assert!(bits < 98_304 * 15, "{bits} bits");
    let absent = hashes(1 << 40..(1 << 40) + 1_000_000);
    let passed = absent.iter().filter(|hash| filter.may_contain(**hash)).count();
    assert!(passed < 500, "{passed} of a million");
    // The fingerprints are no constant: some do pass.
    assert!(passed > 50, "{passed} of a million");
}

#[test]
fn golden_filter() {
    let mut out = Writer::new();
    KeyFilter::build(hashes(0..20)).encode(&mut out);
    let text: String = out.as_slice().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, include_str!("golden.txt").trim_end(), "the format of filters changed");
}

#[test]
fn damaged_filters_never_panic() {
    let mut out = Writer::new();
    KeyFilter::build(hashes(0..50)).encode(&mut out);
    let whole = out.into_vec();
    for at in 0..whole.len() {
        assert!(KeyFilter::decode(&mut Reader::new(&whole[..at])).is_err());
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(filter) = KeyFilter::decode(&mut Reader::new(&bytes)) {
                let _ = hashes(0..9).iter().all(|hash| filter.may_contain(*hash));
            }
        }
    }
}
