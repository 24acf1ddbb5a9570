//! A program in the clear: the oracle of its private execution.

use super::{Kind, LayerCodes, Op, OperandRing, Products, Program, ProgramWeights, Range, TensorId};
use crate::Error;
use crate::arith::{mask, to_signed};
use crate::layout::{shortcut, sum_pool};

const NEXT: &str = "Build the program again for this network; scales or weights are out of its rings.";

impl Program {
    /// The logits, read as signed, of an image `[channels][height][width]` of signed integers.
    ///
    /// # Errors
    /// [`Error::Node`] for a program that isn't [sound](Self::check), an image or weights of another size, and where a top bit that the
    /// program knows to be 0 is 1 or a tile outgrows its ring.
    pub fn evaluate(&self, weights: &ProgramWeights, image: &[i64]) -> Result<Vec<i64>, Error> {
        self.check()?;
        let last_uses = self.last_uses();
        let mut tensors: Vec<Vec<u64>> = Vec::with_capacity(self.ops.len());
        for (id, op) in self.ops.iter().enumerate() {
            let values = self.step(id, (weights, image), &tensors)?;
            if values.len() != self.len(id) {
                return Err(Error::node(&op.layer, op.operator(), self.len(id), values.len(), NEXT));
            }
            let ring = mask(op.bits as u8);
            tensors.push(values.into_iter().map(|value| value & ring).collect());
            (0..id).filter(|&read| last_uses[read] == id).for_each(|read| tensors[read] = Vec::new());
        }
        let (logits, op) = (tensors.pop().unwrap_or_default(), self.ops.last());
        let bits = op.map_or(1, |op| op.bits);
        Ok(logits.into_iter().map(|logit| to_signed(logit, bits as u8)).collect())
    }

    fn step(
        &self,
        id: TensorId,
        (weights, image): (&ProgramWeights, &[i64]),
        tensors: &[Vec<u64>],
    ) -> Result<Vec<u64>, Error> {
        let op = &self.ops[id];
        let signed = |input: &TensorId| {
            let ring = self.ops[*input].bits as u8;
            tensors[*input].iter().map(move |&value| to_signed(value, ring))
        };
        Ok(match &op.kind {
            Kind::Input => image.iter().map(|&value| value as u64).collect(),
            Kind::Products(products) => {
                let operand: Vec<u64> = signed(&products.input).map(|value| value as u64).collect();
                self.accumulate(op, (products, weights.layers.get(id)), &operand)?
            }
            Kind::Extend { input, range: Range::Signed } => signed(input).map(|value| value as u64).collect(),
            Kind::Extend { input, range: Range::TopBitZero } => {
                self.top_bit_zero(op, *input, tensors)?.to_vec()
            }
            Kind::TruncateReduce { input, shift } => {
                tensors[*input].iter().map(|value| value >> shift).collect()
            }
            Kind::Truncate { input, shift, range: Range::TopBitZero } => {
                self.top_bit_zero(op, *input, tensors)?.iter().map(|value| value >> shift).collect()
            }
            Kind::Truncate { input, shift, .. } => {
                signed(input).map(|value| (value >> shift) as u64).collect()
            }
            Kind::Relu { input, .. } => signed(input).map(|value| value.max(0) as u64).collect(),
            Kind::Clamp { input, top } => {
                let values = self.top_bit_zero(op, *input, tensors)?;
                values.iter().map(|&value| value.min((1 << top) - 1)).collect()
            }
            Kind::MaxPool { input, window, .. } => {
                let values = self.top_bit_zero(op, *input, tensors)?;
                let candidates = windows(self.ops[*input].shape, *window, op.shape, values);
                let taps = window[0] * window[0];
                candidates
                    .chunks_exact(taps)
                    .map(|window| window.iter().copied().max().unwrap_or(0))
                    .collect()
            }
            kind => self.local(kind, op.shape, tensors),
        })
    }

    /// Operations that each party does on its shares as they stand here.
    fn local(&self, kind: &Kind, shape: [usize; 3], tensors: &[Vec<u64>]) -> Vec<u64> {
        let source = |input: &TensorId| self.ops[*input].shape;
        match kind {
            Kind::Add { inputs: [a, b] } => {
                tensors[*a].iter().zip(&tensors[*b]).map(|(a, b)| a.wrapping_add(*b)).collect()
            }
            Kind::Shortcut(spec) => shortcut(spec, source(&spec.input), shape, &tensors[spec.input]),
            Kind::WindowSum { input, window } => window_sums(source(input), *window, shape, &tensors[*input]),
            Kind::SumPool { input } => {
                let [_, height, width] = source(input);
                sum_pool(height * width, &tensors[*input])
            }
            other => other.inputs().first().map_or_else(Vec::new, |&input| tensors[input].clone()),
        }
    }

    /// `[out][height][width]` of classes of Z_{2^64}.
    fn accumulate(
        &self,
        op: &Op,
        (products, layer): (&Products, Option<&LayerCodes>),
        operand: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let layer = layer.filter(|layer| layer.codes.len() == products.codes());
        let layer =
            layer.ok_or_else(|| Error::node(&op.layer, "weights", products.codes(), "others", NEXT))?;
        let from = &self.ops[products.input];
        let layout = products.layout(from.shape, op.shape);
        let gathered = layout.gather(operand);
        // Parties gather in the operand's ring: what outgrows it would wrap there.
        if let OperandRing::Narrower { top_bit_zero } = products.operand {
            let half = 1_i64 << (from.bits - 1);
            let range = if top_bit_zero { 0..half } else { -half..half };
            if let Some(value) = gathered.iter().find(|value| !range.contains(&(**value as i64))) {
                let expected = format!("tiles within {range:?}");
                return Err(Error::node(&op.layer, op.operator(), expected, *value as i64, NEXT));
            }
        }
        let matrix = products.matrix(&layer.codes, &layout);
        let mut sums = layout.scatter(&products.multiply(&matrix, &gathered, &layout));
        for (plane, &bias) in sums.chunks_exact_mut(op.shape[1] * op.shape[2]).zip(&layer.bias) {
            plane.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias as u64));
        }
        Ok(sums)
    }

    fn top_bit_zero<'t>(
        &self,
        op: &Op,
        input: TensorId,
        tensors: &'t [Vec<u64>],
    ) -> Result<&'t [u64], Error> {
        let values = &tensors[input];
        let limit = mask(self.ops[input].bits as u8) >> 1;
        match values.iter().find(|value| **value > limit) {
            Some(value) => {
                Err(Error::node(&op.layer, op.operator(), format!("at most {limit}"), value, NEXT))
            }
            None => Ok(values),
        }
    }
}

/// The elements of every pooling window, `[channel][window][kernel²]`, with zeros outside the image: for plain values or shares.
pub fn windows(
    [channels, height, width]: [usize; 3],
    [kernel, stride, padding]: [usize; 3],
    [_, rows, cols]: [usize; 3],
    values: &[u64],
) -> Vec<u64> {
    let at = |out: usize, offset: usize, size: usize| {
        (out * stride + offset).checked_sub(padding).filter(|&place| place < size)
    };
    let mut gathered = Vec::with_capacity(channels * rows * cols * kernel * kernel);
    for plane in values.chunks_exact(height * width) {
        for window in 0..rows * cols {
            for offset in 0..kernel * kernel {
                let y = at(window / cols, offset / kernel, height);
                let x = at(window % cols, offset % kernel, width);
                gathered.push(y.zip(x).map_or(0, |(y, x)| plane[y * width + x]));
            }
        }
    }
    gathered
}

/// The sum of every window over all channels: for plain values or shares.
pub fn window_sums(input: [usize; 3], window: [usize; 3], output: [usize; 3], values: &[u64]) -> Vec<u64> {
    let gathered = windows(input, window, output, values);
    let (taps, count) = (window[0] * window[0], output[1] * output[2]);
    let mut sums = vec![0_u64; count];
    for plane in gathered.chunks_exact(count * taps) {
        for (sum, window) in sums.iter_mut().zip(plane.chunks_exact(taps)) {
            *sum = window.iter().fold(*sum, |sum, value| sum.wrapping_add(*value));
        }
    }
    sums
}
