//! The quantized networks of the study: one architecture, more and more of our choices.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::cost::{OtKind, Scope};
use eqo_checkpoints::graph::{Graph, Op};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;
use eqo_checkpoints::{Checkpoint, random};

use crate::args::StudyArgs;
use crate::commands::bench::place::Place;
use crate::commands::bench::program::architecture;
use crate::commands::bench::table::contender::read_plan;
use crate::commands::inspect::session;
use crate::exit::{Failure, Kind};
use crate::images;

/// A network and the file that server processes read it from.
pub(super) struct Network {
    pub(super) checkpoint: Checkpoint,
    pub(super) file: Place,
    plan: BitPlan,
}

/// All of them.
pub(super) struct Networks {
    pub(super) arch: Arch,
    pub(super) seed: u64,
    /// The same bits everywhere, F(2, 3).
    pub(super) uniform: Network,
    /// The same bits, worth powers of two with a gap below the sign.
    pub(super) reweighted: Network,
    /// The plan of the command line.
    pub(super) mixed: Option<Network>,
    /// The last of these with the cheapest tiles; none if all were.
    pub(super) retiled: Option<Network>,
}

impl Networks {
    pub(super) fn new(args: &StudyArgs) -> Result<Self, Failure> {
        let arch = architecture(args.arch.as_deref().unwrap_or_default())?;
        let seed = args.measurement.seed;
        let network = |plan: BitPlan| -> Result<Network, Failure> {
            let checkpoint = random::checkpoint(&arch, &plan, seed, &|_, _| ())?;
            let file = Place::new(None)?;
            checkpoint.write(&file.path)?;
            Ok(Network { checkpoint, file, plan })
        };
        let uniform = network(BitPlan::uniform(&arch, args.weight_bits, args.act_bits))?;
        let reweighted = network(reweighted(uniform.plan.clone(), args.weight_bits))?;
        let mixed = match &args.plan {
            Some(file) => Some(network(complete(read_plan(file)?, &uniform.plan, &arch)?)?),
            None => None,
        };
        let last = mixed.as_ref().unwrap_or(&reweighted);
        let retiled = match cheapest_tiles(&arch, &last.plan, seed)? {
            plan if plan == last.plan => None,
            plan => Some(network(plan)?),
        };
        Ok(Self { arch, seed, uniform, reweighted, mixed, retiled })
    }

    /// The last one before tiles are chosen, and its letter.
    pub(super) fn chosen(&self) -> (&Network, &'static str) {
        self.mixed.as_ref().map_or((&self.reweighted, REWEIGHTED), |mixed| (mixed, MIXED))
    }

    /// The logits of the network with this letter, for the image of the study; none for the network in fixed point.
    pub(super) fn logits(&self, letter: &str) -> Result<Option<Vec<i64>>, Failure> {
        let network = match letter {
            UNIFORM => Some(&self.uniform),
            REWEIGHTED => Some(&self.reweighted),
            MIXED => self.mixed.as_ref(),
            RETILED => self.retiled.as_ref(),
            _ => None,
        };
        let Some(network) = network else { return Ok(None) };
        let image = images::random(self.seed, 1, network.checkpoint.graph().shape(0))?;
        Ok(Some(network.checkpoint.engine().run(&image)?))
    }
}

/// Letters of networks.
pub(super) const FIXED: &str = "A";
pub(super) const UNIFORM: &str = "B";
pub(super) const REWEIGHTED: &str = "C";
pub(super) const MIXED: &str = "D";
pub(super) const RETILED: &str = "E";

/// Bits 0, 1, … with the sign's one place higher, in every layer of the bits asked for.
fn reweighted(mut plan: BitPlan, bits: u8) -> BitPlan {
    for layer in plan.layers.values_mut().filter(|layer| layer.weight_bits == bits) {
        layer.exponents = Some((0..bits - 1).chain([bits]).collect());
    }
    plan
}

/// A plan of some layers with the rest from another.
fn complete(own: BitPlan, rest: &BitPlan, arch: &Arch) -> Result<BitPlan, Failure> {
    if let Some(unknown) = own.layers.keys().find(|name| !rest.layers.contains_key(*name)) {
        let message =
            format!("--plan: expected layers of {}, found {unknown:?}; plan this network", arch.name);
        return Err(Failure::new(Kind::Usage, message));
    }
    let mut plan = rest.clone();
    plan.layers.extend(own.layers);
    Ok(plan)
}

/// Every layer in the tiles that send the least with silent OT. A layer whose taps have bits of their own keeps its tiles.
fn cheapest_tiles(arch: &Arch, plan: &BitPlan, seed: u64) -> Result<BitPlan, Failure> {
    let mut best = plan.clone();
    let mut least = bytes(arch, plan, seed)?;
    for tiles in [Algorithm::P2x2, Algorithm::F4x4] {
        let mut other = plan.clone().with_tiles(arch, tiles);
        for (name, layer) in &mut other.layers {
            if let Some(own) = plan.layers.get(name).filter(|own| own.tap_bits.is_some()) {
                layer.clone_from(own);
            }
        }
        for (name, bytes) in bytes(arch, &other, seed)? {
            let (Some(least), Some(layer)) = (least.get_mut(&name), other.layers.get(&name)) else {
                continue;
            };
            if bytes < *least {
                *least = bytes;
                best.layers.insert(name, layer.clone());
            }
        }
    }
    Ok(best)
}

/// Bytes of every layer but for its random OTs.
fn bytes(arch: &Arch, plan: &BitPlan, seed: u64) -> Result<BTreeMap<String, u64>, Failure> {
    let checkpoint = random::checkpoint(arch, plan, seed, &|_, _| ())?;
    let costs = session(checkpoint.graph(), OtKind::Ferret, 1, 1);
    let nodes = checkpoint.graph().nodes().iter().enumerate();
    let sent = |id| costs.of(Scope::Offline(id)).bytes() + costs.of(Scope::Node(id)).bytes();
    Ok(nodes.map(|(id, node)| (node.name.clone(), sent(id))).collect())
}

/// The same network with one ring for all channels of a layer, the widest of them.
pub(super) fn with_rings_by_layer(checkpoint: &Checkpoint) -> Result<Checkpoint, Failure> {
    let mut graph: Graph = checkpoint.graph().graph().clone();
    for node in &mut graph.nodes {
        if let Op::Conv(conv) = &mut node.op {
            let widest = conv.widest_ring();
            conv.ring_bits.fill(widest);
        }
    }
    Ok(Checkpoint::new(graph.check()?, checkpoint.weights().clone(), checkpoint.metadata().clone())?)
}
