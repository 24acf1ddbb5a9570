//! Which party's bits choose: SCI's library lets activations choose, its engine can do both.

use super::{Chooser, Kind, Program};
use crate::cost::baseline;

impl Program {
    /// The same program, in which the bits of that party choose in every layer by whose choice it sends less: what a library could
    /// do that decides by layer. Its name says so.
    #[must_use]
    pub fn with_cheapest_choosers(&self) -> Self {
        let [weights, activations] =
            [Chooser::Weights, Chooser::Activations].map(|chooser| self.with_chooser(chooser));
        let costs = [&weights, &activations].map(|program| baseline(program).ops);
        let mut cheapest = activations.clone();
        for (id, op) in cheapest.ops.iter_mut().enumerate() {
            if costs[0][id].bytes() < costs[1][id].bytes() {
                *op = weights.ops[id].clone();
            }
        }
        cheapest.name = format!("{} (cheapest choosers)", self.name);
        cheapest
    }

    /// Groups can't be chosen by activations and stay as they are.
    fn with_chooser(&self, chooser: Chooser) -> Self {
        let mut program = self.clone();
        for op in &mut program.ops {
            if let Kind::Products(products) = &mut op.kind
                && products.groups == 1
            {
                products.chooser = chooser;
            }
        }
        program
    }
}

#[cfg(test)]
mod tests {
    use crate::arch::Arch;
    use crate::baseline::{FixedPoint, fixed_point};
    use crate::cost::baseline;
    use crate::winograd::Algorithm;

    /// docs/benchmarks.md states these megabytes.
    #[test]
    fn the_cheapest_choosers_of_resnet32_send_what_the_documents_say() {
        let arch = Arch::by_name("cifar-resnet32", 10).unwrap();
        for (style, megabytes) in [
            (FixedPoint::Mixed { algorithm: Algorithm::Direct }, [5963.8, 5006.7]),
            (FixedPoint::Uniform { bits: 37, algorithm: Algorithm::Direct }, [7808.8, 6570.6]),
            (FixedPoint::Uniform { bits: 41, algorithm: Algorithm::F2x2 }, [4468.6, 3940.1]),
        ] {
            let library = fixed_point("fixed", &arch, style).unwrap().program;
            let cheapest = library.with_cheapest_choosers();
            cheapest.check().unwrap();
            let sent = [&library, &cheapest].map(|program| baseline(program).total().bytes() as f64 / 1e6);
            let equal = sent.iter().zip(megabytes).all(|(sent, stated)| (sent - stated).abs() < 0.05);
            assert!(equal, "{style:?}: {sent:?}, stated {megabytes:?}");
        }
    }
}
