"""Whether a backbone fits what it is to read, and what the data say where its configuration leaves it open."""

import msgspec

from sesame import config
from sesame.errors import UserError


def sized(backbone: config.Backbone, known: dict[str, int]) -> config.Backbone:
    """The backbone with what the data know (a vocabulary, the width of frames, the size of images) where it leaves it
    open."""
    if isinstance(backbone, config.EncoderDecoder):
        encoder, decoder = sized(backbone.encoder, known), sized(backbone.decoder, known)
        return msgspec.structs.replace(backbone, encoder=encoder, decoder=decoder)
    return msgspec.structs.replace(backbone, **{k: v for k, v in known.items() if getattr(backbone, k, None) == 0})


def check_positions(backbone: config.Backbone, length: int) -> None:
    """Raise UserError where rows of `length` are longer than the table of learned positions."""
    for stack in _stacks(backbone):
        if isinstance(stack, config.Transformer) and stack.position == "learned" and stack.positions < length:
            raise UserError(
                f"rows of {length} were asked for (--data.length), and the model has {stack.positions} positions. "
                f"Choose a length of at most {stack.positions}, or more positions (--backbone.positions {length})."
            )


def check_vocabulary(backbone: config.Backbone, size: int) -> None:
    """Raise UserError where the text has tokens that the embedding has no row for."""
    for stack in _stacks(backbone):
        if isinstance(stack, config.Transformer | config.WordVectors | config.Elmo) and stack.vocab < size:
            raise UserError(
                f"--backbone.vocab is {stack.vocab} but the tokenizer has {size} tokens. "
                "Leave it at 0, which takes the tokenizer's size, or prepare the data with a smaller --vocab."
            )


def _stacks(backbone: config.Backbone) -> tuple[config.Backbone, ...]:
    return (backbone.encoder, backbone.decoder) if isinstance(backbone, config.EncoderDecoder) else (backbone,)
