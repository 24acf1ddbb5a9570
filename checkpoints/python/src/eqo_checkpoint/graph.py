"""The public half of a checkpoint: nodes, as the file's JSON states them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Union

from .errors import CheckpointError, fault
from .transforms import MATRICES

ALGORITHMS = ("direct", *MATRICES)
MAX_GRAPH_JSON = 1 << 24


@dataclass(frozen=True)
class Input:
    """The image as `pixel - offsets[c]`."""

    height: int
    width: int
    offsets: list[int]


@dataclass(frozen=True)
class MaxPool:
    """The largest value of every window of an activation."""

    input: int
    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True)
class SumPool:
    """The sum over height and width of an activation."""

    input: int


@dataclass(frozen=True)
class Shortcut:
    """Every `stride`-th pixel of a node, put at `channel_offset` and up, times `2^shifts[o]`."""

    input: int
    stride: int
    channel_offset: int
    shifts: list[int]


@dataclass(frozen=True)
class Activation:
    """`clamp((acc + 2^(s-1)) >> s, 0, 2^bits - 1)`, s of the channel."""

    bits: int
    shifts: list[int]


@dataclass(frozen=True)
class Conv:
    """A convolution or linear layer; `output` is None where it ends in accumulators."""

    input: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    algorithm: str
    weight_exponents: list[list[int]]
    weight_offset: int
    tap_shifts: list[list[int]]
    shortcut: Shortcut | None
    ring_bits: list[int]
    output: Activation | None

    @property
    def positions(self) -> int:
        """Weights of a pair of channels: taps, or the kernel's elements."""
        return self.kernel**2 if self.algorithm == "direct" else len(MATRICES[self.algorithm][0]) ** 2

    @property
    def taps(self) -> int:
        """Rows of `tap_shifts`."""
        return 1 if self.algorithm == "direct" else self.positions

    def exponents(self, position: int) -> list[int]:
        """Of the bits of the codes at a position."""
        return self.weight_exponents[0 if len(self.weight_exponents) == 1 else position]


Op = Union[Input, MaxPool, SumPool, Conv]


@dataclass(frozen=True)
class Node:
    """One step; `name` is also the prefix of its tensors."""

    name: str
    op: Op


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order: first the image, last the logits, worth `2^logit_exponent` each."""

    name: str
    classes: list[str]
    logit_exponent: int
    nodes: list[Node]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: an object, if no key is in it twice."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    twice = next(key for key in keys if keys.count(key) > 1)
    raise CheckpointError(f"duplicate key {json.dumps(twice)}")


def parse(text: str) -> Graph:
    """Reads the JSON of a graph; its structure is checked by `check.shapes`.

    Raises CheckpointError where a field is unknown, missing, twice or of another type.
    """
    if len(text.encode()) > MAX_GRAPH_JSON:
        raise fault("graph", "size", f"at most {MAX_GRAPH_JSON} bytes of JSON", len(text.encode()))
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise fault("graph", "JSON", "a graph of format version 1", error) from None
    return _graph(value)


Check = Callable[[str, Any], Any]


def _fields(where: str, value: Any, kinds: dict[str, Check], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of exactly these fields, each by its check."""
    if not isinstance(value, dict):
        raise fault(where, "JSON", "an object", type(value).__name__)
    for key in value:
        if key not in kinds:
            raise fault(where, "field", f"one of {', '.join(kinds)}", f"unknown field {key}")
    for key in kinds:
        if key not in value and key not in optional:
            raise fault(where, "field", key, "none")
    return {key: check(f"{where}: {key}", value[key]) for key, check in kinds.items() if key in value}


def _integer(low: int, high: int) -> Check:
    def check(where: str, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise fault(where, "value", f"an integer, {low} to {high}", repr(value))

    return check


def _string(where: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise fault(where, "value", "a string", repr(value))


def _list(item: Check) -> Check:
    def check(where: str, value: Any) -> list[Any]:
        if isinstance(value, list):
            return [item(where, element) for element in value]
        raise fault(where, "value", "a list", repr(value))

    return check


SIZE, BYTE = _integer(0, 2**63 - 1), _integer(0, 255)


def _shortcut(where: str, value: Any) -> Shortcut | None:
    kinds = {"input": SIZE, "stride": SIZE, "channel_offset": SIZE, "shifts": _list(BYTE)}
    return None if value is None else Shortcut(**_fields(where, value, kinds))


def _output(where: str, value: Any) -> Activation | None:
    if value == "accumulator":
        return None
    kinds = {"bits": BYTE, "shifts": _list(BYTE)}
    found = _fields(where, value, {"activation": lambda at, inner: Activation(**_fields(at, inner, kinds))})
    activation: Activation = found["activation"]
    return activation


def _algorithm(where: str, value: Any) -> str:
    if isinstance(value, str) and value in ALGORITHMS:
        return value
    expected = f"one of {', '.join(ALGORITHMS)}"
    raise fault(where, "value", expected, f"unknown variant `{value}`", "Use a newer reader.")


CONV = {
    **dict.fromkeys(("input", "in_channels", "out_channels", "kernel", "stride", "padding"), SIZE),
    "algorithm": _algorithm,
    "weight_exponents": _list(_list(BYTE)),
    "weight_offset": BYTE,
    "tap_shifts": _list(_list(BYTE)),
    "shortcut": _shortcut,
    "ring_bits": _list(BYTE),
    "output": _output,
}


def _conv(where: str, value: Any) -> Conv:
    fields = _fields(where, value, CONV, ("weight_offset", "shortcut"))
    return Conv(**{"weight_offset": 0, "shortcut": None, **fields})


def _op(where: str, value: Any) -> Op:
    pool = dict.fromkeys(("input", "kernel", "stride", "padding"), SIZE)
    image = {"height": SIZE, "width": SIZE, "offsets": _list(_integer(-(2**15), 2**15 - 1))}
    kinds: dict[str, Check] = {
        "input": lambda at, inner: Input(**_fields(at, inner, image)),
        "conv": _conv,
        "max_pool": lambda at, inner: MaxPool(**_fields(at, inner, pool)),
        "sum_pool": lambda at, inner: SumPool(**_fields(at, inner, {"input": SIZE})),
    }
    found = _fields(where, value, kinds, tuple(kinds))
    if len(found) != 1:
        raise fault(where, "operations", "one", len(found))
    op: Op = next(iter(found.values()))
    return op


def _node(where: str, value: Any) -> Node:
    name = value.get("name") if isinstance(value, dict) else None
    where = f"node {name}" if isinstance(name, str) else where
    return Node(**_fields(where, value, {"name": _string, "op": _op}))


def _graph(value: Any) -> Graph:
    kinds = {
        "name": _string,
        "classes": _list(_string),
        "logit_exponent": _integer(-(2**31), 2**31 - 1),
        "nodes": _list(_node),
    }
    return Graph(**_fields("graph", value, kinds))
