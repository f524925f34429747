"""Small models that write, with weights large enough for opinions, and the same weights in transformers."""

import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel

from sesame import config, models
from sesame.data.text import examples_of, rows_of
from sesame.data.tokenizer import BERT_SPECIAL, ROBERTA_SPECIAL, Vocabulary, byte_level, wordpiece
from sesame.engine.build import Model
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.causal_lm import CausalLM
from sesame.pretext.denoising import Denoising


def words(size: int) -> Vocabulary:
    """The special tokens and words w0, w1 …: `size` in all."""
    pieces = [*BERT_SPECIAL.values(), *(f"w{n}" for n in range(size - len(BERT_SPECIAL)))]
    return Vocabulary(wordpiece({piece: i for i, piece in enumerate(pieces)}, lowercase=True), BERT_SPECIAL)


def letters() -> Vocabulary:
    """A token a byte, as GPT-2 spells them."""
    pieces = [*ROBERTA_SPECIAL.values(), *sorted(ByteLevel.alphabet())]
    return Vocabulary(byte_level({piece: i for i, piece in enumerate(pieces)}, []), ROBERTA_SPECIAL)


def shape(vocabulary: Vocabulary, positions: int, **changes) -> config.Transformer:
    return config.Transformer(
        **{
            "layers": 2,
            "width": 32,
            "heads": 4,
            "ffn": 64,
            "vocab": vocabulary.size,
            "positions": positions,
            "kinds": 0,
            "norm": "pre",
            "norm_eps": 1e-5,
            "embedding_norm": False,
            "causal": True,
            "activation": "gelu_tanh",
            "init": 0.3,
            **changes,
        }
    )


def gpt(vocabulary: Vocabulary, positions: int = 48, seed: int = 0, **changes) -> Model:
    torch.manual_seed(seed)
    backbone = Transformer(shape(vocabulary, positions, **changes))
    for name, p in backbone.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.2)
    pretext = CausalLM(config.CausalLM(), backbone, vocabulary)
    return Model(Objective(backbone, pretext).eval(), vocabulary, None, 0)


def bart(vocabulary: Vocabulary, positions: int = 48, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    changes = {"norm": "post", "embedding_norm": True}
    c = config.EncoderDecoder(
        encoder=shape(vocabulary, positions, causal=False, **changes), decoder=shape(vocabulary, positions, **changes)
    )
    backbone = models.build(c)
    return Model(Objective(backbone, Denoising(config.Denoising(), backbone, vocabulary)).eval(), vocabulary, None, 0)


@torch.no_grad()
def next_scores(model: Model, ids: list[int]) -> np.ndarray:
    """The scores of the token after `ids`, of a causal LM, computed from the beginning."""
    batch, _ = examples_of([ids[1:]], model.vocabulary, len(ids) + 1)
    assert batch.ids[0, : len(ids)].tolist() == ids
    h = model.objective.backbone(rows_of(batch)).last[0, len(ids) - 1]
    return (model.objective.backbone.embed.token.weight @ h)[: model.vocabulary.size].numpy()


def gpt2_of(model: Model) -> GPT2LMHeadModel:
    """transformers' GPT-2 with the same weights; its `Conv1D` keeps matrices the other way round."""
    backbone, v = model.objective.backbone, model.vocabulary
    c = backbone.config
    twin = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab, n_positions=c.positions, n_embd=c.width, n_layer=c.layers, n_head=c.heads,
            n_inner=c.ffn, bos_token_id=v.cls, eos_token_id=v.sep, pad_token_id=v.pad,
        )
    ).eval()  # fmt: skip
    state = {
        "transformer.wte.weight": backbone.embed.token.weight,
        "transformer.wpe.weight": backbone.embed.position.weight,
        "lm_head.weight": backbone.embed.token.weight,
    }
    parts = {"transformer.ln_f": backbone.norm}
    for i, block in enumerate(backbone.blocks):
        here = f"transformer.h.{i}"
        parts |= {f"{here}.ln_1": block.attention.norm, f"{here}.ln_2": block.ffn.norm}
        parts |= {f"{here}.attn.c_attn": block.attention.qkv, f"{here}.attn.c_proj": block.attention.out}
        parts |= {f"{here}.mlp.c_fc": block.ffn.up, f"{here}.mlp.c_proj": block.ffn.down}
    for name, part in parts.items():
        state[f"{name}.weight"] = part.weight.T if isinstance(part, torch.nn.Linear) else part.weight
        state[f"{name}.bias"] = part.bias
    twin.load_state_dict({name: value.detach() for name, value in state.items()})
    return twin
