"""T5 in the layout of `transformers` (Raffel et al. 2020): 1.0, and 1.1 with gates and an output of its own.

Its relative positions lie in the first block of each stack, and `tie_word_embeddings` also says whether the states
are scaled before they are projected onto words: those of 1.0 are, those of 1.1 are not.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.interop.family import ACTIVATIONS, Activation, Backbone, Family, theirs_of
from sesame.interop.names import Name, Pattern, expand

Output = Literal["tied", "scaled", "untied"]
EMBEDDING: tuple[Pattern, ...] = (("backbone.encoder.embed.token.weight", "shared.weight"),)
OUTPUT: tuple[Pattern, ...] = (("backbone.decoder.output.weight", "lm_head.weight"),)
CROSS: tuple[Pattern, ...] = (
    ("backbone.decoder.blocks.{i}.cross.q.weight", "decoder.block.{i}.layer.1.EncDecAttention.q.weight"),
    (
        "backbone.decoder.blocks.{i}.cross.kv.weight",
        (
            "decoder.block.{i}.layer.1.EncDecAttention.k.weight",
            "decoder.block.{i}.layer.1.EncDecAttention.v.weight",
        ),
    ),
    ("backbone.decoder.blocks.{i}.cross.out.weight", "decoder.block.{i}.layer.1.EncDecAttention.o.weight"),
    ("backbone.decoder.blocks.{i}.cross.norm.weight", "decoder.block.{i}.layer.1.layer_norm.weight"),
)


def stack(side: str, gated: bool) -> tuple[Pattern, ...]:
    """Of the encoder, or of the decoder, without the embedding that they share."""
    ours, block = f"backbone.{side}", f"{side}.block.{{i}}.layer"
    attention, feed_forward = f"{block}.0.SelfAttention", f"{block}.{1 if side == 'encoder' else 2}"
    inward: tuple[Pattern, ...] = ((f"{ours}.blocks.{{i}}.ffn.up.weight", f"{feed_forward}.DenseReluDense.wi.weight"),)
    if gated:
        inward = tuple(
            (f"{ours}.blocks.{{i}}.ffn.{part}.weight", f"{feed_forward}.DenseReluDense.wi_{n}.weight")
            for n, part in enumerate(("gate", "up"))
        )
    return (
        (f"{ours}.relative.weight", f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        (f"{ours}.norm.weight", f"{side}.final_layer_norm.weight"),
        (f"{ours}.blocks.{{i}}.attention.qkv.weight", tuple(f"{attention}.{letter}.weight" for letter in "qkv")),
        (f"{ours}.blocks.{{i}}.attention.out.weight", f"{attention}.o.weight"),
        (f"{ours}.blocks.{{i}}.attention.norm.weight", f"{block}.0.layer_norm.weight"),
        *inward,
        (f"{ours}.blocks.{{i}}.ffn.down.weight", f"{feed_forward}.DenseReluDense.wo.weight"),
        (f"{ours}.blocks.{{i}}.ffn.norm.weight", f"{feed_forward}.layer_norm.weight"),
    )


class T5Config(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 32128
    d_model: config.Positive = 512
    d_kv: config.Positive = 64
    d_ff: config.Positive = 2048
    num_layers: config.Positive = 6
    num_decoder_layers: config.Positive | None = None
    num_heads: config.Positive = 8
    relative_attention_num_buckets: config.Positive = 32
    relative_attention_max_distance: config.Positive = 128
    dropout_rate: config.Rate = 0.1
    layer_norm_epsilon: config.Above0 = 1e-6
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None
    """Of newer files, in which everything is tied; of others it is `tie_word_embeddings`."""
    n_positions: config.Positive = 512
    """Of older files: what is read at once."""


class T5(Family):
    name = "a T5"
    model_type = "t5"
    fields: ClassVar[type[Struct]] = T5Config
    pretext = config.Denoising(corruptions=(config.PrefixSplit(),), target="missing")
    """That needs no sentinels, which a vocabulary may lack."""
    known: ClassVar[tuple[str, ...]] = ("shared.", "encoder.", "decoder.", "lm_head.")
    ignored: ClassVar[tuple[str, ...]] = ("EncDecAttention.relative_attention_bias.weight",)  # of old files, not read
    switches: ClassVar[dict[str, object]] = {
        "norm": "pre",
        "norm_kind": "rms",
        "bias": False,
        "embedding_norm": False,
        "scale_scores": False,
        "position": "relative",
        "kinds": 0,
    }
    free = ("gated", "head_width", "output")
    generates = True

    def tied(self, c: T5Config) -> tuple[tuple[str, str], ...]:
        copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
        return tuple((copy, "shared.weight") for copy in [*copies, *(["lm_head.weight"] * _scaled(c))])

    def names(self, backbone: config.EncoderDecoder, heads: Collection[str], pad: int) -> list[Name]:
        encoder, decoder = backbone.encoder, backbone.decoder
        output = OUTPUT if decoder.output == "untied" else ()
        return [
            *expand(EMBEDDING + stack("encoder", encoder.gated), encoder.layers),
            *expand(stack("decoder", decoder.gated) + CROSS + output, decoder.layers),
        ]

    def today(self, found: Mapping[str, Tensor], c: T5Config, folder: Path) -> tuple[dict[str, Tensor], list[str]]:
        """An output that is the embedding all the same is left out."""
        tensors, elsewhere = super().today(found, c, folder)
        own, shared = tensors.get("lm_head.weight"), tensors.get("shared.weight")
        if own is not None and shared is not None and torch.equal(own, shared):
            del tensors["lm_head.weight"]
        return tensors, elsewhere

    def copies(self, backbone: config.EncoderDecoder) -> tuple[tuple[str, str], ...]:
        """The output of 1.1 is written even where it is the embedding: readers may take it for lost otherwise."""
        return (("lm_head.weight", "shared.weight"),) if backbone.decoder.output == "tied" else ()

    def able(self, c: T5Config) -> dict[str, tuple[object, tuple[object, ...]]]:
        known = (*ACTIVATIONS, "gated-gelu", "gated-gelu_new", "gated-relu")
        return {"feed_forward_proj": (c.feed_forward_proj, known)}

    def backbone(self, c: T5Config, found: Mapping[str, Tensor]) -> config.EncoderDecoder:
        output: Output = "scaled"
        if not _scaled(c):
            output = "untied" if "lm_head.weight" in found else "tied"
        kind = c.feed_forward_proj.removeprefix("gated-")
        activation: Activation = "gelu_tanh" if c.feed_forward_proj == "gated-gelu" else ACTIVATIONS[kind]

        def one(layers: int, causal: bool, output: Output) -> config.Transformer:
            return config.Transformer(
                vocab=c.vocab_size,
                width=c.d_model,
                layers=layers,
                heads=c.num_heads,
                head_width=c.d_kv,
                ffn=c.d_ff,
                gated=c.feed_forward_proj.startswith("gated-"),
                bias=False,
                positions=c.n_positions,
                kinds=0,
                position="relative",
                buckets=c.relative_attention_num_buckets,
                farthest=c.relative_attention_max_distance,
                norm="pre",
                norm_kind="rms",
                norm_eps=c.layer_norm_epsilon,
                embedding_norm=False,
                scale_scores=False,
                output=output,
                causal=causal,
                activation=activation,
                dropout=c.dropout_rate,
                attention_dropout=c.dropout_rate,
            )

        return config.EncoderDecoder(
            encoder=one(c.num_layers, causal=False, output="tied"),
            decoder=one(c.num_decoder_layers or c.num_layers, causal=True, output=output),
        )

    def described(self, backbone: config.EncoderDecoder, heads: Collection[str], pad: int) -> T5Config:
        encoder, decoder = backbone.encoder, backbone.decoder
        gated = "gated-gelu" if encoder.activation == "gelu_tanh" else f"gated-{theirs_of(encoder.activation)}"
        return T5Config(
            vocab_size=encoder.vocab,
            d_model=encoder.width,
            d_kv=encoder.head_width or encoder.width // encoder.heads,
            d_ff=encoder.ffn,
            num_layers=encoder.layers,
            num_decoder_layers=decoder.layers,
            num_heads=encoder.heads,
            relative_attention_num_buckets=encoder.buckets,
            relative_attention_max_distance=encoder.farthest,
            dropout_rate=encoder.dropout,
            layer_norm_epsilon=encoder.norm_eps,
            feed_forward_proj=gated if encoder.gated else theirs_of(encoder.activation),
            tie_word_embeddings=decoder.output == "scaled",
            scale_decoder_outputs=decoder.output == "scaled",
            n_positions=encoder.positions,
        )

    def architecture(self, heads: Collection[str]) -> str:
        return "T5ForConditionalGeneration"

    def tokens(self, vocabulary: Vocabulary) -> dict[str, int]:
        """T5's own vocabulary has no start token, and its decoder starts with the padding; others as BART's."""
        own = super().tokens(vocabulary) | {"decoder_start_token_id": vocabulary.decoder_begin}
        del own["bos_token_id"]
        return own

    def obstacles(self, backbone: Backbone, heads: Collection[str], vocabulary: Vocabulary | None) -> list[str]:
        alike = ("positions", "activation", "dropout", "norm_eps", "gated", "heads", "head_width", "ffn", "buckets")
        said = self.two_stacks(backbone, heads, (*alike, "farthest"))
        if isinstance(backbone, config.EncoderDecoder):
            if backbone.encoder.output != "tied":
                said.append(f"only the decoder of {self.name} has output {backbone.encoder.output}")
            if backbone.encoder.gated and backbone.encoder.activation == "gelu":
                said.append(f"a gated {self.name[2:]} has gelu_tanh or relu, and the model gelu")
        return said


def _scaled(c: T5Config) -> bool:
    return c.tie_word_embeddings if c.scale_decoder_outputs is None else c.scale_decoder_outputs
