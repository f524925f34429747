"""Attention weights against the kernel's own output, brute force and `transformers`; the patterns against loops."""

import math
from pathlib import Path

import numpy as np
import probed
import pytest
import torch

from sesame.data.text import rows_of
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.interop.model_folder import save_model
from sesame.models import transformer
from sesame.models.attention import mask_of
from sesame.probes import Ask, attention
from sesame.probes.attention import kind, measure, weights
from sesame.probes.held_out import held_out
from sesame.probes.states import held_out_batches

CAUSAL = {"causal": True}
RELATIVE = {"position": "relative", "scale_scores": False, "bias": False, "groups": 1}
PRE = {"norm": "pre", "causal": True, "embedding_norm": False}


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> tuple[Model, Ask]:
    torch.set_num_threads(1)
    return probed.text(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("shape", [{}, CAUSAL, PRE, {"norm": "pre"}, RELATIVE], ids=str)
@pytest.mark.parametrize("full_rows", [False, True])
def test_the_weights_mix_the_values_into_what_the_kernel_gives(shape, full_rows, tmp_path: Path, monkeypatch):
    """So they are the real ones: from the real queries and keys, over the links of the forward pass."""
    model, ask = probed.text(tmp_path, **shape)
    backbone = model.objective.backbone
    rows = held_out(model, ask, 200)[0].inputs
    if full_rows:  # one example fills every row: the kernel gets no mask
        time = torch.arange(10).expand(3, 10)
        example = torch.arange(3)[:, None].expand(3, 10)
        rows = transformer.Rows(torch.arange(30).view(3, 10), time, torch.zeros_like(time), example, alone=True)
    seen = []
    kernel = transformer.attend_within

    def watched(qkv, *rest):
        seen.append((qkv.chunk(3, -1)[2], kernel(qkv, *rest)))
        return seen[-1][1]

    monkeypatch.setattr(transformer, "attend_within", watched)
    with torch.no_grad():
        hidden = backbone(rows, layers=True).layers
        mask = mask_of(rows, causal=backbone.config.causal, gain=backbone.relative, dtype=torch.float32)
        assert rows.alone == full_rows
        for block, h, (value, mixed) in zip(backbone.stack, hidden, seen, strict=False):
            paid = weights(block, h, mask)
            again = torch.einsum("rhqk,rkhd->rqhd", paid, value.unflatten(-1, (2, -1))).flatten(2)
            torch.testing.assert_close(again[rows.valid], mixed[rows.valid], atol=1e-5, rtol=1e-5)
    assert len(seen) == 2


def test_the_weights_are_those_of_transformers(bert, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model, ask = bert
    assert save_model(model.objective, model.vocabulary, tmp_path / "model")
    network = transformers.BertModel.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    batch = held_out_batches(ask.data, 4)[0]
    rows = rows_of(batch)
    with torch.no_grad():
        hidden = model.objective.backbone(rows, layers=True).layers
        mask = mask_of(rows, dtype=torch.float32)
        mine = [weights(b, h, mask) for b, h in zip(model.objective.backbone.blocks, hidden, strict=False)]
        for row in range(len(batch.ids)):
            for number in np.unique(batch.example[row][batch.example[row] >= 0]):
                at = torch.from_numpy(np.flatnonzero(batch.example[row] == number))
                alone = torch.from_numpy(batch.ids[row])[at][None]
                theirs = network(alone, output_attentions=True).attentions
                for ours, their in zip(mine, theirs, strict=True):
                    torch.testing.assert_close(ours[row][:, at][:, :, at], their[0], atol=1e-5, rtol=1e-4)
                    other = torch.ones(len(batch.ids[row]), dtype=torch.bool)
                    other[at] = False
                    assert not ours[row][:, at][:, :, other].any()


def by_loops(model: Model, ask: Ask, most: int) -> dict[tuple[str, int, int], list[float]]:
    """(metric, layer, head) -> what each token pays, position by position."""
    backbone, causal = model.objective.backbone, model.objective.backbone.config.causal
    found: dict[tuple[str, int, int], list[float]] = {}
    for part in held_out(model, ask, most):
        rows = part.inputs
        with torch.no_grad():
            hidden = backbone(rows, layers=True).layers
        time = rows.x.shape[1]
        for flat in part.at.tolist():
            row, at = divmod(flat, time)
            mine = [t for t in range(time) if rows.example[row, t] == rows.example[row, at]]
            keys = [t for t in mine if t <= at] if causal else mine
            for layer, block in enumerate(backbone.blocks):
                h = block.attention.norm(hidden[layer][row]) if block.pre else hidden[layer][row]
                query, key, _ = block.attention.qkv(h).detach().double().chunk(3, -1)
                for head in range(2):
                    part_of = slice(head * 8, head * 8 + 8)
                    score = {t: float(query[at, part_of] @ key[t, part_of]) / math.sqrt(8) for t in keys}
                    most_of = max(score.values())
                    total = sum(math.exp(s - most_of) for s in score.values())
                    paid = {t: math.exp(s - most_of) / total for t, s in score.items()}

                    def note(name: str, value: float, layer=layer, head=head) -> None:
                        found.setdefault((name, layer + 1, head + 1), []).append(value)

                    entropy = -sum(p * math.log(p) for p in paid.values() if p > 0)
                    note("same", paid[at])
                    note("entropy", entropy)
                    if len(keys) > 1:
                        note("entropy_share", entropy / math.log(len(keys)))
                    if at - 1 in keys:
                        note("previous", paid[at - 1])
                    if at + 1 in mine and not causal:
                        note("next", paid[at + 1])
                    if part.special is not None:
                        note("separator", sum(paid[t] for t in keys if part.special[row, t]))
    return found


@pytest.mark.parametrize("make", ["bert", "gpt", "speech"])
def test_what_is_reported_is_the_mean_over_tokens(make, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(attention, "LIGHT", 120)
    made = {"bert": {}, "gpt": PRE, "speech": {}}[make]
    model, ask = (probed.speech if make == "speech" else probed.text)(tmp_path, **made)
    values = list(measure(model, ask))
    expected = by_loops(model, ask, 120)
    found = {(v.metric, v.layer, int(v.group.split()[1])): v for v in values if v.group.startswith("head ")}
    assert found.keys() == expected.keys()
    assert ("next" in {name for name, _, _ in found}) == (make == "bert")
    assert ("separator" in {name for name, _, _ in found}) == (make != "speech")
    for name, paid in expected.items():
        assert found[name].value == pytest.approx(np.mean(paid), abs=1e-5), name
        assert found[name].n == len(paid)
    (uniform,) = [v for v in values if v.metric == "uniform"]
    assert uniform.n == 120
    counts = {(v.layer, v.group): v for v in values if v.metric == "heads"}
    for layer in (1, 2):
        heads = [{m: found[m, layer, h].value for m, of, head in found if (of, head) == (layer, h)} for h in (1, 2)]
        for name in ("previous", "next", "same", "separator", "broad", "mixed"):
            assert counts[layer, name].value == [kind(head) for head in heads].count(name)
    assert sum(v.value for v in counts.values()) == 4


def test_uniform_attention_is_one_over_the_length(bert, monkeypatch):
    monkeypatch.setattr(attention, "LIGHT", 10**6)
    model, ask = bert
    batches = held_out_batches(ask.data, 10**6)
    share = [
        1 / (b.example[r] == e).sum() for b in batches for r, t in np.argwhere(~b.special) for e in [b.example[r, t]]
    ]
    value = next(v for v in measure(model, Ask(data=ask.data)) if v.metric == "uniform")
    assert value.n == len(share) and value.value == pytest.approx(np.mean(share))


def test_a_head_is_named_after_what_has_half_of_its_attention():
    head = {"previous": 0.1, "next": 0.6, "same": 0.1, "separator": 0.2, "entropy_share": 0.9}
    assert kind(head) == "next"
    assert kind(head | {"next": 0.4}) == "broad"
    assert kind(head | {"next": 0.4, "entropy_share": 0.7}) == "mixed"
    assert kind({"previous": 0.2, "same": 0.55, "entropy_share": 0.2}) == "same"


def test_how_many_weights_are_held_at_a_time_changes_nothing(bert, monkeypatch):
    monkeypatch.setattr(attention, "LIGHT", 300)
    model, ask = bert
    whole = list(measure(model, ask))
    monkeypatch.setattr(attention, "NUMBERS", 1)
    for a, b in zip(whole, measure(model, ask), strict=True):
        assert (a.metric, a.group, a.layer, a.n) == (b.metric, b.group, b.layer, b.n)
        assert a.value == pytest.approx(b.value, rel=1e-6)


def test_a_model_without_attention_is_refused():
    model, ask = probed.images()
    with pytest.raises(UserError, match="Transformers"):
        list(measure(model, ask))
