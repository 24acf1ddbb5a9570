//! The search for a learning rate: one short run whose rate rises exponentially (Smith 2017, §3.3).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use eqo_datasets::Dataset;

use super::learner::Learner;
use super::loader::{Order, Source};
use super::{FitConfig, Task, Teacher};
use crate::import::write_then_rename;
use crate::layers::Layers;
use crate::{Result, pixels};

/// Weight of the past in the smoothed loss.
const SMOOTHING: f64 = 0.95;
/// The sweep ends where the smoothed loss is this many times its minimum.
const DIVERGED: f64 = 4.0;
/// First points that are too noisy to judge by.
const NOISY: usize = 10;

/// A sweep to run: settings as of [`super::fit`], of which steps, schedule and average don't matter.
pub struct LrFind<'a> {
    /// As of [`super::fit`].
    pub teacher: Option<Teacher<'a>>,
    /// Training images.
    pub images: &'a Dataset,
    /// Optimizer, batch size, augmentation, loss.
    pub config: &'a FitConfig,
    /// First and last learning rate.
    pub range: [f64; 2],
    /// Steps from the first to the last, at least 2.
    pub steps: usize,
}

/// Loss over learning rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// In the order of the sweep, which ends early where the loss diverges.
    pub points: Vec<Point>,
}

/// One step of the sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its learning rate.
    pub learning_rate: f64,
    /// Its loss, before the update.
    pub loss: f64,
    /// Mean of the losses up to it, the past fading by 0.95 a step.
    pub smoothed: f64,
}

/// Learning rates to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// Where the smoothed loss falls fastest over the logarithm of the rate.
    pub steepest: f64,
    /// A tenth of the rate with the lowest smoothed loss.
    pub tenth_of_minimum: f64,
}

impl LrFind<'_> {
    /// Runs the sweep on a copy of `net`; `progress` gets (steps done, steps in all). Stops early once `stop` is true.
    ///
    /// # Errors
    /// [`crate::Error::Config`] or [`crate::Error::Data`]; never because the loss diverges, which is how a sweep ends.
    pub fn run<N: Layers>(
        &self,
        net: &N,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Curve> {
        let Self { teacher, images, config, .. } = *self;
        config.check(images, teacher.is_some())?;
        pixels::check_size(images, net.image_shape())?;
        let mut learner = Learner::new(Task { teacher, images, validation: None, config }, net)?;
        let order = Order::new(images.len(), config.batch_size, config.seed);
        let source = Source { images, order, augment: config.augment };
        thread::scope(|scope| {
            let mut curve = Curve::default();
            for (step, batch) in source.prefetch(scope, 0..self.steps).enumerate() {
                let rate = self.rate(step);
                let Ok(stepped) = learner.step(&batch, rate)? else { break };
                curve.push(rate, f64::from(stepped.loss));
                progress(step + 1, self.steps);
                if stop.load(Ordering::Relaxed) || curve.has_diverged() {
                    break;
                }
            }
            Ok(curve)
        })
    }

    /// From the first to the last rate in equal factors.
    fn rate(&self, step: usize) -> f64 {
        let [first, last] = self.range;
        first * (last / first).powf(step as f64 / (self.steps.max(2) - 1) as f64)
    }
}

impl Curve {
    fn push(&mut self, learning_rate: f64, loss: f64) {
        // The mean so far with its bias towards the start taken out (Kingma and Ba 2015, §3).
        let weight = |steps: usize| 1.0 - SMOOTHING.powi(steps as i32);
        let before = self.points.last().map_or(0.0, |point| point.smoothed) * weight(self.points.len());
        let sum = SMOOTHING * before + (1.0 - SMOOTHING) * loss;
        let smoothed = sum / weight(self.points.len() + 1);
        self.points.push(Point { learning_rate, loss, smoothed });
    }

    fn has_diverged(&self) -> bool {
        let lowest = self.points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
        self.points.len() > NOISY
            && self
                .points
                .last()
                .is_some_and(|last| !last.loss.is_finite() || last.smoothed > DIVERGED * lowest)
    }

    /// What to try; `None` if the loss doesn't fall anywhere past the first points.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let judged = self.points.get(NOISY..)?;
        let lowest = (0..judged.len()).min_by(|&a, &b| judged[a].smoothed.total_cmp(&judged[b].smoothed))?;
        let slope = |pair: &[Point]| {
            (pair[2].smoothed - pair[0].smoothed) / (pair[2].learning_rate / pair[0].learning_rate).ln()
        };
        let falling = judged[..=lowest].windows(3).map(|triple| (slope(triple), triple[1].learning_rate));
        let (steepest_slope, steepest) = falling.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let tenth_of_minimum = judged[lowest].learning_rate / 10.0;
        (steepest_slope < 0.0).then_some(Suggestion { steepest, tenth_of_minimum })
    }

    /// Writes `learning_rate,loss,smoothed_loss`, a row for each point.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let row = |p: &Point| format!("{},{},{}\n", p.learning_rate, p.loss, p.smoothed);
        let rows: String = self.points.iter().map(row).collect();
        write_then_rename(path, format!("learning_rate,loss,smoothed_loss\n{rows}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use eqo_datasets::{Normalization, synthetic};

    use super::*;
    use crate::classifier::Classifier;
    use crate::fit::Augment;
    use crate::fit::tests::{config, net};

    fn curve(loss: impl Fn(f64) -> f64) -> Curve {
        let mut curve = Curve::default();
        for step in 0..200 {
            let rate = 1e-6 * 1e6_f64.powf(f64::from(step) / 199.0);
            curve.push(rate, loss(rate));
        }
        curve
    }

    #[test]
    fn smoothing_is_the_fading_mean_without_its_bias() {
        let found = curve(|rate| 3.0 + rate);
        let losses: Vec<f64> = found.points.iter().map(|point| point.loss).collect();
        for last in [0, 1, 7, 199] {
            let weights: Vec<f64> = (0..=last).map(|step| SMOOTHING.powi((last - step) as i32)).collect();
            let sum: f64 = weights.iter().zip(&losses).map(|(weight, loss)| weight * loss).sum();
            let want = sum / weights.iter().sum::<f64>();
            assert!((found.points[last].smoothed - want).abs() < 1e-9);
        }
    }

    #[test]
    fn the_suggestion_lies_in_the_slope_of_a_loss_that_falls_and_rises() {
        // Falls around 1e-3, is lowest near 1e-2, and rises from 1e-1.
        let found = curve(|rate| 2.0 / (1.0 + rate / 1e-3) + (rate / 0.1).powi(2)).suggestion().unwrap();
        assert!((3e-4..1e-2).contains(&found.steepest), "{found:?}");
        assert!((1e-3..1e-2).contains(&found.tenth_of_minimum), "{found:?}");
        assert!(found.steepest < 10.0 * found.tenth_of_minimum);
        assert_eq!(curve(|rate| 1.0 + rate).suggestion(), None);
        assert_eq!(Curve::default().suggestion(), None);
    }

    #[test]
    fn a_sweep_rises_exponentially_ends_when_the_loss_explodes_and_leaves_the_network_alone() {
        let dir = tempfile::tempdir().unwrap();
        let images = synthetic::generate(2, 40);
        let augment = Augment { crop: 0, flip: false, ..Augment::new(0, false, &Normalization::SYNTHETIC) };
        let config = FitConfig { augment, out_dir: dir.path().join("none"), ..config() };
        let find = LrFind { teacher: None, images: &images, config: &config, range: [1e-5, 1e4], steps: 90 };
        let (net, stop) = (net(1), AtomicBool::new(false));
        let before = net.to_tensors();
        let curve = find.run(&net, &stop, &mut |_, _| ()).unwrap();
        assert!((NOISY..90).contains(&curve.points.len()), "{}", curve.points.len());
        assert!(
            (curve.points[1].learning_rate / curve.points[0].learning_rate).ln() - 1e9_f64.ln() / 89.0 < 1e-9
        );
        assert_eq!(net.to_tensors(), before);
        assert!(!config.out_dir.exists() && !Device::flex().is_autodiff());
        let path = dir.path().join("lr_find.csv");
        curve.write_csv(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), curve.points.len() + 1);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(find.run(&net, &stop, &mut |_, _| ()).unwrap().points.len(), 1);
    }
}
