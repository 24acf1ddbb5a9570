"""The integer engine over NumPy: what a checkpoint means, bit for bit, many images at once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .check import Shape
from .errors import fault
from .format import Checkpoint
from .graph import Activation, Conv, Input, MaxPool, Shortcut
from .layers import Products, products
from .ranges import output_range
from .transforms import Integers, Numbers

# Values of the largest map computed at once: enough for the matrix products, few enough for the processor's cache.
VALUES = 1 << 16


class Engine:
    """Logits of a checkpoint, equal to those of the Rust engine and of both parties together in every bit.

    Every layer is computed in float32, float64 or int64, the first in which all its integers and partial sums are exact
    (`Products.bound`): matrix products of floats are many times faster, and equal.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.batch = max(1, VALUES // max(map(math.prod, checkpoint.shapes)))
        self.products = [layer and _typed(layer) for layer in compile_layers(checkpoint)]

    def logits(self, images: npt.NDArray[Any]) -> Integers:
        """Logits [N, classes] in class order of images [N, channels, height, width] of pixels 0 to 255."""
        images = checked_images(self.checkpoint, images)
        batches = [self._nodes(images[at : at + self.batch])[-1] for at in range(0, len(images), self.batch)]
        classes = len(self.checkpoint.graph.classes)
        return np.concatenate([np.zeros((0, classes), np.int64), *(last[:, :, 0, 0].T for last in batches)]).astype(np.int64)

    def trace(self, images: npt.NDArray[Any]) -> list[Integers]:
        """Every node's output [N, channels, height, width] in graph order, accumulators where a convolution ends in them."""
        nodes = self._nodes(checked_images(self.checkpoint, images))
        return [node.transpose(1, 0, 2, 3).astype(np.int64) for node in nodes]

    def _nodes(self, images: npt.NDArray[Any]) -> list[Numbers]:
        """Every node's output, [channels, N, height, width]: channels first, as matrix products want them."""
        nodes: list[Numbers] = []
        for index, node in enumerate(self.checkpoint.graph.nodes):
            op = node.op
            if isinstance(op, Input):
                offsets = np.array(op.offsets, np.float32)[:, None, None, None]
                nodes.append(images.transpose(1, 0, 2, 3).astype(np.float32) - offsets)
            elif isinstance(op, Conv):
                nodes.append(self._convolve(index, op, nodes))
            elif isinstance(op, MaxPool):
                nodes.append(_max_pool(op, nodes[op.input], self.checkpoint.shapes[index]))
            else:
                # At most 2^26 activations of 8 bits.
                nodes.append(nodes[op.input].sum(axis=(2, 3), keepdims=True, dtype=np.float64))
        return nodes

    def _convolve(self, index: int, conv: Conv, nodes: list[Numbers]) -> Numbers:
        layer = self.products[index]
        assert layer is not None
        sums = _accumulate(layer, nodes[conv.input], self.checkpoint.shapes[index])
        if conv.shortcut:
            _add_shortcut(sums, conv.shortcut, nodes[conv.shortcut.input])
        return _requantized(sums, conv.output) if conv.output else sums


def compile_layers(checkpoint: Checkpoint) -> list[Products | None]:
    """The matrix products of every node, None where it has none."""
    graph, sizes, bounds = checkpoint.graph, checkpoint.shapes, checkpoint.bounds
    found: list[Products | None] = []
    for node in graph.nodes:
        conv = node.op
        if not isinstance(conv, Conv):
            found.append(None)
            continue
        largest = [max(-low, high) for low, high in output_range(graph, sizes, bounds, conv.input)]
        added = [0] * conv.out_channels
        if conv.shortcut:
            source = output_range(graph, sizes, bounds, conv.shortcut.input)
            for channel, (low, high) in enumerate(source, conv.shortcut.channel_offset):
                added[channel] = max(-low, high) << conv.shortcut.shifts[channel]
        found.append(products(conv, checkpoint.layers[node.name], largest, added))
    return found


def checked_images(checkpoint: Checkpoint, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images if they have the graph's shape and are pixels of 0 to 255."""
    checked_shape(checkpoint.shapes[0], images.shape)
    if images.dtype != np.uint8:
        if not np.issubdtype(images.dtype, np.integer):
            raise fault("images", "type", "integers", images.dtype, "Pass pixels of 0 to 255, not normalized ones.")
        if images.size and not (0 <= images.min() and images.max() <= 255):
            raise fault("images", "pixels", "0 to 255", f"{images.min()} to {images.max()}", "Pass bytes.")
    return images


def checked_shape(expected: Shape, found: tuple[int, ...]) -> None:
    """Raises CheckpointError unless `found` is [N, channels, height, width] with these three."""
    if len(found) != 4 or found[1:] != expected:
        raise fault("images", "shape", f"[N, {expected[0]}, {expected[1]}, {expected[2]}]", list(found), "Resize them.")


def arithmetic(bound: float) -> Any:
    """The fastest type in which integers up to `bound` are exact; int64 wraps on the way, and ends exact by the proof."""
    margin = 1 - 1e-6  # `bound` itself was computed in float64.
    if bound <= 2.0**24 * margin:
        return np.float32
    return np.float64 if bound <= 2.0**53 * margin else np.int64


def _typed(layer: Products) -> Products:
    kind = arithmetic(layer.bound)
    names = [name for name in ("before", "weights", "after", "bias") if getattr(layer, name) is not None]
    return dataclasses.replace(layer, **{name: getattr(layer, name).astype(kind) for name in names})


def _accumulate(layer: Products, x: Numbers, shape: Shape) -> Numbers:
    """Accumulators [out, N, height, width] without the shortcut."""
    rows, cols = layer.windows(shape)
    batch, taps = x.shape[1], layer.window**2
    columns = _gather(layer, x, (rows, cols))
    if layer.before is not None:
        columns = layer.before @ columns.reshape(taps, -1)
    sums = layer.weights @ columns.reshape(len(layer.weights), -1, batch * rows * cols)
    side, out = layer.side, sums.shape[1]
    if layer.after is not None:
        sums = layer.after @ sums.reshape(taps, -1)
    tiles = sums.reshape(side, side, out, batch, rows, cols).transpose(2, 3, 4, 0, 5, 1)
    whole = tiles.reshape(out, batch, rows * side, cols * side)[:, :, : shape[1], : shape[2]]
    return whole + layer.bias[:, None, None, None]


def _gather(layer: Products, x: Numbers, windows: tuple[int, int]) -> Numbers:
    """The windows' inputs, [window, window, channels, N, rows, columns], zero outside of the map."""
    channels, batch, height, width = x.shape
    pad, step, side = layer.padding, layer.step, layer.window
    needed = [(count - 1) * step + side for count in windows]
    padded = np.zeros((channels, batch, *needed), layer.weights.dtype)
    high, wide = min(height, needed[0] - pad), min(width, needed[1] - pad)
    padded[:, :, pad : pad + high, pad : pad + wide] = x[:, :, :high, :wide]
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))[:, :, ::step, ::step]
    gathered: Numbers = np.ascontiguousarray(views.transpose(4, 5, 0, 1, 2, 3))
    return gathered


def _add_shortcut(sums: Numbers, shortcut: Shortcut, source: Numbers) -> None:
    added = source[:, :, :: shortcut.stride, :: shortcut.stride].astype(sums.dtype)
    first = shortcut.channel_offset
    shifts = np.array(shortcut.shifts[first : first + len(added)], np.int64)
    sums[first : first + len(added)] += added * (1 << shifts).astype(sums.dtype)[:, None, None, None]


def _requantized(sums: Numbers, output: Activation) -> Numbers:
    shifts = np.array(output.shifts, np.int64)[:, None, None, None]
    half = (1 << (shifts - 1)).astype(sums.dtype)
    if sums.dtype == np.int64:
        rounded = (sums + half) >> shifts
    else:
        # Powers of two scale without rounding.
        rounded = np.floor((sums + half) * np.exp2(-shifts.astype(sums.dtype)))
    clipped: Numbers = np.clip(rounded, 0, (1 << output.bits) - 1).astype(np.float32)
    return clipped


def _max_pool(pool: MaxPool, x: Numbers, shape: Shape) -> Numbers:
    pad, kernel, stride = pool.padding, pool.kernel, pool.stride
    # Activations aren't negative, so zeros never win.
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    (height, width), found = shape[1:], np.zeros((x.shape[0], x.shape[1], *shape[1:]), x.dtype)
    for i, j in np.ndindex(kernel, kernel):
        np.maximum(found, padded[:, :, i::stride, j::stride][:, :, :height, :width], out=found)
    return found
