"""A checkpoint as a PyTorch module, bit-exact on every device that has float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .check import Shape
from .engine import arithmetic, checked_shape, compile_layers
from .format import Checkpoint
from .graph import Activation, Conv, Input, MaxPool, Shortcut
from .layers import Products


class EqoModule(nn.Module):
    """`module(images)`: int64 logits [N, classes] of uint8 or int64 images [N, channels, height, width] of pixels 0 to 255.

    They equal `Engine.logits` in every bit. A layer whose integers and partial sums, in any order, provably stay below 2^53
    (`Products.bound`) is computed in float64, which holds each of them exactly; a layer without that proof in int64, modulo
    2^64, which its proven ring of at most 62 bits makes exact in the end. float32 is never used: devices may round its products
    to TF32 or bfloat16.

    All state is int64 buffers, so `.to(device)` and `state_dict` work and `.half()` or `.float()` change nothing. There are no
    parameters: shifts and rounding have no gradient. The bounds belong to the checkpoint: load no other one's state.
    """

    offsets: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        graph, shapes = checkpoint.graph, checkpoint.shapes
        self.classes = list(graph.classes)
        self.logit_exponent = graph.logit_exponent
        self.ops = [node.op for node in graph.nodes]
        self.shapes = list(shapes)
        image = self.ops[0]
        assert isinstance(image, Input)
        self.register_buffer("offsets", torch.tensor(image.offsets)[:, None, None])
        self.layers = nn.ModuleDict()
        for index, (node, layer) in enumerate(zip(graph.nodes, compile_layers(checkpoint))):
            if layer is not None and isinstance(node.op, Conv):
                self.layers[str(index)] = ConvModule(node.op, layer, shapes[index])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Integer logits, worth `2^logit_exponent` each."""
        checked_shape(self.shapes[0], tuple(images.shape))
        if images.is_floating_point():
            raise TypeError(
                f"images: expected bytes or int64, found {images.dtype}. Pass pixels of 0 to 255, not normalized ones."
            )
        nodes: list[Tensor] = []
        for index, op in enumerate(self.ops):
            if isinstance(op, Input):
                nodes.append(images.to(torch.int64) - self.offsets)
            elif isinstance(op, Conv):
                residual = nodes[op.shortcut.input] if op.shortcut else None
                nodes.append(self.layers[str(index)](nodes[op.input], residual))
            elif isinstance(op, MaxPool):
                # In float64, for which every device has max pooling; its own padding never wins.
                pooled = functional.max_pool2d(nodes[op.input].double(), op.kernel, op.stride, op.padding)
                nodes.append(pooled.to(torch.int64))
            else:
                nodes.append(nodes[op.input].sum(dim=(2, 3), keepdim=True))
        return nodes[-1].flatten(1)

    def scaled(self, images: Tensor) -> Tensor:
        """The same logits as real numbers, float64, in the network's own unit: for a softmax or a loss."""
        return self.forward(images).double() * 2.0**self.logit_exponent


class ConvModule(nn.Module):
    """One convolution, its residual and its output, from and to int64 [N, channels, height, width]."""

    weights: Tensor
    bias: Tensor
    before: Tensor | None
    after: Tensor | None
    shifts: Tensor
    shortcut_shifts: Tensor

    def __init__(self, conv: Conv, layer: Products, shape: Shape) -> None:
        super().__init__()
        self.output, self.shortcut, self.shape = conv.output, conv.shortcut, shape
        self.window, self.step, self.padding, self.side = layer.window, layer.step, layer.padding, layer.side
        self.rows, self.cols = layer.windows(shape)
        self.kind = torch.int64 if arithmetic(layer.bound) is np.int64 else torch.float64
        self._constant("before", layer.before)
        self._constant("weights", layer.weights)
        self._constant("after", layer.after)
        self._constant("bias", layer.bias[:, None, None])
        self._constant("shifts", _column(conv.output))
        self._constant("shortcut_shifts", _column(conv.shortcut))

    def _constant(self, name: str, values: np.ndarray[Any, Any] | None) -> None:
        self.register_buffer(name, None if values is None else torch.tensor(values))

    def forward(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """The accumulators, or the activations that they become."""
        sums = self._products(x) + self.bias
        if self.shortcut is not None and residual is not None:
            step, first = self.shortcut.stride, self.shortcut.channel_offset
            added = residual[:, :, ::step, ::step]
            channels = slice(first, first + added.shape[1])
            sums[:, channels] += added << self.shortcut_shifts[channels]
        if self.output is None:
            return sums
        half = torch.ones_like(self.shifts) << (self.shifts - 1)
        return ((sums + half) >> self.shifts).clamp(0, (1 << self.output.bits) - 1)

    def _products(self, x: Tensor) -> Tensor:
        batch, taps, (out, height, width) = len(x), self.window**2, self.shape
        columns = self._gather(x.to(self.kind))
        if self.before is not None:
            columns = _matmul(self.before.to(self.kind), columns.reshape(taps, -1))
        sums = _matmul(self.weights.to(self.kind), columns.reshape(len(self.weights), -1, batch * self.rows * self.cols))
        if self.after is not None:
            sums = _matmul(self.after.to(self.kind), sums.reshape(taps, -1))
        tiles = sums.reshape(self.side, self.side, out, batch, self.rows, self.cols).permute(3, 2, 4, 0, 5, 1)
        whole = tiles.reshape(batch, out, self.rows * self.side, self.cols * self.side)
        return whole[:, :, :height, :width].to(torch.int64)

    def _gather(self, x: Tensor) -> Tensor:
        """The windows' inputs, [window, window, channels, N, rows, columns], zero outside of the map."""
        ends = [(count - 1) * self.step + self.window - self.padding for count in (self.rows, self.cols)]
        # Negative padding cuts what no window reads.
        beyond = [ends[0] - x.shape[2], ends[1] - x.shape[3]]
        padded = functional.pad(x, (self.padding, beyond[1], self.padding, beyond[0]))
        windows = padded.unfold(2, self.window, self.step).unfold(3, self.window, self.step)
        return windows.permute(4, 5, 1, 0, 2, 3)


def _column(part: Activation | Shortcut | None) -> np.ndarray[Any, Any] | None:
    return None if part is None else np.array(part.shifts, np.int64)[:, None, None]


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    exact = left.is_floating_point() or left.device.type == "cpu"
    return left @ right if exact else integer_matmul(left, right)


def integer_matmul(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` for devices that multiply no matrices of integers."""
    total = left[..., :, 0, None] * right[..., 0, None, :]
    for k in range(1, left.shape[-1]):
        total += left[..., :, k, None] * right[..., k, None, :]
    return total
