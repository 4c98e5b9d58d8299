//! The command line.

mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One database for transactions and analytics.
#[derive(Parser, Debug)]
#[command(name = "glaredb", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a database.
    Server(server::ServerArguments),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Server(arguments) => server::run(&arguments),
    }
}
