//! From a budget to a plan whose own forecast keeps it.

use eqo_checkpoints::cost::{LAN, WAN};
use eqo_checkpoints::plan::BitPlan;
use eqo_train::recipe::{Measure, PlanSection};

use crate::Error;
use crate::allocate::{Allocation, Goal, Problem};
use crate::plan_report::Judged;
use crate::price::Price;

/// Programmes solved for one budget, at most.
const SOLVED: usize = 8;

/// What a plan is chosen by.
pub struct Choice<'a> {
    /// All that can be chosen.
    pub problem: &'a Problem<'a>,
    /// The forecast of a plan: the last word on its cost.
    pub forecast: &'a dyn Fn(&BitPlan) -> Result<Price, Error>,
    /// The plan of `[bits]`.
    pub uniform: (&'a BitPlan, Judged),
}

/// A chosen plan.
pub struct Chosen {
    /// The plan.
    pub plan: BitPlan,
    /// The budget it keeps, if there is one.
    pub budget: Option<f64>,
    /// [`Allocation::gap`] of its programme; none for the uniform plan too.
    pub gap: Option<f64>,
}

impl Choice<'_> {
    /// The plan that `section` asks for.
    ///
    /// # Errors
    /// [`Error::Allocation`] if there is none.
    pub fn of(&self, section: &PlanSection) -> Result<Chosen, Error> {
        if section.sensitivity > 0.0 {
            let omega = self.uniform.1.omega.ok_or_else(|| Error::Allocation {
                expected: "a uniform plan of algorithms in plan.algorithms".to_owned(),
                found: "another one in [bits]".to_owned(),
                next: "add it to plan.algorithms, or give plan.budget instead of plan.sensitivity",
            })?;
            let Allocation { plan, gap, .. } = self.problem.solve(Goal::Cost(section.sensitivity * omega))?;
            return Ok(Chosen { plan, budget: None, gap });
        }
        let budget = if section.budget > 0.0 { section.budget } else { self.uniform.1.cost };
        let (plan, gap) = self.within(budget)?;
        Ok(Chosen { plan, budget: Some(budget), gap })
    }

    /// The best plan found whose forecast is within the budget, the uniform one among them. Prices don't quite add up to
    /// forecasts, so the programme is solved for more or less until one is just within.
    fn within(&self, budget: f64) -> Result<(BitPlan, Option<f64>), Error> {
        let (uniform, judged) = self.uniform;
        let mut best = Some((judged.omega.unwrap_or(f64::INFINITY), uniform.clone(), None));
        best = best.filter(|_| judged.cost <= budget);
        let (mut enough, mut too_much) = (0.0, f64::INFINITY);
        let (mut allowed, mut refused) = (budget, None);
        for _ in 0..SOLVED {
            match self.problem.solve(Goal::Sensitivity(allowed)) {
                Err(error @ Error::Allocation { .. }) => {
                    refused = Some(error);
                    enough = allowed;
                }
                Err(error) => return Err(error),
                Ok(found) => {
                    if (self.problem.cost)(&(self.forecast)(&found.plan)?) > budget {
                        too_much = allowed;
                    } else {
                        enough = allowed;
                        let better = best.as_ref().is_none_or(|(omega, ..)| found.omega < *omega);
                        best = if better { Some((found.omega, found.plan, found.gap)) } else { best };
                    }
                }
            }
            // Prices are within some percent of forecasts.
            allowed = match (enough > 0.0, too_much.is_finite()) {
                (true, true) => (enough + too_much) / 2.0,
                (true, false) => allowed * 1.02,
                _ => allowed * 0.97,
            };
        }
        let nothing = || Error::Allocation {
            expected: format!("a plan of at most {budget:.6}"),
            found: format!("a uniform plan of {:.6} and none that costs so little", judged.cost),
            next: "raise plan.budget, or offer fewer bits in plan.weight_bits and plan.act_bits",
        };
        best.map(|(_, plan, gap)| (plan, gap)).ok_or_else(|| refused.unwrap_or_else(nothing))
    }
}

/// A price in the measure of a budget.
pub fn measure(measure: Measure) -> impl Fn(&Price) -> f64 {
    move |price| match measure {
        Measure::Total => price.total() / 1e6,
        Measure::Online => price.online / 1e6,
        Measure::Lan => price.seconds(&LAN),
        Measure::Wan => price.seconds(&WAN),
    }
}

/// What a measure counts.
pub fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Total => "MB",
        Measure::Online => "MB online",
        Measure::Lan => "s (LAN)",
        Measure::Wan => "s (WAN)",
    }
}
