//! Baseline parties in one process, and random programs for them.

use std::time::Duration;

use eqo_checkpoints::baseline::{
    Chooser, Code, Kind, LayerCodes, Multiplexer, Op, OperandRing, Products, Program, ProgramWeights, Range,
};
use eqo_checkpoints::graph::Shortcut;
use eqo_checkpoints::winograd::Algorithm;
use eqo_protocol::Error;
use eqo_protocol::baseline::{infer, serve};
use eqo_protocol::report::Report;
use eqo_protocol::transport::{TransportConfig, memory_pair};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Builder;

pub type Outcome = (Result<Report, Error>, Result<(Vec<i64>, Report), Error>);

/// Both parties, each with its own program.
pub fn play([server, client]: [&Program; 2], weights: &ProgramWeights, image: &[i64]) -> Outcome {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig { timeout: Duration::from_secs(60), ..TransportConfig::default() };
    let (to_client, to_server) = memory_pair(1 << 20, runtime.handle(), config);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(to_client, server, weights));
        let inferred = scope.spawn(|| infer(to_server, client, image, &mut |_| {}));
        (serving.join().unwrap(), inferred.join().unwrap())
    })
}

/// Logits are those in the clear, and each row's traffic is the predicted one.
pub fn check(program: &Program, weights: &ProgramWeights, image: &[i64]) {
    let (served, inferred) = play([program, program], weights, image);
    let (server, (logits, client)) = (served.unwrap(), inferred.unwrap());
    assert_eq!(logits, program.evaluate(weights, image).unwrap(), "{}", program.name);
    for (own, other) in client.rows.iter().zip(&server.rows) {
        for (phase, other) in [(own.offline, other.offline), (own.online, other.online)] {
            let measured = [phase.bytes_sent, phase.bytes_received, phase.frames, phase.rounds];
            let flow = phase.predicted;
            let predicted = [flow.to_server, flow.to_client, flow.frames, flow.rounds];
            assert_eq!(measured, predicted, "{}, {} of {}", program.name, own.op, own.name);
            assert_eq!([phase.bytes_sent, phase.bytes_received], [other.bytes_received, other.bytes_sent]);
        }
    }
}

/// A random sound program of up to six operations with its weights; they may still ask more of a ring than it holds, which
/// [`Program::evaluate`] refuses.
pub fn random_program(seed: u64) -> (Program, ProgramWeights) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = [rng.random_range(1..=4), rng.random_range(1..=7), rng.random_range(1..=7)];
    let bits = [2, 3, 4, 5, 8, 9, 16, 17, 31, 37, 41, 53, 62][rng.random_range(0..13)];
    let program = Program { name: format!("random {seed}"), ops: Vec::new() };
    let mut drawn = Drawn { program, weights: ProgramWeights::default(), rng };
    drawn.push(Kind::Input, shape, bits);
    for _ in 0..drawn.rng.random_range(1..=6) {
        drawn.step();
    }
    (drawn.program, drawn.weights)
}

struct Drawn {
    program: Program,
    weights: ProgramWeights,
    rng: ChaCha8Rng,
}

impl Drawn {
    fn push(&mut self, kind: Kind, shape: [usize; 3], bits: u32) {
        let layer = format!("layer{}", self.program.ops.len());
        self.program.ops.push(Op { layer, kind, shape, bits });
        self.weights.layers.push(LayerCodes::default());
        // What isn't sound is left out.
        if self.program.check().is_err() {
            self.program.ops.pop();
            self.weights.layers.pop();
        }
    }

    fn step(&mut self) {
        let input = self.program.ops.len() - 1;
        let Op { shape, bits, .. } = self.program.ops[input];
        let below = |rng: &mut ChaCha8Rng| rng.random_range(1..bits.max(2));
        let multiplexer = [Multiplexer::Chosen, Multiplexer::Correlated][self.rng.random_range(0..2)];
        let range = [Range::Signed, Range::Unsigned, Range::TopBitZero][self.rng.random_range(0..3)];
        match self.rng.random_range(0..13) {
            0..=2 => self.products(),
            3 => {
                let to = self.rng.random_range(bits.min(61) + 1..=62);
                self.push(Kind::Extend { input, range }, shape, to);
            }
            4 => {
                let to = below(&mut self.rng);
                self.push(Kind::Reduce { input }, shape, to);
            }
            5 => {
                let shift = below(&mut self.rng);
                self.push(Kind::TruncateReduce { input, shift }, shape, bits.saturating_sub(shift));
            }
            6 => {
                let shift = below(&mut self.rng);
                self.push(Kind::Truncate { input, shift, range }, shape, bits);
            }
            7 | 8 => self.push(Kind::Relu { input, multiplexer }, shape, bits),
            9 => {
                let top = below(&mut self.rng);
                self.push(Kind::Clamp { input, top }, shape, bits);
            }
            10 => {
                let [window, [_, rows, cols]] = self.window(shape);
                self.push(Kind::MaxPool { input, window, multiplexer }, [shape[0], rows, cols], bits);
            }
            11 => {
                let [window, [_, rows, cols]] = self.window(shape);
                self.push(Kind::WindowSum { input, window }, [1, rows, cols], bits);
            }
            _ => self.residual(input),
        }
    }

    /// Kernel, stride and padding, and a shape whose last two sides they give.
    fn window(&mut self, [_, height, width]: [usize; 3]) -> [[usize; 3]; 2] {
        let (kernel, stride) = (self.rng.random_range(1..=3), self.rng.random_range(1..=2));
        let padding = self.rng.random_range(0..=kernel / 2);
        let out = |size: usize| (size + 2 * padding).saturating_sub(kernel) / stride + 1;
        [[kernel, stride, padding], [0, out(height), out(width)]]
    }

    fn residual(&mut self, input: usize) {
        let Op { shape, bits, .. } = self.program.ops[input];
        match self.rng.random_range(0..3) {
            0 => self.push(Kind::Add { inputs: [input, input] }, shape, bits),
            1 => self.push(Kind::SumPool { input }, [shape[0], 1, 1], bits),
            _ => {
                let shifts = (0..=shape[0]).map(|_| self.rng.random_range(0..3)).collect();
                let spec = Shortcut { input, stride: 2, channel_offset: 1, shifts };
                let sides = [shape[0] + 1, shape[1].div_ceil(2), shape[2].div_ceil(2)];
                self.push(Kind::Shortcut(spec), sides, bits);
            }
        }
    }

    fn products(&mut self) {
        let input = self.program.ops.len() - 1;
        let Op { shape, bits: from, .. } = self.program.ops[input];
        let rng = &mut self.rng;
        let (kernel, stride, algorithm) = match rng.random_range(0..6) {
            0 => (3, 1, Algorithm::F2x2),
            1 => (3, 1, Algorithm::F4x4),
            2 => (3, 2, Algorithm::P2x2),
            3 => (1, 1, Algorithm::Direct),
            4 => (2, rng.random_range(1..=2), Algorithm::Direct),
            _ => (3, rng.random_range(1..=2), Algorithm::Direct),
        };
        let chooser = [Chooser::Weights, Chooser::Activations][rng.random_range(0..2)];
        let narrower = rng.random_bool(0.5);
        let grouped = kernel == 1 && chooser == Chooser::Weights && rng.random_bool(0.4);
        let bits = if narrower { (from + rng.random_range(1..=20)).min(62) } else { from };
        let groups = if grouped { shape[0] } else { 1 };
        let mut products = Products {
            input,
            in_channels: shape[0],
            out_channels: groups * rng.random_range(1..=3),
            groups,
            kernel,
            stride,
            padding: rng.random_range(0..=kernel / 2),
            algorithm,
            code: Code { exponents: Vec::new(), signed: rng.random_bool(0.7), offset: rng.random_range(0..=1) },
            tap_shifts: Vec::new(),
            chooser,
            operand: if narrower {
                OperandRing::Narrower { top_bit_zero: rng.random_bool(0.3) }
            } else {
                OperandRing::Same
            },
        };
        let lists = if rng.random_bool(0.5) { 1 } else { products.positions() };
        products.code.exponents = (0..lists).map(|_| exponents(rng, bits)).collect();
        if rng.random_bool(0.5) {
            let row = |rng: &mut ChaCha8Rng| (0..products.out_channels).map(|_| rng.random_range(0..=40)).collect();
            products.tap_shifts = (0..algorithm.taps()).map(|_| row(rng)).collect();
        }
        let [_, height, width] = shape;
        let out = |size: usize| (size + 2 * products.padding).saturating_sub(kernel) / stride + 1;
        let sides = [products.out_channels, out(height), out(width)];
        let layer = codes(rng, &products);
        self.push(Kind::Products(products), sides, bits);
        if self.program.ops.len() > input + 1
            && let Some(last) = self.weights.layers.last_mut()
        {
            *last = layer;
        }
    }
}

/// Rising exponents below the ring; sometimes none.
fn exponents(rng: &mut ChaCha8Rng, bits: u32) -> Vec<u8> {
    let count = rng.random_range(0..=8);
    let mut list: Vec<u8> = (0..count).map(|_| rng.random_range(0..bits.min(24)) as u8).collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn codes(rng: &mut ChaCha8Rng, products: &Products) -> LayerCodes {
    let row = products.out_channels * products.group_in();
    let code = |index: usize, rng: &mut ChaCha8Rng| {
        rng.random::<i64>() & ((1 << products.code.exponents(index / row).len()) - 1)
    };
    let codes = (0..products.codes()).map(|index| code(index, rng)).collect();
    let bias = (0..products.out_channels).map(|_| rng.random::<i64>() >> rng.random_range(0..60)).collect();
    LayerCodes { codes, bias }
}

/// Small, extreme and arbitrary integers of the program's input ring.
pub fn random_image(program: &Program, seed: u64) -> Vec<i64> {
    let (mut rng, bits) = (ChaCha8Rng::seed_from_u64(seed), program.ops[0].bits);
    let half = 1_i64 << (bits - 1);
    let draw = |_| match rng.random_range(0..4) {
        0 => 0,
        1 => half - 1,
        2 => -half,
        _ => rng.random::<i64>() >> (64 - bits),
    };
    (0..program.len(0)).map(draw).collect()
}
