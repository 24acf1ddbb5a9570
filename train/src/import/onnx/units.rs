//! From ONNX nodes to the fused units of an [`Arch`]: normalizations, residuals and ReLUs join the convolution before them.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{ArchNode, ArchOp, Conv, NodeId, Shortcut};
use ndarray::ArrayD;

use super::Refusal;
use super::constants::Constants;
use super::proto::Node;
use crate::batch_norm::EPSILON;
use crate::tensors::NamedTensors;

/// The network so far.
pub(super) struct Units {
    pub(super) constants: Constants,
    pub(super) units: Vec<Unit>,
    pub(super) tensors: NamedTensors,
    /// By the ONNX name.
    pub(super) values: BTreeMap<String, Value>,
    /// How many nodes read a value, the graph's outputs among them.
    uses: BTreeMap<String, usize>,
}

/// A node of the architecture to be.
pub(super) struct Unit {
    pub(super) node: ArchNode,
    /// Of its output.
    pub(super) shape: [usize; 3],
    /// Layers with weights on the longest way from the image.
    depth: usize,
}

/// What an ONNX value is.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub(super) unit: NodeId,
    /// Whether others read it before whatever joins the unit next.
    pub(super) shared: bool,
    /// Whether it is `[batch, features]`.
    pub(super) flat: bool,
}

impl Units {
    /// The image `name` of this shape.
    pub(super) fn new(
        constants: Constants,
        uses: BTreeMap<String, usize>,
        image: (&str, [usize; 3]),
    ) -> Self {
        let (name, shape) = image;
        let node = ArchNode { name: "input".to_owned(), op: ArchOp::Input { shape } };
        let values = [(name.to_owned(), Value { unit: 0, shared: false, flat: false })].into();
        let units = vec![Unit { node, shape, depth: 0 }];
        Self { constants, units, tensors: NamedTensors::new(), values, uses }
    }

    /// The unit that an ONNX value is the output of.
    pub(super) fn of_value(&self, name: &str) -> Option<NodeId> {
        self.values.get(name).map(|value| value.unit)
    }

    /// Adds one node.
    pub(super) fn add(&mut self, node: &Node) -> Result<(), Refusal> {
        match node.op_type.as_str() {
            "Conv" => self.convolution(node),
            "BatchNormalization" => self.normalization(node),
            "Relu" => self.relu(node),
            "Add" => self.residual(node),
            "MaxPool" => self.max_pool(node),
            "GlobalAveragePool" | "AveragePool" | "ReduceMean" => self.average(node),
            "Flatten" | "Reshape" => self.flatten(node),
            "Gemm" => self.linear(node),
            "Identity" | "Dropout" => self.alias(node),
            "Constant" => self.constant(node),
            _ => {
                let known = "Conv, BatchNormalization, Relu, Add, MaxPool, GlobalAveragePool, AveragePool, ReduceMean, \
                             Flatten, Reshape, Gemm, Identity, Dropout or Constant";
                Err(node.refuse(known.to_owned(), &node.op_type))
            }
        }
    }

    fn convolution(&mut self, node: &Node) -> Result<(), Refusal> {
        let (input, [in_channels, height, width]) = self.map(node, 0)?;
        node.require("group", 1)?;
        let key = required(node, 1)?;
        let weight = self.constants.floats(&node.label(), key, 4)?;
        let [out_channels, inputs, kernel, other] = [0, 1, 2, 3].map(|axis| weight.shape()[axis]);
        if kernel != other || inputs != in_channels || out_channels == 0 {
            let expected = format!("a square kernel over {in_channels} channels");
            return Err(node.refuse(expected, format!("{:?}", weight.shape())));
        }
        let [kernel, stride, padding] = node.sizes(Some(kernel), [height, width])?;
        let name = self.name(node, key);
        let bias = self.bias(node, &name, 2, out_channels)?;
        self.tensors.insert(format!("{name}.weight"), weight);
        let out = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let shape = [out_channels, out(height), out(width)];
        let conv = Conv {
            input: input.unit,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            bias,
            batch_norm: None,
            shortcut: None,
            relu: false,
        };
        self.push(node, (name, ArchOp::Conv(conv)), shape)
    }

    fn linear(&mut self, node: &Node) -> Result<(), Refusal> {
        let value = self.value(node, 0)?;
        let [channels, kernel, width] = self.units[value.unit].shape;
        node.require("transA", 0)?;
        for factor in ["alpha", "beta"] {
            if node.float(factor, 1.0) != 1.0 {
                return Err(node.refuse(format!("{factor} = 1"), node.float(factor, 1.0)));
            }
        }
        let key = required(node, 1)?;
        let weight = self.constants.floats(&node.label(), key, 2)?;
        let weight = if node.int("transB", 0) == 0 { weight.reversed_axes() } else { weight };
        let weight = weight.as_standard_layout().into_owned();
        let (out_features, in_features) = (weight.shape()[0], weight.shape()[1]);
        if !value.flat || kernel != width || in_features != channels * kernel * width || out_features == 0 {
            let expected = format!("a matrix for the flattened square map {:?}", [channels, kernel, width]);
            return Err(node.refuse(expected, format!("{:?}", [out_features, in_features])));
        }
        let name = self.name(node, key);
        if !self.bias(node, &name, 2, out_features)? {
            self.tensors.insert(format!("{name}.bias"), ArrayD::zeros(vec![out_features]));
        }
        self.tensors.insert(format!("{name}.weight"), weight);
        let op = ArchOp::Linear { input: value.unit, in_features, kernel, out_features, relu: false };
        self.push(node, (name, op), [out_features, 1, 1])
    }

    /// Takes the bias of `name` from an input; whether there is one.
    fn bias(&mut self, node: &Node, name: &str, at: usize, out: usize) -> Result<bool, Refusal> {
        let Some(key) = node.input(at) else { return Ok(false) };
        let bias = self.vector(node, key, out)?;
        self.tensors.insert(format!("{name}.bias"), bias);
        Ok(true)
    }

    fn vector(&self, node: &Node, key: &str, length: usize) -> Result<ArrayD<f32>, Refusal> {
        let vector = self.constants.floats(&node.label(), key, 1)?;
        let fits = vector.len() == length;
        fits.then_some(vector)
            .ok_or_else(|| node.refuse(format!("{key} of {length} numbers"), "another length"))
    }

    fn normalization(&mut self, node: &Node) -> Result<(), Refusal> {
        node.require("training_mode", 0)?;
        let value = self.value(node, 0)?;
        let channels = self.units[value.unit].shape[0];
        let parts = [("weight", 1), ("bias", 2), ("running_mean", 3), ("running_var", 4)];
        let prefix = self.unused(required(node, 1)?.trim_end_matches(".weight"));
        for (part, at) in parts {
            let mut vector = self.vector(node, required(node, at)?, channels)?;
            if part == "running_var" {
                // Networks here have one epsilon.
                vector += node.float("epsilon", EPSILON) - EPSILON;
            }
            self.tensors.insert(format!("{prefix}.{part}"), vector);
        }
        match self.open(value) {
            Some(ArchOp::Conv(Conv { batch_norm: batch_norm @ None, shortcut: None, .. })) => {
                *batch_norm = Some(prefix)
            }
            _ => {
                return Err(node.refuse(
                    "the output of a convolution that nothing else reads".to_owned(),
                    "another value",
                ));
            }
        }
        self.give(node, Value { shared: false, ..value })
    }

    fn residual(&mut self, node: &Node) -> Result<(), Refusal> {
        let values = [self.value(node, 0)?, self.value(node, 1)?];
        let shapes = values.map(|value| self.units[value.unit].shape);
        if shapes[0] != shapes[1] || values[0].unit == values[1].unit {
            return Err(node.refuse("two values of one shape".to_owned(), format!("{shapes:?}")));
        }
        let closes = |value: &Value| {
            let op = &self.units[value.unit].node.op;
            !value.shared && matches!(op, ArchOp::Conv(Conv { shortcut: None, relu: false, .. }))
        };
        // The longer way is the block, the shorter one its residual.
        let main = values.into_iter().filter(closes).max_by_key(|value| self.units[value.unit].depth);
        let Some(main) = main else {
            let found = "none; the sum of two activations has no place in a convolution";
            return Err(node.refuse("the output of a convolution that nothing else reads".to_owned(), found));
        };
        let other = if main.unit == values[0].unit { values[1] } else { values[0] };
        if matches!(self.units[other.unit].node.op, ArchOp::Input { .. } | ArchOp::GlobalAvgPool { .. }) {
            return Err(node.refuse(
                "a residual of convolutions or max pooling".to_owned(),
                &self.units[other.unit].node.name,
            ));
        }
        if let ArchOp::Conv(conv) = &mut self.units[main.unit].node.op {
            conv.shortcut = Some(Shortcut { input: other.unit, stride: 1, channel_offset: 0 });
        }
        self.give(node, Value { shared: false, ..main })
    }

    fn relu(&mut self, node: &Node) -> Result<(), Refusal> {
        let value = self.value(node, 0)?;
        // Rectifying before a pooling or after it is the same, and twice is once.
        let rectified = match &self.units[value.unit].node.op {
            ArchOp::MaxPool { input, .. } if !value.shared => Value { unit: *input, ..value },
            _ => value,
        };
        if !self.is_rectified(rectified.unit) {
            match self.open(rectified) {
                Some(ArchOp::Conv(Conv { relu, .. }) | ArchOp::Linear { relu, .. }) => *relu = true,
                _ => {
                    let expected = "the output of a layer that nothing else reads before its ReLU".to_owned();
                    return Err(node.refuse(expected, "another value"));
                }
            }
        }
        self.give(node, Value { shared: false, ..value })
    }

    fn alias(&mut self, node: &Node) -> Result<(), Refusal> {
        if let (Some(input), Some(output)) = (node.input(0), node.output.first())
            && self.constants.alias(output, input)
        {
            return Ok(());
        }
        let value = self.value(node, 0)?;
        self.give(node, value)
    }

    fn constant(&mut self, node: &Node) -> Result<(), Refusal> {
        let tensor = node.attribute("value").and_then(|attribute| attribute.t.clone());
        let tensor = tensor.ok_or_else(|| node.refuse("a tensor".to_owned(), "another constant"))?;
        self.constants.insert(output(node)?, tensor);
        Ok(())
    }

    /// The value that is input `at`.
    pub(super) fn value(&self, node: &Node, at: usize) -> Result<Value, Refusal> {
        let name = required(node, at)?;
        let value = self.values.get(name).copied();
        let value =
            value.ok_or_else(|| node.refuse("a value computed from the image before".to_owned(), name))?;
        Ok(Value { shared: value.shared || self.uses.get(name).is_some_and(|&uses| uses > 1), ..value })
    }

    /// The same, if it is a map.
    pub(super) fn map(&self, node: &Node, at: usize) -> Result<(Value, [usize; 3]), Refusal> {
        let value = self.value(node, at)?;
        let shape = self.units[value.unit].shape;
        let is_map = !value.flat && !matches!(self.units[value.unit].node.op, ArchOp::Linear { .. });
        is_map
            .then_some((value, shape))
            .ok_or_else(|| node.refuse("a map of channels".to_owned(), format!("{shape:?}")))
    }

    /// The unit behind `value`, if what follows may still join it.
    fn open(&mut self, value: Value) -> Option<&mut ArchOp> {
        let op = &mut self.units[value.unit].node.op;
        let open = matches!(op, ArchOp::Conv(Conv { relu: false, .. }) | ArchOp::Linear { relu: false, .. });
        (open && !value.shared).then_some(op)
    }

    /// Whether a unit puts out no negative number.
    pub(super) fn is_rectified(&self, unit: NodeId) -> bool {
        match &self.units[unit].node.op {
            ArchOp::MaxPool { input, .. } | ArchOp::GlobalAvgPool { input } => self.is_rectified(*input),
            op => op.as_conv().is_some_and(|conv| conv.relu),
        }
    }

    pub(super) fn push(
        &mut self,
        node: &Node,
        (name, op): (String, ArchOp),
        shape: [usize; 3],
    ) -> Result<(), Refusal> {
        let weighted = usize::from(op.as_conv().is_some());
        let inputs = super::inputs(&op);
        let depth = inputs.iter().map(|&input| self.units[input].depth).max().unwrap_or(0) + weighted;
        self.units.push(Unit { node: ArchNode { name, op }, shape, depth });
        let flat = matches!(self.units[self.units.len() - 1].node.op, ArchOp::Linear { .. });
        self.give(node, Value { unit: self.units.len() - 1, shared: false, flat })
    }

    pub(super) fn give(&mut self, node: &Node, value: Value) -> Result<(), Refusal> {
        self.values.insert(output(node)?.to_owned(), value);
        Ok(())
    }

    /// A unit's name: that of its weights without `.weight`, as a PyTorch module's, or the node's.
    pub(super) fn name(&self, node: &Node, weight: &str) -> String {
        let module = weight.strip_suffix(".weight").map(str::to_owned);
        self.unused(&module.unwrap_or_else(|| module_of(&node.name, &node.op_type)))
    }

    /// `wanted`, with a number if it is taken.
    fn unused(&self, wanted: &str) -> String {
        let taken = |name: &str| {
            let weight = format!("{name}.weight");
            self.tensors.contains_key(&weight) || self.units.iter().any(|unit| unit.node.name == name)
        };
        let wanted = if wanted.is_empty() { "node" } else { wanted };
        let numbered = (self.units.len()..).map(|number| format!("{wanted}_{number}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }
}

/// The module that a traced node's name shows: `layer1.0.conv1` of `/layer1/layer1.0/conv1/Conv`.
fn module_of(name: &str, op_type: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let parts = parts.strip_suffix(&[op_type]).filter(|parts| !parts.is_empty()).unwrap_or(&parts);
    let repeated =
        |at: usize| parts.get(at + 1).is_some_and(|next| next.starts_with(&format!("{}.", parts[at])));
    let kept = (0..parts.len()).filter(|&at| !repeated(at)).map(|at| parts[at]);
    kept.collect::<Vec<_>>().join(".")
}

pub(super) fn required(node: &Node, at: usize) -> Result<&str, Refusal> {
    node.input(at).ok_or_else(|| node.refuse(format!("input {at}"), "none"))
}

pub(super) fn output(node: &Node) -> Result<&str, Refusal> {
    let first = node.output.first().map(String::as_str);
    first.ok_or_else(|| node.refuse("an output".to_owned(), "none"))
}
