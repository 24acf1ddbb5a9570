import json
from typing import Any, Callable

import pytest
from conftest import FIXTURES, NAMES, join, split

from eqo_checkpoint import CheckpointError, blake3, load, loads


def with_graph(edit: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Changes the graph and its checksum."""

    def change(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        graph = json.loads(metadata["graph"])
        edit(graph)
        metadata["graph"] = json.dumps(graph)
        metadata["graph_blake3"] = blake3.hexdigest(metadata["graph"].encode())

    return change


def conv(edit: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return with_graph(lambda graph: edit(graph["nodes"][1]["op"]["conv"]))


def metadata(key: str, value: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"].update({key: value})


DAMAGE = {
    "version": (metadata("version", "9"), "metadata version: value: expected 1, found 9"),
    "format": (metadata("format", "pt"), "expected eqo"),
    "weights checksum": (metadata("weights_blake3", "00"), "weights_blake3"),
    "graph checksum": (metadata("graph_blake3", "00"), "graph_blake3"),
    "seed": (metadata("seed", "-1"), "unsigned integer"),
    "accuracy": (metadata("accuracy", "NaN"), "0 to 1"),
    "no metadata": (lambda header: header.pop("__metadata__"), "metadata format"),
    "no dataset": (lambda header: header["__metadata__"].pop("dataset"), "metadata dataset: value: expected one, found none"),
    "dtype": (lambda header: header["conv1.u"].update(dtype="U8"), "tensor conv1.u: expected I8"),
    "missing tensor": (lambda header: header.update(other=header.pop("conv1.u")), "tensor conv1.u"),
    "overlap": (lambda header: header["linear.w"].update(data_offsets=[0, 8]), "structure"),
    "cycle": (conv(lambda conv: conv.update(input=1)), "no cycles"),
    "algorithm": (conv(lambda conv: conv.update(algorithm="f6x6")), "unknown variant `f6x6`"),
    "stride": (conv(lambda conv: conv.update(stride=2)), "algorithm"),
    "unknown field": (with_graph(lambda graph: graph.update(colour="red")), "unknown field colour"),
    "missing field": (conv(lambda conv: conv.pop("padding")), "padding"),
    "type": (conv(lambda conv: conv.update(padding=True)), "an integer"),
    "fraction": (conv(lambda conv: conv.update(padding=1.0)), "an integer"),
    "shifts": (conv(lambda conv: conv["tap_shifts"].pop()), "tap_shifts: expected 16 rows"),
    "exponents": (conv(lambda conv: conv.update(weight_exponents=[[1, 1]])), "strictly increasing"),
    "escape": (with_graph(lambda graph: graph["classes"].__setitem__(0, "\x1b[2J")), "no control characters"),
    "name": (with_graph(lambda graph: graph["nodes"][2].update(name="conv1")), "unique"),
    "pixels": (with_graph(lambda graph: graph["nodes"][-1]["op"]["conv"].update(padding=1)), "shape of the logits: expected one pixel"),
    "last node": (with_graph(lambda graph: graph["classes"].append("more")), "accumulators, one for each"),
}


@pytest.mark.parametrize("name", NAMES)
def test_fixtures_are_read_and_printing_one_shows_no_weight(name: str) -> None:
    checkpoint = load(FIXTURES / f"{name}.safetensors")
    assert "array" not in repr(checkpoint) + repr(checkpoint.layers)


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_is_named(kind: str, changed: Callable[..., bytes]) -> None:
    edit, words = DAMAGE[kind]
    with pytest.raises(CheckpointError) as error:
        loads(changed(edit), "some.safetensors")
    assert words in str(error.value) and str(error.value).startswith("some.safetensors: ")


def test_a_ring_one_bit_too_small_is_refused() -> None:
    data = (FIXTURES / "tiny.safetensors").read_bytes()
    channels = len(load(FIXTURES / "tiny.safetensors").graph.nodes[1].op.ring_bits)
    for channel in range(channels):
        header, tensors = split(data)

        def narrow(conv: dict[str, Any], channel: int = channel) -> None:
            conv["ring_bits"][channel] -= 1

        conv(narrow)(header)
        with pytest.raises(CheckpointError, match="ring"):
            loads(join(json.dumps(header), tensors))


def test_duplicate_keys_are_refused() -> None:
    header, tensors = split((FIXTURES / "tiny.safetensors").read_bytes())
    twice = json.dumps(header).replace('"seed":', '"seed": "1", "seed":', 1)
    with pytest.raises(CheckpointError, match='duplicate key "seed"'):
        loads(join(twice, tensors))


def test_a_changed_weight_a_truncation_and_a_longer_file_are_refused() -> None:
    data = (FIXTURES / "tiny.safetensors").read_bytes()
    for broken in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"\0", data[:7], b""):
        with pytest.raises(CheckpointError):
            loads(broken)
