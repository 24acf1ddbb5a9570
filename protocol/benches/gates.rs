//! Time of the gates, both parties on one machine over a pipe in memory. Random OTs are made outside the measurement.

mod common;

use common::{Gate, bench};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eqo_checkpoints::cost::{Comparison, Group};
use eqo_protocol::gates::compare::{Section, carry};
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::gates::resize::extend_known_msb;

const ELEMENTS: usize = 16 * 32 * 32;

fn requantization(criterion: &mut Criterion) {
    let shares = vec![7; ELEMENTS];
    for (ring, shift, act_bits, wide) in [(18, 9, 6, 20), (22, 12, 4, 24)] {
        let groups = vec![Group { ring, shift, channels: vec![0] }];
        let requantization = Requantization::new(groups, act_bits, ELEMENTS, wide);
        let gate: &Gate = &|party, lap| {
            if party.is_server() {
                let drawn = requantization.server_draw(party)?;
                let offered = requantization.server_offer(party, drawn)?;
                let prepared = requantization.server_correct(party, offered)?;
                lap();
                requantization.server_run(party, prepared, &shares)?;
            } else {
                let drawn = requantization.client_draw(party)?;
                let chosen = requantization.client_choose(party, drawn, &shares)?;
                let prepared = requantization.client_correct(party, chosen)?;
                lap();
                requantization.client_run(party, prepared)?;
            }
            lap();
            Ok(())
        };
        let mut group = criterion.benchmark_group(format!("requantize l{ring} s{shift} a{act_bits} L{wide}"));
        group.throughput(Throughput::Elements(ELEMENTS as u64)).sample_size(10);
        bench(&mut group, ELEMENTS * 60, &["offline", "online"], gate);
        group.finish();
    }
}

fn shared_gates(criterion: &mut Criterion) {
    let shares = vec![7; ELEMENTS];
    let mut group = criterion.benchmark_group("shared");
    group.throughput(Throughput::Elements(ELEMENTS as u64)).sample_size(10);
    bench(&mut group, ELEMENTS, &["extend 7 to 20 bits"], &|party, lap| {
        extend_known_msb(party, (7, 20), &shares)?;
        lap();
        Ok(())
    });
    bench(&mut group, ELEMENTS * 40, &["carry of 17 bits"], &|party, lap| {
        let comparison = Comparison::carry_only(17);
        carry(party, &[Section { comparison, elements: ELEMENTS, saturation_bit: 0 }], &shares)?;
        lap();
        Ok(())
    });
    group.finish();
}

criterion_group!(benches, requantization, shared_gates);
criterion_main!(benches);
