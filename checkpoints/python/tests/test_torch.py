import numpy as np
import pytest
from conftest import FIXTURES, NAMES, golden

from eqo_checkpoint import CheckpointError, load

torch = pytest.importorskip("torch", reason="PyTorch isn't installed: pip install 'eqo-checkpoint[torch]'")

from eqo_checkpoint import torch_module
from eqo_checkpoint.torch_module import EqoModule


@pytest.mark.parametrize("kind", ["as proven", "int64"])
@pytest.mark.parametrize("name", NAMES)
def test_golden_logits(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "int64":
        monkeypatch.setattr(torch_module, "arithmetic", lambda bound: np.int64)
    checkpoint = load(FIXTURES / f"{name}.safetensors")
    images, logits = golden(name, checkpoint.shapes[0])
    module = EqoModule(checkpoint)
    for given in (torch.from_numpy(images), torch.from_numpy(images.astype(np.int64))):
        found = module(given)
        assert found.dtype == torch.int64 and np.array_equal(found.numpy(), logits)


def test_casts_change_nothing_and_state_can_be_saved_and_loaded() -> None:
    checkpoint = load(FIXTURES / "tiny-pools.safetensors")
    images, logits = golden("tiny-pools", checkpoint.shapes[0])
    module = EqoModule(checkpoint).half().to(torch.bfloat16)
    module.load_state_dict(EqoModule(checkpoint).state_dict())
    assert not list(module.parameters())
    assert np.array_equal(module(torch.from_numpy(images)).numpy(), logits)
    scaled = module.scaled(torch.from_numpy(images)).numpy()
    assert np.array_equal(scaled, logits * 2.0**checkpoint.graph.logit_exponent)


def test_the_product_of_integers_without_a_matrix_product_is_the_same() -> None:
    left, right = torch.randint(-(2**40), 2**40, (3, 4, 5)), torch.randint(-9, 9, (3, 5, 2))
    assert torch.equal(torch_module.integer_matmul(left, right), left @ right)


def test_normalized_images_and_other_shapes_are_refused() -> None:
    checkpoint = load(FIXTURES / "tiny.safetensors")
    module = EqoModule(checkpoint)
    with pytest.raises(TypeError, match="not normalized"):
        module(torch.zeros(1, *checkpoint.shapes[0]))
    with pytest.raises(CheckpointError, match="shape"):
        module(torch.zeros(checkpoint.shapes[0], dtype=torch.uint8))
