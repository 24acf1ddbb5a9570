//! Learning rate as a pure function of the step, so that resuming needs no state.

use std::f64::consts::PI;

use super::FitConfig;

/// Rate of step `step` (from 0): linear warm-up to the peak, then half a cosine to `min_learning_rate` of it.
pub(super) fn learning_rate(config: &FitConfig, step: usize) -> f64 {
    if step < config.warmup_steps {
        return config.learning_rate * (step + 1) as f64 / (config.warmup_steps + 1) as f64;
    }
    let decay_steps = config.steps.saturating_sub(config.warmup_steps).max(1);
    let done = (step - config.warmup_steps) as f64 / decay_steps as f64;
    let cosine = 0.5 * (1.0 + (PI * done.min(1.0)).cos());
    config.learning_rate * (config.min_learning_rate + (1.0 - config.min_learning_rate) * cosine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::tests::config;

    #[test]
    fn it_rises_in_equal_parts_peaks_once_and_falls_to_zero() {
        let config = FitConfig { steps: 110, warmup_steps: 9, learning_rate: 0.4, ..config() };
        let rates: Vec<f64> = (0..=110).map(|step| learning_rate(&config, step)).collect();
        assert!((rates[0] - 0.04).abs() < 1e-12 && (rates[8] - 0.36).abs() < 1e-12);
        assert!((rates[9] - 0.4).abs() < 1e-12);
        assert!(rates[9..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[109] > 0.0 && rates[110].abs() < 1e-12);
    }

    #[test]
    fn half_way_through_the_decay_the_rate_is_half() {
        let config = FitConfig { steps: 100, warmup_steps: 0, learning_rate: 1.0, ..config() };
        assert!((learning_rate(&config, 0) - 1.0).abs() < 1e-12);
        assert!((learning_rate(&config, 50) - 0.5).abs() < 1e-12);
    }

    /// Warm-up to the peak P at step w in equal parts, then P·(f + (1 − f)·cos²(π/2 · (t − w)/(T − w))).
    #[test]
    fn every_step_is_that_of_the_closed_form() {
        for (steps, warmup_steps, floor) in [(50, 7, 0.0), (50, 0, 0.1), (21, 20, 0.5), (10, 3, 1.0)] {
            let config =
                FitConfig { steps, warmup_steps, learning_rate: 0.3, min_learning_rate: floor, ..config() };
            for step in 0..=steps {
                let want = match step.checked_sub(warmup_steps) {
                    None => 0.3 * (step as f64 + 1.0) / (warmup_steps as f64 + 1.0),
                    Some(after) => {
                        let quarter = PI / 2.0 * after as f64 / (steps - warmup_steps) as f64;
                        0.3 * (floor + (1.0 - floor) * quarter.cos().powi(2))
                    }
                };
                assert!((learning_rate(&config, step) - want).abs() < 1e-12, "{steps} {step}");
            }
        }
    }

    #[test]
    fn a_warm_up_longer_than_the_run_stays_finite() {
        let config = FitConfig { steps: 3, warmup_steps: 10, ..config() };
        assert!((0..12).all(|step| learning_rate(&config, step).is_finite()));
    }
}
