"""Two Transformers and one embedding: an encoder, and a decoder that also attends to what the encoder made (BART)."""

from sesame import config
from sesame.data.batch import At, Rows
from sesame.errors import UserError
from sesame.models import copying
from sesame.models.base import Backbone, States
from sesame.models.transformer import Transformer


class EncoderDecoder(Backbone):
    """Parameters are named `encoder.*` and `decoder.*` as in one Transformer; the token embedding is the encoder's."""

    def __init__(self, c: config.EncoderDecoder):
        super().__init__()
        _check(c)
        self.config, self.width = c, c.decoder.width
        self.encoder = Transformer(c.encoder)
        self.decoder = Transformer(c.decoder, cross=True)
        if c.decoder.output == "scaled":  # that begins otherwise
            self.encoder.embed.token = self.decoder.embed.token
        # A plain reference and not a second registered child, so that the matrix has one name in a checkpoint.
        del self.decoder.embed.token
        object.__setattr__(self.decoder.embed, "token", self.encoder.embed.token)
        if c.encoder.start == "copying":
            copying.start(self.encoder, self.decoder)

    def forward(self, inputs: tuple[Rows, Rows], at: At | None = None, layers: bool = False) -> States:
        """What the decoder makes of its rows, given the encoder's.

        A row of the one holds the same examples as that row of the other; cross-attention joins equal example numbers.
        """
        source, target = inputs
        memory = self.encoder(source, layers=layers)
        states = self.decoder(target, at, layers, memory=memory.last, memory_rows=source)
        return States(states.last, states.layers, states.valid, states.vocabulary, memory)


def _check(c: config.EncoderDecoder) -> None:
    """Raise UserError where the two stacks cannot share an embedding or read in the wrong direction."""
    for name in ("width", "embedding", "vocab", "input"):
        one, other = getattr(c.encoder, name), getattr(c.decoder, name)
        if one != other:
            raise UserError(
                f"Encoder and decoder share an embedding, but --backbone.encoder.{name} is {one!r} and "
                f"--backbone.decoder.{name} is {other!r}. Give both the same."
            )
    if (c.encoder.start == "copying") != (c.decoder.start == "copying") or (
        c.encoder.start == "copying" and c.encoder.heads != c.decoder.heads
    ):
        raise UserError(
            "Copying takes both: give --backbone.encoder.start and --backbone.decoder.start copying, and both stacks "
            "as many heads."
        )
    if c.encoder.input != "tokens":
        raise UserError("An encoder-decoder reads tokens: --backbone.encoder.input must be tokens.")
    if c.encoder.causal or not c.decoder.causal:
        raise UserError(
            "The encoder must see all of its text and the decoder only what it has written: --backbone.encoder.causal "
            "must be off and --backbone.decoder.causal on."
        )
