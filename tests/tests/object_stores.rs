//! Objects in S3, on real servers: the contract, a database that lives there, and a store that is
//! away, late, or whose answers get lost.

use std::{path::Path, sync::Arc, time::Duration};

use glaredb_engine::storage::objects::{
    Limits, ObjectName, Objects, RemoteLocation, RemoteObjects, S3Options, conformance,
};
use glaredb_tests::{
    s3::{
        ACCESS_KEY_ID, BUCKET, S3Kind, S3Server, SECRET_ACCESS_KEY, options,
        proxy::{Behaviour, Proxy},
    },
    server::{Options, Server},
};
use glaredb_txn::env::SystemRandom;

/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(120);

fn remote(endpoint: String, prefix: &str) -> RemoteObjects {
    let location = RemoteLocation::parse(&format!("s3://{BUCKET}/{prefix}"));
    let s3 = S3Options {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        path_style: None,
        access_key_id: Some(ACCESS_KEY_ID.to_owned()),
        secret_access_key: Some(SECRET_ACCESS_KEY.to_owned()),
    };
    let location = location.expect("a bucket's URL").expect("valid");
    location.connect("", &s3, Limits::default(), Arc::new(SystemRandom)).expect("valid options")
}

fn sum(server: &Server) -> String {
    server.psql("select count(*), sum(v) from t").expect("a query").trim().to_owned()
}

fn no_files_below(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    entries.flatten().all(|entry| entry.path().is_dir() && no_files_below(&entry.path()))
}

#[test]
fn weed_conforms() {
    let server = S3Server::start(S3Kind::Weed);
    conformance::contract(&remote(server.endpoint(), "conformance"));
}

#[test]
fn moto_conforms() {
    let server = S3Server::start(S3Kind::Moto);
    conformance::contract(&remote(server.endpoint(), "conformance"));
}

/// An object that was stored though its answer got lost is no error, small or in parts.
#[test]
fn answers_that_get_lost_are_no_errors() {
    let server = S3Server::start(S3Kind::Weed);
    let proxy = Proxy::start(server.port);
    let objects = remote(proxy.endpoint(), "lost");
    for (text, bytes, cut) in [("small", 1_000, 1), ("larger", 70_000, 1), ("parts", 18 << 20, 2)] {
        let (name, body) = (ObjectName::new(text).expect("valid"), vec![7; bytes]);
        proxy.behave(Behaviour::CutAnswersToPut(cut));
        objects.put(&name, &body).expect(text);
        assert_eq!(proxy.behaviour(), Behaviour::Pass, "{text}: all were cut");
        assert!(objects.get(&name).expect(text) == body, "{text}");
    }
}

#[test]
fn a_database_lives_in_s3() {
    let s3 = S3Server::start(S3Kind::Weed);
    let storage = format!("s3://{BUCKET}/databases/one");
    let server = Server::start_with(options(&s3.endpoint(), Some(&storage)));
    server.psql("create table t (k int primary key, v int)").expect("create");
    server.psql("insert into t select k, k from generate_series(1, 1000) s(k)").expect("insert");
    server.psql("checkpoint").expect("checkpoint");
    let listed = remote(s3.endpoint(), "databases/one").list("").expect("list");
    let (identity, rest): (Vec<_>, Vec<_>) =
        listed.iter().partition(|entry| entry.name.as_str() == "glaredb-identity");
    assert_eq!(identity.len(), 1, "{listed:?}");
    let of_checkpoints = rest.iter().all(|entry| entry.name.as_str().contains("/checkpoint/"));
    assert!(of_checkpoints && !rest.is_empty(), "{listed:?}");
    server.psql("update t set v = v + 1 where k <= 10").expect("update");
    // What the checkpoint does not hold comes from the log.
    let mut server = server;
    server.kill();
    let mut server = server.start_again(options(&s3.endpoint(), None));
    assert_eq!(sum(&server), "1000|500510");
    assert!(server.terminate(STOP_MAX).success(), "{}", server.log_text());
    assert!(no_files_below(&server.data_dir().join("objects")));
    let mut server = server.start_again(options(&s3.endpoint(), Some(&storage)));
    assert_eq!(sum(&server), "1000|500510");
    server.kill();

    // Another location, and another database's.
    let elsewhere = format!("s3://{BUCKET}/databases/two");
    let mut refused =
        Server::spawn_in(server.data_dir(), options(&s3.endpoint(), Some(&elsewhere)));
    assert!(!refused.wait_end(STOP_MAX).success());
    let log = refused.log_text();
    assert!(log.contains(&storage) && log.contains(&elsewhere), "{log}");
    let folder = tempfile::tempdir().expect("a folder");
    let mut refused =
        Server::spawn_in(&folder.path().join("data"), options(&s3.endpoint(), Some(&storage)));
    assert!(!refused.wait_end(STOP_MAX).success());
    let log = refused.log_text();
    assert!(log.contains(&format!("{storage} holds database")), "{log}");
}

/// The same with the location of a local folder, without which the database does not start.
#[test]
fn a_database_lives_in_another_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("objects of mine");
    let storage = place.to_str().expect("text").to_owned();
    let with = |storage: &str| Options {
        arguments: vec!["--storage".to_owned(), storage.to_owned()],
        ..Options::default()
    };
    let mut server = Server::start_in(&folder.path().join("data"), with(&storage));
    server.psql("create table t (k int primary key, v int)").expect("create");
    server.psql("insert into t select k, k from generate_series(1, 10) s(k)").expect("insert");
    assert!(server.terminate(STOP_MAX).success(), "{}", server.log_text());
    assert!(no_files_below(&server.data_dir().join("objects")));
    let mut server = server.start_again(Options::default());
    assert_eq!(sum(&server), "10|55");
    server.kill();
    std::fs::rename(&place, folder.path().join("away")).expect("rename");
    let mut refused = Server::spawn_in(server.data_dir(), Options::default());
    assert!(!refused.wait_end(STOP_MAX).success());
    let log = refused.log_text();
    assert!(log.contains("holds nothing of this database"), "{log}");
}

/// Checkpoints fail and say why, commits go on, and all recovers when the store is back.
#[test]
fn commits_go_on_while_the_store_is_away() {
    let s3 = S3Server::start(S3Kind::Weed);
    let proxy = Proxy::start(s3.port);
    let storage = format!("s3://{BUCKET}/away");
    let server = Server::start_with(options(&proxy.endpoint(), Some(&storage)));
    server.psql("create table t (k int primary key, v int)").expect("create");
    for (round, behaviour) in [Behaviour::Refuse, Behaviour::Stall].into_iter().enumerate() {
        proxy.behave(behaviour);
        let error = server.psql("checkpoint").expect_err("the store is away");
        for part in [storage.as_str(), &proxy.endpoint(), "check the endpoint"] {
            assert!(error.contains(part), "{behaviour:?}: {error}");
        }
        assert!(server.log_text().contains("checkpoint not written"), "{}", server.log_text());
        server.psql(&format!("insert into t values ({round}, 1)")).expect("commits go on");
        assert_eq!(sum(&server), format!("{0}|{0}", round + 1));
        proxy.behave(Behaviour::Pass);
        server.psql("checkpoint").expect("the store is back");
    }
    // With the store away there is no start, and that is said.
    let mut server = server;
    server.kill();
    proxy.behave(Behaviour::Refuse);
    let mut refused = Server::spawn_in(server.data_dir(), options(&proxy.endpoint(), None));
    assert!(!refused.wait_end(STOP_MAX).success());
    assert!(refused.log_text().contains(&storage), "{}", refused.log_text());
    proxy.behave(Behaviour::Pass);
    let server = server.start_again(options(&proxy.endpoint(), None));
    assert_eq!(sum(&server), "2|2");
}
