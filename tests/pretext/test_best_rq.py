"""BEST-RQ: codes against a double loop over distances, noise, one code each, and none that a network changes."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_frames import BOTH_SIDES, FEATURES, batch, objective

from sesame import config
from sesame.pretext.best_rq import normalised
from sesame.pretext.frame_spans import hidden_frames

TASK = config.BestRq(codes=50, code_width=6, span=5)


def test_a_code_is_the_nearest_of_all_unit_codes_to_the_unit_projection() -> None:
    """Equation 1: argmin_i ‖c_i/|c_i| − Ax/|Ax|‖."""
    pretext, frames = objective(TASK).pretext, torch.randn(30, FEATURES)
    found = pretext.codes(frames)
    for frame, code in zip(frames, found.tolist(), strict=True):
        projected = frame @ pretext.projection
        projected = projected / projected.norm()
        distances = [float((c / c.norm() - projected).norm()) for c in pretext.codebook]
        assert code == int(np.argmin(distances))
    torch.testing.assert_close(pretext.codebook.norm(dim=1), torch.ones(50))
    bound = (6 / (FEATURES + 6)) ** 0.5
    assert pretext.projection.abs().max() <= bound and pretext.projection.std() == pytest.approx(
        bound / 3**0.5, rel=0.2
    )


def test_codes_are_the_same_in_lower_precision() -> None:
    pretext, frames = objective(config.BestRq()).pretext, torch.randn(200, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        lower = pretext.codes(frames)
    assert torch.equal(lower, pretext.codes(frames))


def test_the_input_is_normalised_per_utterance_and_dimension_and_padding_has_no_part_in_it() -> None:
    given = batch((40, 11))
    given.frames[0] = given.frames[0] * np.arange(1, FEATURES + 1) + 3.0
    found = normalised(given)
    for row, size in enumerate((40, 11)):
        own = given.frames[row, :size].astype(np.float64)
        np.testing.assert_allclose(found[row, :size], (own - own.mean(0)) / own.std(0), atol=1e-4)
        assert (found[row, size:] == 0).all()


def test_each_utterance_has_spans_of_its_own() -> None:
    """One mask for the whole batch is a bug of a published implementation."""
    hidden = hidden_frames(batch((90, 90, 90)), TASK)
    assert len({row.tobytes() for row in hidden}) == 3


def test_hidden_frames_are_noise_and_no_other_is_changed() -> None:
    task = config.BestRq(codes=50, noise=0.1)
    whole, given = objective(task, msgspec.structs.replace(BOTH_SIDES, positions=400)), batch((400,) * 8)
    split, hidden = whole.pretext.split(given), hidden_frames(given, task)
    seen = split.seen.x.numpy()
    assert (seen[~hidden] == given.frames[~hidden]).all()
    noise = seen[hidden]
    assert noise.mean() == pytest.approx(0.0, abs=0.002) and noise.std() == pytest.approx(0.1, rel=0.02)
    again = whole.pretext.split(given).seen.x.numpy()
    assert (again == seen).all()


def test_the_loss_is_cross_entropy_of_the_hidden_frames_codes() -> None:
    whole, given = objective(TASK), batch()
    split, hidden = whole.pretext.split(given), hidden_frames(given, TASK)
    scores = whole.pretext.head(whole.backbone(split.seen).last)
    total, codes = 0.0, []
    for row, time in np.argwhere(hidden).tolist():
        code = whole.pretext.codes(torch.from_numpy(normalised(given)[row, time])[None])[0]
        codes.append(int(code))
        total -= float(F.log_softmax(scores[row, time], -1)[code].detach())
    terms = whole(split)
    assert terms["best_rq"].count == split.count["best_rq"] == hidden.sum()
    assert float(terms["best_rq"].sum.detach()) == pytest.approx(total, rel=1e-5)
    share = np.bincount(codes, minlength=50) / len(codes)
    told = {name: float(term.sum) / term.count for name, term in terms.items() if not term.weight}
    assert told["code_usage"] == pytest.approx(len(set(codes)) / 50, rel=1e-5)
    entropy = -sum(p * np.log(p) for p in share if p)
    assert told["code_perplexity"] == pytest.approx(np.exp(entropy), rel=1e-4)
    assert set(split.count) == set(terms)


def test_projection_and_codes_are_saved_and_never_trained() -> None:
    whole = objective(TASK)
    assert {"projection", "codebook"} <= set(whole.pretext.state_dict())
    assert not {"projection", "codebook"} & {name for name, _ in whole.pretext.named_parameters()}
    assert (objective(TASK).pretext.codebook == whole.pretext.codebook).all()


def test_a_louder_recording_has_the_same_codes() -> None:
    whole, given = objective(TASK), batch((50,))
    louder = dataclasses.replace(given, frames=(3.0 * given.frames + 1.0).astype(np.float32))
    a, b = (whole.pretext.codes(whole.pretext.split(x).target["frames"]) for x in (given, louder))
    assert (a == b).float().mean() > 0.98
