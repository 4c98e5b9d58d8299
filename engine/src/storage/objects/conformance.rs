//! What every implementation of `Objects` must pass.

#![allow(clippy::single_range_in_vec_init, reason = "one range is what is asked for")]

use std::ops::Range;

use bytes::Bytes;
use futures::executor::block_on;

use super::{ObjectError, ObjectName, Objects};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a valid name")
}

/// All obligations but 2, which needs a crash (`after_crash`). `objects` is empty.
pub fn contract(objects: &dyn Objects) {
    create_only(objects);
    exact_bytes(objects);
    listing(objects);
    deletion(objects);
    streams(objects);
    unfinished(objects);
    one_of_several(objects);
    // Those of segments may be cached.
    for text in ["ranges/a", "data/1/ranges"] {
        ranges(objects, &name(text));
        up_to(objects, &name(text));
    }
}

/// Bytes that differ from place to place.
fn pattern(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn create_only(objects: &dyn Objects) {
    let a = name("once/a");
    objects.put(&a, b"first").expect("put");
    assert!(matches!(objects.put(&a, b"second"), Err(ObjectError::AlreadyExists(n)) if n == a));
    assert_eq!(&objects.get(&a).expect("get")[..], b"first");
}

fn exact_bytes(objects: &dyn Objects) {
    let large = pattern(3_000_001);
    for (text, body) in [("bytes/empty", &[][..]), ("bytes/one", &[7]), ("bytes/large", &large)] {
        objects.put(&name(text), body).expect("put");
        assert!(objects.get(&name(text)).expect("get") == body, "{text}");
        assert_eq!(objects.size(&name(text)).expect("size"), body.len() as u64, "{text}");
    }
    // A folder is not an object.
    for none in ["bytes/none", "bytes"] {
        absent(objects, &name(none));
    }
}

/// No object has this name, whichever way one looks.
fn absent(objects: &dyn Objects, name: &ObjectName) {
    assert!(matches!(objects.get(name), Err(ObjectError::NotFound(n)) if n == *name));
    assert!(matches!(objects.size(name), Err(ObjectError::NotFound(n)) if n == *name));
    let read = block_on(objects.read_ranges(name, &[0..1]));
    assert!(matches!(&read, Err(ObjectError::NotFound(n)) if n == name), "{read:?}");
    let listed = objects.list(name.as_str()).expect("list");
    assert!(listed.iter().all(|entry| entry.name != *name), "{name} is listed");
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
    absent(objects, &a);
    assert_eq!(objects.list("gone/").expect("list"), vec![]);
}

/// Pieces of any size, also of more than any implementation writes at a time.
fn streams(objects: &dyn Objects) {
    let whole = pattern(20_000_003);
    for (text, bytes, piece) in [
        ("stream/none", 0, 1),
        ("stream/pieces", 100_001, 777),
        ("stream/one", 9_000_000, 9_000_000),
        ("stream/large", 20_000_003, 1 << 20),
    ] {
        let (name, body) = (name(text), &whole[..bytes]);
        let mut object = objects.create(&name).expect("create");
        for piece in body.chunks(piece) {
            object.write(piece).expect("write");
        }
        absent(objects, &name);
        object.finish().expect("finish");
        assert!(objects.get(&name).expect("get") == body, "{text}");
        assert_eq!(objects.size(&name).expect("size"), bytes as u64, "{text}");
    }
}

/// Dropped before it is finished, an object was never there, however much of it was written.
fn unfinished(objects: &dyn Objects) {
    let a = name("unfinished/a");
    for bytes in [0, 5, 12_000_000] {
        let mut object = objects.create(&a).expect("create");
        object.write(&pattern(bytes)).expect("write");
        drop(object);
        absent(objects, &a);
    }
    objects.put(&a, b"another").expect("the name was never used");
    assert_eq!(&objects.get(&a).expect("get")[..], b"another");
}

/// Two objects of one name, small and large, written at the same time, and one written after.
fn one_of_several(objects: &dyn Objects) {
    for (text, bytes) in [("several/small", 10), ("several/large", 9_000_000)] {
        let a = name(text);
        let bodies = [vec![1; bytes], vec![2; bytes], vec![3; bytes]];
        let write = |object: &mut Option<Box<dyn super::ObjectWrite + Send>>, body: &[u8]| {
            if let Some(object) = object {
                object.write(body).expect("write");
            }
        };
        let started = |body: &[u8]| {
            let mut object = match objects.create(&a) {
                Ok(object) => Some(object),
                Err(ObjectError::AlreadyExists(n)) if n == a => None,
                Err(error) => panic!("{error}"),
            };
            write(&mut object, body);
            object
        };
        let finished = |object: Option<Box<dyn super::ObjectWrite + Send>>| match object?.finish() {
            Ok(()) => Some(()),
            Err(ObjectError::AlreadyExists(n)) if n == a => None,
            Err(error) => panic!("{error}"),
        };
        let (first, second) = (started(&bodies[0]), started(&bodies[1]));
        let finishes = [finished(second), finished(first), finished(started(&bodies[2]))];
        assert_eq!(finishes.iter().flatten().count(), 1, "{text}: {finishes:?}");
        assert!(finishes[2].is_none(), "{text} existed");
        let winner = if finishes[0].is_some() { &bodies[1] } else { &bodies[0] };
        assert!(objects.get(&a).expect("get") == *winner, "{text}");
    }
}

fn ranges(objects: &dyn Objects, a: &ObjectName) {
    let body = pattern(3_000_000);
    objects.put(a, &body).expect("put");
    let read = |ranges: &[Range<u64>]| block_on(objects.read_ranges(a, ranges));
    for ranges in [
        vec![],
        vec![0..3_000_000],
        vec![2_999_992..3_000_000, 0..1, 1_000_000..2_100_000, 5..5, 0..10, 3_000_000..3_000_000],
        (0..100).map(|i| i * 30_000..i * 30_000 + 17).collect(),
    ] {
        let expected: Vec<Bytes> = ranges
            .iter()
            .map(|r| Bytes::copy_from_slice(&body[r.start as usize..r.end as usize]))
            .collect();
        assert!(read(&ranges).expect("read") == expected, "{ranges:?}");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "it must be refused")]
    for (start, end) in [(2_999_999, 3_000_001), (3_000_001, 3_000_001), (0, u64::MAX), (9, 8)] {
        let short = read(&[0..1, start..end, 1..2]);
        assert!(
            matches!(&short, Err(ObjectError::OutOfRange { name, size: 3_000_000, start: s, end: e })
                if name == a && (*s, *e) == (start, end)),
            "{start}..{end}: {short:?}"
        );
    }
}

/// Of an object of 3,000,000 bytes.
fn up_to(objects: &dyn Objects, a: &ObjectName) {
    let body = pattern(3_000_000);
    let read = |range: Range<u64>| block_on(objects.read_up_to(a, range));
    for (start, end) in [(0, 1), (7, 2_000_000), (2_999_999, 3_000_000), (0, 3_000_000)] {
        assert!(read(start..end).expect("it has them") == body[start as usize..end as usize]);
        assert!(read(start..end + 20_000_000).expect("some") == body[start as usize..]);
    }
    let none = read(4_000_000..40_000_000);
    assert!(
        matches!(&none, Err(ObjectError::OutOfRange { name, size: 3_000_000, .. }) if name == a),
        "{none:?}"
    );
}

/// Obligation 2: called with what a crash left, after creating `whole` returned Ok and creating
/// `perhaps` was cut short.
pub fn after_crash(
    objects: &dyn Objects,
    whole: (&ObjectName, &[u8]),
    perhaps: (&ObjectName, &[u8]),
) {
    assert!(objects.get(whole.0).expect("it was finished") == whole.1);
    let listed = objects.list(perhaps.0.as_str()).expect("list");
    assert!(listed.iter().all(|entry| entry.size == perhaps.1.len() as u64), "{listed:?}");
    assert_eq!(listed.is_empty(), objects.size(perhaps.0).is_err());
    match objects.get(perhaps.0) {
        Ok(body) => assert!(body == perhaps.1, "part of an object became visible"),
        Err(ObjectError::NotFound(_)) => {}
        Err(e) => panic!("{e}"),
    }
}
