//! ONNX nodes without weights that change a map's shape: poolings and what flattens.

use eqo_checkpoints::arch::ArchOp;

use super::Refusal;
use super::proto::Node;
use super::units::{Units, Value, output, required};

impl Units {
    pub(super) fn max_pool(&mut self, node: &Node) -> Result<(), Refusal> {
        let (value, [channels, height, width]) = self.map(node, 0)?;
        let [kernel, stride, padding] = node.sizes(None, [height, width])?;
        let [rows, columns] = [height, width].map(|side| (side + 2 * padding - kernel) / stride + 1);
        if kernel < 2 || 2 * padding > kernel {
            let expected = "windows of 2 and more, padded by half of that at most".to_owned();
            return Err(node.refuse(expected, format!("kernel {kernel}, padding {padding}")));
        }
        if value.shared && !self.is_rectified(value.unit) {
            return Err(node.refuse("windows over an activation".to_owned(), "another value"));
        }
        let name = self.name(node, "");
        let op = ArchOp::MaxPool { input: value.unit, kernel, stride, padding };
        self.push(node, (name, op), [channels, rows, columns])
    }

    pub(super) fn average(&mut self, node: &Node) -> Result<(), Refusal> {
        let (value, [channels, height, width]) = self.map(node, 0)?;
        match node.op_type.as_str() {
            "AveragePool" => {
                let sizes = node.sizes(None, [height, width])?;
                if height != width || sizes[0] != height || sizes[2] != 0 {
                    return Err(node
                        .refuse("an average over the whole map".to_owned(), format!("kernel {}", sizes[0])));
                }
            }
            "ReduceMean" => self.check_axes(node)?,
            _ => {}
        }
        let op = ArchOp::GlobalAvgPool { input: value.unit };
        let name = self.name(node, "");
        self.push(node, (name, op), [channels, 1, 1])?;
        let flat = node.op_type == "ReduceMean" && node.int("keepdims", 1) == 0;
        self.reshape(node, flat)
    }

    /// Height and width, as an attribute or (since version 18) a constant.
    fn check_axes(&self, node: &Node) -> Result<(), Refusal> {
        let axes = match (node.attribute("axes"), node.input(1)) {
            (Some(axes), _) => axes.ints.clone(),
            (None, Some(input)) => self.constants.integers(&node.label(), input)?,
            (None, None) => Vec::new(),
        };
        let mut positive: Vec<i64> = axes.iter().map(|axis| axis.rem_euclid(4)).collect();
        positive.sort_unstable();
        if positive == [2, 3] {
            Ok(())
        } else {
            Err(node.refuse("axes 2 and 3".to_owned(), format!("{axes:?}")))
        }
    }

    pub(super) fn flatten(&mut self, node: &Node) -> Result<(), Refusal> {
        let value = self.value(node, 0)?;
        if node.op_type == "Flatten" {
            node.require("axis", 1)?;
        } else {
            let shape = self.constants.integers(&node.label(), required(node, 1)?)?;
            let features: usize = self.units[value.unit].shape.iter().product();
            let whole = |last: i64| last == -1 || usize::try_from(last) == Ok(features);
            if !matches!(shape[..], [_, last] if whole(last)) {
                return Err(node.refuse(format!("the shape [batch, {features}]"), format!("{shape:?}")));
            }
        }
        self.give(node, Value { flat: true, ..value })
    }

    fn reshape(&mut self, node: &Node, flat: bool) -> Result<(), Refusal> {
        let value = self.values.get_mut(output(node)?);
        value.map(|value| value.flat = flat).ok_or_else(|| node.refuse("an output".to_owned(), "none"))
    }
}
