//! A thread of the node that panics stops the node, wherever it is: operators see it, clients are
//! told, the process ends with its reason.

use rustix::process::Signal;

use crate::Server;

/// By fail point, what a client does to get there; nothing for what comes by itself.
const THREADS: [(&str, &str); 6] = [
    ("background::keep", ""),
    ("background::checkpoint", "checkpoint"),
    ("background::rewrite", ""),
    ("commit::sync", "insert into t values (2)"),
    ("commit::apply", "insert into t values (2)"),
    ("commit::publish", "insert into t values (2)"),
];

#[tokio::test]
async fn a_panic_of_any_thread_of_the_node_stops_it() {
    for (point, statement) in THREADS {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path()).await;
        // The node that must stop waits for a signal, so that it can be looked at.
        let points = format!("{point}=off;node::stops=return");
        let points = match statement {
            "" => points.replace("off", "panic(injected)"),
            _ => points.replace("off", "2*off->panic(injected)"),
        };
        let mut server = Server::spawn(folder.path(), &[], &points);
        server.line_with("ready: psql");
        if !statement.is_empty() {
            let (client, _connection) = server.connect().await;
            while client.batch_execute(statement).await.is_ok() {}
        }
        let line = server.line_with("the node must stop");
        assert!(line.contains("injected"), "{point}: {line}");
        for path in ["/healthz", "/readyz"] {
            let answer = server.get(path);
            assert!(answer.starts_with("HTTP/1.1 503 "), "{point}: {answer}");
            assert!(answer.contains("panicked: injected"), "{point}: {answer}");
        }
        assert!(server.get("/metrics").contains("\nglaredb_ready 0\n"), "{point}");
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(1), "{point}");
        let again = Server::start(folder.path(), &[]);
        let (client, _connection) = again.connect().await;
        let row = client.query_one("select count(*) from t where k = 1", &[]).await;
        assert_eq!(row.expect("a row").get::<_, i64>(0), 1, "{point}");
    }
}

async fn fill(data_dir: &std::path::Path) {
    let mut server = Server::start(data_dir, &[]);
    let (client, _connection) = server.connect().await;
    client.batch_execute("create table t (k int); insert into t values (1)").await.expect("a row");
    server.kill();
}
