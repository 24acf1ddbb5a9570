//! The speed of pads, in CPU time. Run alone and in release mode:
//!
//! `cargo test --release -p eqo-protocol --lib ot::tests::speed -- --ignored --nocapture`

use std::hint::black_box;

use cpu_time::ThreadTime;

use super::super::hash::{HashInput, OtHash, pad_blocks, pad_lanes, tweak};

/// Billions of whatever `count` counts per second, in the fastest of several runs.
fn rate(count: usize, mut work: impl FnMut()) -> f64 {
    const TURNS: usize = 2000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = ThreadTime::now();
        (0..TURNS).for_each(|_| work());
        best = best.min(start.elapsed().as_secs_f64());
    }
    (count * TURNS) as f64 / best / 1e9
}

#[test]
#[ignore = "a measurement: run it alone, in release mode"]
fn pads_per_core_second() {
    let mut hash = OtHash::new([1; 16]);
    println!("| blocks of an input | pads, GB/s |");
    println!("|---|---|");
    for blocks in [1, 2, 3, 4, 8, 16, 32, 64, 100] {
        let inputs: Vec<HashInput> = (0..256usize.div_ceil(blocks))
            .map(|i| HashInput { x: 1 << (i % 128), tweak: tweak(i as u64), blocks })
            .collect();
        let mut pads = Vec::new();
        let made = rate(16 * blocks * inputs.len(), || hash.expand(black_box(&inputs), &mut pads));
        println!("| {blocks} | {made:.1} |");
    }
    println!("| bits of a lane | lanes, G/s |");
    println!("|---|---|");
    for bits in [8, 16, 20, 40] {
        let mut lanes = vec![0; 256];
        let words = vec![3; 2 * pad_blocks(lanes.len(), bits)];
        let cut = rate(lanes.len(), || pad_lanes(black_box(&words), bits, black_box(&mut lanes)));
        println!("| {bits} | {cut:.2} |");
    }
}
