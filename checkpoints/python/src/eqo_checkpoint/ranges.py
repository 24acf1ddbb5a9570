"""The proof that every accumulator fits its ring, by the effective integer kernel (checkpoints/src/range.rs).

Integers computed without rings and those computed modulo 2^l are the same only where this holds.
"""

from __future__ import annotations

import numpy as np

from .check import Shape, activation_bits
from .errors import fault
from .graph import Conv, Graph, Input, SumPool
from .transforms import Integers, transform
from .weights import Layer, shifted_values

MAX_RING = 62
# Integers up to 2^53 are exact in float64, and so are sums whose terms' magnitudes add up to no more.
EXACT = 2.0**53 * (1 - 1e-6)
NEXT = "Lower the network again: `eqo quantize` proves and sets the rings."

# Smallest and largest value of each channel, Python integers.
Bounds = list[tuple[int, int]]


def prove(graph: Graph, shapes: list[Shape], layers: dict[str, Layer]) -> list[Bounds]:
    """The bounds of every node: of a convolution's accumulators, of other nodes' output.

    Raises CheckpointError for the first channel whose ring is too small.
    """
    bounds: list[Bounds] = []
    for index, node in enumerate(graph.nodes):
        if isinstance(node.op, Conv):
            bounds.append(_proven(graph, shapes, bounds, index, layers[node.name]))
        else:
            bounds.append(output_range(graph, shapes, bounds, index))
    return bounds


def output_range(graph: Graph, shapes: list[Shape], bounds: list[Bounds], index: int) -> Bounds:
    """What a node puts out: an activation whatever its bits allow, an accumulator its proven bounds."""
    op, channels = graph.nodes[index].op, shapes[index][0]
    if isinstance(op, Input):
        return [(-offset, 255 - offset) for offset in op.offsets]
    if isinstance(op, SumPool):
        _, height, width = shapes[op.input]
        return [(0, high * height * width) for _, high in output_range(graph, shapes, bounds, op.input)]
    bits = activation_bits(graph, index)
    return bounds[index] if bits is None else [(0, (1 << bits) - 1)] * channels


def needed_ring_bits(conv: Conv, channel: int, low: int, high: int) -> int | None:
    """The smallest ring for these accumulators and what requantization adds to them; None beyond 62 bits."""
    if conv.output:
        bits, shift = conv.output.bits, conv.output.shifts[channel]
        low, high = low - (1 << (bits + shift)), high + (1 << (shift - 1))
    return next((l for l in range(2, MAX_RING + 1) if low >= -(1 << (l - 1)) and high < 1 << (l - 1)), None)


def _proven(graph: Graph, shapes: list[Shape], bounds: list[Bounds], index: int, layer: Layer) -> Bounds:
    node, conv = graph.nodes[index], graph.nodes[index].op
    assert isinstance(conv, Conv)
    where = f"node {node.name}"
    found = conv_bounds(conv, layer, shapes[index], output_range(graph, shapes, bounds, conv.input))
    if conv.shortcut:
        added = output_range(graph, shapes, bounds, conv.shortcut.input)
        for channel, (low, high) in enumerate(added, conv.shortcut.channel_offset):
            shift = conv.shortcut.shifts[channel]
            found[channel] = (found[channel][0] + (low << shift), found[channel][1] + (high << shift))
    for channel, (low, high) in enumerate(found):
        needed = needed_ring_bits(conv, channel, low, high)
        if needed is None:
            expected = f"accumulators of at most {MAX_RING} bits in channel {channel}"
            raise fault(where, "ring_bits", expected, f"{low} to {high}", NEXT)
        if conv.ring_bits[channel] < needed:
            expected = f"at least {needed} bits for channel {channel}"
            raise fault(where, "ring_bits", expected, conv.ring_bits[channel], NEXT)
    return found


def conv_bounds(conv: Conv, layer: Layer, shape: Shape, source: Bounds) -> Bounds:
    """Exact bounds of the accumulators without a shortcut, for inputs of these ranges, all of which hold 0."""
    taps = shifted_values(conv, layer)
    matrices = transform(conv.algorithm)
    used, mixes = [0], [np.eye(conv.positions, dtype=np.int64)]
    if matrices:
        m = matrices.outputs
        used = [pq for pq in range(m * m) if pq // m < shape[1] and pq % m < shape[2]]
        # Row ij, column tap: what a tap's weight adds to the effective kernel of output pq.
        mixes = [(matrices.output[pq][:, None] * matrices.input).T for pq in used]
    lows = np.array([low for low, _ in source], object)
    highs = np.array([high for _, high in source], object)
    # Python's integers have no limit; float64 is exact and fast where nothing comes near 2^53.
    most = max((float(np.abs(mix).sum()) for mix in mixes), default=0.0) * float(np.abs(taps.astype(float)).max(initial=0))
    kind = float if most * max(map(float, [1, *highs, *-lows])) * conv.in_channels * conv.positions <= EXACT else object
    ends = [_ends(mix.astype(kind), taps.astype(kind), lows.astype(kind), highs.astype(kind)) for mix in mixes]
    return [
        (min(int(low[o]) for low, _ in ends) + bias, max(int(high[o]) for _, high in ends) + bias)
        for o, bias in enumerate(map(int, layer.bias))
    ]


def _ends(mix: Integers, taps: Integers, lows: Integers, highs: Integers) -> tuple[Integers, Integers]:
    """Smallest and largest dot product of each output channel, [out] each."""
    positions, out, channels = taps.shape
    kernel = (mix @ taps.reshape(positions, -1)).reshape(-1, out, channels)
    up, down = np.maximum(kernel, 0).sum(axis=0), np.minimum(kernel, 0).sum(axis=0)
    return up @ lows + down @ highs, up @ highs + down @ lows
