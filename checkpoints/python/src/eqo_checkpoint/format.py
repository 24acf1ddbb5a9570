"""The checkpoint file, format version 1: everything is checked before anything is made from it.

Specification: docs/checkpoint-format.md. The checks are those of the Rust reader (checkpoints/src/format/read.rs).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import safetensors

from . import blake3
from .check import Shape, shapes
from .errors import CheckpointError, fault
from .graph import Conv, Graph, parse, unique
from .ranges import Bounds, prove
from .weights import Layer, check_codes

VERSION = "1"
MAX_FILE = 1 << 30
DTYPES: dict[str, Any] = {"I8": np.dtype("<i1"), "I64": np.dtype("<i8")}

Tensors = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A graph and weights that fit together, with proven rings. Printing one shows no weight."""

    graph: Graph
    shapes: list[Shape]
    layers: dict[str, Layer]
    bounds: list[Bounds]
    metadata: dict[str, str]

    def __repr__(self) -> str:
        return f"Checkpoint({self.graph.name!r}, {len(self.graph.nodes)} nodes)"

    @property
    def accuracy(self) -> float | None:
        """Share of test images that the integer engine gets right, if it was measured."""
        return float(self.metadata["accuracy"]) if self.metadata["accuracy"] else None


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and proves a file.

    Raises OSError where it can't be read, CheckpointError where it isn't a sound checkpoint of version 1.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    return loads(data, str(path))


def loads(data: bytes, file: str = "checkpoint") -> Checkpoint:
    """Reads and proves a file's bytes; errors call it `file`."""
    try:
        return _checkpoint(data)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None


def _checkpoint(data: bytes) -> Checkpoint:
    if len(data) > MAX_FILE:
        raise fault("file", "size", f"at most {MAX_FILE} bytes", "more")
    fields, tensors = _structure(data)
    _require(fields, "format", "eqo")
    _require(fields, "version", VERSION)
    text = _field(fields, "graph")
    _require(fields, "graph_blake3", blake3.hexdigest(text.encode()))
    graph = parse(text)
    sizes = shapes(graph)
    _check_metadata(fields)
    layers = _layers(graph, tensors)
    _require(fields, "weights_blake3", _weights_hash(tensors))
    for node in graph.nodes:
        if isinstance(node.op, Conv):
            check_codes(f"node {node.name}", node.op, layers[node.name])
    return Checkpoint(graph, sizes, layers, prove(graph, sizes, layers), fields)


def _structure(data: bytes) -> tuple[dict[str, str], Tensors]:
    """Metadata and tensors; safetensors checks lengths, offsets and holes, this that no key is there twice."""
    try:
        deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
        tensors = dict(deserialize(data))
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length], object_pairs_hook=unique)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise fault("file", "structure", "safetensors", error) from None
    return header.get("__metadata__", {}), tensors


def _field(fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise fault(f"metadata {key}", "value", "one", "none")
    return fields[key]


def _require(fields: dict[str, str], key: str, expected: str) -> None:
    if _field(fields, key) != expected:
        raise fault(f"metadata {key}", "value", expected, fields[key])


def _check_metadata(fields: dict[str, str]) -> None:
    for key in ("recipe", "dataset"):
        _field(fields, key)
    seed, accuracy = _field(fields, "seed"), _field(fields, "accuracy")
    if not (seed.isascii() and seed.isdigit() and int(seed) < 1 << 64):
        raise fault("metadata seed", "value", "an unsigned integer", seed)
    try:
        sound = not accuracy or 0 <= float(accuracy) <= 1
    except ValueError:
        sound = False
    if not sound:
        raise fault("metadata accuracy", "value", "empty or 0 to 1", accuracy)


def _layers(graph: Graph, tensors: Tensors) -> dict[str, Layer]:
    layers, known = {}, set()
    for node in graph.nodes:
        if isinstance(conv := node.op, Conv):
            codes, bias = f"{node.name}.{'w' if conv.algorithm == 'direct' else 'u'}", f"{node.name}.bias"
            size = [conv.positions, conv.out_channels, conv.in_channels]
            layers[node.name] = Layer(_tensor(tensors, codes, "I8", size), _tensor(tensors, bias, "I64", [conv.out_channels]))
            known |= {codes, bias}
    if extra := set(tensors) - known:
        raise fault("file", "tensors", f"the {len(known)} of the graph", min(extra))
    return layers


def _tensor(tensors: Tensors, name: str, dtype: str, shape: list[int]) -> Any:
    tensor, expected = tensors.get(name), f"{dtype} {shape}"
    found = f"{tensor['dtype']} {list(tensor['shape'])}" if tensor else "none"
    if tensor is None or found != expected:
        raise fault("file", f"tensor {name}", expected, found)
    return np.frombuffer(tensor["data"], DTYPES[dtype]).reshape(shape)


def _weights_hash(tensors: Tensors) -> str:
    """BLAKE3 over all tensors by ascending name: name, type and shape with a zero byte after each, then the data."""
    message = bytearray()
    for name, tensor in sorted(tensors.items(), key=lambda entry: entry[0].encode()):
        for text in (name, tensor["dtype"], ",".join(map(str, tensor["shape"]))):
            message += text.encode() + b"\0"
        message += tensor["data"]
    return blake3.hexdigest(bytes(message))
