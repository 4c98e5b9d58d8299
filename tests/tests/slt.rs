//! The scripts of tests/slt against our server; expectations come from PostgreSQL 15
//! (`make slt-expect`).

use glaredb_tests::{server::Server, slt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_answer_as_postgresql_does() {
    let wanted = std::env::var("GLAREDB_SLT").unwrap_or_default();
    let mut failed = Vec::new();
    let mut ran = 0;
    for script in slt::scripts() {
        let name = script.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if !wanted.is_empty() && !wanted.split(',').any(|w| w == name) {
            continue;
        }
        ran += 1;
        let server = Server::start();
        if let Err(error) = slt::run(server.port, "glaredb", &script).await {
            failed.push(format!("--- {name}\n{error}"));
        }
    }
    assert!(ran > 0, "no script ran");
    assert!(failed.is_empty(), "{} of {ran} scripts differ:\n{}", failed.len(), failed.join("\n"));
}
