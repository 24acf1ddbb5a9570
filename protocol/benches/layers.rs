//! Time of a convolution's products and of one layer of a network, both parties on one machine over a pipe in memory.

mod common;

use std::cell::Cell;
use std::time::{Duration, Instant};

use common::{Gate, bench};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp};
use eqo_checkpoints::graph::{Conv, Op};
use eqo_checkpoints::layout::ConvLayout;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::testing::{random_arch, random_image};
use eqo_protocol::gates::products::Products;
use eqo_protocol::layers::{Client, Entered, Server};
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::two_party;
use eqo_protocol::transport::{Channel, Scope, Traffic};
use eqo_protocol::{Error, PartyRng, Role, gates::Party};

const ACT_BITS: u8 = 6;

fn resnet8() -> Arch {
    Arch::by_name("cifar-resnet8", 10).expect("a known name")
}

/// A convolution by name, with its codes and how many columns its tiles have.
fn conv<'c>(checkpoint: &'c Checkpoint, name: &str) -> (&'c Conv, &'c [i8], usize) {
    let graph = checkpoint.graph();
    let found = graph.nodes().iter().enumerate().find_map(|(id, node)| match &node.op {
        Op::Conv(conv) if node.name == name => Some((id, conv)),
        _ => None,
    });
    let (id, conv) = found.expect("a convolution");
    let columns = ConvLayout::new(conv, graph.shape(conv.input), graph.shape(id)).columns();
    (conv, &checkpoint.weights().layers[name].codes, columns)
}

fn products(criterion: &mut Criterion) {
    let arch = resnet8();
    for weight_bits in [2, 4] {
        let checkpoint = random_arch(1, &arch, &BitPlan::uniform(&arch, weight_bits, ACT_BITS));
        for name in ["layer1.0.conv1", "layer3.0.conv2"] {
            let (conv, codes, lanes) = conv(&checkpoint, name);
            let products = Products::new(conv, lanes);
            let rows = vec![7; conv.positions() * conv.in_channels * lanes];
            let gate: &Gate = &|party, lap| {
                if party.is_server() {
                    let chosen = products.server_draw(party, codes)?;
                    products.server(party, chosen)?;
                } else {
                    let offered = products.client_draw(party)?;
                    products.client(party, offered, &rows)?;
                }
                lap();
                Ok(())
            };
            let ots = conv.weight_bits();
            let mut group = criterion.benchmark_group(format!("F(2,3) {0}x{0}", conv.out_channels));
            group.throughput(Throughput::Elements((ots * lanes) as u64)).sample_size(10);
            bench(&mut group, ots, &[&format!("W{weight_bits}")], gate);
            group.finish();
        }
    }
}

/// The first layer of ResNet's first stage between a stem and a linear layer.
fn one_layer() -> Checkpoint {
    let mut arch = resnet8();
    arch.nodes.truncate(3);
    let push = |arch: &mut Arch, name: &str, op| arch.nodes.push(ArchNode { name: name.to_owned(), op });
    push(&mut arch, "pool", ArchOp::GlobalAvgPool { input: 2 });
    push(
        &mut arch,
        "linear",
        ArchOp::Linear { input: 3, in_features: 16, kernel: 1, out_features: 10, relu: false },
    );
    random_arch(1, &arch, &BitPlan::uniform(&arch, 4, ACT_BITS))
}

/// Time that a party spends in the scopes of that layer, waiting included; offline, online.
fn layer_times(checkpoint: &Checkpoint) -> [Duration; 2] {
    let run = |role: Role| {
        move |channel: &mut Channel, rng: &mut PartyRng| -> Result<[Duration; 2], Error> {
            let mut ots = Ots::setup(channel, role, OtKind::SoftSpoken4, rng)?;
            let since = Cell::new((Scope::BaseOt, Instant::now()));
            let spent = [Scope::Offline(2), Scope::Node(2)].map(|scope| (scope, Cell::new(Duration::ZERO)));
            let mut entered = |entered: Entered| {
                let (last, start) = since.replace((entered.scope, Instant::now()));
                for (_, sum) in spent.iter().filter(|(scope, _)| *scope == last) {
                    sum.set(sum.get() + start.elapsed());
                }
            };
            let party = &mut Party { role, channel, ots: &mut ots, rng };
            match role {
                Role::Server => {
                    let server = Server::new(checkpoint.graph(), checkpoint.weights());
                    let mut prepared = server.begin(1);
                    server.prepare(party, &mut prepared, &mut entered)?;
                    let material = prepared.finish()?;
                    server.infer(party, material, &mut entered)?;
                }
                Role::Client => {
                    let pixels: Vec<u64> = random_image(1, checkpoint).into_iter().map(u64::from).collect();
                    let client = Client { graph: checkpoint.graph() };
                    let mut prepared = client.begin(1);
                    client.prepare(party, &mut prepared, &mut entered)?;
                    let material = prepared.finish()?;
                    client.infer(party, material, &pixels, &mut entered)?;
                }
            }
            entered(Entered { scope: Scope::Result, before: Traffic::default() });
            Ok(spent.map(|(_, sum)| sum.get()))
        }
    };
    two_party(run(Role::Server), run(Role::Client)).0
}

fn layer(criterion: &mut Criterion) {
    let checkpoint = one_layer();
    let mut group = criterion.benchmark_group("layer1.0.conv1 W4A6");
    group.sample_size(10);
    for (phase, name) in ["offline", "online"].into_iter().enumerate() {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|n| (0..n).map(|_| layer_times(&checkpoint)[phase]).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, products, layer);
criterion_main!(benches);
