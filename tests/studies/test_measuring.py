"""What arms are asked: against counting by hand, and on models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_arm import images, text
from small_store import store_of

from sesame import config, pretext, recipes
from sesame.config import Bert
from sesame.data.batch import Rows
from sesame.data.cutting import IN_ORDER, ONE_SEGMENT
from sesame.data.text import TextSet
from sesame.errors import UserError
from sesame.models.base import States
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.masked_lm import choose
from sesame.studies.grid import FineTuned, HeldOut
from sesame.studies.measuring import as_asked, check, common, measure, reader, splits

NSP, SOP = Bert(next_sentence=1.0), Bert(sentence_order=1.0)
ASK_NSP = HeldOut(name="next sentence", pretext=NSP, term="next_sentence", rows=24)
ASK_SOP = HeldOut(name="sentence order", pretext=SOP, term="sentence_order", rows=24)


def labelled(data: TextSet, task: Bert, model) -> np.ndarray:
    """The relation of every held-out pair that the question is about."""
    objective = as_asked(HeldOut(name="x", pretext=task, term="masked_lm"), model)[0]
    batches = objective.pretext.stream(data, 5).held_out(24)
    pairs = np.concatenate([batch.pair for batch in batches])
    return pairs[pairs != ONE_SEGMENT]


def rigged(model, task: str, says: int):
    """The head for `task` says the same of every pair."""
    head = model.objective.pretext.get_submodule(task)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0 - says, float(says)]))
    return model


def test_masked_lm_is_what_counting_token_by_token_gives(tmp_path):
    model, data = text(tmp_path)
    asked = HeldOut(name="all masked", pretext=Bert(mask=1.0, random=0.0, rate=0.3), term="masked_lm", rows=10)
    hits = total = 0
    for batch in model.objective.pretext.stream(data, 3).held_out(10):
        hidden = choose(batch, asked.pretext)
        for example in range(len(batch.key)):  # each alone, in a row of its own
            at = batch.example == example
            ids = torch.from_numpy(np.where(hidden, model.vocabulary.mask, batch.ids)[at])[None]
            kind = torch.from_numpy(batch.kind[at])[None]
            rows = Rows(ids, torch.arange(ids.shape[1])[None], kind, torch.zeros_like(ids))
            with torch.no_grad():
                h = model.objective.backbone(rows).last.flatten(0, -2)
                said = model.objective.pretext.logits(model.objective.backbone, h).argmax(-1).numpy()
            hits += int((said == batch.ids[at])[hidden[at]].sum())
            total += int(hidden[at].sum())
    assert total > 40
    found = measure(asked, model, data.config, 0)
    assert found.value == pytest.approx(hits / total) and (found.metric, found.share) == ("accuracy", True)
    perplexity = measure(HeldOut(**{**asked_fields(asked), "metric": "perplexity"}), model, data.config, 0)
    assert perplexity.value > 1 and not perplexity.share


def asked_fields(asked: HeldOut) -> dict:
    return {name: getattr(asked, name) for name in asked.__struct_fields__}


def test_the_matrix_of_a_rigged_model_is_the_share_of_its_one_answer(tmp_path):
    """An NSP head that always says "neighbours" is right as often as pairs are; so it is when it stands in for SOP."""
    model, data = text(tmp_path, NSP)
    for says in (0, 1):
        rigged(model, "next_sentence", says)
        for asked, task in ((ASK_NSP, NSP), (ASK_SOP, SOP)):
            pairs = labelled(data, task, model)
            assert len(pairs) > 20
            share = np.mean(pairs == IN_ORDER)
            found = measure(asked, model, data.config, 0)
            assert found.value == pytest.approx(share if says == 0 else 1 - share)
            assert ("its head for next sentence" in found.how) == (asked is ASK_SOP)


def test_an_arm_with_both_heads_answers_each_question_with_its_own(tmp_path):
    model, data = text(tmp_path, Bert(next_sentence=1.0, sentence_order=0.5))
    rigged(rigged(model, "next_sentence", 0), "sentence_order", 1)
    order = labelled(data, SOP, model)
    found = measure(ASK_SOP, model, data.config, 0)
    assert found.value == pytest.approx(np.mean(order != IN_ORDER)) and not found.how


def test_an_arm_without_a_head_for_pairs_gives_no_answer_and_without_one_for_words_is_refused(tmp_path):
    model, data = text(tmp_path, Bert(pairs=True))
    found = measure(ASK_NSP, model, data.config, 0)
    assert found.value is None and "no head" in found.how
    check(ASK_NSP, model, data.config, "none")
    blind, data = text(tmp_path, Bert(masked_lm=0.0, next_sentence=1.0))
    with pytest.raises(UserError, match="the arm NSP has no head for masked_lm"):
        check(HeldOut(name="words", pretext=Bert(), term="masked_lm"), blind, data.config, "NSP")
    check(ASK_NSP, blind, data.config, "NSP")


class Seeing(Transformer):
    """At every read position the mean token of each segment of its example, and how far they are apart."""

    def __init__(self, blind: bool):
        super().__init__(config.Transformer(layers=1, width=4, heads=1, ffn=4, vocab=60, positions=32))
        self.blind = blind

    def forward(self, seen, where=None, layers=False) -> States:
        found = torch.zeros(*seen.x.shape, 4)
        for row in range(len(seen.x)):
            for example in seen.example[row][seen.valid[row]].unique():
                here = seen.example[row] == example
                text = here & (seen.x[row] > 4)
                means = [seen.x[row][text & (seen.kind[row] == kind)].float().mean() for kind in (0, 1)]
                found[row, here] = torch.tensor([*means, abs(means[0] - means[1]), 0.0]).nan_to_num()
        flat = found.flatten(0, 1)[where.places(seen.x.shape[1])]
        return States(torch.zeros_like(flat) if self.blind else flat)


@pytest.fixture(scope="module")
def rising(tmp_path_factory) -> TextSet:
    """Documents whose tokens rise from sentence to sentence, so that order can be read off them."""
    folder = tmp_path_factory.mktemp("rising") / "store"
    documents = [[[1] * 3] * 8 for _ in range(120)]
    store = store_of(folder, documents, held_out=0.4)
    ids = np.memmap(folder / "tokens.bin", np.uint16, "r+")
    ids[:] = 6 + 6 * (np.arange(len(ids)) % 24 // 3) + np.arange(len(ids)) % 3
    ids.flush()
    return TextSet(store, config.TextData(store=str(folder), length=20, rows=8))


def test_a_fitted_head_finds_what_the_states_tell_and_nothing_where_they_tell_nothing(tmp_path, rising):
    model, _ = text(tmp_path, SOP)
    asked = HeldOut(name="order", pretext=SOP, term="sentence_order", head="fitted", rows=60, fit_rows=80)
    values = []
    for blind in (False, True):
        backbone = Seeing(blind)
        knowing = replace(model, objective=Objective(backbone, pretext.build(SOP, backbone, model.vocabulary)))
        values.append(measure(asked, knowing, rising.config, 0).value)
    assert values[0] > 0.95  # the tokens that are hidden cost a little
    assert 0.3 < values[1] < 0.7


def test_arms_are_asked_about_the_same_examples_and_masks(tmp_path):
    """Whatever an arm was trained with; and its rows may have been longer."""
    one, data = text(tmp_path, NSP)
    other, _ = text(tmp_path, Bert(mask=1.0, random=0.0, rate=0.5, pairs=True), seed=3)
    short = common([data.config, config.TextData(store=data.config.store, length=20)], data.config)
    assert short.length == 20
    asked = HeldOut(name="x", pretext=Bert(pairs=True), term="masked_lm")
    first, second = (list(splits(as_asked(asked, m)[0].pretext, short, 30)) for m in (one, other))
    assert len(first) == len(second) > 1
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.seen.x, b.seen.x) and torch.equal(a.target["masked_lm"], b.target["masked_lm"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (HeldOut(name="x", pretext=Bert(), term="masked"), ["masked.accuracy", "masked_lm"]),
        (HeldOut(name="x", pretext=config.CausalLM(), term="causal_lm"), ["trained as Bert", "CausalLM"]),
        (HeldOut(name="x", pretext=Bert(), term="masked_lm", head="fitted"), ["a head is fitted for"]),
        (FineTuned(task="nowhere"), ["nowhere: no such task"]),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_training(tmp_path, asked, words):
    model, data = text(tmp_path)
    with pytest.raises(UserError) as error:
        check(asked, model, data.config, "a")
    assert all(word in str(error.value) for word in words), error.value


def test_images_can_be_asked_and_of_an_encoder_decoder_the_encoder_is_fine_tuned(tmp_path):
    model, data = images()
    asked = HeldOut(name="views", pretext=model.recipe.pretext, term="byol", metric="loss", rows=64)
    check(asked, model, data, "byol")
    assert np.isfinite(measure(asked, model, data, 0).value)
    two, _ = text(tmp_path, recipes.find("bart-tiny").pretext)
    assert reader(two).objective.backbone is two.objective.backbone.encoder
