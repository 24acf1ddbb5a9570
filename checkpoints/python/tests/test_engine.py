import dataclasses

import numpy as np
import pytest
from conftest import FIXTURES, NAMES, golden

from eqo_checkpoint import Checkpoint, CheckpointError, Engine, engine, load


def fixture(name: str) -> Checkpoint:
    return load(FIXTURES / f"{name}.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_golden_logits(name: str) -> None:
    checkpoint = fixture(name)
    images, logits = golden(name, checkpoint.shapes[0])
    assert np.array_equal(Engine(checkpoint).logits(images), logits)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_wider_arithmetic_gives_the_same_logits(name: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "arithmetic", lambda bound: kind)
    checkpoint = fixture(name)
    images, logits = golden(name, checkpoint.shapes[0])
    assert np.array_equal(Engine(checkpoint).logits(images), logits)


def test_no_value_of_any_node_exceeds_the_proven_bounds_or_the_layers_own() -> None:
    for name in NAMES:
        checkpoint = fixture(name)
        compiled = Engine(checkpoint)
        images, _ = golden(name, checkpoint.shapes[0])
        for values, bounds, layer in zip(compiled.trace(images), checkpoint.bounds, compiled.products):
            for channel, (low, high) in enumerate(bounds):
                assert low <= values[:, channel].min() and values[:, channel].max() <= high
            assert layer is None or np.abs(values).max() <= layer.bound


def test_many_batches_give_the_logits_of_one() -> None:
    checkpoint = fixture("tiny-pools")
    images = np.random.default_rng(0).integers(0, 256, (9, *checkpoint.shapes[0]), dtype=np.uint8)
    compiled = Engine(checkpoint)
    whole = compiled.logits(images)
    compiled.batch = 4
    assert np.array_equal(compiled.logits(images), whole)
    assert compiled.logits(images[:0]).shape == (0, len(checkpoint.graph.classes))
    assert np.array_equal(compiled.trace(images)[-1][:, :, 0, 0], whole)


def test_arithmetic_is_the_first_exact_one() -> None:
    bounds = (2**23, 2**24, 2**52, 2**53, 2**61)
    kinds = [np.float32, np.float64, np.float64, np.int64, np.int64]
    assert [engine.arithmetic(bound) for bound in bounds] == kinds


def test_images_of_another_shape_or_range_are_refused() -> None:
    checkpoint = fixture("tiny")
    compiled, shape = Engine(checkpoint), checkpoint.shapes[0]
    for images in (
        np.zeros(shape, np.uint8),
        np.zeros((1, *shape[::-1], 1), np.uint8),
        np.zeros((1, *shape), np.float32),
        np.full((1, *shape), 256),
    ):
        with pytest.raises(CheckpointError, match="images"):
            compiled.logits(images)


def test_an_engine_of_another_checkpoint_gives_other_logits() -> None:
    checkpoint = fixture("tiny")
    images, logits = golden("tiny", checkpoint.shapes[0])
    name = checkpoint.graph.nodes[-1].name
    last = checkpoint.layers[name]
    more = dataclasses.replace(last, bias=last.bias + 1)
    other = dataclasses.replace(checkpoint, layers={**checkpoint.layers, name: more})
    assert np.array_equal(Engine(other).logits(images), logits + 1)
