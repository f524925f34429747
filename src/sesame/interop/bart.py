"""BART in the layout of `transformers` (Lewis et al. 2020). Its position tables begin with two rows nothing reads."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.interop.family import ACTIVATIONS, Backbone, Family, theirs_of
from sesame.interop.names import Name, Pattern, expand, skipping

SKIPPED = 2


def stack(side: str) -> tuple[Pattern, ...]:
    """Of the encoder, or of the decoder, without the embedding that they share."""
    ours, theirs = f"backbone.{side}", f"model.{side}"
    block, layer = f"{ours}.blocks.{{i}}", f"{theirs}.layers.{{i}}"
    return (
        (f"{ours}.embed.position.weight", f"{theirs}.embed_positions.weight"),
        (f"{ours}.embed.norm.*", f"{theirs}.layernorm_embedding.*"),
        (f"{block}.attention.qkv.*", tuple(f"{layer}.self_attn.{letter}_proj.*" for letter in "qkv")),
        (f"{block}.attention.out.*", f"{layer}.self_attn.out_proj.*"),
        (f"{block}.attention.norm.*", f"{layer}.self_attn_layer_norm.*"),
        (f"{block}.ffn.up.*", f"{layer}.fc1.*"),
        (f"{block}.ffn.down.*", f"{layer}.fc2.*"),
        (f"{block}.ffn.norm.*", f"{layer}.final_layer_norm.*"),
    )


EMBEDDING: tuple[Pattern, ...] = (("backbone.encoder.embed.token.weight", "model.shared.weight"),)
CROSS: tuple[Pattern, ...] = (
    ("backbone.decoder.blocks.{i}.cross.q.*", "model.decoder.layers.{i}.encoder_attn.q_proj.*"),
    (
        "backbone.decoder.blocks.{i}.cross.kv.*",
        ("model.decoder.layers.{i}.encoder_attn.k_proj.*", "model.decoder.layers.{i}.encoder_attn.v_proj.*"),
    ),
    ("backbone.decoder.blocks.{i}.cross.out.*", "model.decoder.layers.{i}.encoder_attn.out_proj.*"),
    ("backbone.decoder.blocks.{i}.cross.norm.*", "model.decoder.layers.{i}.encoder_attn_layer_norm.*"),
)


class BartConfig(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 50265
    max_position_embeddings: config.Positive = 1024
    d_model: config.Positive = 1024
    encoder_layers: config.Positive = 12
    encoder_ffn_dim: config.Positive = 4096
    encoder_attention_heads: config.Positive = 16
    decoder_layers: config.Positive = 12
    decoder_ffn_dim: config.Positive = 4096
    decoder_attention_heads: config.Positive = 16
    activation_function: str = "gelu"
    dropout: config.Rate = 0.1
    attention_dropout: config.Rate = 0.0
    activation_dropout: config.Rate = 0.0
    init_std: config.Above0 = 0.02
    scale_embedding: bool = False
    tie_word_embeddings: bool = True
    normalize_before: bool = False
    add_final_layer_norm: bool = False


class Bart(Family):
    name = "a BART"
    model_type = "bart"
    fields: ClassVar[type[Struct]] = BartConfig
    pretext = config.Denoising()
    stem = "model."
    known: ClassVar[tuple[str, ...]] = ("model.", "lm_head.", "final_logits_bias")
    zeros = ("final_logits_bias",)
    switches: ClassVar[dict[str, object]] = {"norm_eps": 1e-5, "kinds": 0}
    divided = (("d_model", "encoder_attention_heads"), ("d_model", "decoder_attention_heads"))
    free = ("scale_embedding",)
    generates = True

    def tied(self, c: BartConfig) -> tuple[tuple[str, str], ...]:
        copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
        return tuple((copy, "model.shared.weight") for copy in copies)

    def names(self, backbone: config.EncoderDecoder, heads: Collection[str], pad: int) -> list[Name]:
        names = expand(EMBEDDING + stack("encoder"), backbone.encoder.layers)
        names += expand(stack("decoder") + CROSS, backbone.decoder.layers)
        for side in ("encoder", "decoder"):
            names = skipping(names, f"backbone.{side}.embed.position.weight", SKIPPED)
        return names

    def able(self, c: BartConfig) -> dict[str, tuple[object, tuple[object, ...]]]:
        return {
            "activation_function": (c.activation_function, tuple(ACTIVATIONS)),
            "tie_word_embeddings": (c.tie_word_embeddings, (True,)),
            "normalize_before": (c.normalize_before, (False,)),
            "add_final_layer_norm": (c.add_final_layer_norm, (False,)),
        }

    def backbone(self, c: BartConfig, found: Mapping[str, Tensor]) -> config.EncoderDecoder:
        def one(layers: int, heads: int, ffn: int, causal: bool) -> config.Transformer:
            return config.Transformer(
                vocab=c.vocab_size,
                width=c.d_model,
                layers=layers,
                heads=heads,
                ffn=ffn,
                positions=c.max_position_embeddings,
                kinds=0,
                norm_eps=1e-5,
                causal=causal,
                activation=ACTIVATIONS[c.activation_function],
                dropout=c.dropout,
                attention_dropout=c.attention_dropout,
                init=c.init_std,
                scale_embedding=c.scale_embedding,
            )

        return config.EncoderDecoder(
            encoder=one(c.encoder_layers, c.encoder_attention_heads, c.encoder_ffn_dim, causal=False),
            decoder=one(c.decoder_layers, c.decoder_attention_heads, c.decoder_ffn_dim, causal=True),
        )

    def described(self, backbone: config.EncoderDecoder, heads: Collection[str], pad: int) -> BartConfig:
        encoder, decoder = backbone.encoder, backbone.decoder
        return BartConfig(
            vocab_size=encoder.vocab,
            max_position_embeddings=encoder.positions,
            d_model=encoder.width,
            encoder_layers=encoder.layers,
            encoder_ffn_dim=encoder.ffn,
            encoder_attention_heads=encoder.heads,
            decoder_layers=decoder.layers,
            decoder_ffn_dim=decoder.ffn,
            decoder_attention_heads=decoder.heads,
            activation_function=theirs_of(encoder.activation),
            dropout=encoder.dropout,
            attention_dropout=encoder.attention_dropout,
            init_std=encoder.init,
            scale_embedding=encoder.scale_embedding,
        )

    def architecture(self, heads: Collection[str]) -> str:
        return "BartForConditionalGeneration"

    def tokens(self, vocabulary: Vocabulary) -> dict[str, int]:
        """The decoder starts with the end token (fairseq's way, and our pretext tasks')."""
        own = super().tokens(vocabulary)
        return own | {"decoder_start_token_id": vocabulary.decoder_begin, "forced_eos_token_id": vocabulary.sep}

    def obstacles(self, backbone: Backbone, heads: Collection[str], vocabulary: Vocabulary | None) -> list[str]:
        return self.two_stacks(
            backbone, heads, ("positions", "activation", "dropout", "attention_dropout", "init", "scale_embedding")
        )
