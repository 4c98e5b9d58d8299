//! What is damaged, missing or left over among a database's objects is found and named.

use std::{fs, path::Path, sync::Arc};

use glaredb_engine::storage::{
    objects::{ObjectName, Objects, StorageOptions},
    recovery::existing_objects,
    verify::{Known, Told, Verified, verify},
};
use glaredb_txn::env::Env;
use tempfile::TempDir;

use super::{harness::Server, segments::flush};

/// A table sorted by its key and one without, rows in segments and in memory, a checkpoint of both.
async fn database() -> TempDir {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (id int primary key, v text, n numeric(9,2))").await;
    client.ok("create table k (v text, d date)").await;
    let fill = "insert into t select i, case when i % 7 = 0 then null else 'v' || i end, i * 0.25
        from generate_series(1, 5000) i";
    client.ok(fill).await;
    client
        .ok("insert into k select 'x' || i, date '2000-01-01' + i from generate_series(1, 500) i")
        .await;
    flush(server.engine(), "t").await;
    flush(server.engine(), "k").await;
    client.ok("insert into t select i, 'later', 1 from generate_series(5001, 5100) i").await;
    server.stop().await
}

/// What was found, as object and problem, and the orphans.
fn check(dir: &Path) -> (Verified, Vec<(String, String)>, Vec<String>) {
    let env = Env::real(dir);
    let objects = existing_objects(&env, &StorageOptions::default()).expect("they are there");
    let known = Known::read(&env).expect("a data directory");
    let (mut findings, mut orphans) = (Vec::new(), Vec::new());
    let verified = verify(&objects, &known, &mut |told| match told {
        Told::Finding { object, problem } => findings.push((object.to_owned(), problem)),
        Told::Orphan { object, .. } => orphans.push(object.to_owned()),
        Told::Progress { done, of, .. } => assert!(done <= of, "{done} of {of}"),
    });
    let verified = verified.expect("they can be listed");
    assert_eq!((verified.findings, verified.orphans), (findings.len(), orphans.len()));
    (verified, findings, orphans)
}

fn names(dir: &Path) -> Vec<ObjectName> {
    let objects: Arc<dyn Objects> =
        existing_objects(&Env::real(dir), &StorageOptions::default()).expect("they are there");
    objects.list("").expect("listed").into_iter().map(|entry| entry.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sound_is_found_sound() {
    let dir = database().await;
    let (verified, findings, orphans) = check(dir.path());
    assert_eq!(findings, []);
    assert_eq!(orphans, [""; 0]);
    assert_eq!((verified.checkpoints, verified.segments, verified.rows), (1, 2, 5_500));
}

/// One byte, in each kind of object, at its ends and within.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_found_in_every_object() {
    let dir = database().await;
    let names = names(dir.path());
    assert!(names.iter().any(|name| name.as_str().starts_with("data/")), "{names:?}");
    for name in &names {
        let path = dir.path().join("objects").join(name.as_str());
        let whole = fs::read(&path).expect("an object");
        let last = whole.len() - 1;
        for at in [0, 5, whole.len() / 2, last] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            fs::write(&path, damaged).expect("written");
            let (_, findings, _) = check(dir.path());
            let named = findings.iter().any(|(object, _)| object == name.as_str());
            assert!(named, "byte {at} of {}, {name}: {findings:?}", whole.len());
        }
        fs::write(&path, whole).expect("written");
    }
    assert_eq!(check(dir.path()).1, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_a_finding_and_an_extra_one_an_orphan() {
    let dir = database().await;
    for name in names(dir.path()) {
        let path = dir.path().join("objects").join(name.as_str());
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).expect("taken away");
        let (_, findings, _) = check(dir.path());
        let missing = |(object, problem): &(String, String)| {
            object == name.as_str() && problem.starts_with("it is missing")
        };
        assert!(findings.iter().any(missing), "{name}: {findings:?}");
        // Cut short it is another one's length.
        let whole = fs::read(&aside).expect("an object");
        fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert!(!check(dir.path()).1.is_empty(), "{name} is cut short");
        fs::rename(&aside, &path).expect("put back");
    }
    let extra = dir.path().join("objects/data/1");
    fs::create_dir_all(&extra).expect("a folder");
    fs::write(extra.join("ff-0.parquet"), "no segment").expect("written");
    let (_, findings, orphans) = check(dir.path());
    assert_eq!(findings, []);
    assert_eq!(orphans, ["data/1/ff-0.parquet"]);
}

/// A segment that is whole, but another table's: everything that names it contradicts it.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_exchanged_are_found() {
    let dir = database().await;
    let names = names(dir.path());
    let data: Vec<&ObjectName> =
        names.iter().filter(|name| name.as_str().starts_with("data/")).collect();
    let path = |name: &ObjectName| dir.path().join("objects").join(name.as_str());
    fs::copy(path(data[0]), path(data[1])).expect("copied");
    let (_, findings, _) = check(dir.path());
    assert!(findings.iter().any(|(object, _)| object == data[1].as_str()), "{findings:?}");
}
