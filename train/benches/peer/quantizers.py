"""Fake quantizers with power-of-two steps 2^round(log2_step) that are learned as in LSQ (Esser et al. 2020), straight through."""
import torch
from torch import nn


def straight_through(value, x):
    """`value` forward, the gradient of `x` backward."""
    return x + (value - x).detach()


def round_half_up(x):
    return torch.floor(x.detach() + 0.5)


def fake_quantize(x, log2_step, low, high, damping):
    """Multiples `low` to `high` of the step; the step's gradient is multiplied by `damping`."""
    damped = log2_step * damping
    log2_step = damped + (log2_step - damped).detach()
    step = torch.exp2(straight_through(round_half_up(log2_step), log2_step))
    levels = (x / step).clamp(low, high)
    return straight_through(round_half_up(levels), levels) * step


class WeightQuantizer(nn.Module):
    """Weights `[taps, outputs, inputs]`, a step for each tap and output, signed."""

    def __init__(self, weight, bits):
        super().__init__()
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        self.damping = (weight.shape[2] * self.high) ** -0.5
        largest = weight.detach().abs().amax(2, keepdim=True).clamp_min(1e-8)
        self.log2_step = nn.Parameter(torch.log2(largest / self.high))

    def forward(self, weight):
        return fake_quantize(weight, self.log2_step, self.low, self.high, self.damping)


class ActivationQuantizer(nn.Module):
    """ReLU and unsigned levels with one step for the tensor, which the first batch sets as LSQ does."""

    def __init__(self, bits):
        super().__init__()
        self.high = 2**bits - 1
        self.log2_step = nn.Parameter(torch.zeros(1))
        self.fresh = True

    def forward(self, x):
        if self.fresh:
            step = 2 * x.detach().relu().mean().clamp_min(1e-8) / self.high**0.5
            self.log2_step.data.fill_(torch.log2(step))
            self.fresh = False
        return fake_quantize(x, self.log2_step, 0, self.high, (x[0].numel() * self.high) ** -0.5)
