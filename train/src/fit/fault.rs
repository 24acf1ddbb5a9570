//! Where a training step stopped being finite.

use burn::module::{ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::layers::Layers;

/// The first value that isn't finite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// `output`, the parameter's own name, or that with `gradient of` before it.
    pub(super) what: String,
    /// The node's name.
    pub(super) layer: String,
    /// The step's loss.
    pub(super) loss: f32,
}

impl Fault {
    /// Why the loss of `pixels`, on a training device, isn't finite: the first parameter that isn't, or the first
    /// output in the order of computation, or the loss itself (a teacher's logits, an overflow in the last sum).
    pub(super) fn of_forward<N: Layers>(net: &N, pixels: Tensor<4>, loss: f32) -> Self {
        if let Some((layer, what)) = Search::parameters(net).into_iter().next() {
            return Self { what, layer, loss };
        }
        let outputs = net.node_outputs(pixels);
        let mut nodes = net.architecture().nodes.iter().zip(outputs);
        let first = nodes.find(|(_, output)| !is_finite(output));
        let layer = first.map_or_else(|| "the loss".to_owned(), |(node, _)| node.name.clone());
        Self { what: "output".to_owned(), layer, loss }
    }

    /// Which gradient isn't finite: the one nearest to the loss, because gradients are computed from there.
    pub(super) fn of_gradients<N: Layers>(net: &N, gradients: &GradientsParams, loss: f32) -> Self {
        let found = Search::gradients(net, gradients).pop();
        let (layer, what) = found.unwrap_or_else(|| ("all layers".to_owned(), "sum of squares".to_owned()));
        Self { what: format!("gradient of {what}"), layer, loss }
    }

    /// Which parameter isn't finite, if one isn't.
    pub(super) fn of_parameters<N: Layers>(net: &N, loss: f32) -> Option<Self> {
        let (layer, what) = Search::parameters(net).into_iter().next()?;
        Some(Self { what, layer, loss })
    }
}

/// Collects (layer, parameter) of whatever isn't finite.
struct Search<'a> {
    layers: Vec<String>,
    /// Gradients to look at; parameters themselves without.
    gradients: Option<&'a GradientsParams>,
    path: Vec<String>,
    found: Vec<(String, String)>,
}

impl<'a> Search<'a> {
    fn parameters<N: Layers>(net: &N) -> Vec<(String, String)> {
        Search::run(net, None)
    }

    fn gradients<N: Layers>(net: &N, gradients: &'a GradientsParams) -> Vec<(String, String)> {
        Search::run(net, Some(gradients))
    }

    fn run<N: Layers>(net: &N, gradients: Option<&'a GradientsParams>) -> Vec<(String, String)> {
        let mut search = Self { layers: net.layer_names(), gradients, path: Vec::new(), found: Vec::new() };
        net.visit(&mut search);
        search.found
    }
}

impl ModuleVisitor for Search<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            // Running statistics follow what a bad batch computes: they are never where it began.
            None => Some(param.val()).filter(Tensor::is_require_grad),
        };
        // Squares, because that is what the norm of the gradient sums: beyond 1e19 they aren't finite either.
        let squares = self.gradients.is_some();
        let bad = |value: Tensor<D>| !is_finite(&if squares { value.square() } else { value });
        if value.is_some_and(bad) {
            let layer = self.path.iter().find_map(|part| self.layers.get(part.parse::<usize>().ok()?));
            let name = self.path.last().cloned().unwrap_or_default();
            self.found.push((layer.cloned().unwrap_or_else(|| self.path.join(".")), name));
        }
    }
}

/// `x·0` is 0 for every finite x and NaN for all others.
fn is_finite<const D: usize>(values: &Tensor<D>) -> bool {
    let sum = values.clone().mul_scalar(0.0).sum().into_scalar::<f32>();
    sum == 0.0
}
