"""RoBERTa in the layout of `transformers` (Liu et al. 2019): BERT without pairs, in byte-level BPE.

Its position table begins with rows that nothing reads: positions are counted from one behind the padding's id.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.interop.bert import ENCODER, encoder_fields, encoder_of, plain_encoder
from sesame.interop.family import Family
from sesame.interop.names import Name, Pattern, expand, skipping

MASKED_LM: tuple[Pattern, ...] = (
    ("pretext.masked_lm.dense.*", "lm_head.dense.*"),
    ("pretext.masked_lm.norm.*", "lm_head.layer_norm.*"),
    ("pretext.masked_lm.bias", "lm_head.bias"),
)


def _renamed(theirs: str | tuple[str, ...]) -> tuple[str, ...]:
    names = (theirs,) if isinstance(theirs, str) else theirs
    return tuple(name.replace("bert.", "roberta.", 1) for name in names)


class RobertaConfig(Struct, frozen=True, kw_only=True):
    vocab_size: config.Positive = 50265
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
    pad_token_id: config.Count = 1
    is_decoder: bool = False
    add_cross_attention: bool = False
    tie_word_embeddings: bool = True
    position_embedding_type: str = "absolute"


class Roberta(Family):
    name = "a RoBERTa"
    model_type = "roberta"
    fields: ClassVar[type[Struct]] = RobertaConfig
    pretext = config.Bert()
    stem = "roberta."
    known: ClassVar[tuple[str, ...]] = ("roberta.", "lm_head.")
    heads: ClassVar[dict[str, str]] = {"masked_lm": "lm_head."}
    divided = (("hidden_size", "num_attention_heads"),)
    foreign = ("roberta.pooler.",)  # no pretext task trained it

    def tied(self, c: RobertaConfig) -> tuple[tuple[str, str], ...]:
        return (
            ("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
            ("lm_head.decoder.bias", "lm_head.bias"),
        )

    def names(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> list[Name]:
        table: tuple[Pattern, ...] = tuple((ours, _renamed(theirs)) for ours, theirs in ENCODER)
        table += MASKED_LM if "masked_lm" in heads else ()
        return skipping(expand(table, backbone.layers), "backbone.embed.position.weight", pad + 1)

    def able(self, c: RobertaConfig) -> dict[str, tuple[object, tuple[object, ...]]]:
        return {
            "hidden_act": (c.hidden_act, ("gelu",)),  # its masked LM head has no other
            **plain_encoder(c),
            "position_embedding_type": (c.position_embedding_type, ("absolute",)),
        }

    def backbone(self, c: RobertaConfig, found: Mapping[str, Tensor]) -> config.Transformer:
        return encoder_of(c, positions=c.max_position_embeddings - c.pad_token_id - 1)

    def described(self, backbone: config.Transformer, heads: Collection[str], pad: int) -> RobertaConfig:
        fields = encoder_fields(backbone)
        return RobertaConfig(**fields | {"max_position_embeddings": backbone.positions + pad + 1}, pad_token_id=pad)

    def architecture(self, heads: Collection[str]) -> str:
        return "RobertaForMaskedLM"

    def obstacles(self, backbone: Any, heads: Collection[str], vocabulary: Vocabulary | None) -> list[str]:
        said = super().obstacles(backbone, heads, vocabulary)
        if vocabulary is None or vocabulary.kind != "BPE":
            said.append(f"{self.name} reads byte-level BPE")
        if isinstance(backbone, config.Transformer) and (backbone.kinds > 1 or backbone.activation != "gelu"):
            said.append(f"{self.name} has one segment kind and gelu, not {backbone.kinds} and {backbone.activation}")
        return said
