//! What Prometheus sees. Names and meanings: `docs/serving.md`.

use std::time::Duration;

use eqo_protocol::transport::Traffic;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::admission::Refused;
use crate::memory;

mod labels;

pub(super) use labels::{DAWDLED, DEADLINE, DRAINED, HANDSHAKE, label};

/// Label names with their values.
type Labels<const N: usize> = [(&'static str, String); N];

/// All counters of a server. Cloning any of them shares it.
pub(super) struct Metrics {
    registry: Registry,
    /// Sessions that were let in.
    pub(super) begun: Counter,
    ended: Family<Labels<1>, Counter>,
    errors: Family<Labels<1>, Counter>,
    refused: Family<Labels<1>, Counter>,
    reloads: Family<Labels<1>, Counter>,
    /// Times that the system could not accept a client.
    pub(super) accept_errors: Counter,
    requests: Family<Labels<1>, Counter>,
    /// Images that were answered.
    pub(super) images: Counter,
    bytes: Family<Labels<3>, Counter>,
    rounds: Family<Labels<2>, Counter>,
    /// Seconds from a client's connection to the end of its handshake, without its wait in the queue.
    pub(super) handshake: Histogram,
    /// Seconds in the queue.
    pub(super) wait: Histogram,
    request: Family<Labels<1>, Histogram, fn() -> Histogram>,
    /// Seconds from a session's beginning to its end.
    pub(super) session: Histogram,
    gauges: Gauges,
}

/// What is measured when somebody asks.
#[derive(Default)]
struct Gauges {
    live: Gauge,
    waiting: Gauge,
    ready: Gauge,
    reserved: Gauge,
    stock_images: Gauge,
    parked_sessions: Gauge,
    parked_images: Gauge,
    stock_bytes: Gauge,
    resident: Gauge,
    descriptors: Gauge,
}

/// What a scrape is told of this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) live: usize,
    pub(super) waiting: usize,
    pub(super) ready: bool,
    pub(super) reserved: u64,
    pub(super) stock_images: u64,
    pub(super) stock_bytes: u64,
    /// Broken sessions that wait for their clients, and their images.
    pub(super) parked: (usize, usize),
}

/// From a millisecond to 35 minutes.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 22))
}

impl Metrics {
    /// `memory` and `stock`: the budgets in bytes.
    pub(super) fn new(memory: u64, stock: u64) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            begun: Counter::default(),
            ended: Family::default(),
            errors: Family::default(),
            refused: Family::default(),
            reloads: Family::default(),
            accept_errors: Counter::default(),
            requests: Family::default(),
            images: Counter::default(),
            bytes: Family::default(),
            rounds: Family::default(),
            handshake: seconds(),
            wait: seconds(),
            request: Family::new_with_constructor(seconds),
            session: seconds(),
            gauges: Gauges::default(),
        };
        metrics.register_counts();
        metrics.register_seconds();
        metrics.gauges.register(&mut metrics.registry);
        for (name, help, budget) in [
            ("eqo_memory_budget_bytes", "Bytes that sessions may hold together", memory),
            ("eqo_stock_budget_bytes", "Bytes of prepared inferences of all sessions, at most", stock),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(signed(budget));
            metrics.registry.register(name, help, gauge);
        }
        // Counters that are there before they count show that nothing happened yet.
        for result in ["ok", "failed"] {
            drop(metrics.ended.get_or_create(&one("result", result)));
            drop(metrics.reloads.get_or_create(&one("result", result)));
        }
        for reason in Refused::ALL {
            drop(metrics.refused.get_or_create(&one("reason", reason.name())));
        }
        metrics
    }

    fn register_counts(&mut self) {
        let to = &mut self.registry;
        to.register("eqo_sessions_begun", "Sessions that were let in", self.begun.clone());
        to.register("eqo_sessions_ended", "Sessions that ended, by result", self.ended.clone());
        to.register("eqo_errors", "Connections that failed, by kind of error", self.errors.clone());
        to.register("eqo_refused", "Clients that were turned away, by reason", self.refused.clone());
        to.register("eqo_reloads", "Times the checkpoint was read again, by result", self.reloads.clone());
        let help = "Times the system could not accept a client for the moment";
        to.register("eqo_accept_errors", help, self.accept_errors.clone());
        to.register("eqo_requests", "Requests that were answered, by kind", self.requests.clone());
        to.register("eqo_images", "Images that were answered", self.images.clone());
        let help = "Bytes on the wire, frame headers included";
        to.register("eqo_traffic_bytes", help, self.bytes.clone());
        let help = "Growth of the longest chains of messages that wait for each other";
        to.register("eqo_rounds", help, self.rounds.clone());
    }

    fn register_seconds(&mut self) {
        let to = &mut self.registry;
        let help = "From a connection to the end of its handshake, without the wait in the queue";
        to.register("eqo_handshake_seconds", help, self.handshake.clone());
        to.register("eqo_wait_seconds", "In the queue", self.wait.clone());
        let help = "Of a request: what needs no image, and what waits for it";
        to.register("eqo_request_seconds", help, self.request.clone());
        to.register("eqo_session_seconds", "Of a session", self.session.clone());
    }

    pub(super) fn ended(&self, well: bool) {
        self.ended.get_or_create(&one("result", if well { "ok" } else { "failed" })).inc();
    }

    pub(super) fn error(&self, kind: &str) {
        self.errors.get_or_create(&one("kind", kind)).inc();
    }

    pub(super) fn refused(&self, reason: Refused) {
        self.refused.get_or_create(&one("reason", reason.name())).inc();
    }

    pub(super) fn reloaded(&self, well: bool) {
        self.reloads.get_or_create(&one("result", if well { "ok" } else { "failed" })).inc();
    }

    pub(super) fn request(&self, kind: &str) {
        self.requests.get_or_create(&one("kind", kind)).inc();
    }

    /// `phase`: offline or online.
    pub(super) fn request_took(&self, phase: &str, time: Duration) {
        self.request.get_or_create(&one("phase", phase)).observe(time.as_secs_f64());
    }

    /// Traffic of a layer in a phase.
    pub(super) fn traffic(&self, phase: &str, layer: &str, traffic: &Traffic) {
        for (direction, bytes) in [("sent", traffic.bytes_sent), ("received", traffic.bytes_received)] {
            if bytes > 0 {
                let labels = [("direction", direction.to_owned()), own("phase", phase), own("layer", layer)];
                self.bytes.get_or_create(&labels).inc_by(bytes);
            }
        }
        if traffic.rounds > 0 {
            self.rounds.get_or_create(&[own("phase", phase), own("layer", layer)]).inc_by(traffic.rounds);
        }
    }

    /// Sessions that ended well and badly.
    pub(super) fn results(&self) -> [u64; 2] {
        ["ok", "failed"].map(|result| self.ended.get_or_create(&one("result", result)).get())
    }

    /// Clients that were turned away.
    pub(super) fn turned_away(&self) -> u64 {
        Refused::ALL
            .iter()
            .map(|reason| self.refused.get_or_create(&one("reason", reason.name())).get())
            .sum()
    }

    /// Everything, in the text format.
    pub(super) fn scrape(&self, moment: &Moment) -> Result<String, std::fmt::Error> {
        self.gauges.set(moment);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Gauges {
    fn register(&self, to: &mut Registry) {
        let gauges = [
            ("eqo_sessions_live", "Sessions that run", &self.live),
            ("eqo_sessions_waiting", "Clients that wait for a session", &self.waiting),
            ("eqo_ready", "1 if a new session would begin at once", &self.ready),
            ("eqo_memory_reserved_bytes", "Bytes that running sessions may hold", &self.reserved),
            ("eqo_stock_images", "Images that are prepared", &self.stock_images),
            ("eqo_sessions_parked", "Broken sessions that wait for their clients", &self.parked_sessions),
            ("eqo_parked_images", "Images that are prepared in them", &self.parked_images),
            ("eqo_stock_bytes", "Bytes of what is prepared", &self.stock_bytes),
            ("process_resident_memory_bytes", "Resident bytes of this process", &self.resident),
            ("process_open_fds", "Open file descriptors of this process", &self.descriptors),
        ];
        for (name, help, gauge) in gauges {
            to.register(name, help, gauge.clone());
        }
    }

    fn set(&self, moment: &Moment) {
        self.live.set(moment.live as i64);
        self.waiting.set(moment.waiting as i64);
        self.ready.set(moment.ready.into());
        self.reserved.set(signed(moment.reserved));
        self.stock_images.set(signed(moment.stock_images));
        let (sessions, images) = moment.parked;
        self.parked_sessions.set(sessions as i64);
        self.parked_images.set(images as i64);
        self.stock_bytes.set(signed(moment.stock_bytes));
        // Where the system doesn't tell, they stay zero.
        self.resident.set(memory::resident().map_or(0, signed));
        self.descriptors.set(memory::open_descriptors().map_or(0, |count| count as i64));
    }
}

fn own(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

fn one(name: &'static str, value: &str) -> Labels<1> {
    [own(name, value)]
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_holds_what_was_counted_and_ends_as_the_format_asks() {
        let metrics = Metrics::new(1000, 500);
        metrics.error("timeout");
        metrics.error("timeout");
        metrics.refused(Refused::QueueFull);
        metrics.traffic(
            "online",
            "a \"quoted\" layer",
            &Traffic { bytes_sent: 7, rounds: 2, ..Traffic::default() },
        );
        metrics.request_took("offline", Duration::from_millis(3));
        let moment = Moment {
            live: 2,
            waiting: 1,
            ready: false,
            reserved: 900,
            stock_images: 3,
            stock_bytes: 60,
            parked: (1, 4),
        };
        let text = metrics.scrape(&moment).unwrap();
        for line in [
            "eqo_errors_total{kind=\"timeout\"} 2",
            "eqo_refused_total{reason=\"queue-full\"} 1",
            "eqo_refused_total{reason=\"no-memory\"} 0",
            "eqo_traffic_bytes_total{direction=\"sent\",phase=\"online\",layer=\"a \\\"quoted\\\" layer\"} 7",
            "eqo_rounds_total{phase=\"online\",layer=\"a \\\"quoted\\\" layer\"} 2",
            "eqo_request_seconds_count{phase=\"offline\"} 1",
            "eqo_sessions_live 2",
            "eqo_memory_budget_bytes 1000",
            "eqo_stock_images 3",
            "eqo_sessions_parked 1",
            "eqo_parked_images 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} isn't in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
