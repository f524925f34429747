"""A vision transformer (Dosovitskiy et al. 2021): an image as a row of patches, through the one Transformer.

The first position is the class token, whose state stands for the image. It is a patch of zeros: what it starts from is
the bias of the patch embedding and its own position, which are learned together like the paper's token and position.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sesame import config
from sesame.data.batch import At, Pixels, Rows
from sesame.errors import UserError
from sesame.models.base import Backbone, States
from sesame.models.transformer import Transformer

SMALL, SMALL_PATCH, PATCH = 64, 4, 16
IMAGE = 224


def inner(c: config.ViT) -> config.Transformer:
    """The Transformer over an image's patches."""
    size = c.image or IMAGE
    patch = c.patch or (SMALL_PATCH if size <= SMALL else PATCH)
    if size % patch:
        raise UserError(
            f"images of {size}x{size} cannot be cut into patches of {patch}x{patch}. Choose a --backbone.patch that "
            f"divides {size}, or another --data.size."
        )
    return config.Transformer(
        layers=c.layers, width=c.width, heads=c.heads, ffn=c.ffn, input="frames", kinds=0,
        features=patch * patch * (c.in_channels or 3), positions=(size // patch) ** 2 + 1, norm="pre",
        norm_eps=c.norm_eps, embedding_norm=False, dropout=c.dropout,
    )  # fmt: skip


class ViT(Backbone):
    def __init__(self, c: config.ViT):
        super().__init__()
        self.config, self.width = c, c.width
        self.size, self.channels = c.image or IMAGE, c.in_channels or 3
        self.patch = c.patch or (SMALL_PATCH if self.size <= SMALL else PATCH)
        self.transformer = Transformer(inner(c))

    def forward(self, inputs: Pixels, at: At | None = None, layers: bool = False) -> States:
        """`last` is the class token's state, [image, width]; `layers` are all states, [image, 1 + patch, width]."""
        rows = self.rows(inputs.x)
        if layers:
            states = self.transformer(rows, layers=True)
            return States(last=states.last[:, 0], layers=states.layers)
        first = torch.arange(len(rows.x), device=rows.x.device)
        return States(last=self.transformer(rows, at=At(torch.zeros_like(first)[:, None], first)).last)

    def rows(self, x: Float[Tensor, "image channel height width"]) -> Rows:
        """The class token, then the patches from left to right and top to bottom; numbers in order of channel, row."""
        images, channels, height, width = x.shape
        if (channels, height, width) != (self.channels, self.size, self.size):
            raise UserError(
                f"images of {channels}x{height}x{width} for a ViT made for {self.channels}x{self.size}x{self.size}. "
                "Give --data.size, --data.channels and the views' size what --backbone.image and .in-channels say."
            )
        down, across = height // self.patch, width // self.patch
        cut = x.view(images, channels, down, self.patch, across, self.patch).permute(0, 2, 4, 1, 3, 5)
        patches = cut.reshape(images, down * across, -1)
        patches = torch.cat([patches.new_zeros(images, 1, patches.shape[2]), patches], 1)
        time = patches.shape[1]
        number = torch.arange(images, device=x.device)[:, None].expand(images, time)
        position = torch.arange(time, device=x.device).expand(images, time)
        return Rows(x=patches, position=position, kind=torch.zeros_like(position), example=number, alone=True)
