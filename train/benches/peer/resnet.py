"""ResNets for 32x32 images (He et al. 2015, section 4.2; option A shortcuts), made of whatever convolution unit is given."""
import torch.nn.functional as F
from torch import nn

DEPTHS = {"resnet20": 3, "resnet32": 5}


class FloatUnit(nn.Module):
    """Convolution, batch normalization, residual, ReLU."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x, residual=None):
        y = self.norm(self.conv(x))
        return F.relu(y if residual is None else y + residual)


class Block(nn.Module):
    def __init__(self, unit, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = unit(inputs, outputs, stride), unit(outputs, outputs, 1)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x):
        residual = x
        if self.missing:
            half = self.missing // 2
            residual = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.missing - half))
        return self.second(self.first(x), residual)


class ResNet(nn.Module):
    """`stem()`, `unit(inputs, outputs, stride)` and `head()` make the layers; the head gets the sum over the last map's pixels."""

    def __init__(self, arch, stem, unit, head):
        super().__init__()
        blocks = []
        inputs = 16
        for stage, outputs in enumerate((16, 32, 64)):
            for block in range(DEPTHS[arch]):
                blocks.append(Block(unit, inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.stem, self.blocks, self.head = stem(), nn.Sequential(*blocks), head()

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).sum((2, 3)))


class MeanLinear(nn.Linear):
    """Average pooling's division, then a linear layer."""

    def forward(self, x):
        return super().forward(x / 64)


def float_resnet(arch, classes=10):
    return ResNet(arch, lambda: FloatUnit(3, 16, 1), FloatUnit, lambda: MeanLinear(64, classes))
