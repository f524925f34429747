"""GPT-2 in the layout of `transformers` (Radford et al. 2019), which keeps its matrices [in, out]."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.interop.family import ACTIVATIONS, Family, theirs_of
from sesame.interop.names import Name, Pattern, expand

EMBEDDINGS: tuple[Pattern, ...] = (
    ("backbone.embed.token.weight", "transformer.wte.weight"),
    ("backbone.embed.position.weight", "transformer.wpe.weight"),
    ("backbone.norm.*", "transformer.ln_f.*"),
)
LAYER: tuple[Pattern, ...] = (
    ("backbone.blocks.{i}.attention.norm.*", "transformer.h.{i}.ln_1.*"),
    ("backbone.blocks.{i}.attention.qkv.*", "transformer.h.{i}.attn.c_attn.*"),
    ("backbone.blocks.{i}.attention.out.*", "transformer.h.{i}.attn.c_proj.*"),
    ("backbone.blocks.{i}.ffn.norm.*", "transformer.h.{i}.ln_2.*"),
    ("backbone.blocks.{i}.ffn.up.*", "transformer.h.{i}.mlp.c_fc.*"),
    ("backbone.blocks.{i}.ffn.down.*", "transformer.h.{i}.mlp.c_proj.*"),
)


class Gpt2Config(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 50257
    n_positions: config.Positive = 1024
    n_embd: config.Positive = 768
    n_layer: config.Positive = 12
    n_head: config.Positive = 12
    n_inner: config.Positive | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: config.Rate = 0.1
    embd_pdrop: config.Rate = 0.1
    attn_pdrop: config.Rate = 0.1
    layer_norm_epsilon: config.Above0 = 1e-5
    initializer_range: config.Above0 = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    add_cross_attention: bool = False
    tie_word_embeddings: bool = True


class Gpt2(Family):
    name = "a GPT-2"
    model_type = "gpt2"
    fields: ClassVar[type[Struct]] = Gpt2Config
    pretext = config.CausalLM()
    stem = "transformer."
    known: ClassVar[tuple[str, ...]] = ("transformer.", "lm_head.")
    ignored: ClassVar[tuple[str, ...]] = (".attn.bias", ".attn.masked_bias")
    switches: ClassVar[dict[str, object]] = {"norm": "pre", "embedding_norm": False, "causal": True, "kinds": 0}
    divided = (("n_embd", "n_head"),)
    generates = True

    def tied(self, c: Gpt2Config) -> tuple[tuple[str, str], ...]:
        return (("lm_head.weight", "transformer.wte.weight"),)

    def names(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> list[Name]:
        return expand(EMBEDDINGS, 0) + expand(LAYER, backbone.layers, transposed=True)

    def able(self, c: Gpt2Config) -> dict[str, tuple[object, tuple[object, ...]]]:
        return {
            "activation_function": (c.activation_function, tuple(ACTIVATIONS)),
            "scale_attn_weights": (c.scale_attn_weights, (True,)),
            "scale_attn_by_inverse_layer_idx": (c.scale_attn_by_inverse_layer_idx, (False,)),
            "add_cross_attention": (c.add_cross_attention, (False,)),
            "tie_word_embeddings": (c.tie_word_embeddings, (True,)),
        }

    def backbone(self, c: Gpt2Config, found: Mapping[str, Tensor]) -> config.Transformer:
        return config.Transformer(
            vocab=c.vocab_size,
            width=c.n_embd,
            layers=c.n_layer,
            heads=c.n_head,
            ffn=c.n_inner or 4 * c.n_embd,
            positions=c.n_positions,
            kinds=0,
            norm="pre",
            norm_eps=c.layer_norm_epsilon,
            embedding_norm=False,
            causal=True,
            activation=ACTIVATIONS[c.activation_function],
            dropout=c.resid_pdrop,
            attention_dropout=c.attn_pdrop,
            init=c.initializer_range,
        )

    def described(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> Gpt2Config:
        return Gpt2Config(
            vocab_size=backbone.vocab,
            n_positions=backbone.positions,
            n_embd=backbone.width,
            n_layer=backbone.layers,
            n_head=backbone.heads,
            n_inner=backbone.ffn,
            activation_function=theirs_of(backbone.activation),
            resid_pdrop=backbone.dropout,
            embd_pdrop=backbone.dropout,
            attn_pdrop=backbone.attention_dropout,
            layer_norm_epsilon=backbone.norm_eps,
            initializer_range=backbone.init,
        )

    def architecture(self, heads: Collection[str]) -> str:
        return "GPT2LMHeadModel"
