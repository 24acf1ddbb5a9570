//! What a program must be so that every interpreter agrees on it and none panics.

use super::{Chooser, Kind, Op, OperandRing, Products, Program, Range, TensorId};
use crate::Error;

const NEXT: &str = "Build the program by one of this module's functions.";

/// Elements of a tensor, at most.
const MAX_ELEMENTS: usize = 1 << 31;
/// Bits of a ring, at most.
const MAX_BITS: u32 = 62;

impl Program {
    /// Checks shapes, rings, shifts and references of every operation.
    ///
    /// # Errors
    /// [`Error::Node`] for the first operation that breaks a rule.
    pub fn check(&self) -> Result<(), Error> {
        for (id, op) in self.ops.iter().enumerate() {
            let elements = op.shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side));
            let sized = elements.is_some_and(|elements| (1..=MAX_ELEMENTS).contains(&elements));
            op.rule("elements of its tensor", sized, "1 to 2^31", || format!("{:?}", op.shape))?;
            op.rule("bits of its ring", (1..=MAX_BITS).contains(&op.bits), "1 to 62", || {
                op.bits.to_string()
            })?;
            let known = op.kind.inputs().into_iter().all(|input| input < id);
            op.rule("inputs", known, "earlier operations", || format!("{:?}", op.kind.inputs()))?;
            self.check_rings(op)?;
            self.check_shapes(op)?;
        }
        Ok(())
    }

    fn check_rings(&self, op: &Op) -> Result<(), Error> {
        let (bits, from) = (op.bits, |input: &TensorId| self.ops[*input].bits);
        let fits = match &op.kind {
            Kind::Input => true,
            Kind::Products(products) => match products.operand {
                OperandRing::Same => from(&products.input) == bits,
                OperandRing::Narrower { .. } => from(&products.input) < bits,
            },
            Kind::Extend { input, .. } => from(input) < bits,
            Kind::Reduce { input } => from(input) >= bits,
            Kind::TruncateReduce { input, shift } => {
                *shift > 0 && from(input).checked_sub(*shift) == Some(bits)
            }
            Kind::Truncate { input, shift, range } => {
                from(input) == bits && (1..bits).contains(shift) && *range != Range::Unsigned
            }
            Kind::Relu { input, .. } | Kind::MaxPool { input, .. } => from(input) == bits && bits > 1,
            Kind::Clamp { input, top } => from(input) == bits && (1..bits).contains(top),
            Kind::Add { inputs: [a, b] } => from(a) == bits && from(b) == bits,
            Kind::Shortcut(spec) => {
                from(&spec.input) == bits && spec.shifts.iter().all(|&shift| u32::from(shift) <= MAX_BITS)
            }
            Kind::WindowSum { input, .. } | Kind::SumPool { input } => from(input) == bits,
        };
        op.rule("rings and shifts", fits, "those of its operation", || {
            format!("{} bits: {:?}", bits, op.kind)
        })
    }

    fn check_shapes(&self, op: &Op) -> Result<(), Error> {
        let shape = |input: &TensorId| self.ops[*input].shape;
        let expected = match &op.kind {
            Kind::Input => Some(op.shape),
            Kind::Products(products) => {
                op.rule(
                    "products",
                    products.is_sound(op.bits),
                    "a convolution that can be arranged so",
                    || format!("{products:?}"),
                )?;
                let from = shape(&products.input);
                windowed(from, products.out_channels, [products.kernel, products.stride, products.padding])
                    .filter(|_| from[0] == products.in_channels)
            }
            Kind::Shortcut(spec) => {
                let [channels, height, width] = shape(&spec.input);
                let reaches = |out: usize, size: usize| {
                    spec.stride > 0 && (out - 1).checked_mul(spec.stride).is_some_and(|last| last < size)
                };
                let fits = spec.channel_offset.checked_add(channels).is_some_and(|all| all <= op.shape[0])
                    && spec.shifts.len() == op.shape[0]
                    && reaches(op.shape[1], height)
                    && reaches(op.shape[2], width);
                fits.then_some(op.shape)
            }
            Kind::WindowSum { input, window } => windowed(shape(input), 1, *window),
            Kind::MaxPool { input, window, .. } => windowed(shape(input), shape(input)[0], *window),
            Kind::SumPool { input } => Some([shape(input)[0], 1, 1]),
            Kind::Add { inputs: [a, b] } => Some(shape(a)).filter(|found| *found == shape(b)),
            other => other.inputs().first().map(shape),
        };
        let found = || format!("{:?}", op.shape);
        let wanted =
            expected.map_or_else(|| "what its inputs allow".to_owned(), |shape| format!("{shape:?}"));
        op.rule("shape", expected == Some(op.shape), &wanted, found)
    }
}

/// The shape of so many channels of windows.
fn windowed(
    [_, height, width]: [usize; 3],
    channels: usize,
    [kernel, stride, padding]: [usize; 3],
) -> Option<[usize; 3]> {
    let out = |size: usize| {
        let room = size.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
        Some(room.checked_div(stride)? + 1)
    };
    (kernel > 0 && padding < kernel).then_some([channels, out(height)?, out(width)?])
}

impl Products {
    /// Whether its own fields agree; the result's ring has so many bits.
    fn is_sound(&self, bits: u32) -> bool {
        let divides = |channels: usize| channels.checked_rem(self.groups) == Some(0);
        let grouped = self.groups == 1 || (self.kernel == 1 && self.chooser == Chooser::Weights);
        let lists = self.code.exponents.len();
        let listed =
            |list: &Vec<u8>| list.len() <= 62 && list.iter().all(|&exponent| u32::from(exponent) < bits);
        let rows = self.tap_shifts.len();
        let shifted = |row: &Vec<u8>| {
            row.len() == self.out_channels && row.iter().all(|&shift| u32::from(shift) <= MAX_BITS)
        };
        divides(self.in_channels)
            && divides(self.out_channels)
            && grouped
            && self.kernel < 256
            && self.algorithm.fits(self.kernel, self.stride)
            && (lists == 1 || lists == self.positions())
            && self.code.exponents.iter().all(listed)
            && (rows <= 1 || rows == self.positions())
            && self.tap_shifts.iter().all(shifted)
    }
}

impl Kind {
    /// The tensors that it reads.
    pub fn inputs(&self) -> Vec<TensorId> {
        match self {
            Self::Input => Vec::new(),
            Self::Products(products) => vec![products.input],
            Self::Shortcut(spec) => vec![spec.input],
            Self::Add { inputs } => inputs.to_vec(),
            Self::Extend { input, .. }
            | Self::Reduce { input }
            | Self::TruncateReduce { input, .. }
            | Self::Truncate { input, .. }
            | Self::Relu { input, .. }
            | Self::Clamp { input, .. }
            | Self::WindowSum { input, .. }
            | Self::SumPool { input }
            | Self::MaxPool { input, .. } => vec![*input],
        }
    }
}

impl Op {
    fn rule(
        &self,
        what: &'static str,
        holds: bool,
        expected: &str,
        found: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if holds { Ok(()) } else { Err(Error::node(&self.layer, what, expected, found(), NEXT)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::baseline::{Code, FixedPoint, coinn, fixed_point};
    use crate::winograd::Algorithm;

    fn program() -> Program {
        let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
        fixed_point("fixed", &arch, FixedPoint::Mixed { algorithm: Algorithm::F2x2 }).unwrap().program
    }

    /// The operation of this kind is changed; the program must be refused, in the clear too.
    fn refused(is: impl Fn(&Kind) -> bool, change: impl Fn(&mut Op)) {
        let mut program = program();
        let op = program.ops.iter_mut().find(|op| is(&op.kind)).unwrap();
        change(op);
        let layer = op.layer.clone();
        let error = program.check().unwrap_err().to_string();
        assert!(error.contains(&layer), "{error}");
        let image = vec![0; 3 * 32 * 32];
        assert!(program.evaluate(&super::super::ProgramWeights::default(), &image).is_err());
    }

    #[test]
    fn programs_of_every_known_network_are_sound() {
        for name in Arch::NAMES {
            let arch = Arch::by_name(name, 10).unwrap();
            coinn(&arch).0.check().unwrap();
            for algorithm in [Algorithm::Direct, Algorithm::F2x2] {
                for style in [FixedPoint::Mixed { algorithm }, FixedPoint::Uniform { bits: 41, algorithm }] {
                    fixed_point("fixed", &arch, style).unwrap().program.check().unwrap();
                }
            }
        }
    }

    #[test]
    fn programs_that_would_panic_or_mean_nothing_are_refused_with_their_layer() {
        let products = |kind: &Kind| matches!(kind, Kind::Products(_));
        let changed = |change: fn(&mut Products)| {
            move |op: &mut Op| {
                if let Kind::Products(products) = &mut op.kind {
                    change(products);
                }
            }
        };
        refused(products, changed(|p| p.input = 1000));
        refused(products, changed(|p| p.groups = 0));
        refused(products, changed(|p| p.stride = 0));
        refused(products, changed(|p| p.kernel = 200));
        refused(products, changed(|p| p.in_channels += 1));
        refused(products, changed(|p| p.code = Code::twos_complement(63)));
        refused(products, changed(|p| p.tap_shifts = vec![vec![64; p.out_channels]]));
        refused(products, |op| op.bits = 63);
        refused(products, |op| op.bits = 3);
        refused(products, |op| op.shape[1] = 0);
        refused(|kind| matches!(kind, Kind::TruncateReduce { .. }), |op| op.bits += 1);
        refused(|kind| matches!(kind, Kind::Extend { .. }), |op| op.bits = 1);
        refused(|kind| matches!(kind, Kind::Add { .. }), |op| op.shape[0] = 1);
        refused(|kind| matches!(kind, Kind::SumPool { .. }), |op| op.shape[1] = 2);
        refused(|kind| matches!(kind, Kind::Shortcut(_)), |op| op.shape[2] += 20);
    }
}
