"""The structure of a graph: what must hold whatever the weights are, as `checkpoints/src/graph/check.rs` has it."""

from __future__ import annotations

import math
import re

from .errors import bounded, fault
from .graph import Conv, Graph, Input, MaxPool, Node, SumPool
from .transforms import transform

MAX_SIZE, MAX_ELEMENTS = 1 << 13, 1 << 26
MAX_MATCHES = MAX_COLUMN_VALUES = 1 << 28
MAX_NODES, MAX_CLASSES, MAX_NAME = 4096, 1 << 16, 128

Shape = tuple[int, int, int]


def shapes(graph: Graph) -> list[Shape]:
    """Output shape [channels, height, width] of every node.

    Raises CheckpointError for the first broken rule.
    """
    bounded("graph", "nodes", len(graph.nodes), 2, MAX_NODES)
    bounded("graph", "classes", len(graph.classes), 1, MAX_CLASSES)
    _check_names(graph)
    found: list[Shape] = []
    for index, node in enumerate(graph.nodes):
        found.append(_shape(graph, index, node, found))
    last = graph.nodes[-1]
    if not isinstance(last.op, Conv) or last.op.output or last.op.out_channels != len(graph.classes):
        raise fault(f"node {last.name}", "last node", f"accumulators, one for each of {len(graph.classes)} classes", "another")
    if found[-1][1:] != (1, 1):
        raise fault(f"node {last.name}", "shape of the logits", "one pixel", f"{found[-1][1]} x {found[-1][2]}")
    return found


def activation_bits(graph: Graph, index: int) -> int | None:
    """Bits of an activation, a convolution's own or those that a max pooling reads; None for everything else."""
    op = graph.nodes[index].op
    while isinstance(op, MaxPool):
        op = graph.nodes[op.input].op
    return op.output.bits if isinstance(op, Conv) and op.output else None


def _check_names(graph: Graph) -> None:
    names = set()
    for node in graph.nodes:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", node.name):
            raise fault("graph", "node name", "1 to 128 letters, digits, '.', '_' or '-'", repr(node.name))
        if node.name in names:
            raise fault(f"node {node.name}", "name", "unique", "a second node of that name")
        names.add(node.name)
    for name in [*graph.classes, graph.name]:
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME or re.search(r"[\x00-\x1f\x7f-\x9f]", name):
            raise fault("graph", "name or class name", "at most 128 bytes, no control characters", repr(name))


def _shape(graph: Graph, index: int, node: Node, known: list[Shape]) -> Shape:
    where, op = f"node {node.name}", node.op
    if isinstance(op, Input) != (index == 0):
        raise fault(where, "operation", "the input, first and only there", type(op).__name__)
    if isinstance(op, Input):
        for offset in op.offsets:
            bounded(where, "offsets", offset, 0, 255)
        return _bounded_shape(where, (len(op.offsets), op.height, op.width))
    if op.input >= len(known):
        raise fault(where, "input", "an earlier node (no cycles)", op.input)
    if isinstance(op, Conv):
        return _conv_shape(graph, node, op, known)
    if activation_bits(graph, op.input) is None:
        raise fault(where, "input", "an activation", "the image, a sum or an accumulator")
    channels = known[op.input][0]
    return (channels, 1, 1) if isinstance(op, SumPool) else _pooled_shape(where, op, known[op.input])


def _pooled_shape(where: str, pool: MaxPool, shape: Shape) -> Shape:
    bounded(where, "kernel", pool.kernel, 2, 15)
    bounded(where, "stride", pool.stride, 1, 8)
    bounded(where, "padding", pool.padding, 0, pool.kernel // 2)
    height, width = _output_size(where, pool, shape)
    bounded(where, "matches", shape[0] * width * (shape[1] + height) * (pool.kernel - 1), 1, MAX_MATCHES)
    return _bounded_shape(where, (shape[0], height, width))


def _output_size(where: str, op: Conv | MaxPool, shape: Shape) -> tuple[int, int]:
    room = [side + 2 * op.padding - op.kernel for side in shape[1:]]
    if min(room) < 0:
        raise fault(where, "kernel", f"at most {min(shape[1:]) + 2 * op.padding}", op.kernel)
    return room[0] // op.stride + 1, room[1] // op.stride + 1


def _bounded_shape(where: str, shape: Shape) -> Shape:
    for size in shape:
        bounded(where, "shape", size, 1, MAX_SIZE)
    bounded(where, "elements", math.prod(shape), 1, MAX_ELEMENTS)
    return shape


def _conv_shape(graph: Graph, node: Node, conv: Conv, known: list[Shape]) -> Shape:
    where, source = f"node {node.name}", graph.nodes[conv.input].op
    if isinstance(source, Conv) and source.output is None:
        raise fault(where, "input", "the image, an activation or a sum", "an accumulator")
    if conv.in_channels != known[conv.input][0]:
        raise fault(where, "in_channels", known[conv.input][0], conv.in_channels)
    for what, found, low, high in (
        ("out_channels", conv.out_channels, 1, MAX_SIZE),
        ("kernel", conv.kernel, 1, 15),
        ("stride", conv.stride, 1, 8),
        ("padding", conv.padding, 0, 7),
        ("weight_offset", conv.weight_offset, 0, 1),
    ):
        bounded(where, what, found, low, high)
    matrices = transform(conv.algorithm)
    if matrices and (conv.kernel, conv.stride) != (3, matrices.stride):
        raise fault(where, "algorithm", "direct; for 3x3 kernels also f2x2 or f4x4 (stride 1), p2x2 (stride 2)", conv.algorithm)
    shape = _bounded_shape(where, (conv.out_channels, *_output_size(where, conv, known[conv.input])))
    _check_exponents(where, conv)
    _check_channels(where, conv)
    _check_columns(where, conv, shape)
    _check_shortcut(graph, where, conv, shape, known)
    return shape


def _check_columns(where: str, conv: Conv, shape: Shape) -> None:
    matrices = transform(conv.algorithm)
    side = matrices.outputs if matrices else 1
    inner = conv.in_channels if matrices else conv.in_channels * conv.positions
    columns = -(-shape[1] // side) * -(-shape[2] // side)
    values = conv.taps * max(inner, conv.out_channels) * columns
    bounded(where, "values of all columns", values, 1, MAX_COLUMN_VALUES)


def _check_exponents(where: str, conv: Conv) -> None:
    lists = conv.weight_exponents
    if len(lists) not in (1, conv.positions):
        raise fault(where, "weight_exponents", f"1 or {conv.positions} lists", len(lists))
    fewest = 2 - conv.weight_offset  # A sign alone has no positive value without an offset.
    for exponents in lists:
        dropped = not exponents and any(lists)
        if not dropped and not fewest <= len(exponents) <= 8:
            raise fault(where, "weight bits", f"{fewest} to 8, or none at some taps", len(exponents))
        if exponents != sorted(set(exponents)) or max(exponents, default=0) > 24:
            raise fault(where, "weight_exponents", "strictly increasing, at most 24", exponents)


def _check_channels(where: str, conv: Conv) -> None:
    out = conv.out_channels
    if len(conv.ring_bits) != out or not all(2 <= bits <= 62 for bits in conv.ring_bits):
        raise fault(where, "ring_bits", f"{out} widths of 2 to 62", conv.ring_bits)
    if len(conv.tap_shifts) != conv.taps or any(len(row) != out for row in conv.tap_shifts):
        raise fault(where, "tap_shifts", f"{conv.taps} rows of {out}", len(conv.tap_shifts))
    for position in range(conv.positions):
        top = max(conv.exponents(position), default=0)
        row = conv.tap_shifts[position if conv.taps > 1 else 0]
        for shift, ring in zip(row, conv.ring_bits):
            if shift + top >= ring:
                raise fault(where, "tap shift plus top exponent", f"below the ring of {ring} bits", shift)
    if conv.output:
        bits, shifts = conv.output.bits, conv.output.shifts
        bounded(where, "activation bits", bits, 2, 8)
        if len(shifts) != out or not all(s >= 1 and s + bits < ring for s, ring in zip(shifts, conv.ring_bits)):
            raise fault(where, "output shifts", f"{out} of 1 to ring - {bits} - 1", shifts)


def _check_shortcut(graph: Graph, where: str, conv: Conv, shape: Shape, known: list[Shape]) -> None:
    shortcut = conv.shortcut
    if shortcut is None:
        return
    if shortcut.input >= len(known):
        raise fault(where, "shortcut input", "an earlier node (no cycles)", shortcut.input)
    channels, *sides = known[shortcut.input]
    bounded(where, "shortcut stride", shortcut.stride, 1, 8)
    strided = tuple(-(-side // shortcut.stride) for side in sides)
    if strided != shape[1:]:
        raise fault(where, "shortcut shape", shape[1:], strided)
    if shortcut.channel_offset + channels > conv.out_channels:
        raise fault(where, "shortcut channels", f"at most {conv.out_channels}", channels)
    if len(shortcut.shifts) != conv.out_channels or any(s >= r for s, r in zip(shortcut.shifts, conv.ring_bits)):
        raise fault(where, "shortcut shifts", "one below the ring for each output channel", len(shortcut.shifts))
    source = graph.nodes[shortcut.input].op
    if activation_bits(graph, shortcut.input) is not None:
        return
    if not isinstance(source, Conv):
        raise fault(where, "shortcut", "an activation or accumulator", "another")
    for channel, found in enumerate(source.ring_bits):
        out = channel + shortcut.channel_offset
        needed = conv.ring_bits[out] - shortcut.shifts[out]
        if found < needed:
            raise fault(where, "shortcut accumulator ring", f"at least {needed} bits", found)
