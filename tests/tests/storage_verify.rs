//! `glaredb storage verify` from the command line, and what `glare_catalog` shows of storage.

use std::{fs, path::Path, time::Duration};

use glaredb_tests::{
    server::{Options, Server},
    verify::{self, Verified},
};

/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(120);

/// Exit code and output of `glaredb storage verify`.
fn verify(dir: &Path) -> (Option<i32>, String, String) {
    let Verified { code, findings, progress } = verify::verify(dir, &Options::default());
    (code, findings, progress)
}

#[test]
fn a_database_is_verified_when_no_server_uses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), Options::default());
    let fill = "create table t (id int primary key, v text);
        insert into t select i, 'v' || i from generate_series(1, 1000) i";
    server.psql(fill).expect("a table");
    let (code, _, errors) = verify(folder.path());
    assert_eq!(code, Some(1));
    assert!(errors.contains("is in use by another glaredb process"), "{errors}");
    assert!(server.terminate(STOP_MAX).success());
    let (code, findings, errors) = verify(folder.path());
    assert_eq!((code, findings.as_str()), (Some(0), ""), "{errors}");
    assert!(
        errors.contains("1 checkpoints, ") && errors.contains(": 0 problems, 0 orphans"),
        "{errors}"
    );
    // A byte of what is not a manifest.
    let checkpoint = folder.path().join("objects/checkpoint");
    let objects = fs::read_dir(&checkpoint).expect("a checkpoint");
    let names =
        objects.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let name = names.into_iter().find(|name| !name.ends_with("-manifest")).expect("an object");
    let mut bytes = fs::read(checkpoint.join(&name)).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(checkpoint.join(&name), bytes).expect("written");
    let (code, findings, errors) = verify(folder.path());
    assert_eq!(code, Some(1));
    assert!(findings.starts_with(&format!("checkpoint/{name}: ")), "{findings}");
    assert!(errors.contains("1 problems"), "{errors}");
    // The lock is given back.
    assert_eq!(verify(folder.path()).0, Some(1));
    let (code, _, errors) = verify(&folder.path().join("none"));
    assert!(code == Some(1) && errors.contains("not a directory"), "{errors}");
}

#[test]
fn what_storage_does_is_shown() {
    let server = Server::start();
    server.psql("create table t (id int primary key); checkpoint").expect("a table");
    let shown = |sql: &str| server.psql(sql).expect(sql).trim().to_owned();
    assert_eq!(shown("select count(*) from glare_catalog.segments"), "0");
    assert_eq!(shown("select place, limit_bytes > 0 from glare_catalog.cache"), "segments|t");
    let puts =
        shown("select requests > 0, bytes > 0 from glare_catalog.requests where kind = 'put'");
    assert_eq!(puts, "t|t");
    assert_eq!(shown("select count(*) from glare_catalog.flushes"), "0");
    assert_eq!(shown("select count(*) from glare_catalog.compactions"), "0");
    let error = server.psql("create schema glare_catalog").expect_err("it is there");
    assert!(error.contains("already exists"), "{error}");
    let error = server.psql("select * from glare_catalog.none").expect_err("no such view");
    assert!(error.contains("does not exist"), "{error}");
    assert!(server.metric("glaredb_object_request_duration_seconds_count{kind=\"put\"}") > 0.0);
}
