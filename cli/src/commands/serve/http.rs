//! The port for operators: metrics, health, and the page.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Handle;

use super::Shared;
use super::admission::Obstacle;
use super::metrics::Moment;
use crate::exit::{Failure, Kind};
use bounded::Bounded;

mod bounded;
mod page;

/// The page and its script, in one file; it loads nothing from elsewhere.
const PAGE: &str = include_str!("dashboard.html");

/// What a browser may do with a page from this port: run what is in it, and ask this port for more.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers on `address` from now on, on the runtime; where.
pub(super) fn start(
    runtime: &Handle,
    address: &str,
    (shared, dashboard): (&Arc<Shared>, bool),
) -> Result<SocketAddr, Failure> {
    let failed = |error: std::io::Error| {
        let next = "choose a free port and an address of this machine";
        Failure::new(Kind::Peer, format!("--metrics {address}: listen failed: {error}; {next}"))
    };
    let socket = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(failed)?;
    let found = socket.local_addr().map_err(failed)?;
    let mut routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || text(StatusCode::OK, "works\n")))
        .route("/readyz", get(readyz));
    if dashboard {
        routes = routes.route("/", get(page)).route("/sessions.json", get(sessions));
    }
    let routes = routes.with_state(Arc::clone(shared));
    runtime.spawn(async move { axum::serve(Bounded::new(socket), routes).await });
    Ok(found)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let (crowd, stock) = (shared.door.crowd(), shared.live.stocked());
    let moment = Moment {
        live: crowd.running,
        waiting: crowd.waiting,
        ready: crowd.obstacle.is_none(),
        reserved: crowd.reserved,
        stock_images: stock.images,
        stock_bytes: stock.bytes,
        parked: shared.models.waiting(),
    };
    match shared.metrics.scrape(&moment) {
        Ok(scraped) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            answer(StatusCode::OK, kind, scraped)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.door.crowd().obstacle {
        None => text(StatusCode::OK, "ready\n"),
        Some(Obstacle::Draining) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Some(Obstacle::Full) => text(StatusCode::SERVICE_UNAVAILABLE, "full\n"),
        Some(Obstacle::NoMemory) => text(StatusCode::SERVICE_UNAVAILABLE, "no memory\n"),
    }
}

async fn page() -> Response {
    answer(StatusCode::OK, "text/html; charset=utf-8", PAGE)
}

async fn sessions(State(shared): State<Arc<Shared>>) -> Response {
    match page::sessions(&shared) {
        Ok(json) => answer(StatusCode::OK, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &str, body: impl Into<String>) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.into()).into_response()
}
