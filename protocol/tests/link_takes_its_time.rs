//! A shaped connection is as slow as its link, and different in nothing else.
//!
//! Lower bounds on time can't fail on a busy machine; the upper ones leave it about as much time again.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::thread;
use std::time::{Duration, Instant};

use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_protocol::Error;
use eqo_protocol::report::Report;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::transport::{Channel, Link, Meter, Scope, Traffic, TransportConfig, memory_pair};

const PATIENT: Duration = Duration::from_secs(20);

const fn link(megabytes_per_second: u64, rtt_millis: u64) -> Link {
    Link { bytes_per_second: megabytes_per_second * 1_000_000, rtt: Duration::from_millis(rtt_millis) }
}

/// Runs two parties that must succeed over `link`; both results and how long they took.
fn meet<S: Send, C: Send>(
    config: TransportConfig,
    server: impl FnOnce(Channel) -> Result<S, Error> + Send,
    client: impl FnOnce(Channel) -> Result<C, Error> + Send,
) -> (S, C, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (one, other) = memory_pair(1 << 20, runtime.handle(), config);
    let start = Instant::now();
    thread::scope(|scope| {
        let server = scope.spawn(|| server(one));
        let client = client(other).unwrap();
        (server.join().unwrap().unwrap(), client, start.elapsed())
    })
}

fn over(link: Link) -> TransportConfig {
    TransportConfig { timeout: PATIENT, link: Some(link) }
}

#[test]
fn a_transfer_takes_its_bytes_over_the_bandwidth_plus_half_the_round_trip() {
    let sent = |mut channel: Channel| channel.send(vec![1; 4_000_000]);
    let (_, received, took) = meet(over(link(8, 100)), sent, |mut channel: Channel| channel.recv(4_000_000));
    assert_eq!(received, vec![1; 4_000_000]);
    let model = Duration::from_millis(550);
    assert!(took >= model, "{took:?}");
    assert!(took < 2 * model, "{took:?}");
}

#[test]
fn headers_occupy_the_wire_like_payload() {
    // 1 byte and 8 of header, each 1 ms.
    let config = over(Link { bytes_per_second: 9_000, rtt: Duration::ZERO });
    let send = |mut channel: Channel| (0..100).try_for_each(|_| channel.send(vec![1]));
    let recv = |mut channel: Channel| (0..100).try_for_each(|_| channel.recv(1).map(drop));
    let (_, _, took) = meet(config, send, recv);
    assert!(took >= Duration::from_millis(100), "{took:?}");
}

#[test]
fn each_answered_message_takes_a_round_trip() {
    let ping = |mut channel: Channel| {
        for _ in 0..20 {
            channel.send(vec![1])?;
            channel.recv(1)?;
        }
        Ok(())
    };
    let pong = |mut channel: Channel| {
        for _ in 0..20 {
            let ball = channel.recv(1)?;
            channel.send(ball)?;
        }
        Ok(())
    };
    let (_, _, took) = meet(over(link(1_000, 10)), ping, pong);
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn the_directions_do_not_share_the_bandwidth() {
    let party = |mut channel: Channel| channel.exchange(vec![1; 3_000_000]);
    let (_, _, took) = meet(over(link(4, 0)), party, party);
    assert!(took >= Duration::from_millis(750), "{took:?}");
    assert!(took < Duration::from_millis(1450), "one after the other would take 1500 ms, this took {took:?}");
}

#[test]
fn a_long_delay_does_not_throttle_small_frames() {
    // 1000 frames in queues of 8 would take 25 s if a queue waited for what is under way.
    let send = |mut channel: Channel| (0..1000).try_for_each(|_| channel.send(vec![1; 3_992]));
    let recv = |mut channel: Channel| (0..1000).try_for_each(|_| channel.recv(3_992).map(drop));
    let (_, _, took) = meet(over(link(8, 400)), send, recv);
    let model = Duration::from_millis(700);
    assert!(took >= model, "{took:?}");
    assert!(took < 2 * model, "{took:?}");
}

#[test]
fn a_receiver_that_paused_gets_the_rest_at_the_bandwidth() {
    // Far more than all queues hold, so the wire stands still during the pause.
    let bytes = 40 << 20;
    let send = move |mut channel: Channel| channel.send(vec![1; bytes]);
    let recv = move |mut channel: Channel| {
        thread::sleep(Duration::from_millis(400));
        let start = Instant::now();
        channel.recv(bytes)?;
        Ok(start.elapsed())
    };
    let (_, took, _) = meet(over(link(400, 0)), send, recv);
    // 19 MiB wait in the queues, in the pipe and at the writer; at most 2 more are late.
    assert!(took >= Duration::from_millis(45), "{took:?}");
}

#[test]
fn a_link_slower_than_the_timeout_is_not_a_silent_peer() {
    let config = TransportConfig { timeout: Duration::from_millis(50), link: Some(link(4, 200)) };
    let party = |mut channel: Channel| channel.exchange(vec![1; 2_000_000]);
    let (one, other, _) = meet(config, party, party);
    assert_eq!((one.len(), other.len()), (2_000_000, 2_000_000));
}

#[test]
fn dropping_a_shaped_channel_first_sends_what_was_queued() {
    let config = TransportConfig { timeout: Duration::from_millis(50), link: Some(link(8, 200)) };
    let send = |mut channel: Channel| channel.send(vec![5; 2_000_000]);
    let recv = |mut channel: Channel| Ok((channel.recv(2_000_000)?.len(), channel.recv(1)));
    let (_, (received, after), _) = meet(config, send, recv);
    assert_eq!(received, 2_000_000);
    assert!(matches!(after, Err(Error::PeerClosed { .. })));
}

#[test]
fn a_link_changes_no_count_and_no_logit() {
    let (plain_logits, plain) = inference(None);
    let (shaped_logits, shaped) = inference(Some(link(200, 1)));
    assert_eq!(plain_logits, shaped_logits);
    for (plain, shaped) in plain.iter().zip(&shaped) {
        let counts = |report: &Report| {
            report.rows.iter().map(|row| (row.name.clone(), row.bytes(), row.rounds())).collect::<Vec<_>>()
        };
        assert_eq!(counts(plain), counts(shaped));
    }
    let traffic = |link| {
        let party = |mut channel: Channel| {
            channel.exchange(vec![1; 70])?;
            channel.set_scope(Scope::Node(3));
            channel.exchange(vec![1; 3_000_000])?;
            Ok(counts_of(channel.meter()))
        };
        let (one, other, _) = meet(TransportConfig { timeout: PATIENT, link }, party, party);
        [one, other]
    };
    assert_eq!(traffic(None), traffic(Some(link(200, 1))));
}

fn counts_of(meter: &Meter) -> Vec<(Scope, Traffic)> {
    meter.rows().collect()
}

/// A small private inference; logits and both parties' reports.
fn inference(link: Option<Link>) -> (Vec<Vec<i64>>, [Report; 2]) {
    let checkpoint = random_checkpoint(3, &Spec::new([1, 6, 6], 3, vec![]));
    let image = random_image(5, &checkpoint);
    let server = |channel| serve_connection(channel, &checkpoint, &ServerConfig::default());
    let client = |channel| {
        let mut client = connect(channel, &ClientConfig::default())?;
        Ok((client.infer(&[&image])?, client.close()?))
    };
    let (report, (logits, own), _) = meet(TransportConfig { timeout: PATIENT, link }, server, client);
    (logits, [report, own])
}
