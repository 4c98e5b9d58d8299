//! Writes the expected results of tests/slt/*.slt anew from PostgreSQL 15. Arguments: names of
//! scripts (without `.slt`); none means all.

use glaredb_tests::{peer::Postgres, slt};

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for script in slt::scripts() {
        let name = script.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        // A cluster each: scripts do not see each other's tables.
        let peer = Postgres::start(&[]);
        match slt::update(peer.port, "postgres", &script).await {
            Ok(()) => println!("{name}: written"),
            Err(error) => println!("{name}: {error}"),
        }
    }
}
