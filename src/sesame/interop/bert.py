"""BERT in the layout of `transformers` (Devlin et al. 2019)."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.interop.family import ACTIVATIONS, Family, theirs_of
from sesame.interop.names import Name, Pattern, expand

ENCODER: tuple[Pattern, ...] = (
    ("backbone.embed.token.weight", "bert.embeddings.word_embeddings.weight"),
    ("backbone.embed.position.weight", "bert.embeddings.position_embeddings.weight"),
    ("backbone.embed.kind.weight", "bert.embeddings.token_type_embeddings.weight"),
    ("backbone.embed.norm.*", "bert.embeddings.LayerNorm.*"),
    (
        "backbone.blocks.{i}.attention.qkv.*",
        (
            "bert.encoder.layer.{i}.attention.self.query.*",
            "bert.encoder.layer.{i}.attention.self.key.*",
            "bert.encoder.layer.{i}.attention.self.value.*",
        ),
    ),
    ("backbone.blocks.{i}.attention.out.*", "bert.encoder.layer.{i}.attention.output.dense.*"),
    ("backbone.blocks.{i}.attention.norm.*", "bert.encoder.layer.{i}.attention.output.LayerNorm.*"),
    ("backbone.blocks.{i}.ffn.up.*", "bert.encoder.layer.{i}.intermediate.dense.*"),
    ("backbone.blocks.{i}.ffn.down.*", "bert.encoder.layer.{i}.output.dense.*"),
    ("backbone.blocks.{i}.ffn.norm.*", "bert.encoder.layer.{i}.output.LayerNorm.*"),
)
MASKED_LM: tuple[Pattern, ...] = (
    ("pretext.masked_lm.dense.*", "cls.predictions.transform.dense.*"),
    ("pretext.masked_lm.norm.*", "cls.predictions.transform.LayerNorm.*"),
    ("pretext.masked_lm.bias", "cls.predictions.bias"),
)
POOLER: tuple[Pattern, ...] = (("pretext.pooler.dense.*", "bert.pooler.dense.*"),)
PAIR: dict[str, tuple[Pattern, ...]] = {
    objective: ((f"pretext.{objective}.*", "cls.seq_relationship.*"),)
    for objective in ("next_sentence", "sentence_order")
}
"""Both are two classes with 0 for "as it was written"; `transformers` has room for one of them."""

ARCHITECTURES = {  # (masked LM head, pair head)
    (True, True): "BertForPreTraining",
    (True, False): "BertForMaskedLM",
    (False, True): "BertForNextSentencePrediction",
}


class BertConfig(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 30522
    hidden_size: config.Positive = 768
    num_hidden_layers: config.Positive = 12
    num_attention_heads: config.Positive = 12
    intermediate_size: config.Positive = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: config.Rate = 0.1
    attention_probs_dropout_prob: config.Rate = 0.1
    max_position_embeddings: config.Positive = 512
    type_vocab_size: config.Positive = 2
    initializer_range: config.Above0 = 0.02
    layer_norm_eps: config.Above0 = 1e-12
    is_decoder: bool = False
    add_cross_attention: bool = False
    tie_word_embeddings: bool = True
    position_embedding_type: str = "absolute"
    pair_objective: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="sesame_pair_objective")
    """Which objective trained `cls.seq_relationship`; ours, and ignored by `transformers`."""


class Bert(Family):
    name = "a BERT"
    model_type = "bert"
    fields: ClassVar[type[Struct]] = BertConfig
    pretext = config.Bert(masked_lm=1.0, next_sentence=1.0, sentence_order=1.0)
    stem = "bert."
    known: ClassVar[tuple[str, ...]] = ("bert.", "cls.")
    heads: ClassVar[dict[str, str]] = {
        "masked_lm": "cls.predictions.",
        **dict.fromkeys(PAIR, "cls.seq_relationship."),
        "pooler": "bert.pooler.",
    }
    divided = (("hidden_size", "num_attention_heads"),)
    renamed = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))  # TensorFlow's

    def stems(self, c: BertConfig) -> dict[str, str]:
        pair = _pair_objective(c)
        return {head: stem for head, stem in self.heads.items() if head not in PAIR or head == pair}

    def tied(self, c: BertConfig) -> tuple[tuple[str, str], ...]:
        return (
            ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        )

    def names(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> list[Name]:
        table = ENCODER + (MASKED_LM if "masked_lm" in heads else ()) + (POOLER if "pooler" in heads else ())
        return expand(table + tuple(row for pair in PAIR if pair in heads for row in PAIR[pair]), backbone.layers)

    def able(self, c: BertConfig) -> dict[str, tuple[object, tuple[object, ...]]]:
        return {
            "hidden_act": (c.hidden_act, tuple(ACTIVATIONS)),
            **plain_encoder(c),
            "position_embedding_type": (c.position_embedding_type, ("absolute",)),
            "sesame_pair_objective": (_pair_objective(c), tuple(PAIR)),
        }

    def backbone(self, c: BertConfig, found: Mapping[str, Tensor]) -> config.Transformer:
        return encoder_of(c, positions=c.max_position_embeddings)

    def described(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> BertConfig:
        pair = next((objective for objective in PAIR if objective in heads), msgspec.UNSET)
        return BertConfig(**encoder_fields(backbone), pair_objective=pair)

    def architecture(self, heads: Collection[str]) -> str:
        return ARCHITECTURES["masked_lm" in heads, any(pair in heads for pair in PAIR)]

    def task(self, heads: Collection[str]) -> config.Bert:
        return task_of(heads)

    def dropped(self, heads: Collection[str]) -> set[str]:
        """Of two pair heads the second."""
        return set([pair for pair in PAIR if pair in heads][1:])


# --------------------------------------------------------------------------- what BERT's descendants have in common
def encoder_of(c: Any, **changes: Any) -> config.Transformer:
    """Our configuration of an encoder with BERT's fields."""
    own = {
        "vocab": c.vocab_size,
        "width": c.hidden_size,
        "layers": c.num_hidden_layers,
        "heads": c.num_attention_heads,
        "ffn": c.intermediate_size,
        "activation": ACTIVATIONS[c.hidden_act],
        "dropout": c.hidden_dropout_prob,
        "attention_dropout": c.attention_probs_dropout_prob,
        "kinds": c.type_vocab_size,
        "init": c.initializer_range,
        "norm_eps": c.layer_norm_eps,
    }
    return config.Transformer(**(own | changes))


def encoder_fields(backbone: config.Transformer) -> dict[str, Any]:
    """BERT's fields of an encoder of ours; where it has no segment kinds, one of zeros is written."""
    return {
        "vocab_size": backbone.vocab,
        "hidden_size": backbone.width,
        "num_hidden_layers": backbone.layers,
        "num_attention_heads": backbone.heads,
        "intermediate_size": backbone.ffn,
        "hidden_act": theirs_of(backbone.activation),
        "hidden_dropout_prob": backbone.dropout,
        "attention_probs_dropout_prob": backbone.attention_dropout,
        "max_position_embeddings": backbone.positions,
        "type_vocab_size": max(backbone.kinds, 1),
        "initializer_range": backbone.init,
        "layer_norm_eps": backbone.norm_eps,
    }


def plain_encoder(c: Any) -> dict[str, tuple[object, tuple[object, ...]]]:
    """That an encoder with BERT's fields is no decoder, and its projection the embedding."""
    decoder = {field: (getattr(c, field, False), (False,)) for field in ("is_decoder", "add_cross_attention")}
    tied: dict[str, tuple[object, tuple[object, ...]]] = {"tie_word_embeddings": (c.tie_word_embeddings, (True,))}
    return decoder | tied


def task_of(heads: Collection[str]) -> config.Bert:
    """Weight 1 for every objective whose head is there; masked LM where there is none."""
    return config.Bert(
        masked_lm=float("masked_lm" in heads or not any(pair in heads for pair in PAIR)),
        next_sentence=float("next_sentence" in heads),
        sentence_order=float("sentence_order" in heads),
    )


def _pair_objective(c: BertConfig) -> str:
    return "next_sentence" if c.pair_objective is msgspec.UNSET else c.pair_objective
