"""Residual networks for images (He et al. 2016), with torchvision's shapes and names, without the classifier."""

import logging
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Pixels
from sesame.models.base import Backbone, States, channels_last

log = logging.getLogger(__name__)
SMALL = 64
"""Height and width up to which the small stem is chosen: the large one would leave an image of 32x32 one place."""
DEPTHS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Blocks of each stage (table 1)."""


def convolution(inward: int, outward: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias: batch norm follows."""
    return nn.Conv2d(inward, outward, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Convolutions, each followed by batch norm, beside a shortcut: two of 3x3, or 1x1, 3x3 and 1x1 ("bottleneck").

    A bottleneck's stride is at its 3x3, which torchvision and most published weights have ("v1.5").
    """

    def __init__(self, inward: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outward = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1, self.bn1 = convolution(inward, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = convolution(width, outward, 1), nn.BatchNorm2d(outward)
        else:
            self.conv1, self.bn1 = convolution(inward, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        self.downsample: nn.Module | None = None
        if stride != 1 or inward != outward:
            self.downsample = nn.Sequential(convolution(inward, outward, 1, stride), nn.BatchNorm2d(outward))

    def forward(self, x: Float[Tensor, "image inward h w"]) -> Float[Tensor, "image outward h2 w2"]:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.bottleneck:
            inner = self.bn3(self.conv3(F.relu(inner, inplace=True)))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(Backbone):
    """A stem, four stages of blocks (each but the first halves height and width), and the mean over all places."""

    def __init__(self, c: config.ResNet):
        super().__init__()
        self.config, self.small = c, small_stem(c)
        if self.small:
            self.conv1 = convolution(c.in_channels or 3, 64, 3)
        else:
            self.conv1 = convolution(c.in_channels or 3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        bottleneck, inward = c.depth >= 50, 64
        stages = []
        for i, blocks in enumerate(DEPTHS[c.depth]):
            width, layer = 64 * 2**i, []
            for j in range(blocks):
                layer.append(Block(inward, width, 2 if i and not j else 1, bottleneck))
                inward = 4 * width if bottleneck else width
            stages.append(nn.Sequential(*layer))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.width = inward
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if c.image and c.stem == "auto":
            told = "3x3 with stride 1, no max-pooling" if self.small else "7x7 with stride 2, max-pooling"
            log.info("ResNet-%d for images of %dx%d: its stem is %s", c.depth, c.image, c.image, told)

    @property
    def stages(self) -> Sequence[nn.Module]:
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, inputs: Pixels, at: At | None = None, layers: bool = False) -> States:
        """`last` is [image, width]; `layers`, where asked for, are the feature maps [image, channel, height, width]."""
        x = F.relu(self.bn1(channels_last(self.conv1(channels_last(inputs.x)))), inplace=True)
        if not self.small:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = [x]
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return States(last=x.mean((2, 3)), layers=tuple(maps) if layers else ())


def small_stem(c: config.ResNet) -> bool:
    """Whether the first convolution is 3x3 with stride 1 (He et al. 2016, 4.2; Chen et al. 2020, appendix B.9)."""
    return c.stem == "small" or (c.stem == "auto" and 0 < c.image <= SMALL)
