//! The shape of the tree, held by a test: direction of dependencies, file lengths, banned names.

use std::{
    fs,
    path::{Path, PathBuf},
};

const LINES_MAX: usize = 800;
const BANNED_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

/// Which crates of ours a crate may depend on.
const MAY_KNOW: [(&str, &[&str]); 6] = [
    ("txn", &[]),
    ("catalog", &["txn"]),
    ("engine", &["txn", "catalog"]),
    ("server", &["txn", "catalog", "engine"]),
    ("tests", &["txn", "catalog", "engine", "server"]),
    // The harness that starts the processes is the same for both.
    ("benches", &["txn", "catalog", "engine", "server", "tests"]),
];

/// What a crate must not name in its manifest: invariants of absence.
const MUST_NOT_KNOW: [(&str, &[&str]); 3] = [
    ("txn", &["arrow", "datafusion", "tokio", "etcd-client", "object_store"]),
    ("catalog", &["arrow", "datafusion", "tokio"]),
    ("engine", &["pgwire", "axum", "clap"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                rust_files(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (name, _) in MAY_KNOW {
        rust_files(&root().join(name), &mut files);
    }
    assert!(files.len() > 20, "found only {} files: the walk is broken", files.len());
    files
}

/// The dependency tables of a manifest, dev-dependencies apart: lines `name… = …`.
fn dependencies(crate_name: &str) -> Vec<String> {
    let manifest =
        fs::read_to_string(root().join(crate_name).join("Cargo.toml")).expect("a manifest");
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[build-dependencies]";
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    for (name, allowed) in MAY_KNOW {
        for dependency in dependencies(name) {
            if let Some(ours) = dependency.strip_prefix("glaredb-") {
                assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
            }
        }
    }
    for (name, forbidden) in MUST_NOT_KNOW {
        for dependency in dependencies(name) {
            assert!(!forbidden.contains(&dependency.as_str()), "{name} must not know {dependency}");
        }
    }
}

#[test]
fn storage_does_not_import_query() {
    let mut files = Vec::new();
    rust_files(&root().join("engine/src/storage"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for word in ["crate::query", "crate::session", "datafusion::"] {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn files_are_short_and_well_named() {
    let mut faults = Vec::new();
    for file in all_rust_files() {
        let lines = fs::read_to_string(&file).expect("a source file").lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, {LINES_MAX} allowed", file.display()));
        }
        for part in file.iter().map(|p| p.to_string_lossy()) {
            let stem = part.trim_end_matches(".rs");
            if BANNED_NAMES.contains(&stem) {
                faults.push(format!("{}: the name says nothing", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let mut faults = Vec::new();
    // Spelled in two halves, or this file would find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("FIX", "ME"),
    ];
    for file in all_rust_files() {
        let text = fs::read_to_string(&file).expect("a source file");
        for word in words {
            if text.contains(word) {
                faults.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
