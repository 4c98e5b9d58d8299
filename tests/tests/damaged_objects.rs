//! Objects that are damaged, or gone: who needs one is told which, all else goes on, and `glaredb
//! storage verify` finds it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use glaredb_tests::{
    client,
    server::{Options, Server},
    verify::verify,
};

/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(120);

/// What happens to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    /// A byte of every few is another one.
    Bytes,
    /// Its second half is not there.
    Cut,
    Gone,
}

impl Damage {
    const ALL: [Self; 3] = [Self::Bytes, Self::Cut, Self::Gone];

    fn happen(self, file: &Path) {
        let mut bytes = fs::read(file).expect("an object");
        match self {
            Self::Bytes => bytes.iter_mut().step_by(61).for_each(|byte| *byte ^= 0x5a),
            Self::Cut => bytes.truncate(bytes.len() / 2),
            Self::Gone => return fs::remove_file(file).expect("an object"),
        }
        fs::write(file, bytes).expect("an object");
    }
}

/// A database with two tables in segments, of which some rows are deleted, and one in memory, that was
/// stopped in order: its folder, and the object of table `hurt`.
fn stopped(folder: &Path) -> (PathBuf, String) {
    let data = folder.join("data");
    // Deleted rows stay where they are.
    let arguments = vec!["--no-automatic-flush".to_owned()];
    let mut server = Server::start_in(&data, Options { arguments, ..Options::default() });
    server.psql("create table small (k int); insert into small values (1)").expect("a table");
    for table in ["hurt", "whole"] {
        for sql in [
            format!("create table {table} (k int primary key, v int)"),
            format!("insert into {table} select k, k from generate_series(1, 20000) s(k)"),
            format!("vacuum full {table}"),
            format!("delete from {table} where k % 2 = 0"),
        ] {
            server.psql(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
    let object = "select object from glare_catalog.segments where table_name = 'hurt'";
    let object = server.psql(object).expect("a segment").trim().to_owned();
    assert!(server.terminate(STOP_MAX).success(), "{}", server.log_text());
    (data, object)
}

/// What `storage verify` says of an object, after `damage`.
fn check_verify(data: &Path, object: &str, damage: Damage) {
    let verified = verify(data, &Options::default());
    assert_eq!(verified.code, Some(1), "{object}, {damage:?}: {verified:?}");
    let named = verified.findings.lines().any(|line| line.contains(object));
    assert!(named, "{object}, {damage:?}: {verified:?}");
}

#[tokio::test]
async fn a_damaged_segment_fails_who_reads_it_and_nobody_else() {
    for damage in Damage::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, object) = stopped(folder.path());
        damage.happen(&data.join("objects").join(&object));
        let mut server = Server::start_in(&data, Options::default());
        let client = server.connect().await;
        for sql in ["select sum(v) from hurt", "select v from hurt where k = 9999"] {
            let error = client.query(sql, &[]).await.expect_err(sql);
            assert_eq!(client::sqlstate(&error), "XX001", "{damage:?}, {sql}: {error:?}");
            let text = error.as_db_error().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains(&object), "{damage:?}, {sql}: {object} in {text}");
        }
        let whole = "select count(*), sum(v) from whole";
        assert_eq!(server.psql(whole).as_deref(), Ok("10000|100000000\n"), "{damage:?}");
        // Its rows stay where they are; other tables are rewritten.
        let error =
            client.batch_execute("vacuum full hurt").await.expect_err("it is read for that");
        let text = error.as_db_error().map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(&object), "{damage:?}: {object} in {text}");
        client.batch_execute("vacuum full whole").await.expect("another table");
        assert_eq!(server.psql(whole).as_deref(), Ok("10000|100000000\n"), "{damage:?}");
        server.psql("insert into hurt values (10000, 1)").expect_err("is it there?");
        client.batch_execute("drop table hurt").await.expect("what is in it does not matter");
        assert!(server.is_running(), "{damage:?}");
        server.kill();
    }
}

#[test]
fn a_damaged_segment_is_found() {
    for damage in Damage::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, object) = stopped(folder.path());
        assert_eq!(verify(&data, &Options::default()).code, Some(0), "{damage:?}");
        damage.happen(&data.join("objects").join(&object));
        check_verify(&data, &object, damage);
    }
}

/// Manifest, rows in memory, deletions of rows of segments: whichever it is, there is no start.
#[test]
fn a_damaged_checkpoint_is_refused_and_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, _) = stopped(folder.path());
    let below = data.join("objects/checkpoint");
    let names = fs::read_dir(&below).expect("a checkpoint").map(|entry| {
        let entry = entry.expect("an entry");
        entry.file_name().into_string().expect("a name")
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() > 1, "a manifest and what it names: {names:?}");
    for name in names {
        let file = below.join(&name);
        let before = fs::read(&file).expect("an object");
        for damage in Damage::ALL {
            damage.happen(&file);
            let object = format!("checkpoint/{name}");
            check_verify(&data, &object, damage);
            let mut refused = Server::spawn_in(&data, Options::default());
            assert!(!refused.wait_end(STOP_MAX).success(), "{object}, {damage:?}");
            let log = refused.log_text();
            assert!(log.contains(&object), "{damage:?}: {object} in {log}");
            fs::write(&file, &before).expect("an object");
        }
    }
    // Whole again, nothing is lost.
    let server = Server::start_in(&data, Options::default());
    let all = "select (select sum(v) from hurt), (select sum(v) from whole), (select k from small)";
    assert_eq!(server.psql(all).as_deref(), Ok("100000000|100000000|1\n"));
}
