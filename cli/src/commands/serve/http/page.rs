//! `/sessions.json`: everything that the page shows.

use serde::Serialize;

use super::super::Shared;
use super::super::admission::Obstacle;
use super::super::layers::LayerRow;
use super::super::live::SessionRow;

#[derive(Serialize)]
struct Page<'a> {
    network: &'a str,
    graph: &'a str,
    state: &'static str,
    uptime_seconds: f64,
    waiting: usize,
    begun: usize,
    ended_ok: u64,
    ended_failed: u64,
    turned_away: u64,
    images: u64,
    memory_reserved: u64,
    memory_budget: u64,
    stock_images: u64,
    stock_bytes: u64,
    stock_budget: u64,
    sessions: Vec<SessionRow>,
    layers: Vec<LayerRow<'a>>,
}

pub(super) fn sessions(shared: &Shared) -> serde_json::Result<String> {
    let (crowd, stock, model) = (shared.door.crowd(), shared.live.stocked(), shared.models.current());
    let [ended_ok, ended_failed] = shared.metrics.results();
    serde_json::to_string(&Page {
        network: &model.checkpoint.graph().graph().name,
        graph: &model.hash,
        state: match crowd.obstacle {
            None => "ready",
            Some(Obstacle::Draining) => "draining",
            Some(Obstacle::Full) => "full",
            Some(Obstacle::NoMemory) => "no memory",
        },
        uptime_seconds: shared.since.elapsed().as_secs_f64(),
        waiting: crowd.waiting,
        begun: crowd.begun,
        ended_ok,
        ended_failed,
        turned_away: shared.metrics.turned_away(),
        images: shared.metrics.images.get(),
        memory_reserved: crowd.reserved,
        memory_budget: shared.budget.memory,
        stock_images: stock.images,
        stock_bytes: stock.bytes,
        stock_budget: shared.budget.stock,
        sessions: shared.live.rows(),
        layers: model.layers.rows(),
    })
}
