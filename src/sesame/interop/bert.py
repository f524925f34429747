"""BERT in the layout of `transformers`: the names of its tensors and the fields of its `config.json`, both ways."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.errors import UserError
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

ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "relu"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""`hidden_act` -> ours; the first of several is written."""


class BertConfig(Struct, frozen=True, kw_only=True):
    """The fields of `config.json` that decide what a BERT computes, with the defaults of `transformers`."""

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


def obstacle(backbone: config.Transformer) -> str | None:
    """Why `transformers` has no BERT of this shape, or None when it has."""
    plain = {"input": "tokens", "position": "learned", "norm": "post", "embedding_norm": True, "causal": False}
    for field, needed in plain.items():
        if (found := getattr(backbone, field)) != needed:
            return f"the model has {field} {found}, and a BERT has {field} {needed}"
    return None


def pair_of(heads: Collection[str]) -> str | None:
    """Which of these heads becomes `cls.seq_relationship`: the first in the order of `PAIR`, or None."""
    return next((objective for objective in PAIR if objective in heads), None)


def names_of(layers: int, heads: Collection[str]) -> list[Name]:
    """The names of a BERT of so many layers with these heads (`masked_lm`, `pooler`, and at most one of `PAIR`)."""
    table = ENCODER + (MASKED_LM if "masked_lm" in heads else ()) + (POOLER if "pooler" in heads else ())
    return expand(table + tuple(row for objective in PAIR if objective in heads for row in PAIR[objective]), layers)


def published_config(backbone: config.Transformer, heads: Collection[str], pad: int) -> dict[str, Any]:
    """`config.json` for this backbone with these heads (`masked_lm`, and what pair objectives were trained)."""
    pair = pair_of(heads)
    fields = BertConfig(
        vocab_size=backbone.vocab,
        hidden_size=backbone.width,
        num_hidden_layers=backbone.layers,
        num_attention_heads=backbone.heads,
        intermediate_size=backbone.ffn,
        hidden_act=next(theirs for theirs, ours in ACTIVATIONS.items() if ours == backbone.activation),
        hidden_dropout_prob=backbone.dropout,
        attention_probs_dropout_prob=backbone.attention_dropout,
        max_position_embeddings=backbone.positions,
        type_vocab_size=max(backbone.kinds, 1),
        initializer_range=backbone.init,
        layer_norm_eps=backbone.norm_eps,
        pair_objective=pair or msgspec.UNSET,
    )
    return {
        "model_type": "bert",
        "architectures": [ARCHITECTURES["masked_lm" in heads, pair is not None]],
        "dtype": "float32",
        "pad_token_id": pad,
        **msgspec.to_builtins(fields),
    }


def own_config(published: Mapping[str, Any], path: Path) -> tuple[config.Transformer, str]:
    """Our configuration of the backbone that `config.json` at `path` describes, and its pair objective.

    Raises UserError naming the field when it describes what Sesame cannot compute.
    """
    try:
        c = msgspec.convert(published, BertConfig)
    except msgspec.ValidationError as e:
        raise UserError(f"{path}: {e}. Expected the fields of a BERT; fetch the model again.") from None
    pair = "next_sentence" if c.pair_objective is msgspec.UNSET else c.pair_objective
    able = {
        "hidden_act": (c.hidden_act, tuple(ACTIVATIONS)),
        "position_embedding_type": (c.position_embedding_type, ("absolute",)),
        "is_decoder": (c.is_decoder, (False,)),
        "add_cross_attention": (c.add_cross_attention, (False,)),
        "tie_word_embeddings": (c.tie_word_embeddings, (True,)),
        "sesame_pair_objective": (pair, tuple(PAIR)),
    }
    for field, (found, known) in able.items():
        if found not in known:
            choices = " or ".join(msgspec.json.encode(k).decode() for k in known)
            value = msgspec.json.encode(found).decode()
            raise UserError(
                f"{path}: {field} is {value}. Sesame's BERT has {choices} only, so this model cannot open here."
            )
    if c.hidden_size % c.num_attention_heads:
        raise UserError(
            f"{path}: hidden_size {c.hidden_size} is no multiple of num_attention_heads {c.num_attention_heads}. "
            "The file is damaged: fetch the model again."
        )
    backbone = config.Transformer(
        vocab=c.vocab_size,
        width=c.hidden_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        ffn=c.intermediate_size,
        activation=ACTIVATIONS[c.hidden_act],
        dropout=c.hidden_dropout_prob,
        attention_dropout=c.attention_probs_dropout_prob,
        positions=c.max_position_embeddings,
        kinds=c.type_vocab_size,
        init=c.initializer_range,
        norm_eps=c.layer_norm_eps,
    )
    return backbone, pair


def current_names(found: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    """`found` under the names of today, and the names of what belongs to other heads (a fine-tuned classifier).

    Undone here: `gamma` and `beta` (TensorFlow's names of a norm's weight and bias), a bare encoder without the
    `bert.` before its names, the stored buffer of position numbers, and the output projection stored again beside
    the embedding it is tied to, which must equal it.
    """
    bare = not any(name.startswith("bert.") for name in found)
    tensors: dict[str, Tensor] = {}
    heads = []
    for name, tensor in found.items():
        new = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if bare and not new.startswith("cls."):
            new = f"bert.{new}"
        if new == "bert.embeddings.position_ids":
            continue
        if new.startswith(("bert.", "cls.")):
            tensors[new] = tensor
        else:
            heads.append(name)
    for alias, source in (
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ):
        if (copy := tensors.pop(alias, None)) is not None and not torch.equal(copy, tensors.setdefault(source, copy)):
            raise UserError(
                f"{folder}: {alias} differs from {source}. Sesame ties the output projection to the embedding, so this "
                "model cannot open here."
            )
    return tensors, heads
