//! How a request for random OTs is met: which messages cross, in which order, and what comes out.
//!
//! A pure function of the kind, of the seeds that Ferret has kept back, and of the request, so that the two parties and the cost
//! model agree without a word.

use super::{EXTENSION_CHUNK, LpnSet, OtKind, extension_bytes, prepared};

/// The random OTs of one direction as far as both parties know them without looking at one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension {
    kind: OtKind,
    /// OTs that Ferret keeps back to start its next iteration.
    seeds: u64,
}

/// One iteration of Ferret: it takes its seeds from those kept back and makes [`LpnSet::outputs`], of which it sets aside so many
/// that `seeds_after` are kept back again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Iteration {
    /// The LPN instance.
    pub set: LpnSet,
    /// OTs kept back once it is done.
    pub seeds_after: u64,
}

/// How one request is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    kind: OtKind,
    /// OTs that SoftSpoken makes first: the request itself, or Ferret's first seeds.
    pub soft_spoken: u64,
    /// Then Ferret's iterations in order, and how many times each runs: a step up, bulk, the rest.
    pub iterations: [(Iteration, u64); 3],
    /// OTs that join the stock; at least the request.
    pub made: u64,
    /// OTs kept back in the end.
    pub seeds: u64,
}

const NO_ITERATION: (Iteration, u64) = (Iteration { set: LpnSet::SMALLEST, seeds_after: 0 }, 0);

impl Extension {
    /// Nothing made yet.
    pub fn new(kind: OtKind) -> Self {
        Self { kind, seeds: 0 }
    }

    /// Meets a request for `count` OTs; none need nothing.
    ///
    /// SoftSpoken makes `count` rounded up to a multiple of 128. Ferret makes its first seeds, an iteration that fills up
    /// the seeds for larger ones if those are worth it, as many of the largest set as fit, and the smallest set that covers the
    /// rest.
    pub fn plan(&mut self, count: u64) -> Plan {
        let mut plan = Plan {
            kind: self.kind,
            soft_spoken: 0,
            iterations: [NO_ITERATION; 3],
            made: 0,
            seeds: self.seeds,
        };
        if count > 0 && self.kind == OtKind::Ferret {
            plan.run_ferret(count);
            self.seeds = plan.seeds;
        } else {
            (plan.soft_spoken, plan.made) = (prepared(count), prepared(count));
        }
        plan
    }
}

impl Plan {
    fn run_ferret(&mut self, count: u64) {
        if LpnSet::affordable(self.seeds).is_none() {
            self.soft_spoken = prepared(LpnSet::SMALLEST.seeds());
            self.seeds += self.soft_spoken;
        }
        let target = LpnSet::for_shortage(count);
        let start = LpnSet::affordable(self.seeds).unwrap_or(LpnSet::SMALLEST);
        if start.seeds() < target.seeds() {
            self.run(0, start, 1, target.seeds());
        }
        let rest = count.saturating_sub(self.made);
        self.run(1, LpnSet::LARGEST, rest / LpnSet::LARGEST.gain(), self.seeds);
        let rest = count.saturating_sub(self.made);
        self.run(2, LpnSet::for_shortage(rest), u64::from(rest > 0), self.seeds);
    }

    /// Adds `times` iterations after which `seeds` OTs are kept back, at least as many as before.
    fn run(&mut self, index: usize, set: LpnSet, times: u64, seeds: u64) {
        if times == 0 {
            return;
        }
        self.iterations[index] = (Iteration { set, seeds_after: seeds }, times);
        let made = times.saturating_mul(set.gain()) - (seeds - self.seeds);
        self.made = self.made.saturating_add(made);
        self.seeds = seeds;
    }

    /// The messages from receiver to sender, which all cross those of the other direction: payload bytes, and how many
    /// have that length. Whole chunks of SoftSpoken come first, then what is left (nothing, if that is 0 bytes long).
    pub const fn from_receiver(&self) -> [(u64, u64); 2] {
        let (whole, rest) = (self.soft_spoken / EXTENSION_CHUNK, self.soft_spoken % EXTENSION_CHUNK);
        [(extension_bytes(self.kind, EXTENSION_CHUNK), whole), (extension_bytes(self.kind, rest), 1)]
    }

    /// The messages from sender to receiver, after those of [`from_receiver`](Self::from_receiver); they too cross those of
    /// the other direction. Payload bytes, and how many have that length.
    pub fn from_sender(&self) -> [(u64, u64); 3] {
        self.iterations.map(|(iteration, times)| (iteration.set.message_bytes(), times))
    }

    /// The iterations one by one.
    pub fn each_iteration(&self) -> impl Iterator<Item = Iteration> + use<> {
        self.iterations.into_iter().flat_map(|(iteration, times)| (0..times).map(move |_| iteration))
    }

    /// Blocks by which the stock is at most longer than before while the plan is carried out.
    pub const fn room(&self) -> u64 {
        self.made.saturating_add(self.seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(plan: &Plan) -> Vec<u64> {
        plan.each_iteration().map(|iteration| iteration.set.outputs()).collect()
    }

    const GAINS: [u64; 3] = [LpnSet::ALL[0].gain(), LpnSet::ALL[1].gain(), LpnSet::ALL[2].gain()];

    #[test]
    fn every_plan_makes_what_was_asked_and_balances_its_books() {
        for kind in OtKind::ALL {
            let mut extension = Extension::new(kind);
            let mut seeds = 0;
            for count in [0, 1, 1, 796_365, 100, 2_252_219, 1, 5_945_537, 30_000_000, 7, 0, 1 << 40] {
                let plan = extension.plan(count);
                assert!(plan.made >= count, "{kind:?} {count}");
                let iterated: u64 = plan.iterations.iter().map(|(it, times)| it.set.gain() * times).sum();
                if kind == OtKind::Ferret {
                    assert_eq!(seeds + plan.soft_spoken + iterated, plan.made + plan.seeds, "{count}");
                } else {
                    assert_eq!((plan.made, plan.seeds, iterated), (plan.soft_spoken, 0, 0));
                }
                seeds = plan.seeds;
            }
        }
    }

    #[test]
    fn no_iteration_starts_without_its_seeds() {
        for counts in [[1, 1, 1], [3_000_000, 1, 20_000_000], [20_000_000, 1, 6_000_000], [1, 6_000_000, 1]] {
            let mut extension = Extension::new(OtKind::Ferret);
            let mut seeds = 0;
            for count in counts {
                let plan = extension.plan(count);
                seeds += plan.soft_spoken;
                for iteration in plan.each_iteration() {
                    assert!(iteration.set.seeds() <= seeds && iteration.seeds_after >= seeds);
                    seeds = iteration.seeds_after;
                }
                assert_eq!(seeds, plan.seeds);
            }
        }
    }

    #[test]
    fn the_set_follows_the_request() {
        let mut extension = Extension::new(OtKind::Ferret);
        let [small, middle, large] = LpnSet::ALL.map(LpnSet::outputs);
        let first = extension.plan(1);
        assert_eq!((first.soft_spoken, sizes(&first)), (74_112, vec![small]));
        assert_eq!(first.from_receiver(), [(15 * EXTENSION_CHUNK / 8, 4), (15 * 8576 / 8, 1)]);
        assert_eq!(sizes(&extension.plan(GAINS[0])), [small]);
        assert_eq!(sizes(&extension.plan(GAINS[0] + 1)), [small, small], "the step up was nearly enough");
        assert_eq!(sizes(&extension.plan(GAINS[1])), [middle]);
        assert_eq!(sizes(&extension.plan(GAINS[2])), [middle, large]);
        assert_eq!(sizes(&extension.plan(2 * GAINS[2] + 1)), [large, large, small]);
        assert_eq!(sizes(&extension.plan(1)), [small]);
        assert!(extension.plan(0).each_iteration().next().is_none());
    }

    #[test]
    fn requests_of_four_million_cost_less_than_half_a_bit_an_ot() {
        let mut extension = Extension::new(OtKind::Ferret);
        let (mut stock, request) = (0, 1 << 22);
        let bytes =
            |payloads: &[(u64, u64)]| payloads.iter().map(|(bytes, times)| bytes * times).sum::<u64>();
        let mut spent = Vec::new();
        for _ in 0..17 {
            let plan = extension.plan(request - stock.min(request));
            stock = stock + plan.made - request;
            spent.push(bytes(&plan.from_receiver()) + bytes(&plan.from_sender()));
        }
        assert_eq!(spent[0], 138_960 + 122_400 + 267_520);
        let later: u64 = spent[1..].iter().sum();
        assert!(8 * later * 2 < 16 * request, "{later} bytes for 16 requests");
    }

    #[test]
    fn requests_beyond_all_counting_saturate() {
        for kind in OtKind::ALL {
            let mut extension = Extension::new(kind);
            for count in [u64::MAX, u64::MAX - 1, 1] {
                assert!(extension.plan(count).made >= count / 128 * 128);
            }
        }
    }
}
