"""Filling holes with as many tokens as they take."""

import pytest
import torch
from small_model import make as make_bert
from small_seq2seq import make

from sesame import config
from sesame.data.tokenizer import train
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


@pytest.mark.parametrize("task", [T5, config.Denoising()])
def test_spaces_stand_where_they_were_in_training(task: config.Denoising, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of byte-level tokens a word brings the space before it, also where a hole is before that."""
    text, sentinels = "return the first element of the list in order", 3 if task is T5 else 0
    model = make(task=task, sentinels=sentinels, vocabulary=train("bytebpe", lambda: [text] * 9, 280))
    v = model.vocabulary
    whole = v.encode_batch([text])[0]
    before = ["return the", "return the first element", "return the first element of the list in"]
    first, of, order = (len(ids) for ids in v.encode_batch(before))
    holes = v.sentinels.tolist() or [v.mask] * 2
    seen = []

    def written(backbone, vocabulary, sources, most, prompt):
        seen.extend(sources[0].tolist())
        return [[holes[0], *whole[first:of], holes[1], *whole[order:]] if sentinels else whole[first:]]

    monkeypatch.setattr(module, "greedy", written)
    filled = fill_spans(model, "return the [MASK] of the list in [MASK]")
    assert filled.text == text
    assert seen == [*v.begin, *whole[:first], holes[0], *whole[of:order], holes[1], v.sep]
    if not sentinels:
        (read,) = v.encode_batch([f"return the {v.special['mask']} of the list in {v.special['mask']}"], special=True)
        assert seen[len(v.begin) : -1] == read


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
