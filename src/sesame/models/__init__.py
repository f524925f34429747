"""Backbones. `build` makes the one that a configuration describes."""

from collections.abc import Callable
from typing import Any

from sesame import config
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.convnet import ConvNet
from sesame.models.elmo import Elmo
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.gru import Gru
from sesame.models.resnet import ResNet
from sesame.models.transformer import Transformer
from sesame.models.upstream import Upstream
from sesame.models.vit import ViT
from sesame.models.word_vectors import WordVectors

MODELS: dict[type, Callable[[Any], Backbone]] = {
    config.Transformer: Transformer,
    config.EncoderDecoder: EncoderDecoder,
    config.ConvNet: ConvNet,
    config.ResNet: ResNet,
    config.ViT: ViT,
    config.Gru: Gru,
    config.Upstream: Upstream,
    config.WordVectors: WordVectors,
    config.Elmo: Elmo,
}


def build(c: config.Backbone) -> Backbone:
    """A backbone with fresh weights, drawn from torch's generator."""
    if isinstance(c, config.Transformer) and c.start == "copying":
        raise UserError("--backbone.start copying is for an encoder-decoder, which has something to copy. Try mimetic.")
    return MODELS[type(c)](c)
