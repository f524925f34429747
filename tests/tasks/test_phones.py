"""Phones: labels by time, CTC against a sum over all ways to read, the error rate against all ways to edit."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import DATA, model, said, task_data

from sesame import config
from sesame.data.utterance import Span
from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.finetune import encode
from sesame.tasks.hearing import Ear, sounding
from sesame.tasks.phones import PhoneCtc, PhoneFrames, distance, needed, read_off
from sesame.tasks.sequences import Sequences, batch_of
from sesame.tasks.spoken import on_end

FRAMES, CTC = config.PhoneFrames(train="x"), config.PhoneCtc(train="x")


def test_a_frame_has_the_phone_that_sounds_in_its_middle() -> None:
    spans = (Span("a", 0.01, 0.05), Span("b", 0.06, 0.08))
    moments = np.array([0.0, 0.01, 0.049, 0.05, 0.055, 0.06, 0.0799, 0.08])
    assert sounding(spans, moments).tolist() == [-1, 0, 0, -1, -1, 1, 1, -1]
    assert sounding((), moments).tolist() == [-1] * 8


def test_the_middle_of_a_frame_is_that_of_its_window() -> None:
    np.testing.assert_allclose(Ear(DATA).seconds(3), [0.0125, 0.0225, 0.0325])
    stacked = Ear(config.SpeechData(stack=4))
    np.testing.assert_allclose(stacked.seconds(2), [np.mean([0.0125, 0.0425]), np.mean([0.0525, 0.0825])])


def test_frames_that_are_read_are_those_with_a_phone(tmp_path: Path) -> None:
    data = task_data(PhoneFrames, FRAMES, tmp_path, train=6, other=3)
    encoded = encode(model(), data)
    ear, sequences = Ear(DATA), encoded.train
    for number, example in enumerate(data.train):
        a, b = sequences.read_offsets[number : number + 2]
        middle = ear.seconds(int(sequences.lengths[number]))[sequences.read[a:b]]
        for moment, target in zip(middle, sequences.target[a:b], strict=True):
            (phone,) = [s.name for s in example.utterance.phones if s.start <= moment < s.end]
            assert data.task.labels[target] == phone


def test_phones_that_training_never_has_are_wrong_whatever_is_said(tmp_path: Path) -> None:
    examples = said(tmp_path, 6)
    task = PhoneFrames(FRAMES, ("a", "i"))
    sequences = task.encode(examples, Ear(DATA), 120, Notes())
    right = task.decode(examples, sequences, np.eye(2)[np.maximum(sequences.target, 0)])
    found = task.metrics(examples, right)
    assert found["accuracy"] == pytest.approx((sequences.target >= 0).mean())
    assert found["mean_recall"] == pytest.approx(2 / 3)


# ------------------------------------------------------------------------------------------------------ CTC
def test_the_loss_is_that_of_all_ways_to_read_the_phones(tmp_path: Path) -> None:
    """Graves et al. 2006, equation 3, by brute force over all frame labellings."""
    task = PhoneCtc(CTC, ("a", "i"))
    torch.manual_seed(0)
    scores = torch.randn(4 + 3, 3)
    targets = [(1, 1), (2,)]
    expected = 0.0
    for logs, target in zip(torch.log_softmax(scores, -1).split([4, 3]), targets, strict=True):
        ways = itertools.product(range(3), repeat=len(logs))
        total = sum(
            float(logs[range(len(logs)), list(way)].sum().exp())
            for way in ways
            if tuple(read_off(np.array(way)).tolist()) == target
        )
        expected -= np.log(total)
    term = task.loss(scores, batch_of(two(torch.tensor([[1, 1], [2, -1]])), np.arange(2), 0))
    assert float(term.sum) == pytest.approx(expected, rel=1e-5) and term.count == 3


def two(target: torch.Tensor) -> Sequences:
    """Two utterances of four and of three frames."""
    frames = [np.zeros((size, 2), np.float32) for size in (4, 3)]
    return on_end(frames, target.numpy(), "sequence")


@pytest.mark.parametrize(
    ("frames", "phones"), [([0, 1, 1, 0, 1, 2], [1, 1, 2]), ([0, 0], []), ([2, 2, 2], [2]), ([1, 2, 1], [1, 2, 1])]
)
def test_repeats_are_taken_together_and_blanks_left_out(frames: list[int], phones: list[int]) -> None:
    assert read_off(np.array(frames)).tolist() == phones


def test_ctc_needs_a_blank_between_equal_phones() -> None:
    assert needed(np.array([1, 1, 2])) == 4


def edits(a: str, b: str) -> int:
    """By definition: delete, insert or change the first, whichever is cheapest after."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


@settings(max_examples=80, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_the_cheapest_way_to_edit(a: str, b: str) -> None:
    assert distance(list(a), list(b)) == edits(a, b)


def test_the_error_rate_is_over_all_phones_that_were_said(tmp_path: Path) -> None:
    examples = said(tmp_path, 5)
    task = PhoneCtc(CTC, ("a", "i", "o"))
    names = [[p.name for p in e.utterance.phones] for e in examples]
    guesses = [tuple(n[:-1]) for n in names]
    found = task.metrics(examples, guesses)
    assert found["phone_error_rate"] == pytest.approx(5 / sum(map(len, names)))
    assert found["phone_accuracy"] == pytest.approx(1 - found["phone_error_rate"])


def test_an_utterance_without_phones_is_named(tmp_path: Path) -> None:
    import dataclasses

    bare = dataclasses.replace(said(tmp_path, 1)[0].utterance, phones=())
    with pytest.raises(UserError, match="does not know the phones"):
        PhoneFrames.example(FRAMES, bare, Notes(), True)
    notes = Notes(skip=True)
    assert PhoneFrames.example(FRAMES, bare, notes, True) is None and notes.counts.total() == 1
