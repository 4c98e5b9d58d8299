use glaredb_txn::{env::DiskFile, sim::SimEnv};

use super::*;
use crate::storage::objects::conformance;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("valid")
}

#[test]
fn conforms_on_the_simulated_disk() {
    let sim = SimEnv::new(1);
    conformance::contract(&ObjectDirectory::open(&sim.env(), "objects").expect("open"));
}

#[test]
fn conforms_on_a_real_disk() {
    let folder = std::env::temp_dir().join(format!("glaredb-objects-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    conformance::contract(&ObjectDirectory::open(&Env::real(&folder), "objects").expect("open"));
    std::fs::remove_dir_all(&folder).expect("remove it again");
}

fn write_in_pieces(
    objects: &ObjectDirectory,
    name: &ObjectName,
    body: &[u8],
) -> Result<(), ObjectError> {
    let mut object = objects.create(name)?;
    for piece in body.chunks(7_777) {
        object.write(piece)?;
    }
    object.finish()
}

/// The power goes at each operation of writing an object, under several seeds: what was finished
/// before is whole, what was being written is whole or not there, and nothing is left of the upload.
#[test]
fn a_crash_leaves_whole_objects_only() {
    let (first, second) = (name("checkpoint/first"), name("checkpoint/second"));
    let (first_body, second_body) = (vec![1; 5_000], vec![2; 70_000]);
    for seed in 0..20 {
        for operation in 1.. {
            let sim = SimEnv::new(seed);
            let objects = ObjectDirectory::open(&sim.env(), "objects").expect("open");
            objects.set_pace(Pace { slice_bytes: 20_000, ..Pace::BACKGROUND });
            objects.put(&first, &first_body).expect("put");
            sim.disk.cut_power_after(operation);
            let finished = write_in_pieces(&objects, &second, &second_body).is_ok();
            let had_power = !sim.disk.is_without_power();
            sim.disk.crash();
            let objects = ObjectDirectory::open(&sim.env(), "objects").expect("open again");
            conformance::after_crash(&objects, (&first, &first_body), (&second, &second_body));
            let files = sim.disk.list("objects/checkpoint").expect("list");
            assert!(files.iter().all(|f| !f.starts_with(UPLOAD)), "seed {seed}: {files:?}");
            if finished {
                assert!(objects.get(&second).is_ok(), "seed {seed}: `put` had returned");
            }
            if had_power {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_no_trace() {
    let sim = SimEnv::new(3);
    let objects = ObjectDirectory::open(&sim.env(), "objects").expect("open");
    objects.put(&name("a/small"), &[1; 1000]).expect("put");
    let used = sim.disk.used_bytes();
    sim.disk.set_capacity(Some(used + 10_000));
    let refused = objects.put(&name("a/large"), &[2; 100_000]);
    assert!(matches!(refused, Err(ObjectError::Full { .. })), "{refused:?}");
    assert_eq!(sim.disk.used_bytes(), used, "the upload's space is free again");
    sim.disk.set_capacity(None);
    objects.put(&name("a/large"), &[2; 100_000]).expect("there is space again");
}

/// What is not synced while it is written would be synced at the end, all at once, in the way of
/// the log.
#[test]
fn no_more_than_a_slice_waits_for_a_sync() {
    let sim = SimEnv::new(5);
    let objects = ObjectDirectory::open(&sim.env(), "objects").expect("open");
    objects.set_pace(Pace { slice_bytes: 1_000, ..Pace::BACKGROUND });
    let mut object = objects.create(&name("a/b")).expect("create");
    for _ in 0..10 {
        object.write(&[1; 950]).expect("write");
    }
    let before = sim.disk.operations();
    object.write(&[1; 10_000]).expect("write");
    assert_eq!(sim.disk.operations() - before, 2 * 10 + 1, "ten slices written and synced");
    object.finish().expect("finish");
    assert_eq!(objects.size(&name("a/b")).expect("size"), 19_500);
}

#[test]
fn files_of_others_are_no_objects() {
    let sim = SimEnv::new(4);
    let objects = ObjectDirectory::open(&sim.env(), "objects").expect("open");
    objects.put(&name("a/b"), b"x").expect("put");
    let file = sim.disk.create("objects/a/with space").expect("create");
    DiskFile::write_at(&*file, 0, b"y").expect("write");
    let listed = objects.list("").expect("list");
    assert_eq!(listed, vec![ObjectEntry { name: name("a/b"), size: 1 }]);
}
