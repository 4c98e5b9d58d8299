//! Accepts connections and starts a session for each.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use glaredb_engine::error::{SqlError, sqlstate};
use parking_lot::RwLock;
use pgwire::messages::startup::{Authentication, BackendKeyData, SecretKey};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    connection::Connection,
    connections::{Connections, Registration},
    input::Input,
    interrupt::terminated,
    output::{Output, Severity},
    session::{SessionFactory, SqlSession},
    startup::{self, Opening, OpeningError, StartupRequest},
};
use crate::metrics::Metrics;

/// A client that has not said who it is by then is disconnected.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sessions have to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What new connections meet.
pub enum NodeState<F> {
    /// 57P03 until recovery is through; the function says how far it is.
    Starting(Arc<dyn Fn() -> String + Send + Sync>),
    Running(Arc<F>),
    /// 57P03, for good.
    Stopping,
}

/// What every connection shares.
pub struct ListenerOptions<F> {
    pub connections: Arc<Connections>,
    /// How many sockets of clients may be open at a time, whatever they are for; one more is told
    /// that there are too many, and closed.
    pub sockets_max: usize,
    pub state: Arc<RwLock<NodeState<F>>>,
    pub metrics: Arc<Metrics>,
    /// Where sessions run. The socket is accepted from on the runtime that [`Listener::run`] is
    /// called on.
    pub runtime: Handle,
}

impl<F> Clone for ListenerOptions<F> {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections.clone(),
            sockets_max: self.sockets_max,
            state: self.state.clone(),
            metrics: self.metrics.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

/// Serves one listening socket.
pub struct Listener<F> {
    socket: TcpListener,
    shared: ListenerOptions<F>,
}

impl<F: SessionFactory> Listener<F> {
    #[must_use]
    pub fn new(socket: TcpListener, shared: ListenerOptions<F>) -> Self {
        Self { socket, shared }
    }

    /// Accepts until `stop` is done, then ends all sessions and waits for them, ten seconds at most.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut sessions = JoinSet::new();
        let (stopping, stopped) = watch::channel(false);
        let (mut refusals, mut failures) = (Seldom::default(), Seldom::default());
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = sessions.join_next() => report(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) if sessions.len() >= self.shared.sockets_max => {
                        self.shared.metrics.connections_refused.increment();
                        if refusals.is_due() {
                            let sockets = sessions.len();
                            tracing::warn!(%peer, sockets, "connections refused: too many sockets");
                        }
                        turn_away(&stream);
                    }
                    Ok((stream, peer)) => {
                        tracing::debug!(%peer, "connection accepted");
                        let (shared, stopped) = (self.shared.clone(), stopped.clone());
                        let session = async move { serve_tcp(stream, &shared, stopped).await };
                        sessions.spawn_on(session, &self.shared.runtime);
                    }
                    Err(error) => {
                        // Out of file descriptors, mostly: others must end before this can go on.
                        if failures.is_due() {
                            tracing::warn!(%error, "connections cannot be accepted");
                        }
                        let _ = timeout(Duration::from_millis(100), std::future::pending::<()>()).await;
                    }
                },
            }
        }
        drop(self.socket);
        *self.shared.state.write() = NodeState::Stopping;
        stopping.send_replace(true);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !sessions.is_empty() {
            // Again and again: a session may have been about to start the first time.
            self.shared.connections.terminate_all();
            let step = deadline.min(Instant::now() + Duration::from_millis(50));
            if let Ok(Some(ended)) = timeout_at(step, sessions.join_next()).await {
                report(ended);
            } else if Instant::now() >= deadline {
                tracing::warn!(sessions = sessions.len(), "sessions did not end in time");
                sessions.shutdown().await;
            }
        }
    }
}

/// Whether to write another line about what happens again and again.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now - last >= Duration::from_secs(5));
        if due {
            self.0 = Some(now);
        }
        due
    }
}

fn too_many() -> SqlError {
    SqlError::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
}

fn shutting_down() -> SqlError {
    SqlError::new(sqlstate::CANNOT_CONNECT_NOW, "the database system is shutting down")
}

/// Says so without waiting, whatever the client was about to say, and closes.
fn turn_away(stream: &TcpStream) {
    let mut output = Output::default();
    output.error(Severity::Fatal, &too_many());
    // A new socket has room for it; else the client only sees that it was closed.
    let _ = stream.try_write(&output.buffer);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked");
    }
}

async fn serve_tcp<F: SessionFactory>(
    stream: TcpStream,
    shared: &ListenerOptions<F>,
    stopped: watch::Receiver<bool>,
) {
    // To the runtime that this runs on: a socket wakes its readers by way of the one it was made on.
    let moved = stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream.into_std()?));
    let stream = match moved {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "connection lost before it began");
            return;
        }
    };
    let client = stream.peer_addr().ok();
    serve(stream, client, shared, stopped).await;
}

/// Serves one connection from its first byte to its end.
async fn serve<F, IO>(
    mut stream: IO,
    client: Option<SocketAddr>,
    shared: &ListenerOptions<F>,
    mut stopped: watch::Receiver<bool>,
) where
    F: SessionFactory,
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let opening = tokio::select! {
        biased;
        opening = timeout(STARTUP_TIMEOUT, startup::open(&mut stream)) => opening,
        () = until(&mut stopped) => return refuse(stream, &shutting_down()).await,
    };
    let opening = match opening {
        Ok(Ok(opening)) => opening,
        Ok(Err(OpeningError::Refused(error))) => return refuse(stream, &error).await,
        Ok(Err(OpeningError::Io(error))) => {
            return tracing::debug!(%error, "connection lost before it began");
        }
        Err(_) => return tracing::debug!("connection said nothing for a minute"),
    };
    match opening {
        Opening::Closed => {}
        Opening::Cancel { pid, secret } => shared.connections.cancel(pid, &secret),
        Opening::Session(request, rest) => {
            let started = start(&mut stream, shared, client, request).await;
            match started {
                Ok((session, registration, output)) => {
                    let input = Input::new(rest);
                    let metrics = shared.metrics.clone();
                    Connection::new(stream, input, output, session, registration, metrics)
                        .run()
                        .await;
                }
                Err(error) => {
                    shared.metrics.connections_refused.increment();
                    refuse(stream, &error).await;
                }
            }
        }
    }
}

async fn until(stopped: &mut watch::Receiver<bool>) {
    // An error means that the listener is gone, and with it the server.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, error: &SqlError) {
    tracing::info!(%error, "connection refused");
    let mut output = Output::default();
    output.error(Severity::Fatal, error);
    let _: io::Result<()> = output.flush(&mut stream).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
}

type Started<S> = (S, Registration, Output);

/// Opens the session and greets the client; the greeting is left in the output.
async fn start<F: SessionFactory>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shared: &ListenerOptions<F>,
    client: Option<SocketAddr>,
    request: StartupRequest,
) -> Result<Started<F::Session>, SqlError> {
    let factory = match &*shared.state.read() {
        NodeState::Running(factory) => factory.clone(),
        NodeState::Starting(progress) => {
            return Err(SqlError::new(
                sqlstate::CANNOT_CONNECT_NOW,
                "the database system is starting up",
            )
            .detail(progress()));
        }
        NodeState::Stopping => return Err(shutting_down()),
    };
    let secret = random_bytes(request.secret_length)?;
    let mut parameters = request.parameters;
    let place = shared.connections.register(secret.clone(), &parameters, client);
    let Some(registration) = place else { return Err(too_many()) };
    parameters.backend_pid = registration.pid;
    let mut session = tokio::select! {
        biased;
        () = registration.interrupt.terminated() => return Err(terminated()),
        session = factory.connect(parameters) => session?,
    };

    let mut output = Output::default();
    if let Some(negotiate) = &request.negotiate {
        output.message(negotiate);
    }
    output.message(&Authentication::Ok);
    for (name, value) in session.take_reports() {
        output.parameter_status(name, &value);
    }
    let secret_key = SecretKey::Bytes(secret.into());
    output.message(&BackendKeyData::new(registration.pid, secret_key));
    for notice in session.take_notices() {
        output.notice(&notice);
    }
    output.ready_for_query(session.status());
    // Before the client hears of it: who is connected finds itself counted.
    shared.metrics.connections_opened.increment();
    output
        .flush(stream)
        .await
        .map_err(|error| SqlError::internal(format!("connection lost: {error}")))?;
    Ok((session, registration, output))
}

fn random_bytes(count: usize) -> Result<Vec<u8>, SqlError> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SqlError::internal(format!("no random numbers: {error}"))),
        }
    }
    Ok(bytes)
}
