use glaredb_txn::sim::SimEnv;

use super::*;

const OURS: DatabaseId = DatabaseId(0xabc);
const OTHER: DatabaseId = DatabaseId(0xdef);

fn location(text: &str) -> StorageLocation {
    StorageLocation::parse(text).expect("valid")
}

#[test]
fn paths_and_urls_are_told_apart() {
    assert_eq!(location("/srv/objects").url(), "file:///srv/objects");
    assert_eq!(location("file:///srv/objects").url(), "file:///srv/objects");
    assert!(location("objects").url().starts_with("file:///"), "absolute");
    assert_eq!(location("s3://bucket/a/").url(), "s3://bucket/a");
    for bad in ["", "/", "ftp://host/x", "file://host/x", "s3:/x://y"] {
        let error = StorageLocation::parse(bad).expect_err(bad).to_string();
        assert!(error.contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn a_location_has_one_database() {
    let sim = SimEnv::new(1);
    let place = ObjectDirectory::open(&sim.env(), "place").expect("open");
    claim(&place, "s3://b", OURS, true).expect("empty");
    claim(&place, "s3://b", OURS, true).expect("a first start that was cut short");
    claim(&place, "s3://b", OURS, false).expect("later");
    let error = claim(&place, "s3://b", OTHER, true).expect_err("another's").to_string();
    assert!(
        error.contains("s3://b") && error.contains("0abc") && error.contains("0def"),
        "{error}"
    );
    let empty = ObjectDirectory::open(&sim.env(), "empty").expect("open");
    let error = claim(&empty, "s3://b", OURS, false).expect_err("lost").to_string();
    assert!(error.contains("s3://b holds nothing"), "{error}");
    assert_eq!(empty.list("").expect("list"), vec![], "nothing is made where it is missing");
}

#[test]
fn other_formats_are_refused_by_name() {
    let sim = SimEnv::new(2);
    for (folder, text, expected) in [
        ("newer", "glaredb storage\nformat 2\nwhatever", "storage format 2"),
        ("other", "hello", "first line"),
        ("cut", "glaredb storage\nformat 1\n", "third line"),
    ] {
        let place = ObjectDirectory::open(&sim.env(), folder).expect("open");
        let name = ObjectName::new(IDENTITY).expect("valid");
        place.put(&name, text.as_bytes()).expect("put");
        let error = claim(&place, "s3://b/x", OURS, true).expect_err(folder).to_string();
        assert!(error.contains(expected) && error.contains("s3://b/x"), "{error}");
    }
}

#[test]
fn the_identity_is_as_documented() {
    let sim = SimEnv::new(3);
    let place = ObjectDirectory::open(&sim.env(), "place").expect("open");
    claim(&place, "s3://b", OURS, true).expect("empty");
    let text = place.get(&ObjectName::new(IDENTITY).expect("valid")).expect("get");
    assert_eq!(
        std::str::from_utf8(&text),
        Ok("glaredb storage\nformat 1\ndatabase 00000000000000000000000000000abc\n")
    );
}

#[test]
fn a_data_directory_stays_with_its_location() {
    let (a, b) = (location("s3://bucket/a"), location("s3://bucket/b"));
    assert_eq!(choose(None, None, true).expect("the directory"), None);
    assert_eq!(choose(Some(&a), None, true).expect("new"), Some(a.clone()));
    assert_eq!(choose(Some(&a), Some("s3://bucket/a"), false).expect("same"), Some(a.clone()));
    assert_eq!(choose(None, Some("s3://bucket/a"), false).expect("remembered"), Some(a.clone()));
    let error = choose(Some(&b), Some("s3://bucket/a"), false).expect_err("moved").to_string();
    assert!(error.contains("s3://bucket/a") && error.contains("s3://bucket/b"), "{error}");
    let error = choose(Some(&b), None, false).expect_err("moved").to_string();
    assert!(error.contains("s3://bucket/b"), "{error}");
}
