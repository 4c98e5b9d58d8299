//! What every implementation of `Objects` must pass.

use super::{ObjectError, ObjectName, Objects};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a valid name")
}

/// Obligations 1, 3, 4 and 5 (2 needs a crash: `after_crash`). `objects` is empty.
pub fn contract(objects: &dyn Objects) {
    create_only(objects);
    exact_bytes(objects);
    listing(objects);
    deletion(objects);
}

fn create_only(objects: &dyn Objects) {
    let a = name("once/a");
    objects.put(&a, b"first").expect("put");
    assert!(matches!(objects.put(&a, b"second"), Err(ObjectError::AlreadyExists(n)) if n == a));
    assert_eq!(&objects.get(&a).expect("get")[..], b"first");
}

fn exact_bytes(objects: &dyn Objects) {
    let large: Vec<u8> =
        (0..3_000_001_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (text, body) in [("bytes/empty", &[][..]), ("bytes/one", &[7]), ("bytes/large", &large)] {
        objects.put(&name(text), body).expect("put");
        assert!(objects.get(&name(text)).expect("get") == body, "{text}");
    }
    assert!(matches!(objects.get(&name("bytes/none")), Err(ObjectError::NotFound(_))));
    // A folder is not an object.
    assert!(matches!(objects.get(&name("bytes")), Err(ObjectError::NotFound(_))));
}

fn listing(objects: &dyn Objects) {
    for text in ["list/b/2", "list/a", "list/b/1", "list/bb"] {
        objects.put(&name(text), text.as_bytes()).expect("put");
    }
    let names = |prefix: &str| -> Vec<(String, u64)> {
        let found = objects.list(prefix).expect("list");
        found.into_iter().map(|e| (e.name.to_string(), e.size)).collect()
    };
    let entry = |text: &str| (text.to_owned(), text.len() as u64);
    let all: Vec<_> = ["list/a", "list/b/1", "list/b/2", "list/bb"].map(entry).into();
    assert_eq!(names("list/"), all);
    assert_eq!(names("list/b"), all[1..]);
    assert_eq!(names("list/b/"), all[1..3]);
    assert_eq!(names("nothing/"), vec![]);
}

fn deletion(objects: &dyn Objects) {
    let a = name("gone/a");
    objects.put(&a, b"x").expect("put");
    objects.delete(&a).expect("delete");
    objects.delete(&a).expect("a second time");
    assert!(matches!(objects.get(&a), Err(ObjectError::NotFound(_))));
    assert_eq!(objects.list("gone/").expect("list"), vec![]);
}

/// Obligation 2: called with what a crash left, after `put` of `whole` returned Ok and `put` of
/// `perhaps` was cut short.
pub fn after_crash(
    objects: &dyn Objects,
    whole: (&ObjectName, &[u8]),
    perhaps: (&ObjectName, &[u8]),
) {
    assert!(objects.get(whole.0).expect("put had returned") == whole.1);
    match objects.get(perhaps.0) {
        Ok(body) => assert!(body == perhaps.1, "part of an object became visible"),
        Err(ObjectError::NotFound(_)) => {}
        Err(e) => panic!("{e}"),
    }
}
