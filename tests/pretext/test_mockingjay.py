"""Mockingjay and TERA: what is hidden and how, and the loss against a loop over what is."""

import dataclasses

import numpy as np
import pytest
import torch
from small_frames import FEATURES, batch, objective

from sesame import config
from sesame.data.batch import SpeechBatch
from sesame.pretext.frame_spans import covered, hidden_frames, span_starts
from sesame.pretext.mockingjay import Mockingjay


@pytest.mark.parametrize("task", [config.Mockingjay(), config.Tera()])
def test_the_loss_is_the_mean_absolute_difference_over_what_is_hidden(task: config.Pretext) -> None:
    whole, given = objective(task), batch()
    hidden = whole.pretext.hide(given)[1]
    total = 0.0
    for row, size in enumerate(given.frames_in.tolist()):
        alone = batch((size,), first=row)
        split = whole.pretext.split(alone)
        predicted = whole.pretext.head(whole.backbone(split.seen).last)[0].detach().numpy()
        for time in range(size):
            for band in range(FEATURES):
                if hidden[row, time, band]:
                    total += abs(float(predicted[time, band]) - float(given.frames[row, time, band]))
    split = whole.pretext.split(given)
    ((name, term),) = whole(split).items()
    assert split.count == {name: int(hidden.sum())} and term.count == split.count[name]
    assert float(term.sum.detach()) == pytest.approx(total, rel=1e-4)


def ways(task: config.Mockingjay, count: int = 400) -> dict[str, int]:
    """How the spans of so many utterances are hidden."""
    pretext, found = objective(task).pretext, {"zeros": 0, "others": 0, "kept": 0}
    given = batch((60,) * count)
    frames, hidden = pretext.hide(given)
    for row in range(count):
        at = hidden[row].all(-1)
        seen, true = frames[row, at], given.frames[row, at]
        if (seen == 0).all():
            found["zeros"] += 1
        elif (seen == true).all():
            found["kept"] += 1
        else:
            of_it = {frame.tobytes() for frame in given.frames[row]}
            assert all(frame.tobytes() in of_it for frame in seen)  # frames of the same utterance
            found["others"] += 1
        assert (frames[row, ~at] == given.frames[row, ~at]).all()
    return found


def test_the_way_is_one_for_an_utterance_and_is_drawn_80_10_10() -> None:
    found = ways(config.Mockingjay())
    assert found["zeros"] == pytest.approx(320, abs=30)
    assert found["others"] == pytest.approx(40, abs=20)
    assert found["kept"] == pytest.approx(40, abs=20)


def test_other_frames_come_in_spans_from_elsewhere_in_the_utterance() -> None:
    pretext, given = objective(config.Mockingjay(mask=0.0, random=1.0)).pretext, batch((200,))
    frames, _ = pretext.hide(given)
    c = config.Mockingjay()
    at, other = (covered(span_starts(given, 0, c, purpose), 7, 200) for purpose in ("spans", "other spans"))
    expected = given.frames[0].copy()
    expected[at] = given.frames[0, other]
    assert (frames[0] == expected).all() and (frames[0] != given.frames[0]).any()


def bands_of(given: SpeechBatch, task: config.Tera) -> list[tuple[int, int]]:
    """(first, width) of the bands that are hidden throughout each utterance."""
    frames, hidden = objective(task).pretext.hide(given)
    found, spans = [], hidden_frames(given, task)
    for row, size in enumerate(given.frames_in.tolist()):
        free = ~spans[row, :size]
        band = np.flatnonzero(hidden[row, :size][free].all(0))
        assert (np.diff(band) == 1).all()  # one block
        assert (frames[row, :size, band] == 0).all()
        found.append((int(band[0]) if len(band) else -1, len(band)))
    return found


def test_tera_hides_a_block_of_up_to_a_fifth_of_the_bands() -> None:
    widths = [width for _, width in bands_of(batch((60,) * 600), config.Tera())]
    counts = np.bincount(widths, minlength=5)
    assert len(counts) == 5  # none to a fifth of 20 bands
    assert ((counts - 120.0) ** 2 / 120.0).sum() < 20  # each as often: 4 degrees of freedom, p = .0005


def test_tera_hides_a_band_in_all_stacked_frames_and_slopes() -> None:
    one, task = batch((60,) * 50), config.Tera(rate=0.01, mask=0.0, random=0.0)
    wide = dataclasses.replace(one, frames=np.tile(one.frames, 6), repeats=6)
    pretext = objective(task).pretext
    (seen, hidden), (all_seen, all_hidden) = pretext.hide(one), pretext.hide(wide)
    assert hidden.any()
    assert (all_hidden == np.tile(hidden, 6)).all() and (all_seen == np.tile(seen, 6)).all()


def test_nothing_beyond_the_true_length_is_hidden_or_changed() -> None:
    given = batch((90, 20))
    for task in (config.Mockingjay(), config.Tera()):
        frames, hidden = objective(task).pretext.hide(given)
        assert not hidden[1, 20:].any() and (frames[1, 20:] == 0).all()


def test_tera_without_bands_is_mockingjay() -> None:
    ours, theirs = (objective(task).pretext.hide(batch()) for task in (config.Tera(bands=0.0), config.Mockingjay()))
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


def test_it_learns() -> None:
    torch.manual_seed(0)
    whole = objective(config.Mockingjay()).train()
    steps = np.arange(60)[None, :, None] / 6
    given = batch((60,) * 4)
    given.frames[:] = np.sin(steps + np.arange(4)[:, None, None] + np.arange(FEATURES) / 3)
    optimizer = torch.optim.AdamW(whole.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        term = whole(whole.pretext.split(given))["mockingjay"]
        losses.append(float(term.sum.detach()) / term.count)
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert isinstance(whole.pretext, Mockingjay)
