//! From float weights to the integers of a program in fixed point.

use std::collections::BTreeMap;

use super::{MIXED_BITS, MIXED_FRACTION, UNIFORM_FRACTION, average_shift};
use crate::Error;
use crate::baseline::{Kind, LayerCodes, Products, Program, ProgramWeights, TensorId};

/// A program in fixed point with its scales.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedNetwork {
    /// What both parties run.
    pub program: Program,
    /// Of every operation with weights: fraction bits of weights and of bias.
    pub(super) scales: Vec<Option<[u32; 2]>>,
}

/// Float weights of a layer, batch normalization folded in.
#[derive(Clone, PartialEq, Default)]
pub struct FloatLayer {
    /// `[out][in][kernel][kernel]`.
    pub weights: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

impl FixedNetwork {
    /// The server's integers for float weights by layer name: rounded to their scales, out of range saturated.
    ///
    /// # Errors
    /// [`Error::Node`] for a layer that is missing or of another size.
    pub fn weights(&self, layers: &BTreeMap<String, FloatLayer>) -> Result<ProgramWeights, Error> {
        let each = self.program.ops.iter().zip(&self.scales).map(|(op, scales)| match (&op.kind, scales) {
            (Kind::Products(products), Some(scales)) => {
                let expected = products.out_channels * products.in_channels * products.kernel.pow(2);
                let layer = layers.get(&op.layer).filter(|layer| {
                    layer.weights.len() == expected && layer.bias.len() == products.out_channels
                });
                let next = "Give the folded weights of this architecture.";
                let layer = layer.ok_or_else(|| {
                    Error::node(&op.layer, "float weights", expected, "none of this size", next)
                })?;
                Ok(round(products, layer, *scales, self.division(products.input)))
            }
            _ => Ok(LayerCodes::default()),
        });
        Ok(ProgramWeights { layers: each.collect::<Result<_, _>>()? })
    }

    /// What the weights of a layer that reads this tensor are multiplied by, because it is a sum over a power of two.
    fn division(&self, input: TensorId) -> f32 {
        let pooled = |id: TensorId| match &self.program.ops[id].kind {
            Kind::SumPool { input } => {
                let shape = self.program.ops[*input].shape;
                Some((1_u64 << average_shift(shape)) as f32 / (shape[1] * shape[2]) as f32)
            }
            _ => None,
        };
        let before = match &self.program.ops[input].kind {
            Kind::TruncateReduce { input, .. } | Kind::Truncate { input, .. } => pooled(*input),
            _ => None,
        };
        before.unwrap_or(1.0)
    }

    /// Fraction bits of the logits.
    pub fn logit_fraction(&self) -> u32 {
        self.scales.iter().rev().flatten().next().map_or(0, |[_, fraction]| *fraction)
    }

    /// Fraction bits of the image.
    pub fn image_fraction(&self) -> u32 {
        let mixed = self.program.ops.first().is_some_and(|op| op.bits == MIXED_BITS);
        if mixed { MIXED_FRACTION } else { UNIFORM_FRACTION }
    }
}

fn round(
    products: &Products,
    layer: &FloatLayer,
    [fraction, bias_fraction]: [u32; 2],
    factor: f32,
) -> LayerCodes {
    let (outs, ins, area) = (products.out_channels, products.in_channels, products.kernel * products.kernel);
    let bits = products.code.exponents(0).len() as u32;
    let limit = (1_i64 << (bits - 1)) as f64;
    let scaled = |value: f64, fraction: u32| (value * (1_u64 << fraction) as f64).round();
    let coefficients = products.algorithm.transform().map(|transform| transform.kernel_coefficients());
    let mut codes = Vec::with_capacity(products.codes());
    for position in 0..products.positions() {
        for pair in 0..outs * ins {
            let kernel = &layer.weights[pair * area..][..area];
            let value = match &coefficients {
                Some(rows) => {
                    rows[position].iter().zip(kernel).map(|(g, w)| f64::from(*g) * f64::from(*w)).sum()
                }
                None => f64::from(kernel[position]),
            };
            codes.push(scaled(value * f64::from(factor), fraction).clamp(-limit, limit - 1.0) as i64);
        }
    }
    let bias = layer.bias.iter().map(|&bias| scaled(f64::from(bias), bias_fraction) as i64).collect();
    LayerCodes { codes, bias }
}
