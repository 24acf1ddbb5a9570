"""PyTorch's plain float32 training step: forward, backward, SGD with Nesterov momentum; batch normalization, no quantization.

python plain_step.py [--arch resnet20|resnet32] [--batch 64] [--threads 2] [--steps 20] [--json]
"""
import torch
import torch.nn.functional as F

import measure
from resnet import float_resnet

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def make_step(options, name):
    net = float_resnet(options.arch).to(memory_format=FORMATS[name]).train()
    images = torch.randn(options.batch, 3, 32, 32).to(memory_format=FORMATS[name])
    labels = torch.randint(0, 10, (options.batch,))
    optimizer = measure.sgd(net, 0.01)

    def step():
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    measure.report(make_step, list(FORMATS), measure.arguments(__doc__).parse_args())
