//! Disks that fail: fsync returns EIO, the disk is full.

use std::{path::PathBuf, process::Command, time::Duration};

use glaredb_tests::{
    client,
    server::{Options, Server},
};

/// fdatasync fails from the n-th call on: the node stops with a clear message, and what was
/// acknowledged is there after a start on a healthy disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_fsync_stops_the_node() {
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=40+",
    ];
    let mut server = Server::start_with(Options {
        wrapper: wrapper.iter().map(ToString::to_string).collect(),
        ..Options::default()
    });
    let client = server.connect().await;
    client.batch_execute("create table t (k int primary key)").await.expect("a table");
    let mut acknowledged = Vec::new();
    let mut error = None;
    for key in 0..2000 {
        match client.batch_execute(&format!("insert into t values ({key})")).await {
            Ok(()) => acknowledged.push(key),
            Err(e) => {
                error = Some(e);
                break;
            }
        }
    }
    let error = error.expect("fdatasync fails within 2,000 commits");
    // Nobody can say whether the commit that was under way is on the disk; one that comes after
    // the failure is refused, and one whose connection the stopping node closed got no answer.
    let state = client::sqlstate(&error);
    assert!(["", "08007", "57P01", "58030"].contains(&state), "{error:?}");
    let status = server.wait_end(Duration::from_secs(20));
    assert!(!status.success(), "a node whose log failed must not end well");
    let log = server.log_text();
    assert!(log.contains("os error 5") || log.contains("Input/output error"), "{log}");

    let server = server.start_again(Options::default());
    for key in acknowledged {
        let found = server.psql(&format!("select count(*) from t where k = {key}"));
        assert_eq!(found.as_deref(), Ok("1\n"), "acknowledged {key}");
    }
}

/// A small file system of its own, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(megabytes: u32) -> Self {
        let path = tempfile::tempdir().expect("a temporary folder").keep();
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&path)
            .output()
            .expect("mount runs");
        assert!(
            out.status.success(),
            "this test needs the right to mount a tmpfs (root): {}",
            String::from_utf8_lossy(&out.stderr)
        );
        Self(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A full disk refuses writes with 53100; none of those reappears, reads go on, writes resume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_recovers() {
    let disk = Tmpfs::mount(256);
    let data = disk.0.join("data");
    let server = Server::start_in(&data, Options::default());
    let client = server.connect().await;
    client.batch_execute("create table t (k int primary key, filler text)").await.expect("a table");
    // Somebody else fills the disk.
    let hog = disk.0.join("hog");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M"])
        .arg(format!("of={}", hog.display()))
        .output();

    let filler = "x".repeat(200_000);
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for key in 0..2000 {
        match client.batch_execute(&format!("insert into t values ({key}, '{filler}')")).await {
            Ok(()) => acknowledged.push(key),
            Err(error) => {
                assert_eq!(client::sqlstate(&error), "53100", "{error:?}");
                refused.push(key);
                if refused.len() >= 5 {
                    break;
                }
            }
        }
    }
    let log = server.log_text();
    let line = log.lines().find(|line| line.contains("nearly full"));
    let line = line.unwrap_or_else(|| panic!("no warning:\n{log}"));
    assert!(line.contains("of 256 MiB are free"), "{line}");
    assert!(refused.len() >= 5, "the disk never filled: {} rows went in", acknowledged.len());
    let count = |server: &Server| server.psql("select count(*) from t").expect("reads go on");
    assert_eq!(count(&server).trim(), acknowledged.len().to_string(), "reads go on");

    std::fs::remove_file(&hog).expect("space returns");
    let mut resumed = false;
    for _ in 0..100 {
        match client.batch_execute("insert into t values (100000, 'after')").await {
            Ok(()) => {
                resumed = true;
                acknowledged.push(100_000);
                break;
            }
            Err(error) => assert_eq!(client::sqlstate(&error), "53100", "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(resumed, "writes resume when space returns");

    let server = server.kill_and_restart();
    assert_eq!(count(&server).trim(), acknowledged.len().to_string(), "after restart");
    for key in refused {
        let found = server.psql(&format!("select count(*) from t where k = {key}"));
        assert_eq!(found.as_deref(), Ok("0\n"), "refused {key} reappeared");
    }
}

/// A checkpoint that does not fit says so, is tried again by itself, and succeeds when there is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_wait_for_space() {
    let disk = Tmpfs::mount(1024);
    let data = disk.0.join("data");
    let options = || Options {
        arguments: ["--checkpoint-log-size", "64MiB"].map(str::to_owned).into(),
        ..Options::default()
    };
    let server = Server::start_in(&data, options());
    let client = server.connect().await;
    client.batch_execute("create table t (k int, filler text)").await.expect("a table");
    let insert = "insert into t select k, md5(k::text) || repeat('x', 1000) \
                  from generate_series(1, 20000) as s(k)";
    client.batch_execute(insert).await.expect("rows");
    let hog = disk.0.join("hog");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", hog.display()))
        .output();
    let error = client.batch_execute("checkpoint").await.expect_err("there is no space for it");
    assert_eq!(client::sqlstate(&error), "53100", "{error:?}");
    // Of what it wrote nothing stays.
    let objects = data.join("objects/checkpoint");
    let left = std::fs::read_dir(&objects).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "objects of the failed checkpoint");

    // The log grows past what asks for a checkpoint, in part before there is space again.
    let mut rows = 20_000;
    let mut refused = 0;
    for batch in 0..12 {
        if batch == 4 {
            std::fs::remove_file(&hog).expect("space returns");
        }
        match client.batch_execute(insert).await {
            Ok(()) => rows += 20_000,
            Err(error) => {
                assert_eq!(client::sqlstate(&error), "53100", "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused <= 8, "writes do not resume");
    // Nobody asks for it.
    let begun = std::time::Instant::now();
    while std::fs::read_dir(&objects).map_or(0, |entries| entries.count()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint:\n{}", server.log_text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let server = server.kill_and_restart();
    let found = server.psql("select count(*) from t").expect("reads");
    assert_eq!(found.trim(), rows.to_string());
}
