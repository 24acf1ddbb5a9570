"""The integer matrices of the Winograd algorithms (docs/checkpoint-format.md, "Meaning")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
# Integers, in whichever type they are exact.
Numbers = npt.NDArray[Any]

MATRICES = {  # algorithm: (B^T, A^T, stride)
    "f2x2": ([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], [[1, 1, 1, 0], [0, 1, -1, -1]], 1),
    "f4x4": (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
        + [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        1,
    ),
    "p2x2": (
        [[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]],
        [[1, 1, 0, 1, 0], [0, 1, -1, 0, 1]],
        2,
    ),
}


@dataclass(frozen=True)
class Transform:
    """Both directions of a tile at once: `B^T ⊗ B^T` [taps, tile²] and `A^T ⊗ A^T` [outputs², taps]."""

    stride: int
    tile: int
    outputs: int
    input: Integers
    output: Integers


def transform(algorithm: str) -> Transform | None:
    """The matrices of an algorithm; None for `direct`."""
    if algorithm == "direct":
        return None
    rows, columns, stride = MATRICES[algorithm]
    bt, at = np.array(rows, np.int64), np.array(columns, np.int64)
    return Transform(stride, bt.shape[1], at.shape[0], np.kron(bt, bt), np.kron(at, at))
