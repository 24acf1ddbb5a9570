"""The private half of a checkpoint: codes, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import fault
from .graph import Conv
from .transforms import Integers


@dataclass(frozen=True)
class Layer:
    """Codes [positions, out, in] and biases [out] of one convolution. Printing one shows neither."""

    codes: npt.NDArray[np.int8]
    bias: Integers

    def __repr__(self) -> str:
        return f"Layer(codes={self.codes.shape})"


def check_codes(where: str, conv: Conv, layer: Layer) -> None:
    """Raises CheckpointError where a code doesn't fit the bits of its position."""
    for position, codes in enumerate(layer.codes):
        bits = len(conv.exponents(position))
        half = 1 << bits >> 1
        low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
        if low < -half or high >= max(half, 1):
            expected = f"a signed integer of {bits} bits at position {position}"
            raise fault(where, "weight code", expected, low if low < -half else high)


def values(conv: Conv, layer: Layer) -> Integers:
    """What the codes are worth, [positions, out, in], without the taps' shifts.

    Bit i counts 2^k_i, the top bit negatively; `weight_offset` is added; without bits it is 0. Below 2^25 in magnitude.
    """
    worth = np.zeros(layer.codes.shape, np.int64)
    for position, codes in enumerate(layer.codes):
        exponents = conv.exponents(position)
        if exponents:
            table = np.full(256, conv.weight_offset, np.int64)
            for bit, exponent in enumerate(exponents):
                sign = -1 if bit == len(exponents) - 1 else 1
                table += sign * ((np.arange(256) >> bit & 1) << exponent)
            worth[position] = table[codes.view(np.uint8)]
    return worth


def shifted_values(conv: Conv, layer: Layer) -> Integers:
    """The same times two to the power of the taps' shifts: below 2^62, as every shift leaves room in its ring."""
    shifts = np.array(conv.tap_shifts, np.int64)[:, :, None]
    return values(conv, layer) << shifts
