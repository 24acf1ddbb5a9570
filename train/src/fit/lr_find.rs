//! The search for a learning rate: one short run whose rate rises exponentially (Smith 2017, §3.3).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use eqo_datasets::Dataset;

use super::learner::Learner;
use super::loader::{Order, Source};
use super::{FitConfig, Task, Teacher};
use crate::Result;
use crate::import::write_then_rename;
use crate::layers::Layers;

/// Weight of a loss in the smoothed loss of the next point, on both sides: one side alone would lag behind the rate.
const FADING: f64 = 0.9;
/// The sweep ends where the smoothed loss so far is this many times its minimum.
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
    /// Mean of all losses, fading by 0.9 a point to both sides.
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

impl Suggestion {
    /// The smaller of the two: a rate that is too low costs time, one that is too high costs the run.
    pub fn cautious(&self) -> f64 {
        self.steepest.min(self.tenth_of_minimum)
    }
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
        let [_, height, width] = net.image_shape();
        config.augment.check_size(images, net.image_shape())?;
        let mut learner =
            Learner::new(Task { teacher, images, validation: None, config, project: None }, net)?;
        let order = Order::new(images.len(), config.batch_size, config.seed);
        let source = Source { images, order, augment: config.augment, size: [height, width] };
        thread::scope(|scope| {
            let (mut curve, mut lowest) = (Curve::default(), f64::INFINITY);
            for (step, batch) in source.prefetch(scope, 0..self.steps).enumerate() {
                let rate = self.rate(step);
                let Ok(stepped) = learner.step(&batch, rate)? else { break };
                curve.push(rate, f64::from(stepped.loss));
                progress(step + 1, self.steps);
                let smoothed = curve.smoothed(step);
                lowest = smoothed.min(lowest);
                if stop.load(Ordering::Relaxed) || (step >= NOISY && smoothed > DIVERGED * lowest) {
                    break;
                }
            }
            Ok(curve.finished())
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
        self.points.push(Point { learning_rate, loss, smoothed: loss });
    }

    /// Of the losses so far.
    fn smoothed(&self, at: usize) -> f64 {
        let weights = (0..self.points.len()).map(|other| FADING.powi(other.abs_diff(at) as i32));
        let sum: f64 = weights.clone().zip(&self.points).map(|(weight, point)| weight * point.loss).sum();
        sum / weights.sum::<f64>()
    }

    fn finished(mut self) -> Self {
        let smoothed: Vec<f64> = (0..self.points.len()).map(|at| self.smoothed(at)).collect();
        self.points.iter_mut().zip(smoothed).for_each(|(point, smoothed)| point.smoothed = smoothed);
        self
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
        curve.finished()
    }

    /// A straight line over the step stays one away from the ends: no lag.
    #[test]
    fn smoothing_does_not_lag_behind_the_rate() {
        let found = curve(|rate| 20.0 - rate.log10());
        for point in &found.points[80..120] {
            assert!((point.smoothed - point.loss).abs() < 1e-3, "{point:?}");
        }
        let (first, total): (f64, f64) = (0..200).fold((0.0, 0.0), |(sum, total), at| {
            let weight = FADING.powi(at);
            (sum + weight * found.points[at as usize].loss, total + weight)
        });
        assert!((found.points[0].smoothed - first / total).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_lies_in_the_slope_of_a_loss_that_falls_and_rises() {
        // Falls around 1e-3, is lowest near 1e-2, and rises from 1e-1.
        let found = curve(|rate| 2.0 / (1.0 + rate / 1e-3) + (rate / 0.1).powi(2)).suggestion().unwrap();
        assert!((3e-4..1e-2).contains(&found.steepest), "{found:?}");
        assert!((5e-4..1e-2).contains(&found.tenth_of_minimum), "{found:?}");
        assert_eq!(found.cautious(), found.steepest.min(found.tenth_of_minimum));
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
