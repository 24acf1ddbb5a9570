//! The speed of packing, in CPU time. Run alone and in release mode:
//!
//! `cargo test --release -p eqo-protocol --test pack_speed -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use eqo_protocol::ring::pack::{BitReader, BitWriter, pack_bits, unpack_bits};

/// Elements of a row, as a product of a convolution has them.
const ROW: usize = 256;
const ROWS: usize = 4000;
const RUNS: usize = 5;

/// Billions of elements per second in the fastest run.
fn rate(elements: usize, mut work: impl FnMut()) -> f64 {
    let timed = |work: &mut dyn FnMut()| {
        let start = ThreadTime::now();
        work();
        start.elapsed()
    };
    let best = (0..RUNS).map(|_| timed(&mut work)).min().unwrap_or(Duration::MAX);
    elements as f64 / best.as_secs_f64() / 1e9
}

#[test]
#[ignore = "a measurement: run it alone, in release mode"]
fn elements_packed_and_unpacked_per_core_second() {
    let mut row: Vec<u64> = (1..=ROW as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    println!("| bits | shift | packed, G/s | unpacked, G/s |");
    println!("|---|---|---|---|");
    for (bits, shift) in [1, 2, 4, 8, 12, 16, 19, 20, 32, 48, 64].into_iter().flat_map(|b| [(b, 0), (b, 3)]) {
        let packed = || {
            let mut writer = BitWriter::with_capacity((ROW * ROWS * bits as usize) as u64 + 600);
            if shift > 0 {
                writer.put(1, shift);
            }
            (0..ROWS).for_each(|_| writer.put_all(&row, bits));
            writer.finish()
        };
        let packing = rate(ROW * ROWS, || drop(black_box(packed())));
        let bytes = packed();
        let unpacking = rate(ROW * ROWS, || {
            let mut reader = BitReader::new(&bytes);
            if shift > 0 {
                reader.get(shift);
            }
            (0..ROWS).for_each(|_| reader.get_all(black_box(&mut row), bits));
        });
        println!("| {bits} | {shift} | {packing:.2} | {unpacking:.2} |");
    }
    let choices = vec![true; ROW * ROWS];
    let bytes = pack_bits(&choices);
    let packing = rate(choices.len(), || drop(black_box(pack_bits(black_box(&choices)))));
    let unpacking = rate(choices.len(), || drop(black_box(unpack_bits(black_box(&bytes), choices.len()))));
    println!("| bool | | {packing:.2} | {unpacking:.2} |");
}
