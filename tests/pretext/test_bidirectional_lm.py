"""The two language models of ELMo, against a loop over positions."""

import pytest
import torch
from small_text import VOCABULARY, packed, texts

from sesame import config, models, pretext
from sesame.errors import UserError
from sesame.pretext.base import Objective

SIZES = (15, 4, 1, 9)


def objective() -> Objective:
    shape = config.Elmo(
        filters=((1, 3), (2, 4)), character_width=3, longest=10, width=6, cell=8, dropout=0.0, vocab=VOCABULARY.size
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = models.build(shape)
        return Objective(backbone, pretext.build(config.BidirectionalLM(), backbone, VOCABULARY))


@torch.no_grad()
def test_every_word_is_predicted_from_both_sides() -> None:
    whole, batch = objective(), packed(texts(*SIZES))
    split = whole.pretext.split(batch)
    loss, softmax = whole(split), whole.pretext.softmax
    states = whole.backbone(split.seen).last
    total = {"forwards": 0.0, "backwards": 0.0}
    count = 0
    for row in range(len(batch.ids)):
        for t in range(batch.ids.shape[1] - 1):
            if batch.example[row, t] < 0 or batch.example[row, t] != batch.example[row, t + 1]:
                continue
            count += 1
            onwards = torch.log_softmax(softmax(states[row, t, :6]), 0)
            back = torch.log_softmax(softmax(states[row, t + 1, 6:]), 0)
            total["forwards"] -= float(onwards[batch.ids[row, t + 1]])
            total["backwards"] -= float(back[batch.ids[row, t]])
    assert count == sum(SIZES) + len(SIZES)  # [CLS] and [SEP] are words that end a text
    for name, term in loss.items():
        assert term.count == count
        assert float(term.sum) == pytest.approx(total[name], rel=1e-5)


def test_the_spelling_is_the_vocabularys_and_the_gradient_reaches_it() -> None:
    whole = objective()
    sum(term.sum for term in whole(whole.pretext.split(packed(texts(*SIZES)))).values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in whole.parameters())
    w0 = whole.backbone.characters[5].tolist()
    assert w0[1:3] == [b + 1 for b in b"w0"]


def test_a_backbone_whose_directions_meet_is_refused() -> None:
    backbone = models.build(config.Transformer(layers=1, width=8, heads=1, ffn=8, vocab=VOCABULARY.size))
    with pytest.raises(UserError, match="an ELMo, not a Transformer"):
        pretext.build(config.BidirectionalLM(), backbone, VOCABULARY)
