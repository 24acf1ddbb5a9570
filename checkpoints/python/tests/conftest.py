import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = ("tiny", "tiny-f4x4", "tiny-taps", "tiny-phases", "tiny-pools")


def golden(name: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images and the Rust engine's logits of a fixture."""
    values = json.loads((FIXTURES / f"{name}.json").read_text())
    images = np.array(values["images"], np.uint8).reshape(-1, *shape)
    return images, np.array(values["logits"])


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: str, tensors: bytes) -> bytes:
    return len(header.encode()).to_bytes(8, "little") + header.encode() + tensors


@pytest.fixture
def changed() -> Callable[[Callable[[dict[str, Any]], None]], bytes]:
    """The smallest fixture with its header changed."""

    def change(edit: Callable[[dict[str, Any]], None]) -> bytes:
        header, tensors = split((FIXTURES / "tiny.safetensors").read_bytes())
        edit(header)
        return join(json.dumps(header, sort_keys=True), tensors)

    return change
