//! `glaredb server`.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
};

use super::storage::StorageArguments;
use crate::{
    logging::{self, LogFormat},
    memory::{self, MemorySplit},
    node::{self, NodeOptions},
    store::StoreOptions,
};

#[derive(clap::Args, Debug)]
pub(crate) struct ServerArguments {
    /// Port for clients.
    #[arg(short, long, default_value_t = 5432)]
    port: u16,
    /// Where the database lives; made if it is not there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Allow an address that other machines reach: whoever connects is trusted.
    #[arg(long)]
    insecure: bool,
    /// Port for /metrics, /healthz and /readyz, on loopback. 0: none. Without it, the one after
    /// --port.
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// Form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Memory for data and queries together, such as 4GiB or 512MiB: 32 % for rows in memory and what
    /// is being written, 8 % for flush and compaction, 30 % for queries, 30 % for what is read of
    /// objects. Without it, 60 % of the machine's, or of its control group's.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory_limit: Option<u64>,
    /// Rows go to objects only when VACUUM asks for it: all changes have to fit in memory until then.
    #[arg(long)]
    no_automatic_flush: bool,
    /// Memory, of that for objects, for blocks of them as they are stored; 0: none. Without it, a tenth
    /// of --memory-limit if they are reached over a network.
    #[arg(long, value_name = "SIZE", value_parser = parse_cache_memory)]
    cache_memory: Option<u64>,
    /// Disk for blocks of objects, in the data directory; 0: none. Without it, 16GiB, and at most a
    /// quarter of what is free, if they are reached over a network.
    #[arg(long, value_name = "SIZE", value_parser = parse_cache_disk)]
    cache_disk: Option<u64>,
    /// A checkpoint is written when the log has grown by this much since the last one, such as 256MiB.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    checkpoint_log_size: u64,
    /// Log statements that run at least this many milliseconds. Sessions can change it with SET
    /// log_min_duration_statement.
    #[arg(long, value_name = "MILLISECONDS")]
    log_slow_statements: Option<u32>,
    /// Most clients at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    #[command(flatten)]
    storage: StorageArguments,
}

/// Exit code 0 after a clean stop, 1 otherwise.
pub(crate) fn run(arguments: ServerArguments) -> ExitCode {
    // Failures that a test asks for with FAILPOINTS; without the feature there are none to ask for.
    #[cfg(feature = "failpoints")]
    let _failures = fail::FailScenario::setup();
    logging::init(arguments.log_format);
    let storage = match arguments.storage.options() {
        Ok(storage) => storage,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let limit = arguments.memory_limit.unwrap_or_else(memory::default_limit);
    let memory = match MemorySplit::new(limit, arguments.cache_memory) {
        Ok(memory) => memory,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let cache_disk = memory::disk_cache(arguments.cache_disk, &arguments.data_dir);
    let options = NodeOptions {
        listen: arguments.listen,
        port: arguments.port,
        admin_port: arguments
            .admin_port
            .or_else(|| arguments.port.checked_add(1).filter(|port| *port > 1))
            .filter(|port| *port != 0),
        data_dir: arguments.data_dir,
        insecure: arguments.insecure,
        connections_max: arguments.max_connections,
        log_statements_ms: arguments.log_slow_statements,
        store: StoreOptions {
            memory,
            cache_disk,
            automatic_flush: !arguments.no_automatic_flush,
            checkpoint_log_bytes: arguments.checkpoint_log_size,
            storage,
        },
    };
    match node::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            // Not by returning: what is left of the node must not hold up the end of the process.
            std::process::exit(1)
        }
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    parse_bytes(text, 64)
}

fn parse_cache_memory(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { parse_bytes(text, 16) }
}

fn parse_cache_disk(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { parse_bytes(text, 128) }
}

/// Bytes, with an optional unit in powers of 1024.
fn parse_bytes(text: &str, mib_min: u64) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("{text}: a number with B, KiB, MiB, GiB or TiB is expected")),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text} is not a size"))?;
    if bytes < mib_min << 20 {
        return Err(format!("{text} is too little, {mib_min}MiB is the least"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("512 mb"), Ok(512 << 20));
        assert_eq!(parse_size("134217728"), Ok(128 << 20));
        assert!(parse_size("1MiB").is_err());
        assert!(parse_size("GiB").is_err());
        assert!(parse_size("1XiB").is_err());
        assert!(parse_size("99999999999TiB").is_err());
        assert_eq!(parse_cache_memory("16MiB"), Ok(16 << 20));
        assert_eq!((parse_cache_memory("0"), parse_cache_disk("0")), (Ok(0), Ok(0)));
        assert!(parse_cache_disk("1MiB").expect_err("too little").contains("128MiB"));
    }
}
