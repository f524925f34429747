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


def in_words(backbone: config.Backbone) -> str:
    """Its shape: a Transformer of 4 layers, 128 wide."""
    if isinstance(backbone, config.EncoderDecoder):
        layers = f"{backbone.encoder.layers} + {backbone.decoder.layers} layers"
        return f"an encoder-decoder of {layers}, {backbone.encoder.width} wide"
    if isinstance(backbone, config.ConvNet):
        return f"a conv net of {' + '.join(map(str, backbone.channels))} channels"
    if isinstance(backbone, config.ResNet):
        return f"a ResNet of {backbone.depth} layers"
    layers = f"{backbone.layers} layer{'s' * (backbone.layers != 1)}, {backbone.width} wide"
    if isinstance(backbone, config.ViT):
        return f"a vision Transformer of {layers}"
    if isinstance(backbone, config.Gru):
        return f"a stack of GRUs of {layers}"
    if isinstance(backbone, config.Upstream):
        return f"a published network of {layers}"
    words = f", with a vocabulary of {backbone.vocab:,}" if backbone.vocab else ""
    return f"a Transformer of {layers}{words}"
