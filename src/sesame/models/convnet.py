"""A small residual conv net for small images (He et al. 2016, with the CIFAR stem: 3x3, stride 1, no max-pool)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Pixels
from sesame.models.base import Backbone, States, channels_last


def convolution(inward: int, outward: int, stride: int = 1) -> nn.Conv2d:
    """3x3 without a bias: batch norm follows."""
    return nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False)


class Pointwise(nn.Conv2d):
    """1x1, at every `stride`-th place, which are taken first: of fewer than 8 channels that lie last in memory oneDNN's
    own strided one writes past its memory (uxlfoundation/oneDNN, issue 6035)."""

    def forward(self, x: Float[Tensor, "image inward h w"]) -> Float[Tensor, "image outward h2 w2"]:
        down, across = self.stride
        return F.conv2d(channels_last(x[:, :, ::down, ::across]), self.weight)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inward: int, outward: int, stride: int):
        super().__init__()
        self.first, self.first_norm = convolution(inward, outward, stride), nn.BatchNorm2d(outward)
        self.second, self.second_norm = convolution(outward, outward), nn.BatchNorm2d(outward)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inward != outward:
            self.shortcut = nn.Sequential(Pointwise(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward))

    def forward(self, x: Float[Tensor, "image inward h w"]) -> Float[Tensor, "image outward h2 w2"]:
        inner = F.relu(self.first_norm(self.first(x)), inplace=True)
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x), inplace=True)


class ConvNet(Backbone):
    """A stem, one block a stage (each but the first halves height and width), and the mean over all places."""

    def __init__(self, c: config.ConvNet):
        super().__init__()
        first = c.channels[0]
        self.config, self.width = c, c.channels[-1]
        self.stem, self.stem_norm = convolution(c.in_channels or 1, first, c.stride), nn.BatchNorm2d(first)
        inward = (first, *c.channels[:-1])
        self.blocks = nn.ModuleList(
            Block(a, b, stride=1 if i == 0 else 2) for i, (a, b) in enumerate(zip(inward, c.channels, strict=True))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Pixels, at: At | None = None, layers: bool = False) -> States:
        """`last` is [image, width]; `layers`, where asked for, are the feature maps [image, channel, height, width]."""
        x = F.relu(self.stem_norm(channels_last(self.stem(channels_last(inputs.x)))), inplace=True)
        maps = [x]
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return States(last=x.mean((2, 3)), layers=tuple(maps) if layers else ())
