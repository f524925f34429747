"""Log-likelihoods and perplexities against transformers, one text at a time; windows score every token once."""

import math

import numpy as np
import probed
import pytest
import readers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.errors import UserError
from sesame.probes.prediction import Reader
from sesame.probes.score import perplexity, score, windows

ROOM = probed.LENGTH - 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return readers.prepared(tmp_path_factory.mktemp("score"))


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 60), room=st.integers(1, 20), stride=st.integers(1, 20))
def test_windows_score_every_token_once_and_show_what_is_before_it(tokens, room, stride) -> None:
    stride = min(stride, room)
    plan = windows(tokens, room, stride)
    assert [i for start, stop, scored in plan for i in range(scored, stop)] == list(range(tokens))
    for number, (start, stop, scored) in enumerate(plan):
        assert start == number * stride and stop - start <= room and start <= scored < stop
    assert plan[-1][1] == tokens


def texts(data, *sizes: int) -> list[str]:
    """Texts that have about so many tokens."""
    words = " ".join(readers.documents()[:20]).split()
    found = []
    for size in sizes:
        text = " ".join(words[:size])
        found.append(text)
    return found


def test_a_causal_model_scores_lines_as_it_reads_them_alone(data) -> None:
    model = readers.gpt(data)
    reader = Reader.of(model)
    lines = texts(data, 1, 4, 9)
    for line, said in zip(lines, score(model, lines), strict=True):
        ids = np.array(data.vocabulary.encode_batch([line])[0])
        log_p = readers.alone(reader, ids).double().log_softmax(1)
        wanted = float(log_p[torch.arange(len(ids)), torch.from_numpy(ids)].sum())
        assert (said.tokens, said.windows) == (len(ids), 1)
        assert said.log_likelihood == pytest.approx(wanted, abs=1e-3)
        assert said.perplexity == pytest.approx(math.exp(-wanted / len(ids)), rel=1e-4)


@pytest.mark.parametrize("stride", [0, 3, ROOM])
def test_a_long_text_is_scored_in_windows_that_begin_with_the_token_before_them(data, stride) -> None:
    model = readers.gpt(data)
    backbone, v = model.objective.backbone, data.vocabulary
    (line,) = texts(data, 60)
    ids = v.encode_batch([line])[0]
    assert len(ids) > 2 * ROOM
    step, wanted, scored, start = stride or ROOM // 2, 0.0, 0, 0
    while scored < len(ids):
        stop = min(start + ROOM, len(ids))
        seen = torch.tensor([[ids[start - 1] if start else v.cls, *ids[start:stop]]])
        with torch.no_grad():
            log_p = _scores(backbone, seen).double().log_softmax(-1)
        wanted += sum(float(log_p[place - start, ids[place]]) for place in range(scored, stop))
        scored, start = stop, start + step
    (found,) = score(model, [line], stride)
    assert found.log_likelihood == pytest.approx(wanted, abs=1e-3)
    assert found.windows > 1


def _scores(backbone, ids: torch.Tensor) -> torch.Tensor:
    from sesame.data.batch import Rows

    zero = torch.zeros_like(ids)
    rows = Rows(ids, torch.arange(ids.shape[1])[None], zero, zero, alone=True)
    return backbone(rows).last[0] @ backbone.embed.token.weight.T


def test_a_masked_model_hides_every_token_in_turn_also_in_windows(data) -> None:
    model = readers.bert(data)
    reader, v = Reader.of(model), data.vocabulary
    short, long = texts(data, 3, 40)
    (one, several) = score(model, [short, long], stride=5)
    assert one.windows == 1 and several.windows > 1
    assert math.isfinite(several.log_likelihood)
    ids = np.array(v.encode_batch([short])[0])
    starts = [i for i, token in enumerate(v.tokens(ids)) if not token.startswith("##")]
    wanted = 0.0
    for token in range(len(ids)):
        end = min([s for s in [*starts, len(ids)] if s > token])
        seen = ids.copy()
        seen[token:end] = v.mask
        wanted += float(readers.alone(reader, seen).double().log_softmax(1)[token, ids[token]])
    assert one.log_likelihood == pytest.approx(wanted, abs=1e-3)


def test_perplexity_is_a_number_whatever_the_likelihood() -> None:
    assert perplexity(-20.0, 10) == pytest.approx(math.e**2)
    assert math.isfinite(perplexity(-1e6, 1))


def test_what_cannot_be_scored_is_refused(data) -> None:
    model = readers.gpt(data)
    with pytest.raises(UserError, match="text 2 is empty"):
        score(model, ["the", ""])
    for stride in (-1, ROOM + 1):
        with pytest.raises(UserError, match=f"--stride {stride}: windows have {ROOM} tokens"):
            score(model, ["the"], stride)
