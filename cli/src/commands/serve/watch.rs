//! One session as metrics, the page and the log see it. It is told what happens and never sees a key, an image or a share.

use std::time::Instant;

use eqo_protocol::layers::Entered;
use eqo_protocol::session::server::{Asked, Event};
use eqo_protocol::transport::{Meter, Scope, Traffic};
use tracing::span::EnteredSpan;

use super::Shared;
use super::live::SessionId;
use super::model::Model;

/// Books what a session does.
pub(super) struct Watch<'s> {
    shared: &'s Shared,
    model: &'s Model,
    id: SessionId,
    /// What is booked so far, and where the rest belongs.
    booked: Traffic,
    scope: Scope,
    request: Option<Request>,
    /// The layer that is being computed.
    span: Option<EnteredSpan>,
}

/// A request that is being answered.
struct Request {
    what: Asked,
    images: usize,
    begun: Instant,
    /// Whether anything was prepared for it.
    prepares: bool,
    /// When it began to wait for nothing but the image.
    online: Option<Instant>,
}

impl<'s> Watch<'s> {
    /// Of a session whose handshake is done, with what that took.
    pub(super) fn new(shared: &'s Shared, model: &'s Model, id: SessionId, handshake: &Meter) -> Self {
        let booked = Traffic::default();
        let mut watch = Self { shared, model, id, booked, scope: Scope::Request, request: None, span: None };
        for (scope, traffic) in handshake.rows() {
            watch.add(scope, &traffic);
        }
        watch.booked = handshake.total();
        watch.say("waits for a request".to_owned());
        watch
    }

    pub(super) fn told(&mut self, event: Event) {
        match event {
            Event::Asked { what, images, before } => self.asked(what, images, &before),
            Event::Entered(Entered { scope, before }) => self.entered(scope, &before),
            Event::Answered { prepared, total } => self.answered(prepared, &total),
        }
    }

    /// Books everything up to `total`, the traffic of the whole session.
    pub(super) fn book(&mut self, total: &Traffic) {
        self.add(self.scope, &total.since(&self.booked));
        self.booked = *total;
        self.shared.live.update(self.id, |session| session.traffic = *total);
    }

    fn asked(&mut self, what: Asked, images: usize, before: &Traffic) {
        self.book(before);
        self.request = Some(Request { what, images, begun: Instant::now(), prepares: false, online: None });
        tracing::debug!(what = what.name(), images, "request");
    }

    fn entered(&mut self, scope: Scope, before: &Traffic) {
        self.book(before);
        self.scope = scope;
        if let Some(request) = &mut self.request {
            match scope {
                Scope::Offline(_) => request.prepares = true,
                scope if scope.is_online() => {
                    request.online.get_or_insert_with(Instant::now);
                }
                _ => {}
            }
        }
        let (layer, phase) = (&self.model.layers.of(scope).name, phase(scope));
        // The earlier one must be left before the next is entered.
        self.span = None;
        self.span = Some(tracing::debug_span!("layer", name = %layer, phase).entered());
        self.say(format!("{layer} {phase}"));
    }

    fn answered(&mut self, prepared: usize, total: &Traffic) {
        self.book(total);
        self.scope = Scope::Request;
        self.span = None;
        let Some(request) = self.request.take() else { return };
        let metrics = &self.shared.metrics;
        metrics.request(request.what.name());
        let now = Instant::now();
        let online = request.online.unwrap_or(now);
        if request.prepares {
            metrics.request_took("offline", online - request.begun);
        }
        let answered = if request.what == Asked::Prepare { 0 } else { request.images as u64 };
        if answered > 0 {
            metrics.request_took("online", now - online);
            metrics.images.inc_by(answered);
        }
        self.shared.live.update(self.id, |session| {
            session.images += answered;
            session.prepared = prepared as u64;
        });
        self.say("waits for a request".to_owned());
    }

    fn add(&self, scope: Scope, traffic: &Traffic) {
        let layer = self.model.layers.of(scope);
        layer.add(scope, traffic.bytes());
        self.shared.metrics.traffic(phase(scope), &layer.name, traffic);
    }

    fn say(&self, doing: String) {
        self.shared.live.update(self.id, |session| session.doing = doing);
    }
}

fn phase(scope: Scope) -> &'static str {
    if scope.is_online() { "online" } else { "offline" }
}
