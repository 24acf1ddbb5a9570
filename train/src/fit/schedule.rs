//! Learning rate as a pure function of the step, so that resuming needs no state.

use std::f64::consts::PI;

use super::FitConfig;

/// Rate of step `step` (from 0): linear warm-up to the peak, then half a cosine to 0.
pub(super) fn learning_rate(config: &FitConfig, step: usize) -> f64 {
    if step < config.warmup_steps {
        return config.learning_rate * (step + 1) as f64 / (config.warmup_steps + 1) as f64;
    }
    let decay_steps = config.steps.saturating_sub(config.warmup_steps).max(1);
    let done = (step - config.warmup_steps) as f64 / decay_steps as f64;
    config.learning_rate * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
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

    #[test]
    fn a_warm_up_longer_than_the_run_stays_finite() {
        let config = FitConfig { steps: 3, warmup_steps: 10, ..config() };
        assert!((0..12).all(|step| learning_rate(&config, step).is_finite()));
    }
}
