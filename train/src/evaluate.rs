//! Accuracy of a network over a dataset.

use burn::tensor::Device;
use eqo_datasets::Dataset;

use crate::classifier::Classifier;
use crate::{Result, pixels};

/// Images evaluated at once: large enough to fill the cores, small enough for the caches.
const BATCH: usize = 100;

/// How many images a network labels correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Correctly labelled images.
    pub correct: usize,
    /// All images.
    pub total: usize,
}

impl Score {
    /// Correct over all, 0 to 1.
    pub fn accuracy(self) -> f64 {
        self.correct as f64 / self.total.max(1) as f64
    }
}

/// Counts the images whose largest logit is their label's (the first of equal ones).
///
/// `net` should live on `device` without automatic differentiation (`net.valid()`), or batch normalization trains.
/// `progress` gets (images done, images in all) after each batch.
///
/// # Errors
/// [`crate::Error::Data`] if the images don't have the network's size.
pub fn evaluate(
    net: &impl Classifier,
    dataset: &Dataset,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Score> {
    pixels::check_size(dataset, net.image_shape())?;
    let size = [dataset.height(), dataset.width()];
    let each = dataset.pixels().len() / dataset.len();
    let mut score = Score { correct: 0, total: 0 };
    for (batch, labels) in dataset.pixels().chunks(BATCH * each).zip(dataset.labels().chunks(BATCH)) {
        let logits = net.logits(pixels::to_tensor(batch, size, device));
        let predicted = logits.argmax(1).into_data();
        let hits = predicted.iter::<i64>().zip(labels).filter(|&(class, &label)| class == i64::from(label));
        score.correct += hits.count();
        score.total += labels.len();
        progress(score.total, dataset.len());
    }
    Ok(score)
}
