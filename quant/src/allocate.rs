//! The plan of least sensitivity within a budget, or of least cost at a sensitivity, as an integer programme.
//!
//! Every layer takes one of its choices together with the bits it reads and the bits it puts out (a binary variable for
//! each); every activation has bits (one for each), and a layer's must be those of the activations it reads and writes.
//! Residuals cost the same at any bits. The programme is solved to optimality.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchOp, NodeId};
use eqo_checkpoints::plan::BitPlan;
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable};

use crate::Error;
use crate::price::{LayerPrices, Price};
use crate::sensitivity::{LayerSensitivity, Menu};

/// What is minimized, and within what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// ΣΩ, with a cost of at most this.
    Sensitivity(f64),
    /// The cost, with a ΣΩ of at most this.
    Cost(f64),
}

/// What can be chosen, and what it means.
pub struct Problem<'a> {
    /// Who reads whom.
    pub arch: &'a Arch,
    /// What may be chosen.
    pub menu: &'a Menu,
    /// By layer.
    pub layers: &'a [LayerSensitivity],
    /// By layer.
    pub prices: &'a [LayerPrices],
    /// A price as one number.
    pub cost: &'a dyn Fn(&Price) -> f64,
}

/// An optimal choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// What was chosen.
    pub plan: BitPlan,
    /// ΣΩ.
    pub omega: f64,
    /// Sum of the prices' costs.
    pub cost: f64,
}

/// One way of one layer: its choice, and the places of the bits it reads and puts out in [`Menu::act_bits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) choice: usize,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) omega: f64,
    pub(crate) cost: f64,
}

impl Problem<'_> {
    /// The best plan.
    ///
    /// # Errors
    /// [`Error::Allocation`] if nothing is within the bound.
    pub fn solve(&self, goal: Goal) -> Result<Allocation, Error> {
        let mut variables = ProblemVariables::new();
        let tensors = self.tensors();
        let bits: BTreeMap<usize, Vec<Variable>> = tensors
            .values()
            .map(|&tensor| {
                (tensor, self.menu.act_bits.iter().map(|_| variables.add(variable().binary())).collect())
            })
            .collect();
        let ways: Vec<Vec<(Way, Variable)>> = (0..self.layers.len())
            .map(|layer| {
                let ways = self.ways(layer, tensors.contains_key(&layer));
                ways.into_iter().map(|way| (way, variables.add(variable().binary()))).collect()
            })
            .collect();
        // Both scaled to numbers of the size of one: a solver's tolerances are absolute.
        let all = || ways.iter().flatten();
        let (omega_unit, cost_unit) =
            (unit(all().map(|(way, _)| way.omega)), unit(all().map(|(way, _)| way.cost)));
        let sum =
            |of: &dyn Fn(&Way) -> f64| all().map(|(way, variable)| of(way) * *variable).sum::<Expression>();
        let activations = self.activation_omega(&bits, omega_unit);
        let omega = sum(&|way| way.omega / omega_unit) + activations;
        let cost = sum(&|way| way.cost / cost_unit);
        let (objective, bound) = match goal {
            Goal::Sensitivity(most) => (omega, constraint!(cost <= most / cost_unit)),
            Goal::Cost(most) => (cost, constraint!(omega <= most / omega_unit)),
        };
        let mut model = variables.minimise(objective).using(microlp).with(bound);
        for variables in bits.values() {
            model = model.with(constraint!(variables.iter().sum::<Expression>() == 1));
        }
        for (layer, ways) in ways.iter().enumerate() {
            model =
                model.with(constraint!(ways.iter().map(|(_, variable)| variable).sum::<Expression>() == 1));
            let (reads, writes) = (self.reads(layer), tensors.get(&layer).copied());
            for at in 0..self.menu.act_bits.len() {
                for (tensor, place) in [(reads, Place::Reads), (writes, Place::Writes)] {
                    let Some(tensor) = tensor else { continue };
                    let with =
                        ways.iter().filter(|(way, _)| place.of(way) == at).map(|(_, variable)| variable);
                    model = model.with(constraint!(with.sum::<Expression>() - bits[&tensor][at] == 0));
                }
            }
        }
        let solution = model
            .solve()
            .map_err(|error| Error::Allocation { goal: format!("{goal:?}"), reason: error.to_string() })?;
        Ok(self.read(&solution, &ways, &bits))
    }

    /// The layer whose activation each layer's is: itself, by layer; layers that end in an accumulator have none.
    fn tensors(&self) -> BTreeMap<usize, usize> {
        let ends = self.layers.iter().enumerate().filter(|(_, layer)| layer.activations.is_some());
        ends.map(|(layer, _)| (layer, layer)).collect()
    }

    /// The layer whose activation a layer reads; `None` for the image.
    pub(crate) fn reads(&self, layer: usize) -> Option<usize> {
        let weighted = |op: &ArchOp| matches!(op, ArchOp::Conv(_) | ArchOp::Linear { .. });
        let index = |id: NodeId| self.arch.nodes[..id].iter().filter(|node| weighted(&node.op)).count();
        let node = self.arch.nodes.iter().filter(|node| weighted(&node.op)).nth(layer)?;
        let mut input = match &node.op {
            ArchOp::Conv(conv) => conv.input,
            ArchOp::Linear { input, .. } => *input,
            _ => return None,
        };
        while let ArchOp::GlobalAvgPool { input: from } = &self.arch.node(input).op {
            input = *from;
        }
        weighted(&self.arch.node(input).op).then(|| index(input))
    }

    /// Every way of a layer that no other beats in both numbers at the same bits.
    pub(crate) fn ways(&self, layer: usize, has_activation: bool) -> Vec<Way> {
        let bits = self.menu.act_bits.len();
        let (reads, writes) =
            (if self.reads(layer).is_some() { bits } else { 1 }, if has_activation { bits } else { 1 });
        let mut found = Vec::new();
        for (reads, writes) in (0..reads).flat_map(|reads| (0..writes).map(move |writes| (reads, writes))) {
            let choices = self.layers[layer].weights.iter().enumerate();
            let mut ways: Vec<Way> = choices
                .map(|(choice, weights)| {
                    let cost = (self.cost)(&self.prices[layer][choice][reads][writes]);
                    Way { choice, reads, writes, omega: weights.omega, cost }
                })
                .collect();
            ways.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.omega.total_cmp(&b.omega)));
            let mut least = f64::INFINITY;
            found.extend(ways.into_iter().filter(|way| {
                let better = way.omega < least;
                least = least.min(way.omega);
                better
            }));
        }
        found
    }

    fn activation_omega(&self, bits: &BTreeMap<usize, Vec<Variable>>, unit: f64) -> Expression {
        let terms = bits.iter().flat_map(|(&tensor, variables)| {
            let omegas = self.layers[tensor].activations.iter().flatten();
            omegas.zip(variables).map(move |(omega, variable)| omega / unit * *variable)
        });
        terms.sum()
    }

    fn read(
        &self,
        solution: &impl Solution,
        ways: &[Vec<(Way, Variable)>],
        bits: &BTreeMap<usize, Vec<Variable>>,
    ) -> Allocation {
        let chosen = |variable: &Variable| solution.value(*variable) > 0.5;
        let mut allocation = Allocation { plan: BitPlan::default(), omega: 0.0, cost: 0.0 };
        for (index, (layer, ways)) in self.layers.iter().zip(ways).enumerate() {
            let Some((way, _)) = ways.iter().find(|(_, variable)| chosen(variable)) else { continue };
            let place = bits.get(&index).and_then(|bits| bits.iter().position(chosen));
            // Ignored where a layer ends in its accumulator.
            let act_bits = self.menu.act_bits[place.unwrap_or(self.menu.act_bits.len() - 1)];
            allocation.plan.layers.insert(layer.layer.clone(), layer.weights[way.choice].plan(act_bits));
            let activation =
                place.zip(layer.activations.as_ref()).map_or(0.0, |(place, omegas)| omegas[place]);
            allocation.omega += way.omega + activation;
            allocation.cost += way.cost;
        }
        allocation
    }
}

/// Which bits of a way.
#[derive(Clone, Copy)]
enum Place {
    Reads,
    Writes,
}

impl Place {
    fn of(self, way: &Way) -> usize {
        match self {
            Self::Reads => way.reads,
            Self::Writes => way.writes,
        }
    }
}

/// The largest number, or 1.
fn unit(numbers: impl Iterator<Item = f64>) -> f64 {
    let largest = numbers.fold(0.0, f64::max);
    if largest > 0.0 { largest } else { 1.0 }
}

#[cfg(test)]
mod tests;
