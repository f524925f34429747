"""The causal LM against transformers' GPT-2, packed and one by one."""

import pytest
import torch
from small_text import VOCABULARY, packed, texts
from transformers import GPT2Config, GPT2LMHeadModel

from sesame import config
from sesame.data.text import rows_of
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.causal_lm import CausalLM

GPT = config.Transformer(
    layers=2,
    width=32,
    heads=4,
    ffn=64,
    vocab=VOCABULARY.size,
    positions=32,
    kinds=0,
    norm="pre",
    norm_eps=1e-5,
    embedding_norm=False,
    causal=True,
    activation="gelu_tanh",
    init=0.2,
)
SIZES = (9, 1, 13, 6, 3, 20)


def objective() -> Objective:
    torch.manual_seed(0)
    backbone = Transformer(GPT)
    for name, p in backbone.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.2)
    return Objective(backbone, CausalLM(config.CausalLM(), backbone, VOCABULARY)).eval()


def reference(backbone: Transformer) -> GPT2LMHeadModel:
    """transformers' GPT-2 with the same weights; its `Conv1D` keeps matrices the other way round."""
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=GPT.vocab, n_positions=32, n_embd=32, n_layer=2, n_head=4, n_inner=64, bos_token_id=2)
    ).eval()
    own = {
        "transformer.wte.weight": backbone.embed.token.weight,
        "transformer.wpe.weight": backbone.embed.position.weight,
        "transformer.ln_f": backbone.norm,
        "lm_head.weight": backbone.embed.token.weight,
    }
    for i, block in enumerate(backbone.blocks):
        here = f"transformer.h.{i}"
        own |= {f"{here}.ln_1": block.attention.norm, f"{here}.ln_2": block.ffn.norm}
        own |= {f"{here}.attn.c_attn": block.attention.qkv, f"{here}.attn.c_proj": block.attention.out}
        own |= {f"{here}.mlp.c_fc": block.ffn.up, f"{here}.mlp.c_proj": block.ffn.down}
    state = {}
    for name, value in own.items():
        if isinstance(value, torch.nn.Module):
            weight = value.weight.T if isinstance(value, torch.nn.Linear) else value.weight
            state |= {f"{name}.weight": weight.detach(), f"{name}.bias": value.bias.detach()}
        else:
            state[name] = value.detach()
    model.load_state_dict(state)
    return model


@torch.no_grad()
def test_packed_logits_are_gpt_2s_one_by_one() -> None:
    whole, batch = objective(), packed(texts(*SIZES))
    assert len(batch.ids) < len(SIZES)  # several examples share a row
    model = reference(whole.backbone)
    logits = whole.backbone(rows_of(batch)).last @ whole.backbone.embed.token.weight.T
    for number in range(len(SIZES)):
        here = torch.from_numpy(batch.example == number)
        ids = torch.from_numpy(batch.ids)[here]
        torch.testing.assert_close(logits[here], model(ids[None]).logits[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_loss_is_gpt_2s_summed_over_the_predicted_tokens_of_every_example() -> None:
    whole, batch = objective(), packed(texts(*SIZES))
    split, model = whole.pretext.split(batch), reference(whole.backbone)
    total, count, hits = 0.0, 0, 0
    for number in range(len(SIZES)):
        ids = torch.from_numpy(batch.ids[batch.example == number])[None]
        out = model(ids, labels=ids)
        total += float(out.loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
        hits += int((out.logits[0, :-1].argmax(-1) == ids[0, 1:]).sum())
    term = whole(split)["causal_lm"]
    assert term.count == split.count["causal_lm"] == count == sum(SIZES) + len(SIZES)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert int(term.hits) == hits


@torch.no_grad()
def test_a_prediction_does_not_see_what_it_predicts() -> None:
    whole, (text,) = objective(), texts(15)
    changed = text.copy()
    changed[9:] = text[9:][::-1]
    one, other = (whole.backbone(rows_of(packed([t]))).last for t in (text, changed))
    assert torch.equal(one[0, :10], other[0, :10])  # [CLS] and nine tokens
    assert not torch.allclose(one[0, 10:], other[0, 10:])


def test_a_backbone_that_sees_the_future_is_refused() -> None:
    backbone = Transformer(config.Transformer(layers=1, width=8, heads=1, ffn=8, vocab=VOCABULARY.size))
    with pytest.raises(UserError, match=r"--backbone\.causal"):
        CausalLM(config.CausalLM(), backbone, VOCABULARY)
