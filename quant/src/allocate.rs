//! The plan of least sensitivity within a budget, or of least cost at a sensitivity, as an integer programme.
//!
//! Every layer takes one of its choices together with the bits it reads and the bits it puts out (a binary variable for
//! each); every activation has bits (one for each), and a layer's must be those of the activations it reads and writes.
//! A residual's bits are not among those a layer's cost is known by. The programme is solved to proven optimality, or for
//! two minutes: then the relaxation says how far the best found may be from the optimum.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchOp, NodeId};
use eqo_checkpoints::plan::BitPlan;
use good_lp::{
    Constraint, Expression, ProblemVariables, ResolutionError, Solution, SolutionStatus, SolverModel,
    Variable, WithTimeLimit, constraint, microlp, variable,
};

use crate::Error;
use crate::price::{LayerPrices, Price};
use crate::sensitivity::{LayerSensitivity, Menu};

/// Longest search for the optimum of one programme.
const SECONDS: f64 = 120.0;

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

/// The best choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// What was chosen.
    pub plan: BitPlan,
    /// ΣΩ.
    pub omega: f64,
    /// Sum of the prices' costs.
    pub cost: f64,
    /// How much lower what is minimized could be at most, as a share of it. 0: this is the programme's optimum; `None`: the
    /// relaxation took too long as well.
    pub gap: Option<f64>,
}

/// One way of one layer: its choice, and the places of the bits it reads and puts out in [`Menu::act_bits`].
#[derive(Clone, Copy, Debug)]
struct Way {
    choice: usize,
    reads: usize,
    writes: usize,
    omega: f64,
    cost: f64,
}

/// The variables of a programme.
struct Program {
    /// Of every activation, by the layer that puts it out: one for each of [`Menu::act_bits`].
    bits: BTreeMap<usize, Vec<Variable>>,
    /// Of every layer.
    ways: Vec<Vec<(Way, Variable)>>,
}

impl Problem<'_> {
    /// The best plan.
    ///
    /// # Errors
    /// [`Error::Allocation`] if nothing is within the bound, [`Error::Solver`] if nothing was found in time.
    pub fn solve(&self, goal: Goal) -> Result<Allocation, Error> {
        let refuse = |error: ResolutionError| {
            let (Goal::Sensitivity(most) | Goal::Cost(most)) = goal;
            let (expected, next) =
                (format!("a sum of at most {most:.6}"), "allow more, or offer more in [plan]");
            match error {
                ResolutionError::Infeasible => Error::Allocation { expected, found: error.to_string(), next },
                other => Error::Solver { reason: other.to_string() },
            }
        };
        let (program, solution, least) = self.search(goal, false).map_err(refuse)?;
        let gap = match solution.status() {
            SolutionStatus::Optimal => Some(0.0),
            _ => self.search(goal, true).ok().map(|(.., bound)| 1.0 - bound / least),
        };
        Ok(Allocation { gap, ..self.read(&solution, &program) })
    }

    /// Solves the programme, or (`relaxed`) the one whose variables are any numbers from 0 to 1: a bound. With what is minimized,
    /// scaled.
    fn search(
        &self,
        goal: Goal,
        relaxed: bool,
    ) -> Result<(Program, impl Solution + use<>, f64), ResolutionError> {
        let mut variables = ProblemVariables::new();
        let program = self.declare(&mut variables, relaxed);
        // Both scaled to numbers of the size of one: a solver's tolerances are absolute.
        let (omega_unit, cost_unit) = (program.unit(|way| way.omega), program.unit(|way| way.cost));
        let omega = program.sum(|way| way.omega / omega_unit) + self.activation_omega(&program, omega_unit);
        let cost = program.sum(|way| way.cost / cost_unit);
        let (objective, bound) = match goal {
            Goal::Sensitivity(most) => (omega, constraint!(cost <= most / cost_unit)),
            Goal::Cost(most) => (cost, constraint!(omega <= most / omega_unit)),
        };
        let mut model =
            variables.minimise(objective.clone()).using(microlp).with_time_limit(SECONDS).with(bound);
        for constraint in self.consistency(&program) {
            model = model.with(constraint);
        }
        let solution = model.solve()?;
        let least = solution.eval(&objective);
        Ok((program, solution, least))
    }

    fn declare(&self, variables: &mut ProblemVariables, relaxed: bool) -> Program {
        let kind = if relaxed { variable().clamp(0, 1) } else { variable().binary() };
        let mut binary = || variables.add(kind.clone());
        let ends = self.layers.iter().enumerate().filter(|(_, layer)| layer.activations.is_some());
        let bits: BTreeMap<usize, Vec<Variable>> =
            ends.map(|(layer, _)| (layer, self.menu.act_bits.iter().map(|_| binary()).collect())).collect();
        let mut ways = |layer: usize| self.ways(layer).into_iter().map(|way| (way, binary())).collect();
        Program { bits, ways: (0..self.layers.len()).map(&mut ways).collect() }
    }

    /// Every layer has one way and every activation one number of bits, which are those of the ways around it.
    fn consistency(&self, program: &Program) -> Vec<Constraint> {
        let one = |variables: Vec<Variable>| constraint!(variables.iter().sum::<Expression>() == 1);
        let mut constraints: Vec<Constraint> = program.bits.values().map(|bits| one(bits.clone())).collect();
        for (layer, ways) in program.ways.iter().enumerate() {
            constraints.push(one(ways.iter().map(|(_, variable)| *variable).collect()));
            for (tensor, place) in [(self.reads(layer), Place::Reads), (Some(layer), Place::Writes)] {
                let Some(bits) = tensor.and_then(|tensor| program.bits.get(&tensor)) else { continue };
                for (at, bits) in bits.iter().enumerate() {
                    let with =
                        ways.iter().filter(|(way, _)| place.of(way) == at).map(|(_, variable)| variable);
                    constraints.push(constraint!(with.sum::<Expression>() - *bits == 0));
                }
            }
        }
        constraints
    }

    /// The layer whose activation a layer reads; `None` for the image.
    fn reads(&self, layer: usize) -> Option<usize> {
        let weighted = |op: &ArchOp| matches!(op, ArchOp::Conv(_) | ArchOp::Linear { .. });
        let index = |id: NodeId| self.arch.nodes[..id].iter().filter(|node| weighted(&node.op)).count();
        let node = self.arch.nodes.iter().filter(|node| weighted(&node.op)).nth(layer)?;
        let mut input = node.op.as_conv()?.input;
        while let ArchOp::GlobalAvgPool { input: from } | ArchOp::MaxPool { input: from, .. } =
            &self.arch.node(input).op
        {
            input = *from;
        }
        weighted(&self.arch.node(input).op).then(|| index(input))
    }

    /// Every way of a layer that no other beats in both numbers at the same bits.
    fn ways(&self, layer: usize) -> Vec<Way> {
        let (bits, has_activation) = (self.menu.act_bits.len(), self.layers[layer].activations.is_some());
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

    fn activation_omega(&self, program: &Program, unit: f64) -> Expression {
        let terms = program.bits.iter().flat_map(|(&layer, variables)| {
            let omegas = self.layers[layer].activations.iter().flatten();
            omegas.zip(variables).map(move |(omega, variable)| omega / unit * *variable)
        });
        terms.sum()
    }

    fn read(&self, solution: &impl Solution, Program { bits, ways }: &Program) -> Allocation {
        let chosen = |variable: &Variable| solution.value(*variable) > 0.5;
        let mut allocation = Allocation { plan: BitPlan::default(), omega: 0.0, cost: 0.0, gap: None };
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

impl Program {
    fn sum(&self, of: impl Fn(&Way) -> f64) -> Expression {
        self.ways.iter().flatten().map(|(way, variable)| of(way) * *variable).sum()
    }

    /// The largest number of a way, or 1.
    fn unit(&self, of: impl Fn(&Way) -> f64) -> f64 {
        let largest = self.ways.iter().flatten().map(|(way, _)| of(way)).fold(0.0, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }
}

#[cfg(test)]
mod tests;
