//! Which of a run's networks is kept, and when validation says to stop.

use crate::evaluate::Score;
use crate::tensors::NamedTensors;

/// The validation with the highest accuracy, the earliest of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// Optimizer steps done before it.
    pub step: usize,
    /// What it scored.
    pub score: Score,
}

/// The best network so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    pub(super) best: Option<(Best, NamedTensors)>,
    /// Validations since.
    pub(super) stale: usize,
}

impl Selection {
    /// Takes note of a validation after `step` steps; true if the network is the best one now.
    pub(super) fn consider(
        &mut self,
        step: usize,
        score: Score,
        tensors: impl FnOnce() -> NamedTensors,
    ) -> bool {
        let better = self.best.as_ref().is_none_or(|(best, _)| score.correct > best.score.correct);
        if better {
            *self = Self { best: Some((Best { step, score }, tensors())), stale: 0 };
        } else {
            self.stale += 1;
        }
        better
    }

    pub(super) fn best(&self) -> Option<Best> {
        self.best.as_ref().map(|(best, _)| *best)
    }

    /// Whether `patience` validations in a row brought nothing better; never for 0.
    pub(super) fn is_exhausted(&self, patience: usize) -> bool {
        patience > 0 && self.stale >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best_is_kept_and_patience_counts_from_it() {
        let mut selection = Selection::default();
        let verdicts: Vec<(bool, bool)> = [3, 5, 5, 4, 6, 6, 1, 2]
            .into_iter()
            .enumerate()
            .map(|(step, correct)| {
                let better = selection.consider(step, Score { correct, total: 9 }, NamedTensors::new);
                (better, selection.is_exhausted(3))
            })
            .collect();
        let better: Vec<bool> = verdicts.iter().map(|verdict| verdict.0).collect();
        assert_eq!(better, [true, true, false, false, true, false, false, false]);
        assert_eq!(verdicts.iter().position(|verdict| verdict.1), Some(7));
        assert_eq!(selection.best(), Some(Best { step: 4, score: Score { correct: 6, total: 9 } }));
        assert!(!selection.is_exhausted(0));
    }
}
