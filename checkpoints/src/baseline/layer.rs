//! One layer of a program as a program of its own: what is executed where a whole network would take too long.

use super::{Kind, Op, Program, ProgramWeights, TensorId};

/// Largest integer of an input that stands in for earlier layers, plus 1: small, positive and so in range of any layer.
pub const LAYER_INPUT_LIMIT: i64 = 64;

/// A layer cut out.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its operations behind one input, which stands in for the tensor that the layer reads.
    pub program: Program,
    /// The operation of the whole program that each of them was; none for the input.
    sources: Vec<Option<TensorId>>,
}

impl Program {
    /// Names of the layers behind the input, in order.
    pub fn layers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for op in self.ops.iter().filter(|op| !matches!(op.kind, Kind::Input)) {
            if !names.contains(&op.layer.as_str()) {
                names.push(&op.layer);
            }
        }
        names
    }

    /// The operations of layer `name` behind an input of their own. A residual that comes from another layer is left out: adding
    /// it is local. None for a layer that doesn't exist or reads two tensors of others otherwise.
    pub fn layer(&self, name: &str) -> Option<Layer> {
        let program = Self { name: format!("{} {name}", self.name), ops: Vec::new() };
        let mut cut = Cut { whole: self, layer: Layer { program, sources: Vec::new() }, places: Vec::new() };
        for (id, op) in self.ops.iter().enumerate() {
            if op.layer == name && !matches!(op.kind, Kind::Input) && !cut.is_outer_shortcut(op) {
                cut.take(id, op)?;
            }
        }
        (cut.layer.program.ops.len() > 1).then_some(cut.layer)
    }
}

impl Layer {
    /// What two layers share that send the same messages: everything but names.
    pub fn shape(&self) -> [u8; 32] {
        let mut nameless = self.program.clone();
        nameless.name.clear();
        nameless.ops.iter_mut().for_each(|op| op.layer.clear());
        nameless.hash()
    }

    /// The layer's integers out of those of the whole program.
    pub fn weights(&self, whole: &ProgramWeights) -> ProgramWeights {
        let layers = self
            .sources
            .iter()
            .map(|source| source.and_then(|id| whole.layers.get(id)).cloned().unwrap_or_default());
        ProgramWeights { layers: layers.collect() }
    }
}

struct Cut<'p> {
    whole: &'p Program,
    layer: Layer,
    /// Tensors of the whole program and where they are now.
    places: Vec<(TensorId, TensorId)>,
}

impl Cut<'_> {
    /// Whether this only brings a tensor of another layer into shape, to be added.
    fn is_outer_shortcut(&self, op: &Op) -> bool {
        matches!(&op.kind, Kind::Shortcut(spec) if self.place(spec.input).is_none())
    }

    fn place(&self, id: TensorId) -> Option<TensorId> {
        self.places.iter().find(|(whole, _)| *whole == id).map(|(_, own)| *own)
    }

    fn take(&mut self, id: TensorId, op: &Op) -> Option<()> {
        let own = match &op.kind {
            Kind::Add { inputs } => {
                let inner: Vec<TensorId> = inputs.iter().filter_map(|&input| self.place(input)).collect();
                match inner[..] {
                    // The other one is a residual.
                    [only] => only,
                    [a, b] => self.push(Some(id), Op { kind: Kind::Add { inputs: [a, b] }, ..op.clone() }),
                    _ => return None,
                }
            }
            kind => {
                let mut kind = kind.clone();
                let input = input_of(&mut kind)?;
                *input = self.read(*input)?;
                self.push(Some(id), Op { kind, ..op.clone() })
            }
        };
        self.places.push((id, own));
        Some(())
    }

    /// Where a tensor is; the first one that no operation of the layer puts out becomes the input.
    fn read(&mut self, id: TensorId) -> Option<TensorId> {
        if let Some(place) = self.place(id) {
            return Some(place);
        }
        if !self.layer.program.ops.is_empty() {
            return None;
        }
        let outer = self.whole.ops.get(id)?;
        let own = self.push(None, Op { layer: "input".into(), kind: Kind::Input, ..outer.clone() });
        self.places.push((id, own));
        Some(own)
    }

    fn push(&mut self, source: Option<TensorId>, op: Op) -> TensorId {
        self.layer.sources.push(source);
        self.layer.program.ops.push(op);
        self.layer.program.ops.len() - 1
    }
}

/// The tensor that an operation with one input reads.
fn input_of(kind: &mut Kind) -> Option<&mut TensorId> {
    match kind {
        Kind::Input | Kind::Add { .. } => None,
        Kind::Products(products) => Some(&mut products.input),
        Kind::Shortcut(spec) => Some(&mut spec.input),
        Kind::Extend { input, .. }
        | Kind::Reduce { input }
        | Kind::TruncateReduce { input, .. }
        | Kind::Truncate { input, .. }
        | Kind::Relu { input, .. }
        | Kind::Clamp { input, .. }
        | Kind::SumPool { input }
        | Kind::WindowSum { input, .. }
        | Kind::MaxPool { input, .. } => Some(input),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::arch::Arch;
    use crate::baseline::{FixedPoint, coinn, fixed_point, float_layers};
    use crate::cost;
    use crate::winograd::Algorithm;

    #[test]
    fn the_layers_of_a_network_send_what_the_network_sends_but_for_ots_in_stock() {
        let arch = Arch::by_name("resnet18", 1000).unwrap();
        for style in [
            FixedPoint::Mixed { algorithm: Algorithm::Direct },
            FixedPoint::Uniform { bits: 41, algorithm: Algorithm::F2x2 },
        ] {
            let program = fixed_point("any", &arch, style).unwrap().program;
            let sends =
                |program: &Program| cost::baseline(program).ops.iter().map(|flow| flow.bytes()).sum::<u64>();
            let parts = program.layers().into_iter().map(|name| sends(&program.layer(name).unwrap().program));
            let (parts, whole) = (parts.sum::<u64>() as f64, sends(&program) as f64);
            assert!((parts / whole - 1.0).abs() < 1e-3, "{parts} {whole}");
        }
    }

    #[test]
    fn layers_of_one_shape_are_one_and_every_layer_of_coinn_can_be_cut() {
        let arch = Arch::by_name("cifar-resnet32", 10).unwrap();
        let program =
            fixed_point("sirnn", &arch, FixedPoint::Mixed { algorithm: Algorithm::Direct }).unwrap();
        let program = program.program;
        let shape = |name: &str| program.layer(name).unwrap().shape();
        assert_eq!(shape("layer1.0.conv1"), shape("layer1.4.conv2"));
        assert_ne!(shape("layer1.0.conv1"), shape("layer2.0.conv1"));
        assert!(program.layer("layer9.0.conv1").is_none());
        let (program, _) = coinn(&arch);
        assert!(program.layers().iter().all(|name| program.layer(name).is_some()));
    }

    #[test]
    fn a_layer_computes_with_its_own_weights() {
        let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
        let network =
            fixed_point("sirnn", &arch, FixedPoint::Mixed { algorithm: Algorithm::Direct }).unwrap();
        let weights = network.weights(&float_layers(&arch, &mut ChaCha8Rng::seed_from_u64(1))).unwrap();
        let layer = network.program.layer("layer1.0.conv2").unwrap();
        let image: Vec<i64> = (0..layer.program.len(0) as i64).map(|at| at % LAYER_INPUT_LIMIT).collect();
        let found = layer.program.evaluate(&layer.weights(&weights), &image).unwrap();
        let at = network.program.ops.iter().position(|op| op.layer == "layer1.0.conv2" && op.codes() > 0);
        let mut products = layer.program.clone();
        products.ops.truncate(2);
        assert!(layer.weights(&weights).layers[1] == weights.layers[at.unwrap()]);
        assert!(found.iter().any(|&value| value > 0) && found.iter().all(|&value| value >= 0));
    }
}
