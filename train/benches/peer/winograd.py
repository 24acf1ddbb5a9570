"""Winograd F(2x2, 3x3) and F(4x4, 3x3) as PyTorch operations (Lavin and Gray 2015): `Y = A^T [U * (B^T d B)] A`, `U = G w G^T`."""
import torch
import torch.nn.functional as F
from torch import nn

MATRICES = {  # outputs of a tile: B^T, G, A^T
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
        + [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6]]
        + [[1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


class Tiles(nn.Module):
    """The transforms of one tile size, as Kronecker squares; padding 1, stride 1."""

    def __init__(self, outputs, transform):
        super().__init__()
        squares = [torch.kron(matrix, matrix) for matrix in map(torch.tensor, MATRICES[outputs])]
        for name, square in zip(("input", "kernel", "output"), squares):
            self.register_buffer(name, square.float(), persistent=False)
        self.outputs, self.tile, self.transform = outputs, outputs + 2, transform

    def taps(self, weight):
        """`[outputs, inputs, 3, 3]` to `[taps, outputs, inputs]`."""
        return torch.einsum("kp,oip->koi", self.kernel, weight.flatten(2))

    def convolve(self, x, taps):
        batch, channels, height, width = x.shape
        rows, columns = -(-height // self.outputs), -(-width // self.outputs)
        extra = [count * self.outputs - size for count, size in ((columns, width), (rows, height))]
        x = F.pad(x, (1, 1 + extra[0], 1, 1 + extra[1]))
        if self.transform == "conv":
            kernels = self.input.view(-1, 1, self.tile, self.tile)
            tiles = F.conv2d(x.reshape(batch * channels, 1, *x.shape[2:]), kernels, stride=self.outputs)
            tiles = tiles.view(batch, channels, self.tile**2, rows * columns).permute(2, 1, 0, 3)
        else:
            tiles = F.unfold(x, self.tile, stride=self.outputs).view(batch, channels, self.tile**2, -1)
            tiles = torch.einsum("kp,bcpl->kcbl", self.input, tiles)
        products = taps @ tiles.reshape(self.tile**2, channels, -1)
        y = (self.output @ products.flatten(1)).view(self.outputs, self.outputs, -1, batch, rows, columns)
        y = y.permute(3, 2, 4, 0, 5, 1).reshape(batch, -1, rows * self.outputs, columns * self.outputs)
        return y[:, :, :height, :width]


def check():
    """Both tile sizes and both transforms equal the convolution, on an image that the tiles overhang."""
    x, weight = torch.randn(2, 3, 7, 9), torch.randn(5, 3, 3, 3)
    expected = F.conv2d(x, weight, padding=1)
    for outputs in MATRICES:
        for transform in ("unfold", "conv"):
            tiles = Tiles(outputs, transform)
            torch.testing.assert_close(tiles.convolve(x, tiles.taps(weight)), expected, rtol=1e-3, atol=1e-3)
