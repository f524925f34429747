from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_store import random_documents, store_of, vocabulary

from sesame import config, models, pretext
from sesame.data.batch import Cursor, Rows
from sesame.data.cutting import NEIGHBOURS
from sesame.data.text import TextSet
from sesame.pretext.base import Objective
from sesame.pretext.sentence_pairs import relations

SHAPE = config.Transformer(layers=2, width=16, heads=2, ffn=32, vocab=60, positions=40, init=0.3)
MIXTURES = {
    "masked LM": config.Bert(),
    "masked LM on pairs": config.Bert(pairs=True),
    "with next sentence": config.Bert(next_sentence=0.5),
    "all three": config.Bert(masked_lm=2.0, next_sentence=1.0, sentence_order=0.3),
    "sentence order alone": config.Bert(masked_lm=0.0, sentence_order=1.0),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = store_of(tmp_path_factory.mktemp("bert") / "store", random_documents(40), held_out=0.2)
    return TextSet(store, config.TextData(length=40, rows=4))


def objective_of(c: config.Bert) -> Objective:
    torch.manual_seed(0)
    backbone = models.build(SHAPE)
    return Objective(backbone, pretext.build(c, backbone, vocabulary())).double()


@pytest.mark.parametrize("name", MIXTURES)
def test_each_term_is_what_it_would_be_example_by_example(data, name: str) -> None:
    objective = objective_of(MIXTURES[name])
    backbone, task = objective.backbone, objective.pretext
    for step in islice(task.stream(data, seed=1).train(Cursor(), 0, 9, 1), 3):
        batch = step.parts[0]
        split = task.split(batch)
        loss = objective(split)
        assert {k: t.weight for k, t in loss.items()} == {
            k: w for k in ("masked_lm", "next_sentence", "sentence_order") if (w := getattr(MIXTURES[name], k)) > 0
        }
        wanted, hits, count = (dict.fromkeys(loss, 0.0) for _ in range(3))
        seen = split.seen.x
        for number in range(len(batch.key)):
            row, time = np.nonzero(batch.example == number)
            ids, position, kind = (
                torch.from_numpy(a[row, time])[None] for a in (batch.ids, batch.position, batch.kind)
            )
            alone = Rows(seen[row, time][None], position, kind, torch.zeros_like(ids), True)
            h = backbone(alone).last[0]
            if "masked_lm" in loss:
                # x″ is what differs from x′, and the tokens that were hidden and kept: recount them from the targets.
                hidden = torch.from_numpy(_hidden(task, batch)[row, time])
                logits = task.logits(backbone, h[hidden])
                wanted["masked_lm"] += F.cross_entropy(logits, ids[0, hidden], reduction="sum").item()
                hits["masked_lm"] += int((logits.argmax(-1) == ids[0, hidden]).sum())
                count["masked_lm"] += int(hidden.sum())
            for head, wrong in (("next_sentence", 1), ("sentence_order", 2)):
                if head in loss and batch.pair[number] in (0, wrong):
                    logits = task.get_submodule(head)(torch.tanh(task.pooler.dense(h[:1])))
                    label = torch.tensor([int(batch.pair[number] == wrong)])
                    wanted[head] += F.cross_entropy(logits, label).item()
                    hits[head] += int(logits.argmax(-1) == label)
                    count[head] += 1
        for term in loss:
            assert loss[term].sum.item() == pytest.approx(wanted[term], abs=1e-8)
            assert int(loss[term].hits) == hits[term]
            assert loss[term].count == split.count[term] == count[term]


def _hidden(task, batch) -> np.ndarray:
    from sesame.pretext.masked_lm import choose

    return choose(batch, task.config)


def test_special_tokens_are_never_hidden_nor_drawn(data) -> None:
    task = objective_of(config.Bert(rate=0.9, mask=0.0, random=1.0)).pretext
    special = vocabulary().special_ids
    for batch in data_batches(task, data):
        split = task.split(batch)
        was, now = (
            torch.from_numpy(np.isin(batch.ids, special)),
            torch.from_numpy(np.isin(split.seen.x.numpy(), special)),
        )
        assert torch.equal(was, now)


def data_batches(task, data):
    return [s.parts[0] for s in islice(task.stream(data, seed=1).train(Cursor(), 0, 9, 1), 4)]


def test_the_output_bias_starts_at_the_log_frequencies_of_what_is_trained_on(data) -> None:
    objective = objective_of(config.Bert())
    task, store = objective.pretext, data.store
    task.start(objective.backbone, task.prepare(data))
    kept = np.concatenate([store.document(int(n)) for n in np.flatnonzero(~store.held_out)])
    counts = np.bincount(kept, minlength=60) + 1
    assert 0 < len(kept) < len(store.ids)
    softmax = torch.softmax(task.masked_lm.bias.detach(), 0).numpy()
    assert np.allclose(softmax, counts / counts.sum())


def test_pairs_without_a_pair_loss_are_asked_for_and_change_nothing_beside_one() -> None:
    assert relations(config.Bert(pairs=True)) == {NEIGHBOURS}
    assert (
        relations(config.Bert(pairs=True, next_sentence=1.0)) == relations(config.Bert(next_sentence=1.0)) == {"next"}
    )
    assert relations(config.Bert()) == frozenset()
