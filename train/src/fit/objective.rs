//! The loss of a batch: cross entropy, and distillation from a teacher.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use super::Distill;
use crate::Result;
use crate::classifier::check_labels;

/// Mean loss of a batch, and how many of its images have their label's logit largest.
pub(super) struct Objective {
    pub(super) loss: Tensor<1>,
    pub(super) correct: usize,
}

impl Objective {
    /// Cross entropy of `logits`, `[batch, classes]`, against `(1 − smoothing)·onehot + smoothing/classes`
    /// (Szegedy et al. 2016, §7; PyTorch's `label_smoothing`).
    ///
    /// # Errors
    /// [`crate::Error::Data`] for a label that has no logit.
    pub(super) fn cross_entropy(logits: &Tensor<2>, labels: &[u16], smoothing: f64) -> Result<Self> {
        let [batch, classes] = logits.dims();
        check_labels(labels, classes)?;
        let indices: Vec<i32> = labels.iter().map(|&label| i32::from(label)).collect();
        let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), &logits.device()).reshape([batch, 1]);
        let log_probabilities = log_softmax(logits.clone(), 1);
        let mut loss = log_probabilities.clone().gather(1, indices).mean().neg();
        if smoothing > 0.0 {
            loss = loss * (1.0 - smoothing) - log_probabilities.mean() * smoothing;
        }
        let predicted = logits.clone().argmax(1).into_data();
        let hits = predicted.iter::<i64>().zip(labels).filter(|&(class, &label)| class == i64::from(label));
        Ok(Self { loss, correct: hits.count() })
    }

    /// Adds `weight · T² · KL(teacher ‖ student)`; T² keeps the gradient's size independent of T.
    pub(super) fn distill(self, student: Tensor<2>, teacher: Tensor<2>, distill: Distill) -> Self {
        let soften = |logits: Tensor<2>| log_softmax(logits / distill.temperature, 1);
        let teacher = soften(teacher);
        let divergence = (teacher.clone().exp() * (teacher - soften(student))).sum_dim(1).mean();
        let factor = distill.weight * distill.temperature * distill.temperature;
        Self { loss: self.loss + divergence * factor, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn logits(values: [[f32; 3]; 2]) -> Tensor<2> {
        Tensor::<2>::from_floats(values, &Device::flex().autodiff()).require_grad()
    }

    fn scalar(tensor: &Tensor<1>) -> f32 {
        tensor.clone().into_scalar::<f32>()
    }

    #[test]
    fn cross_entropy_is_the_mean_negative_log_probability() {
        let objective =
            Objective::cross_entropy(&logits([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), &[1, 0], 0.0).unwrap();
        let expected = (3.0_f32.ln() - (2.0_f32.exp() / (2.0_f32.exp() + 2.0)).ln()) / 2.0;
        assert!((scalar(&objective.loss) - expected).abs() < 1e-6);
        assert_eq!(objective.correct, 1);
    }

    #[test]
    fn smoothed_cross_entropy_is_that_of_the_smoothed_target() {
        let values = [[0.3_f32, -1.0, 2.0], [1.0, 0.0, -1.0]];
        let smoothing = 0.3;
        let found = Objective::cross_entropy(&logits(values), &[2, 1], smoothing).unwrap();
        let mut want = 0.0;
        for (row, label) in values.iter().zip([2, 1]) {
            let log_sum = row.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln();
            for (class, &value) in row.iter().enumerate() {
                let target = smoothing / 3.0 + if class == label { 1.0 - smoothing } else { 0.0 };
                want -= target * (f64::from(value) - log_sum) / 2.0;
            }
        }
        assert!((f64::from(scalar(&found.loss)) - want).abs() < 1e-6);
    }

    #[test]
    fn a_label_without_a_logit_is_refused() {
        let error = Objective::cross_entropy(&logits([[0.0; 3]; 2]), &[1, 3], 0.0).err().unwrap().to_string();
        assert!(error.contains("below 3") && error.contains("found 3"), "{error}");
    }

    #[test]
    fn a_student_equal_to_its_teacher_costs_nothing_more() {
        let student = logits([[0.3, -1.0, 2.0], [1.0, 0.0, -1.0]]);
        let plain = Objective::cross_entropy(&student, &[0, 1], 0.0).unwrap();
        let before = scalar(&plain.loss);
        let distill = Distill { weight: 3.0, temperature: 2.0 };
        let both = plain.distill(student.clone(), student.inner().autodiff(), distill);
        assert!((scalar(&both.loss) - before).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_of_distillation_is_weight_times_temperature_times_the_difference_of_softened_probabilities()
     {
        let (student, teacher) =
            (logits([[0.3, -1.0, 2.0], [1.0, 0.0, -1.0]]), [[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]]);
        let distill = Distill { weight: 0.7, temperature: 4.0 };
        let zero = Objective { loss: Tensor::zeros([1], &student.device()), correct: 0 };
        let loss = zero.distill(student.clone(), logits(teacher).detach(), distill).loss;
        let gradient = student.grad(&loss.backward()).unwrap();
        let soft = |logits: Tensor<2>| burn::tensor::activation::softmax(logits / 4.0, 1);
        let expected = (soft(student.inner()) - soft(logits(teacher).inner())) * (0.7 * 4.0 / 2.0);
        let error: f32 = (gradient - expected).abs().max().into_scalar();
        assert!(error < 1e-6, "{error}");
    }
}
