"""ALBERT in the layout of `transformers` (Lan et al. 2020): narrow embeddings, layers that share their weights."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.interop.bert import encoder_fields, encoder_of, plain_encoder, task_of
from sesame.interop.family import ACTIVATIONS, Family
from sesame.interop.names import Name, Pattern, expand

_LAYER = "albert.encoder.albert_layer_groups.{g}.albert_layers.{j}"
ENCODER: tuple[Pattern, ...] = (
    ("backbone.embed.token.weight", "albert.embeddings.word_embeddings.weight"),
    ("backbone.embed.position.weight", "albert.embeddings.position_embeddings.weight"),
    ("backbone.embed.kind.weight", "albert.embeddings.token_type_embeddings.weight"),
    ("backbone.embed.norm.*", "albert.embeddings.LayerNorm.*"),
    ("backbone.embed.project.*", "albert.encoder.embedding_hidden_mapping_in.*"),
    (
        "backbone.blocks.{i}.attention.qkv.*",
        (f"{_LAYER}.attention.query.*", f"{_LAYER}.attention.key.*", f"{_LAYER}.attention.value.*"),
    ),
    ("backbone.blocks.{i}.attention.out.*", f"{_LAYER}.attention.dense.*"),
    ("backbone.blocks.{i}.attention.norm.*", f"{_LAYER}.attention.LayerNorm.*"),
    ("backbone.blocks.{i}.ffn.up.*", f"{_LAYER}.ffn.*"),
    ("backbone.blocks.{i}.ffn.down.*", f"{_LAYER}.ffn_output.*"),
    ("backbone.blocks.{i}.ffn.norm.*", f"{_LAYER}.full_layer_layer_norm.*"),
)
HEADS: dict[str, tuple[Pattern, ...]] = {
    "masked_lm": (
        ("pretext.masked_lm.dense.*", "predictions.dense.*"),
        ("pretext.masked_lm.norm.*", "predictions.LayerNorm.*"),
        ("pretext.masked_lm.bias", "predictions.bias"),
    ),
    "pooler": (("pretext.pooler.dense.*", "albert.pooler.*"),),
    "sentence_order": (("pretext.sentence_order.*", "sop_classifier.classifier.*"),),
}


class AlbertConfig(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 30000
    embedding_size: config.Positive = 128
    hidden_size: config.Positive = 4096
    num_hidden_layers: config.Positive = 12
    num_hidden_groups: config.Positive = 1
    inner_group_num: config.Positive = 1
    num_attention_heads: config.Positive = 64
    intermediate_size: config.Positive = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: config.Rate = 0.0
    attention_probs_dropout_prob: config.Rate = 0.0
    max_position_embeddings: config.Positive = 512
    type_vocab_size: config.Positive = 2
    initializer_range: config.Above0 = 0.02
    layer_norm_eps: config.Above0 = 1e-12
    tie_word_embeddings: bool = True
    position_embedding_type: str = "absolute"


class Albert(Family):
    name = "an ALBERT"
    model_type = "albert"
    fields: ClassVar[type[Struct]] = AlbertConfig
    pretext = config.Bert(sentence_order=1.0)
    stem = "albert."
    known: ClassVar[tuple[str, ...]] = ("albert.", "predictions.", "sop_classifier.")
    heads: ClassVar[dict[str, str]] = {
        "masked_lm": "predictions.",
        "sentence_order": "sop_classifier.",
        "pooler": "albert.pooler.",
    }
    divided = (("hidden_size", "num_attention_heads"),)
    free = ("groups", "inner", "embedding")

    def tied(self, c: AlbertConfig) -> tuple[tuple[str, str], ...]:
        return (
            ("predictions.decoder.weight", "albert.embeddings.word_embeddings.weight"),
            ("predictions.decoder.bias", "predictions.bias"),
        )

    def names(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> list[Name]:
        table = ENCODER + tuple(row for head, rows in HEADS.items() if head in heads for row in rows)
        inner = backbone.inner
        blocks = [{"i": i, "g": i // inner, "j": i % inner} for i in range(backbone.groups * inner)]
        return expand(table, blocks)

    def able(self, c: AlbertConfig) -> dict[str, tuple[object, tuple[object, ...]]]:
        return {
            "hidden_act": (c.hidden_act, tuple(ACTIVATIONS)),
            **plain_encoder(c),
            "position_embedding_type": (c.position_embedding_type, ("absolute",)),
            "num_hidden_groups": (c.num_hidden_groups, tuple(range(1, c.num_hidden_layers + 1))),
        }

    def backbone(self, c: AlbertConfig, found: Mapping[str, Tensor]) -> config.Transformer:
        return encoder_of(
            c,
            positions=c.max_position_embeddings,
            embedding=c.embedding_size,
            groups=c.num_hidden_groups,
            inner=c.inner_group_num,
            layers=c.num_hidden_layers * c.inner_group_num,
        )

    def described(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> AlbertConfig:
        own = {
            "embedding_size": backbone.embedding,
            "num_hidden_groups": backbone.groups,
            "inner_group_num": backbone.inner,
            "num_hidden_layers": backbone.layers // backbone.inner,
        }
        return AlbertConfig(**encoder_fields(backbone) | own)

    def architecture(self, heads: Collection[str]) -> str:
        return "AlbertForPreTraining" if "sentence_order" in heads else "AlbertForMaskedLM"

    def task(self, heads: Collection[str]) -> config.Bert:
        return task_of(heads)

    def obstacles(self, backbone: Any, heads: Collection[str], vocabulary: Any) -> list[str]:
        said = super().obstacles(backbone, heads, vocabulary)
        if isinstance(backbone, config.Transformer) and not (backbone.groups and backbone.embedding):
            said.append(f"{self.name} has groups and embedding, and the model {backbone.groups}, {backbone.embedding}")
        if "masked_lm" not in heads:
            said.append(f"{self.name} has a masked LM head")
        return said
