"""An eager PyTorch step of Winograd-domain quantization-aware training: the same network with batch normalization folded,
quantized taps, LSQ activations, optionally a distillation teacher; gradients clipped, SGD with Nesterov momentum.

python winograd_qat_step.py [--weight-bits 4] [--act-bits 6] [--teacher] [--arch resnet20] [--batch 64] [--threads 2] [--json]
"""
import torch
import torch.nn.functional as F
from torch import nn

import measure
import winograd
from quantizers import ActivationQuantizer, WeightQuantizer
from resnet import ResNet, float_resnet

NAMES = [f"f{m}x{m} {transform}" for m in (2, 4) for transform in ("unfold", "conv")]
TEMPERATURE = 2.0


class QuantizedUnit(nn.Module):
    """3x3 convolution (Winograd at stride 1), bias, residual, quantized ReLU."""

    def __init__(self, channels, stride, tiles, bits):
        super().__init__()
        conv = nn.Conv2d(*channels, 3, stride, 1)
        self.weight, self.bias, self.stride = conv.weight, conv.bias, stride
        self.tiles = tiles if stride == 1 else None
        self.quantize_weight = WeightQuantizer(self.taps(), bits[0])
        self.quantize = ActivationQuantizer(bits[1])

    def taps(self):
        """`[taps, outputs, inputs]`; a direct convolution has one tap with kernel elements as further inputs."""
        return self.tiles.taps(self.weight) if self.tiles else self.weight.flatten(1).unsqueeze(0)

    def forward(self, x, residual=None):
        taps = self.quantize_weight(self.taps())
        if self.tiles:
            y = self.tiles.convolve(x, taps) + self.bias.view(1, -1, 1, 1)
        else:
            y = F.conv2d(x, taps.view_as(self.weight), self.bias, self.stride, 1)
        return self.quantize(y if residual is None else y + residual)


class QuantizedLinear(nn.Linear):
    """8-bit weights with one step; the average's division is in the weights."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.quantize_weight = WeightQuantizer(self.weight.view(1, 1, -1) / 64, 8)

    def forward(self, x):
        weight = self.quantize_weight(self.weight.view(1, 1, -1) / 64)
        return F.linear(x, weight.view_as(self.weight), self.bias)


def quantized_resnet(options, outputs, transform):
    """First and last layer have 8-bit weights."""
    tiles = winograd.Tiles(outputs, transform)
    bits = (options.weight_bits, options.act_bits)
    return ResNet(
        options.arch,
        lambda: QuantizedUnit((3, 16), 1, tiles, (8, options.act_bits)),
        lambda inputs, outputs, stride: QuantizedUnit((inputs, outputs), stride, tiles, bits),
        lambda: QuantizedLinear(64, 10),
    )


def make_step(options, name):
    winograd.check()
    outputs, transform = int(name[1]), name.split()[1]
    net = quantized_resnet(options, outputs, transform).train()
    teacher = float_resnet(options.arch).eval() if options.teacher else None
    images = torch.randint(-118, 138, (options.batch, 3, 32, 32)) / 64
    labels = torch.randint(0, 10, (options.batch,))
    optimizer = measure.sgd(net, 0.001)

    def step():
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        if teacher is not None:
            with torch.no_grad():
                target = F.log_softmax(teacher(images) / TEMPERATURE, 1)
            student = F.log_softmax(logits / TEMPERATURE, 1)
            loss = loss + TEMPERATURE**2 * F.kl_div(student, target, reduction="batchmean", log_target=True)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    parser = measure.arguments(__doc__)
    parser.add_argument("--weight-bits", type=int, default=4)
    parser.add_argument("--act-bits", type=int, default=6)
    parser.add_argument("--teacher", action="store_true", help="distil from a float network of the same size")
    parser.add_argument("--only", choices=NAMES, help="one tile size and input transform")
    options = parser.parse_args()
    measure.report(make_step, [options.only] if options.only else NAMES, options)
