"""CPC: the loss against a loop over frames, steps and negatives; negatives from the same utterance."""

import numpy as np
import pytest
import torch
from small_frames import FROM_LEFT, batch, objective

from sesame import config

TASK = config.Cpc(ahead=3, negatives=4, width=8)


def test_the_loss_is_infonce_over_the_true_frame_and_the_negatives() -> None:
    whole, given = objective(TASK, FROM_LEFT), batch((12, 7, 3))
    split = whole.pretext.split(given)
    states, time = whole.backbone(split.seen).last, given.frames.shape[1]
    z = whole.pretext.encoder(split.seen.x)
    total, count, hits = 0.0, 0, 0
    for row, size in enumerate(given.frames_in.tolist()):
        for k in (1, 2, 3):
            for now in range(size - k):
                predicted = whole.pretext.predict[k - 1](states[row, now])
                others = [z[int(place) // time, int(place) % time] for place in split.target["other"][row, now + k]]
                scores = torch.stack([predicted @ other for other in (z[row, now + k], *others)])
                total -= float(torch.log_softmax(scores, 0)[0].detach())
                hits += int(scores.argmax() == 0)
                count += 1
    term = whole(split)["cpc"]
    assert term.count == split.count["cpc"] == count and int(term.hits) == hits
    assert float(term.sum.detach()) == pytest.approx(total, rel=1e-5)


def test_negatives_are_other_frames_of_the_same_utterance_each_as_likely() -> None:
    given = batch((9,) * 300)
    other = objective(config.Cpc(negatives=5), FROM_LEFT).pretext.split(given).target["other"].numpy()
    row, place = other // 9, other % 9
    assert (row == np.arange(300)[:, None, None]).all()
    assert (place != np.arange(9)[None, :, None]).all()
    counts = np.bincount(place[:, 4].ravel(), minlength=9)[[0, 1, 2, 3, 5, 6, 7, 8]]
    assert ((counts - 187.5) ** 2 / 187.5).sum() < 26  # 7 degrees of freedom, p = .0005


def test_nothing_beyond_the_true_length_is_a_negative() -> None:
    given = batch((30, 5))
    other = objective(TASK, FROM_LEFT).pretext.split(given).target["other"].numpy()
    assert (other[1, :5] - 30 < 5).all() and (other[1, :5] >= 30).all()
