//! HTTP for operators, on a port of its own: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

/// What the node tells its operators.
pub trait Observed: Send + Sync + 'static {
    /// `Err` says why the process is not well: it is to be restarted.
    fn health(&self) -> Result<(), String>;
    /// `Err` says why clients are not served now.
    fn readiness(&self) -> Result<(), String>;
    /// Prometheus text.
    fn metrics(&self) -> String;
}

/// Answers for as long as it is polled.
///
/// # Errors
/// Those of the socket.
pub async fn serve(socket: TcpListener, node: Arc<dyn Observed>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(node);
    axum::serve(socket, router).await
}

async fn metrics(State(node): State<Arc<dyn Observed>>) -> Response {
    let text_format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text_format, node.metrics()).into_response()
}

async fn health(State(node): State<Arc<dyn Observed>>) -> Response {
    answer(node.health())
}

async fn readiness(State(node): State<Arc<dyn Observed>>) -> Response {
    answer(node.readiness())
}

fn answer(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
