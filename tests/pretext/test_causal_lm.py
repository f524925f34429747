"""The causal LM against transformers' GPT-2, packed and one by one."""

import itertools
from collections import Counter

import msgspec
import numpy as np
import pytest
import torch
from small_store import random_documents, store_of
from small_text import VOCABULARY, packed, texts
from transformers import GPT2Config, GPT2LMHeadModel

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.text import TextSet, rows_of
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


def test_every_token_of_every_document_is_predicted_once_from_as_much_as_a_row_holds(tmp_path) -> None:
    """Over an epoch, and whatever the cuts: no start or end token stands where a document was cut."""
    store = store_of(tmp_path / "store", random_documents(9, longest=12))
    data = TextSet(store, config.TextData(store=str(tmp_path / "store"), length=16, rows=4))
    torch.manual_seed(0)
    backbone = Transformer(msgspec.structs.replace(GPT, vocab=60))
    pretext = CausalLM(config.CausalLM(), backbone, store.vocabulary)
    v, predicted = store.vocabulary, Counter()
    for step in pretext.stream(data, seed=3).train(Cursor(), 0, 10**6, 1):
        if step.cursor.epoch:
            break  # the rest of the epoch was in the step before
        batch = step.parts[0]
        split = pretext.split(batch)
        flat = batch.example.ravel()
        for at, token in zip(split.target["at"].tolist(), split.target["next"].tolist(), strict=True):
            row, time = divmod(at, 16)
            here = (batch.example[row, : time + 1] == batch.example[row, time]).nonzero()[0]
            predicted[tuple(batch.ids[row, here].tolist()), token] += 1
        assert split.count["causal_lm"] == len(split.target["at"]) <= int((flat >= 0).sum())
    documents = [
        [v.cls, *np.asarray(store.ids[int(a) : int(b)]).tolist(), v.sep]
        for a, b in itertools.pairwise(store.offsets.tolist())
    ]
    whole = Counter(token for document in documents for token in document[1:])
    found = Counter()
    for (seen, token), times in predicted.items():
        found[token] += times
        assert any(_follows(document, seen, token) for document in documents), (seen, token)
        if seen[0] == v.cls:
            continue
        assert len(seen) > 1  # a window that goes on does not predict from its first token alone
    assert found <= whole
    assert sum(whole.values()) - sum(found.values()) <= 4 * 16  # the step that reaches into the next epoch


def _follows(document: list[int], seen: tuple[int, ...], token: int) -> bool:
    wanted = [*seen, token]
    return any(document[i : i + len(wanted)] == wanted for i in range(len(document)))
