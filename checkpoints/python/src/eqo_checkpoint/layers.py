"""A convolution laid out for matrix products, and the arithmetic in which it is exact. NumPy and PyTorch share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .check import Shape
from .graph import Conv
from .transforms import Numbers, transform
from .weights import Layer, shifted_values


@dataclass(frozen=True)
class Products:
    """Windows of `window` x `window` inputs every `step` pixels from `-padding`, [window², in, windows], become

    `columns` by `before` where there is one; `weights` [taps, out, inner] times them are the products, and `after`, where
    there is one, turns those into `side` x `side` outputs a window. `bound` is at least the magnitude of every integer on the
    way and of every partial sum in any order, shortcut and rounding included: below 2^24 all are exact in float32, below 2^53
    in float64.
    """

    window: int
    step: int
    padding: int
    side: int
    before: Numbers | None
    weights: Numbers
    after: Numbers | None
    bias: Numbers
    bound: float

    def windows(self, shape: Shape) -> tuple[int, int]:
        """Rows and columns of windows that cover outputs of this shape."""
        return -(-shape[1] // self.side), -(-shape[2] // self.side)


def products(conv: Conv, layer: Layer, largest: list[int], shortcut: list[int]) -> Products:
    """`largest` is the greatest magnitude of each input channel, `shortcut` that of what is added to each output channel."""
    weights, matrices = shifted_values(conv, layer), transform(conv.algorithm)
    inputs = np.array(largest, float)
    if matrices is None:
        # One product with an inner dimension of kernel² times channels.
        positions, out, channels = weights.shape
        weights = weights.transpose(1, 0, 2).reshape(1, out, positions * channels)
        columns = np.tile(inputs, positions)[None]
        reach = [[1.0]]
    else:
        columns = np.abs(matrices.input).sum(axis=1)[:, None] * inputs
        reach = np.abs(matrices.output).tolist()
    dots = np.einsum("toi,ti->to", np.abs(weights.astype(float)), columns)
    sums = (np.array(reach) @ dots).max(axis=0) + np.abs(layer.bias.astype(float)) + np.array(shortcut, float)
    if conv.output:
        sums += 2.0 ** (np.array(conv.output.shifts) - 1.0)
    bound = max(sums.max(), columns.max())
    if matrices is None:
        return Products(conv.kernel, conv.stride, conv.padding, 1, None, weights, None, layer.bias, bound)
    step = matrices.outputs * matrices.stride
    return Products(
        matrices.tile, step, conv.padding, matrices.outputs, matrices.input, weights, matrices.output, layer.bias, bound
    )
