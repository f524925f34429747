"""Filling holes with as many tokens as they take."""

import pytest
import torch
from small_model import make as make_bert
from small_seq2seq import make

from sesame import config
from sesame.errors import UserError
from sesame.tasks import fill_spans as module
from sesame.tasks.fill_spans import fill_spans, spans_of

T5 = config.Denoising(corruptions=(config.SpanCorruption(),), target="missing")


def test_what_stands_behind_a_sentinel_is_its_span() -> None:
    assert spans_of([90, 1, 2, 91, 92, 3], [90, 91, 92], 2) == [[1, 2], []]
    assert spans_of([1, 91, 2], [90, 91, 92], 2) == [[], [2]]
    assert spans_of([], [90, 91], 1) == [[]]


def test_a_model_of_t5s_objective_writes_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(task=T5, sentinels=3)
    v = model.vocabulary
    word = {w: v.encode_batch([w])[0][0] for w in ("return", "sorted", "list", "order")}
    one, two, last = v.sentinels.tolist()
    seen = {}

    def written(backbone, vocabulary, sources, most, prompt):
        seen.update(source=sources[0].tolist(), prompt=list(prompt))
        return [[one, word["sorted"], word["list"], two, last]]

    monkeypatch.setattr(module, "greedy", written)
    filled = fill_spans(model, "return [MASK] order [MASK]")
    assert seen["source"] == [v.cls, word["return"], one, word["order"], two, v.sep] and seen["prompt"] == [v.sep]
    assert (filled.text, filled.spans) == ("return sorted list order", ("sorted list", ""))
    with pytest.raises(UserError, match=r"3 \[MASK\]s; the model knows 2"):
        fill_spans(model, "[MASK] a [MASK] of [MASK]")


def test_a_bart_goes_on_from_what_stands_before_the_first_hole() -> None:
    torch.set_num_threads(1)
    model = make()
    assert fill_spans(model, "return the [MASK] of").text.startswith("return the")
    assert fill_spans(model, "return the [MASK] of") == fill_spans(model, "return the[MASK] of")


def test_what_cannot_be_filled_is_said() -> None:
    model = make()
    with pytest.raises(UserError, match=r"there is no \[MASK\]"):
        fill_spans(model, "return")
    with pytest.raises(UserError, match="the text has 21 tokens and the model reads 14"):
        fill_spans(model, "a " * 20 + "[MASK]")
    with pytest.raises(UserError, match="is no encoder-decoder"):
        fill_spans(make_bert(), "[MASK]")
    mass = config.Denoising(corruptions=(config.FragmentMasking(),), target="missing")
    with pytest.raises(UserError, match="not trained to fill"):
        fill_spans(make(task=mass), "[MASK]")
