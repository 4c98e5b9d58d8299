//! What stands in the way of a start: a data directory that is none, is someone else's, or lacks a
//! part; and that a start which was refused leaves nothing behind.

use std::{fs, net::TcpListener, path::Path};

use crate::{Server, error_text, run};

/// Starts a server that must refuse to, and says why.
fn refused(data_dir: &Path, port: u16) -> String {
    let (port, path) = (port.to_string(), data_dir.to_str().expect("UTF-8"));
    let output = run(&["server", "--port", &port, "--admin-port", "0", "--data-dir", path]);
    assert_eq!(output.status.code(), Some(1));
    error_text(&output)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

/// A database in `folder` that was stopped in order.
fn stopped_database(folder: &Path) {
    let mut server = Server::start(folder, &[]);
    server.signal(rustix::process::Signal::TERM);
    server.wait();
}

#[test]
fn a_file_is_no_data_directory() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = refused(file.path(), 0);
    assert!(text.contains(&format!("{} is not a directory", file.path().display())), "{text}");
}

#[test]
fn files_of_someone_else_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("notes.txt"), "x").expect("writable");
    fs::create_dir(folder.path().join("base")).expect("writable");
    let text = refused(folder.path(), 0);
    assert!(text.contains("is not empty") && text.contains("found base, notes.txt"), "{text}");
    assert_eq!(names(folder.path()), ["base", "notes.txt"]);
}

#[test]
fn a_start_that_finds_its_port_taken_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    refused(&folder.path().join("new/data"), port);
    refused(folder.path(), port);
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn a_log_without_its_metastore_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    stopped_database(folder.path());
    let metastore = folder.path().join("metastore.redb");
    let bytes = fs::read(&metastore).expect("it is there");
    fs::remove_file(&metastore).expect("it is there");
    for _ in 0..2 {
        let text = refused(folder.path(), 0);
        assert!(text.contains("metastore.redb is missing beside a log"), "{text}");
        assert!(text.contains(folder.path().to_str().expect("UTF-8")), "{text}");
        assert!(!metastore.exists());
    }
    fs::write(&metastore, "").expect("writable");
    let text = refused(folder.path(), 0);
    assert!(text.contains("metastore.redb has 0 bytes"), "{text}");
    assert_eq!(fs::metadata(&metastore).expect("it is there").len(), 0);
    // With its own metastore it opens.
    fs::write(&metastore, bytes).expect("writable");
    stopped_database(folder.path());
}

/// A database that was never written to, and whose log is gone, is refused as well.
#[test]
fn a_metastore_without_its_log_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    stopped_database(folder.path());
    fs::remove_dir_all(folder.path().join("log")).expect("it is there");
    let text = refused(folder.path(), 0);
    assert!(text.contains("log") && text.contains("does not open"), "{text}");
}
