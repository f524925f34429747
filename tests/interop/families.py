"""Models of every family but BERT: ours at random shapes, the same of `transformers`, and what each makes of a text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import torch
import transformers
from small_bert import shaken
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from torch import Tensor, nn

from sesame import config, models, pretext
from sesame.data.batch import Rows
from sesame.data.tokenizer import ROBERTA_SPECIAL, Vocabulary, byte_level
from sesame.interop import t5
from sesame.pretext.base import Objective

_TOKENS = [*ROBERTA_SPECIAL.values(), *"abcdefgh"]
BYTES = Vocabulary(byte_level({token: i for i, token in enumerate(_TOKENS)}, []), ROBERTA_SPECIAL)
"""<s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4, and letters."""
SIZE = BYTES.size + 3
"""Rows of an embedding: a published model often has a few more than its tokenizer has tokens."""


def unigram() -> Vocabulary:
    """As T5's: <pad> 0, </s> 1, <unk> 2, pieces with the mark of a word's start, sentinels; no start token."""
    marks = ["<pad>", "</s>", "<unk>"]
    pieces = [(mark, 0.0) for mark in marks] + [(mark + c, -2.0) for c in "abcd" for mark in ("▁", "")]
    tokenizer = Tokenizer(tokenizer_models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = [*marks, "<extra_id_1>", "<extra_id_0>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return Vocabulary(tokenizer, {"pad": "<pad>", "sep": "</s>", "unk": "<unk>"})


STACK = {"width": st.sampled_from([8, 24]), "heads": st.sampled_from([2, 4]), "ffn": st.sampled_from([8, 40])}
Shape = dict[str, Any]


def plain(shape: Shape, **fixed: Any) -> config.Transformer:
    return config.Transformer(vocab=SIZE, **(shape | fixed))


def two(shape: Shape, deep: int, **fixed: Any) -> config.EncoderDecoder:
    """`deep` layers in the decoder; `output` is the decoder's alone."""
    output = fixed.pop("output", "tied")
    return config.EncoderDecoder(
        encoder=plain(shape, **fixed), decoder=plain(shape, **fixed, causal=True, layers=deep, output=output)
    )


@dataclass(frozen=True)
class Kin:
    """A family."""

    shapes: st.SearchStrategy[config.Transformer | config.EncoderDecoder]
    task: config.Pretext
    architecture: str
    theirs: Callable[[Any], transformers.PreTrainedModel]
    """A model of `transformers` with the shape of one of ours."""
    vocabulary: Vocabulary = BYTES


def _bertlike(c: config.Transformer) -> Shape:
    return {
        "vocab_size": SIZE, "hidden_size": c.width, "num_attention_heads": c.heads, "intermediate_size": c.ffn,
        "type_vocab_size": c.kinds, "layer_norm_eps": c.norm_eps, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip


def _roberta(c: config.Transformer) -> nn.Module:
    return transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(
            **_bertlike(c), num_hidden_layers=c.layers, max_position_embeddings=c.positions + 2, pad_token_id=1
        )
    )


def _albert(c: config.Transformer) -> nn.Module:
    return transformers.AlbertForPreTraining(
        transformers.AlbertConfig(
            **_bertlike(c), num_hidden_layers=c.layers // c.inner, inner_group_num=c.inner, num_hidden_groups=c.groups,
            embedding_size=c.embedding, max_position_embeddings=c.positions, hidden_act="gelu_new", pad_token_id=1,
        )
    )  # fmt: skip


def _gpt2(c: config.Transformer) -> nn.Module:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=SIZE, n_positions=c.positions, n_embd=c.width, n_layer=c.layers, n_head=c.heads, n_inner=c.ffn,
            layer_norm_epsilon=c.norm_eps, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0,
            eos_token_id=2, activation_function={"gelu_tanh": "gelu_new", "relu": "relu"}[c.activation],
        )
    )  # fmt: skip


def _bart(c: config.EncoderDecoder) -> nn.Module:
    e, d = c.encoder, c.decoder
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=SIZE, d_model=e.width, max_position_embeddings=e.positions, activation_function=e.activation,
            encoder_layers=e.layers, encoder_ffn_dim=e.ffn, encoder_attention_heads=e.heads, decoder_layers=d.layers,
            decoder_ffn_dim=d.ffn, decoder_attention_heads=d.heads, scale_embedding=e.scale_embedding,
        )
    )  # fmt: skip


def _t5(c: config.EncoderDecoder) -> nn.Module:
    e = c.encoder
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=SIZE, d_model=e.width, d_kv=e.head_width, d_ff=e.ffn, num_layers=e.layers,
            num_decoder_layers=c.decoder.layers, num_heads=e.heads, relative_attention_num_buckets=e.buckets,
            relative_attention_max_distance=e.farthest, feed_forward_proj="gated-gelu" if e.gated else "relu",
            tie_word_embeddings=c.decoder.output == "scaled", layer_norm_epsilon=e.norm_eps, decoder_start_token_id=0,
        )
    )  # fmt: skip


T5 = {
    "norm": "pre", "norm_kind": "rms", "bias": False, "embedding_norm": False, "scale_scores": False, "kinds": 0,
    "position": "relative",
}  # fmt: skip


def _t5_shapes(outputs: list[str], **fixed: Any) -> st.SearchStrategy[config.EncoderDecoder]:
    shape = st.fixed_dictionaries(
        STACK
        | {"head_width": st.sampled_from([3, 6]), "buckets": st.sampled_from([8, 32]), "norm_eps": st.just(1e-6)}
        | {"farthest": st.sampled_from([20, 128]), "layers": st.integers(1, 2)}
    )
    return st.builds(
        lambda s, deep, output: two(s, deep, **T5, **fixed, output=output),
        shape, st.integers(1, 2), st.sampled_from(outputs),
    )  # fmt: skip


KIN: dict[str, Kin] = {
    "roberta": Kin(
        st.fixed_dictionaries(STACK | {"layers": st.integers(1, 2), "norm_eps": st.sampled_from([1e-5, 1e-3])}).map(
            lambda s: plain(s, kinds=1, positions=19)
        ),
        config.Bert(),
        "RobertaForMaskedLM",
        _roberta,
    ),
    "albert": Kin(
        st.builds(
            lambda s, g: plain(s, **g, activation="gelu_tanh", positions=19),
            st.fixed_dictionaries(STACK | {"embedding": st.sampled_from([4, 24])}),
            st.sampled_from(
                [
                    {"layers": 3, "groups": 1},
                    {"layers": 5, "groups": 2},
                    {"layers": 4, "groups": 1, "inner": 2},
                    {"layers": 8, "groups": 2, "inner": 2},
                ]
            ),
        ),
        config.Bert(sentence_order=1.0),
        "AlbertForPreTraining",
        _albert,
    ),
    "gpt2": Kin(
        st.fixed_dictionaries(
            STACK | {"layers": st.integers(1, 2), "activation": st.sampled_from(["gelu_tanh", "relu"])}
        ).map(lambda s: plain(s, kinds=0, norm="pre", norm_eps=1e-5, embedding_norm=False, causal=True, positions=19)),
        config.CausalLM(),
        "GPT2LMHeadModel",
        _gpt2,
    ),
    "bart": Kin(
        st.builds(
            lambda s, deep: two(s, deep, kinds=0, norm_eps=1e-5, positions=19),
            st.fixed_dictionaries(
                STACK
                | {"layers": st.integers(1, 2), "activation": st.sampled_from(["gelu", "relu"])}
                | {"scale_embedding": st.booleans()}
            ),
            st.integers(1, 2),
        ),
        config.Denoising(),
        "BartForConditionalGeneration",
        _bart,
    ),
    "t5": Kin(_t5_shapes(["scaled"], activation="relu"), t5.T5.pretext, "T5ForConditionalGeneration", _t5, unigram()),
    "t5 1.1": Kin(
        _t5_shapes(["untied", "tied"], activation="gelu_tanh", gated=True),
        t5.T5.pretext,
        "T5ForConditionalGeneration",
        _t5,
        unigram(),
    ),
}


def objective(kin: Kin, backbone: config.Transformer | config.EncoderDecoder, seed: int) -> Objective:
    """Ours, with every parameter random."""
    network = models.build(backbone)
    return shaken(Objective(network, pretext.build(kin.task, network, kin.vocabulary)), seed).eval()


def texts(sizes: list[int], seed: int, kinds: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Ids (none is that of padding) and segment kinds."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(5, SIZE, (n,), generator=generator),
            torch.randint(max(kinds, 1), (n,), generator=generator).sort().values,
        )
        for n in sizes
    ]


def ours(whole: Objective, rows: Rows, written: Rows | None = None) -> list[Tensor]:
    """Scores of every token, example by example; and of the pair head, where there is one."""
    states = whole.backbone(rows if written is None else (rows, written))
    of = rows if written is None else written
    h = states.last[of.valid]
    if not isinstance(whole.pretext.config, config.Bert):
        return [h @ states.vocabulary.T]
    scores = [whole.pretext.logits(whole.backbone, h)]
    if whole.pretext.config.sentence_order:
        first = whole.pretext.pooler(states.last[rows.valid & (rows.position == 0)])
        scores.append(whole.pretext.sentence_order(first))
    return scores


def theirs(model: nn.Module, read: list[tuple[Tensor, Tensor]], written: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """The same of a model of `transformers`, one text at a time."""
    words, pairs = [], []
    for (ids, kind), (target, _) in zip(read, written, strict=True):
        more = {"token_type_ids": kind[None]} if "lbert" in type(model).__name__ else {}
        more |= {"decoder_input_ids": target[None]} if model.config.is_encoder_decoder else {}
        out = model(input_ids=ids[None], **more)
        words.append((out.prediction_logits if hasattr(out, "prediction_logits") else out.logits)[0])
        pairs += [out.sop_logits[0]] if hasattr(out, "sop_logits") else []
    return [torch.cat(words), *([torch.stack(pairs)] if pairs else [])]


def padded(model: nn.Module, read: Rows, written: Rows) -> Tensor:
    """Scores of every token, from one batch with a text in each row."""
    more = {"token_type_ids": read.kind} if "lbert" in type(model).__name__ else {}
    of = read
    if model.config.is_encoder_decoder:
        of, more = written, {"decoder_input_ids": written.x}
    out = model(input_ids=read.x, attention_mask=read.valid.long(), **more)
    return (out.prediction_logits if hasattr(out, "prediction_logits") else out.logits)[of.valid]
