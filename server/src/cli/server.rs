//! `glaredb server`.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
};

use super::storage::StorageArguments;
use crate::{
    logging::{self, LogFormat},
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
    /// Memory for data and queries together, such as 4GiB or 512MiB. Without it, half of the
    /// machine's.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory_limit: Option<u64>,
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
    let memory = arguments.memory_limit.unwrap_or_else(|| machine_memory() / 2);
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
            // Data stays, queries come and go: more for the former.
            delta_budget_bytes: memory / 10 * 5,
            checkpoint_log_bytes: arguments.checkpoint_log_size,
            storage,
            resident_bytes: usize::try_from(memory / 10 * 2).unwrap_or(usize::MAX),
            query_memory_bytes: usize::try_from(memory / 10 * 3).unwrap_or(usize::MAX),
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

/// Memory of the machine, or what its control group allows; 4 GiB if neither is known.
fn machine_memory() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let total = total.map_or(4 << 30, |kib| kib << 10);
    group.map_or(total, |group| group.min(total))
}

/// Bytes, with an optional unit in powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
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
    if bytes < 64 << 20 {
        return Err(format!("{text} is too little, 64MiB is the least"));
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
    }
}
