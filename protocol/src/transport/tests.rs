//! The claims of this module.

use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::*;
use crate::Error;
use crate::testing::{TEST_TIMEOUT, run_parties, two_party};

const SHORT: Duration = Duration::from_millis(200);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A channel whose peer is raw bytes.
fn against_raw(runtime: &Runtime) -> (Channel, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    (
        Channel::over(
            ours,
            runtime.handle(),
            TransportConfig { timeout: SHORT, ..TransportConfig::default() },
        ),
        theirs,
    )
}

#[test]
fn messages_of_any_length_arrive_whole_through_any_pipe() {
    for buffer in [1, 64, 1 << 20] {
        let lengths: &[usize] =
            if buffer == 1 { &[0, 1, 9, 300] } else { &[0, 1, MAX_FRAME, MAX_FRAME + 1, 3_000_000] };
        let message = |length: usize| (0..length).map(|i| (i * 7 % 251) as u8).collect::<Vec<u8>>();
        let outcome = run_parties(
            buffer,
            TEST_TIMEOUT,
            |channel, _| lengths.iter().try_for_each(|length| channel.send(message(*length))),
            |channel, _| lengths.iter().map(|length| channel.recv(*length)).collect::<Result<Vec<_>, _>>(),
        );
        let expected: u64 = lengths.iter().map(|length| wire_bytes(*length as u64)).sum();
        for (length, received) in lengths.iter().zip(outcome.client.unwrap()) {
            assert_eq!(received, message(*length));
        }
        assert_eq!(outcome.server_meter.total().bytes_sent, expected);
        assert_eq!(outcome.client_meter.total().bytes_received, expected);
        assert_eq!(
            outcome.client_meter.total().frames,
            lengths.iter().map(|n| frame_count(*n as u64)).sum::<u64>()
        );
    }
}

#[test]
fn exchanges_longer_than_every_buffer_do_not_deadlock_and_take_one_round() {
    let long = (QUEUE_FRAMES * 3) * MAX_FRAME + 5;
    let (server, client, meters) = two_party(
        |channel, _| channel.exchange_sized(vec![1; long], 70),
        |channel, _| channel.exchange_sized(vec![2; 70], long),
    );
    assert_eq!((server, client), (vec![2; 70], vec![1; long]));
    assert!(meters.iter().all(|meter| meter.total().rounds == 1));
}

#[test]
fn rounds_are_the_longest_chain_of_dependent_messages() {
    let (_, _, meters) = two_party(
        |channel, _| {
            channel.send(vec![0; 5])?; // 1
            channel.send(vec![0; 5])?; // still 1
            channel.recv(5)?; // 2
            channel.set_scope(Scope::Node(3));
            channel.flight(|channel| {
                channel.send(vec![0; 5])?; // 3
                channel.recv(5)?; // 3: crosses
                channel.send(vec![0; 5]) // 3
            })?;
            channel.exchange(vec![0; 5]) // 4
        },
        |channel, _| {
            channel.recv(5)?;
            channel.recv(5)?;
            channel.send(vec![0; 5])?;
            channel.set_scope(Scope::Node(3));
            channel.flight(|channel| {
                channel.send(vec![0; 5])?;
                channel.recv(5)?;
                channel.recv(5)
            })?;
            channel.exchange(vec![0; 5])
        },
    );
    for meter in meters {
        assert_eq!(meter.of(Scope::Handshake).rounds, 2);
        assert_eq!((meter.of(Scope::Node(3)).rounds, meter.total().rounds), (2, 4));
        assert_eq!(meter.of(Scope::Result), Traffic::default());
    }
}

#[test]
fn messages_carry_their_length_and_longer_ones_are_refused() {
    let outcome = run_parties(
        64,
        TEST_TIMEOUT,
        |channel, _| {
            [0, 3, MAX_FRAME + 9, 101].iter().try_for_each(|length| channel.send_message(&vec![9; *length]))
        },
        |channel, _| {
            assert!(channel.recv_bounded(0)?.is_empty());
            assert_eq!(channel.recv_bounded(3)?, [9; 3]);
            assert_eq!(channel.recv_bounded(2 * MAX_FRAME)?, vec![9; MAX_FRAME + 9]);
            channel.recv_bounded(100)
        },
    );
    assert!(matches!(outcome.client, Err(Error::PeerLength { expected: 100, found: 101, .. })));
}

#[test]
fn a_message_of_another_length_is_refused() {
    for (sent, expected) in [(4, 5), (5, 4), (MAX_FRAME, MAX_FRAME + 1)] {
        let outcome = run_parties(
            1 << 16,
            TEST_TIMEOUT,
            |channel, _| channel.send(vec![0; sent]),
            |channel, _| channel.recv(expected),
        );
        assert!(matches!(outcome.client, Err(Error::PeerLength { .. } | Error::PeerClosed { .. })), "{sent}");
    }
}

#[test]
fn an_oversized_frame_is_refused_before_its_payload_arrives() {
    let runtime = runtime();
    let (mut channel, mut peer) = against_raw(&runtime);
    runtime.block_on(peer.write_all(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0])).unwrap();
    let error = channel.recv(10).unwrap_err();
    assert!(matches!(error, Error::PeerData { .. }), "{error}");
    assert!(matches!(channel.recv(10), Err(Error::PeerClosed { .. })));
}

#[test]
fn an_impossible_causal_depth_is_refused() {
    for depth in [0, 2, u32::MAX] {
        let runtime = runtime();
        let (mut channel, mut peer) = against_raw(&runtime);
        runtime.block_on(peer.write_all(&[&[1, 0, 0, 0], &depth.to_le_bytes()[..], &[7]].concat())).unwrap();
        assert!(matches!(channel.recv(1), Err(Error::PeerData { .. })), "depth {depth}");
    }
}

#[test]
fn a_silent_peer_times_out_on_both_sides_of_a_message() {
    let runtime = runtime();
    let (mut channel, _peer) = against_raw(&runtime);
    assert!(matches!(channel.recv(1), Err(Error::Timeout { .. })));
    assert!(matches!(channel.recv_bounded(1), Err(Error::Timeout { .. })));
    let unread = (0..2 * QUEUE_FRAMES).try_for_each(|_| channel.send(vec![0; MAX_FRAME]));
    assert!(matches!(unread, Err(Error::Timeout { .. })));
    assert!(matches!(channel.exchange(vec![1; 8]), Err(Error::Timeout { .. })));
}

#[test]
fn a_peer_that_closes_gives_an_error_that_says_so() {
    let runtime = runtime();
    let (mut channel, mut peer) = against_raw(&runtime);
    runtime.block_on(peer.write_all(&[10, 0, 0])).unwrap();
    drop(peer);
    let error = channel.recv(10).unwrap_err().to_string();
    assert!(error.contains("within a frame") && error.contains("handshake"), "{error}");
    let refused = (0..4 * QUEUE_FRAMES).try_for_each(|_| channel.send(vec![0; MAX_FRAME]));
    assert!(matches!(refused, Err(Error::PeerClosed { .. })));
}

#[test]
fn dropping_a_channel_first_sends_what_was_queued() {
    let runtime = runtime();
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    let (mut one, mut other) = memory_pair(64, runtime.handle(), config);
    let receiver = thread::spawn(move || (other.recv(2_000_000).map(|bytes| bytes.len()), other.recv(1)));
    one.send(vec![5; 2_000_000]).unwrap();
    drop(one);
    let (received, after) = receiver.join().unwrap();
    assert_eq!(received.unwrap(), 2_000_000);
    assert!(matches!(after, Err(Error::PeerClosed { .. })));
}

#[test]
fn a_peer_that_stopped_reading_does_not_keep_a_dropped_connection_open() {
    for inside_the_runtime in [false, true] {
        let runtime = runtime();
        let (mut channel, mut peer) = against_raw(&runtime);
        (0..QUEUE_FRAMES).try_for_each(|_| channel.send(vec![0; MAX_FRAME])).unwrap();
        if inside_the_runtime {
            let _guard = runtime.enter();
            drop(channel);
            thread::sleep(2 * SHORT);
        } else {
            drop(channel);
        }
        let mut late = Vec::new();
        let read = runtime.block_on(async { timeout(TEST_TIMEOUT, peer.read_to_end(&mut late)).await });
        read.unwrap().unwrap();
        assert!(late.len() < MAX_FRAME, "{} bytes still came", late.len());
    }
}

#[test]
fn tcp_carries_both_directions_and_names_the_port_in_its_errors() {
    let runtime = runtime();
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    let listener = Listener::bind("127.0.0.1:0", runtime.handle(), config).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert!(listener.accept(SHORT).unwrap().is_none());
    let client = thread::scope(|scope| {
        let client =
            scope.spawn(|| connect(&address, runtime.handle(), config)?.exchange(vec![1; 3_000_000]));
        let (mut channel, _) = listener.accept(TEST_TIMEOUT).unwrap().unwrap();
        assert_eq!(channel.exchange(vec![2; 3_000_000]).unwrap(), vec![1; 3_000_000]);
        client.join().unwrap()
    });
    assert_eq!(client.unwrap(), vec![2; 3_000_000]);
    let taken = Listener::bind(&address, runtime.handle(), config).map(drop).unwrap_err().to_string();
    assert!(taken.contains(&address), "{taken}");
    drop(listener);
    let refused = connect(&address, runtime.handle(), config).map(drop).unwrap_err().to_string();
    assert!(refused.contains(&address), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_garbage_is_an_error_or_a_message_of_the_right_length(
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
        length in 0usize..40,
    ) {
        let runtime = runtime();
        let (mut channel, mut peer) = against_raw(&runtime);
        runtime.block_on(peer.write_all(&garbage)).unwrap();
        drop(peer);
        if let Ok(message) = channel.recv(length) {
            prop_assert_eq!(message.len(), length);
        }
        if let Ok(message) = channel.recv_bounded(length) {
            prop_assert!(message.len() <= length);
        }
    }
}

#[test]
fn a_closer_ends_a_waiting_channel_from_another_thread_and_the_first_reason_counts() {
    let runtime = runtime();
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    for receives in [true, false] {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut channel = Channel::over(ours, runtime.handle(), config);
        let closer = channel.closer();
        let waiting = thread::spawn(move || {
            if receives { channel.recv(1).map(drop) } else { channel.send(vec![0; QUEUE_FRAMES << 21]) }
        });
        // Where nothing is received, the closer doesn't come before the wait has begun.
        let mut first = [0];
        if !receives {
            runtime.block_on(theirs.read_exact(&mut first)).unwrap();
        }
        closer.close("its time is over");
        closer.close("another reason");
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(&error, Error::Closed { reason, .. } if reason == "its time is over"), "{error}");
        let rest =
            runtime.block_on(async { timeout(TEST_TIMEOUT, theirs.read_to_end(&mut Vec::new())).await });
        assert!(rest.is_ok(), "the peer sees the end");
    }
}
