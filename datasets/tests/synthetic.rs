//! The synthetic set: reproducible to the byte, balanced, and out of reach of a linear classifier.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use eqo_datasets::{Dataset, Normalization, synthetic};
use sha2::{Digest, Sha256};

fn digest(dataset: &Dataset) -> String {
    Sha256::digest(dataset.pixels()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_seed_gives_the_same_bytes_on_every_machine() {
    assert_eq!(
        digest(&synthetic::generate(42, 200)),
        "57dafc7668dc136b5fd6594be4242e988fd2124b5edfdf80fef1368cb7d29ee5"
    );
    assert_ne!(synthetic::generate(42, 20), synthetic::generate(43, 20));
}

#[test]
fn a_longer_set_starts_with_the_shorter_one_and_every_prefix_is_balanced() {
    let (short, long) = (synthetic::generate(1, 30), synthetic::generate(1, 50));
    assert_eq!(short, long.subset(&(0..30).collect::<Vec<_>>()));
    assert_eq!(long.class_sizes(), [5; 10]);
    assert!(synthetic::generate(1, 0).is_empty());
}

#[test]
fn normalization_is_close_to_the_statistics_of_the_set() {
    let dataset = synthetic::generate(5, 500);
    let inputs: Vec<f64> = (0..dataset.len())
        .flat_map(|i| {
            Normalization::SYNTHETIC.float_input(dataset.image(i)).map(f64::from).collect::<Vec<_>>()
        })
        .collect();
    let count = inputs.len() as f64;
    let mean = inputs.iter().sum::<f64>() / count;
    let square = inputs.iter().map(|x| x * x).sum::<f64>() / count;
    assert!(mean.abs() < 0.1 && (0.8..1.25).contains(&square.sqrt()), "mean {mean}, rms {}", square.sqrt());
}

/// Softmax regression on pixels, trained by SGD: weights `[class][input + bias]`.
struct Softmax(Vec<Vec<f32>>);

impl Softmax {
    fn scores(&self, input: &[f32]) -> Vec<f32> {
        self.0.iter().map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum()).collect()
    }

    fn step(&mut self, input: &[f32], label: usize, rate: f32) {
        let scores = self.scores(input);
        let most = scores.iter().copied().fold(f32::MIN, f32::max);
        let exps: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let total: f32 = exps.iter().sum();
        for (class, row) in self.0.iter_mut().enumerate() {
            let error = exps[class] / total - f32::from(u8::from(class == label));
            row.iter_mut().zip(input).for_each(|(w, x)| *w -= rate * error * x);
        }
    }

    fn accuracy(&self, inputs: &[Vec<f32>], labels: &[u16]) -> f64 {
        let best =
            |scores: Vec<f32>| (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        let right = inputs.iter().zip(labels).filter(|(x, y)| best(self.scores(x)) == usize::from(**y));
        right.count() as f64 / labels.len() as f64
    }
}

#[test]
fn softmax_regression_on_pixels_stays_far_below_a_usable_accuracy() {
    let dataset = synthetic::generate(9, 5_000);
    let input = |i| Normalization::SYNTHETIC.float_input(dataset.image(i)).chain([1.0]).collect::<Vec<f32>>();
    let inputs: Vec<Vec<f32>> = (0..dataset.len()).map(input).collect();
    let (train, held_out) = inputs.split_at(4_000);
    let (train_labels, held_out_labels) = dataset.labels().split_at(4_000);
    let mut model = Softmax(vec![vec![0.0; inputs[0].len()]; dataset.classes().len()]);
    for epoch in 0..8 {
        let rate = 1e-4 / (1.0 + epoch as f32);
        train.iter().zip(train_labels).for_each(|(x, &y)| model.step(x, usize::from(y), rate));
    }
    let (fitted, found) = (model.accuracy(train, train_labels), model.accuracy(held_out, held_out_labels));
    println!("softmax regression: train {fitted:.3}, held out {found:.3}");
    assert!(fitted > 0.2, "the classifier must have learned something to prove anything: {fitted}");
    assert!(found < 0.35, "held out {found}");
}
