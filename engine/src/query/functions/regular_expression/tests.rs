use super::{Expression, Options};

fn groups(pattern: &str, text: &str) -> Option<Vec<Option<String>>> {
    let expression = Expression::new(pattern, Options::default()).expect(pattern);
    let found = expression.find(text, 0).expect("nobody gave up")?;
    Some(found.iter().map(|g| g.map(|(from, to)| text[from..to].to_owned())).collect())
}

/// Answers of PostgreSQL 15.
#[test]
fn the_longest_match_counts_and_groups_as_they_prefer() {
    for (pattern, text, expected) in [
        ("a|ab", "abc", "ab"),
        ("(foo)?(foobar)?", "foobar", "foobar,-,foobar"),
        ("(x|xy)(z|yz)", "xyz", "xyz,xy,z"),
        ("Y*([0-9]{1,3})", "XY1234Z", "Y123,123"),
        ("Y*?([0-9]{1,3})", "XY1234Z", "Y1,1"),
        ("(.*?)(\\d+)(.*)", "abc01234xyz", "abc0,abc,0,"),
        ("(?:(.*?)(\\d+)(.*)){1,1}", "abc01234xyz", "abc01234xyz,abc,01234,xyz"),
        ("(abc|ab)*", "abcabcabc", "abcabcabc,abc"),
        ("(a|aa)*", "aaaa", "aaaa,aa"),
        ("(abc)\\1", "abcabc", "abcabc,abc"),
        ("(?<=x)foo(?=bar)", "foo xfoobar", "foo"),
        ("(wee|week)(knights|night)", "weeknights", "weeknights,wee,knights"),
        ("((a)(b))*", "abab", "abab,ab,a,b"),
    ] {
        let found = groups(pattern, text).expect(pattern);
        let shown: Vec<&str> = found.iter().map(|g| g.as_deref().unwrap_or("-")).collect();
        assert_eq!(shown.join(","), expected, "{pattern:?} in {text:?}");
    }
}

#[test]
fn what_the_other_engine_finds_alike_is_left_to_it() {
    for (pattern, exact) in [
        ("abc", true),
        ("[0-9]+-[a-z]*", true),
        ("([0-9]+)\\.([0-9]+)", true),
        ("a*ab", false),
        ("a|b", false),
        ("(ab)*", false),
        ("a*?b", false),
    ] {
        let expression = Expression::new(pattern, Options::default()).expect(pattern);
        assert_eq!(expression.exact, exact, "{pattern:?}");
    }
}

#[test]
fn no_pattern_takes_more_than_its_share_of_time() {
    let text = "a".repeat(3_000);
    assert_eq!(groups("(a*)*b", &text), None);
    assert_eq!(groups("(a|aa)+$", &text).map(|g| g.len()), Some(2));
    assert_eq!(groups("(a|aa)+\\1$", &text[..400]).map(|g| g.len()), Some(2));
    let long = "(a)".repeat(2_000);
    assert_eq!(groups(&long, &text).map(|g| g.len()), Some(2_001));
    let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Expression::new(&deep, Options::default()).is_err());
}
