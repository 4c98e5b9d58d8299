//! `glaredb server`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use parking_lot::RwLock;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    bare_session::BareSessions,
    lock_file::LockFile,
    logging::{self, LogFormat},
    metrics::Metrics,
    wire::{Connections, Listener, ListenerOptions, NodeState},
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
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Allow an address that other machines reach: whoever connects is trusted.
    #[arg(long)]
    insecure: bool,
    /// Form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

pub(crate) fn run(arguments: &ServerArguments) -> ExitCode {
    logging::init(arguments.log_format);
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &ServerArguments) -> Result<(), String> {
    if !arguments.listen.is_loopback() && !arguments.insecure {
        return Err(format!(
            "{} can be reached from other machines, and every client would be trusted; \
             listen on 127.0.0.1, or say --insecure if that is what you want",
            arguments.listen
        ));
    }
    std::fs::create_dir_all(&arguments.data_dir)
        .map_err(|error| format!("data directory {}: {error}", arguments.data_dir.display()))?;
    let _lock = LockFile::acquire(&arguments.data_dir).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads: {error}"))?;
    runtime.block_on(async {
        let address = SocketAddr::new(arguments.listen, arguments.port);
        let socket = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let options = ListenerOptions {
            connections: Connections::new(1000),
            state: Arc::new(RwLock::new(NodeState::Running(Arc::new(BareSessions)))),
            metrics: Arc::new(Metrics::default()),
        };
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| format!("signals: {error}"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|error| format!("signals: {error}"))?;
        tracing::info!("ready: psql -h {} -p {} -U postgres", address.ip(), address.port());
        Listener::new(socket, options)
            .run(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await;
        Ok(())
    })
}
