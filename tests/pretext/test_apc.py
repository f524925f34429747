"""APC: the loss against a double loop over frames, no look at the future, no weight on padding."""

import dataclasses
import logging
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from chirps import write_chirps

from sesame import config
from sesame.data.batch import Cursor, SpeechBatch
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.pretext.apc import Apc
from sesame.pretext.base import Objective

TINY = config.Transformer(
    input="frames", features=20, layers=2, width=32, heads=2, ffn=64, positions=128, kinds=0, causal=True
)


def objective(ahead: int = 5) -> Objective:
    torch.manual_seed(0)
    backbone = Transformer(TINY)
    return Objective(backbone, Apc(config.Apc(ahead=ahead), backbone)).eval()


def batch(lengths: tuple[int, ...] = (30, 17, 4)) -> SpeechBatch:
    random = np.random.default_rng(1)
    frames = np.zeros((len(lengths), max(lengths), 20), np.float32)
    for row, size in enumerate(lengths):
        frames[row, :size] = random.standard_normal((size, 20))
    keys = np.arange(len(lengths), dtype=np.uint64)
    return SpeechBatch(frames=frames, frames_in=np.array(lengths), key=keys, seed=0, epoch=0)


@pytest.mark.parametrize("ahead", [1, 5])
def test_the_loss_is_the_mean_absolute_difference_to_the_frame_ahead(ahead: int) -> None:
    whole, given = objective(ahead), batch()
    states = whole.backbone(rows_of(given)).last
    total, count = 0.0, 0
    for row, size in enumerate(given.frames_in.tolist()):
        for now in range(size - ahead):
            predicted = whole.pretext.head(states[row, now]).detach().numpy()
            total += float(np.abs(predicted - given.frames[row, now + ahead]).sum())
            count += 20
    split = whole.pretext.split(given)
    term = whole(split)["apc"]
    assert term.count == split.count["apc"] == count
    assert float(term.sum.detach()) == pytest.approx(total, rel=1e-5)


def test_padding_changes_nothing() -> None:
    whole, given = objective(), batch()
    wider = np.pad(given.frames, ((0, 0), (0, 9), (0, 0)))
    split, padded = (whole.pretext.split(b) for b in (given, dataclasses.replace(given, frames=wider)))
    assert split.count == padded.count
    torch.testing.assert_close(whole(split)["apc"].sum, whole(padded)["apc"].sum)


def test_a_prediction_does_not_see_its_own_future() -> None:
    whole, given = objective(), batch((30,))
    changed = given.frames.copy()
    changed[0, 20:] += 1.0
    states, other = (
        whole.backbone(rows_of(dataclasses.replace(given, frames=f))).last for f in (given.frames, changed)
    )
    torch.testing.assert_close(states[0, :20], other[0, :20])
    assert not torch.allclose(states[0, 20:], other[0, 20:])


def test_utterances_do_not_see_each_other() -> None:
    whole, given = objective(), batch()
    together = whole(whole.pretext.split(given))["apc"].sum
    alone = [
        whole(
            whole.pretext.split(
                dataclasses.replace(
                    given,
                    frames=given.frames[r : r + 1, :n],
                    frames_in=given.frames_in[r : r + 1],
                    key=given.key[r : r + 1],
                )
            )
        )["apc"].sum
        for r, n in enumerate(given.frames_in.tolist())
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum())


def test_it_learns_to_predict_chirps_better_than_repeating_the_last_frame(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = config.SpeechData(source=str(write_chirps(tmp_path)), mels=20, rows=8, length=128)
    stream = SpeechStream(SpeechSet(data), seed=0)
    whole = objective().train()
    optimizer = torch.optim.AdamW(whole.parameters(), lr=3e-3)
    for _, step in zip(range(60), stream.train(Cursor(), 0, 60, 1), strict=False):
        term = whole(whole.pretext.split(step.parts[0]))["apc"]
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.step()
    away = next(stream.held_out(64))
    split = whole.pretext.split(away)
    now = [f[: n - 5] for f, n in zip(away.frames, away.frames_in, strict=True)]
    repeated = np.abs(np.concatenate(now) - split.target["future"].numpy()).mean()
    term = whole.eval()(split)["apc"]
    assert float(term.sum.detach()) / term.count < 0.9 * repeated


def test_clips_too_short_to_predict_anything_are_counted_and_nothing_else_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = SpeechSet(config.SpeechData(source=str(write_chirps(tmp_path)), mels=20, length=128))
    sizes = SpeechStream(data, 0).frames[SpeechStream(data, 0).training]
    for ahead in (int(sizes.max()), 600):
        with pytest.raises(UserError, match=rf"more than {ahead} frames.*--pretext\.ahead"):
            objective(ahead).pretext.stream(data, 0)
    with caplog.at_level(logging.INFO):
        objective(int(sizes.max()) - 1).pretext.stream(data, 0)
    assert f"of {len(sizes)} training utterances have no more than {sizes.max() - 1} frames" in caplog.text
    caplog.clear()
    objective(1).pretext.stream(data, 0)
    assert not caplog.text


@pytest.mark.parametrize("wrong", [{"causal": False}, {"input": "tokens", "vocab": 9}])
def test_a_backbone_that_sees_the_future_or_reads_tokens_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"--backbone\.(causal|input frames)"):
        Apc(config.Apc(), Transformer(msgspec.structs.replace(TINY, **wrong)))
