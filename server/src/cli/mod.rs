//! The command line.

mod checkpoint_show;
mod log_dump;
mod server;
mod storage;
mod storage_ls;
mod storage_verify;

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
    Server(Box<server::ServerArguments>),
    /// Look at a log that no server is using.
    #[command(subcommand)]
    Log(LogCommand),
    /// Look at the checkpoints of a database that no server is using.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Look at the objects of a database.
    #[command(subcommand)]
    Storage(StorageCommand),
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Print every entry and record.
    Dump(log_dump::DumpArguments),
}

#[derive(Subcommand, Debug)]
enum CheckpointCommand {
    /// Print what each checkpoint holds, and check it.
    Show(checkpoint_show::ShowArguments),
}

#[derive(Subcommand, Debug)]
enum StorageCommand {
    /// Print each object with its size in bytes and what it is for.
    Ls(storage_ls::ListArguments),
    /// Check all objects of a database that no server is using, byte by byte and against each other.
    Verify(storage_verify::VerifyArguments),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Server(arguments) => server::run(*arguments),
        Command::Log(LogCommand::Dump(arguments)) => log_dump::run(&arguments),
        Command::Checkpoint(CheckpointCommand::Show(arguments)) => checkpoint_show::run(arguments),
        Command::Storage(StorageCommand::Ls(arguments)) => storage_ls::run(arguments),
        Command::Storage(StorageCommand::Verify(arguments)) => storage_verify::run(arguments),
    }
}
