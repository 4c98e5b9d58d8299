//! Clients: psql and pgbench as processes, tokio-postgres in this one.

use std::process::Command;

use tokio_postgres::{Client, NoTls};

/// Run psql with the given arguments against a server on loopback.
pub fn psql(port: u16, user: &str, arguments: &[&str]) -> Result<String, String> {
    run(
        Command::new("psql")
            .args(["-h", "127.0.0.1", "-U", user, "-d", "postgres"])
            .args(arguments),
        port,
    )
}

/// Copy a table of TPC-H of a scale into one of the same name, by psql, out of the generator.
pub fn copy_tpch(port: u16, scale: &str, table: &str) -> Result<(), String> {
    let mut psql = Command::new("psql");
    psql.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p", &port.to_string()]);
    psql.args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c"]);
    psql.arg(format!("copy {table} from stdin with (format csv, header)"));
    let out = crate::duck::tpch_pipe(scale, table, &mut psql);
    if out.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Run pgbench with the given arguments; standard output with standard error behind it.
pub fn pgbench(port: u16, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("pgbench");
    command.args(["-h", "127.0.0.1", "-U", "postgres"]).args(arguments).arg("postgres");
    run(&mut command, port)
}

fn run(command: &mut Command, port: u16) -> Result<String, String> {
    let out = command
        .env("PGPORT", port.to_string())
        .env("PGCONNECT_TIMEOUT", "10")
        .env("PGTZ", "UTC")
        .output()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if out.status.success() {
        let mut all = text(&out.stdout);
        // psql keeps standard error empty unless there is a notice; pgbench reports progress there.
        if command.get_program() == "pgbench" {
            all.push_str(&text(&out.stderr));
        }
        Ok(all)
    } else {
        Err(format!("{}{}", text(&out.stdout), text(&out.stderr)))
    }
}

/// Connect as `postgres`; the connection's task ends with the client.
pub async fn connect(port: u16) -> Client {
    try_connect(port).await.expect("the server accepts a connection")
}

pub async fn try_connect(port: u16) -> Result<Client, tokio_postgres::Error> {
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(async move {
        // A connection that breaks shows in the client's next call.
        let _ = connection.await;
    });
    Ok(client)
}

/// SQLSTATE of a failed call; empty when the connection broke.
#[must_use]
pub fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}
