"""Tasks of every kind through the same engine as BERT: they learn, and go on bit for bit where they stopped."""

import os
import signal
from pathlib import Path

import msgspec
import pytest
import torch
from chirps import write_chirps
from text_store import write_store

from sesame import config, recipes
from sesame.engine import start
from sesame.engine.loop import Training
from sesame.engine.run import Run

STEPS, STOP = 12, 6


def small(backbone: config.Transformer) -> config.Transformer:
    return msgspec.structs.replace(backbone, layers=1, width=32, ffn=64, dropout=0.1)


@pytest.fixture(params=["gpt-tiny", "bart-tiny", "simclr-digits", "byol-digits", "apc-tiny"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> config.Recipe:
    """A ready-made recipe at a size for a test, with everything else as users run it."""
    found = recipes.find(request.param)
    data, backbone = found.data, found.backbone
    if isinstance(data, config.TextData):
        write_store(tmp_path / "store")
        data = msgspec.structs.replace(data, store=str(tmp_path / "store"), length=32, rows=8)
    elif isinstance(data, config.SpeechData):
        data = msgspec.structs.replace(data, source=str(write_chirps(tmp_path / "sound")), length=48, rows=8, mels=20)
    else:
        data = msgspec.structs.replace(data, rows=64)
    if isinstance(backbone, config.EncoderDecoder):
        backbone = config.EncoderDecoder(encoder=small(backbone.encoder), decoder=small(backbone.decoder))
    elif isinstance(backbone, config.Transformer):
        backbone = small(backbone)
    else:
        backbone = config.ConvNet(channels=(8, 16))
    return msgspec.structs.replace(
        found,
        data=data,
        backbone=backbone,
        optimizer=msgspec.structs.replace(found.optimizer, lr=1e-2),
        steps=STEPS,
        max_minutes=0.0,
        accumulate=1 if isinstance(found.pretext, config.SimClr) else 2,
        threads=1,
        device="cpu",
        eval_every=STEPS,
        eval_rows=16,
        save_every=STEPS,
        log_every=STEPS // 4,
    )


def test_it_learns_and_goes_on_bit_for_bit_where_it_stopped(recipe: config.Recipe, tmp_path: Path) -> None:
    def stop(training: Training) -> None:
        if training.step == STOP:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = start.start(recipe, tmp_path / "whole").run
    halved = start.start(recipe, tmp_path / "halved", extra=(stop,)).run
    assert (said := halved.state()) and said.state == "interrupted" and STOP <= said.step < STEPS
    halved = start.resume(tmp_path / "halved").run
    assert (said := halved.state()) and said.state == "finished"

    one, other = whole.at().objective, halved.at().objective
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []

    losses = [event["loss"] for event in whole.events("log")]
    assert losses == [event["loss"] for event in halved.events("log")]
    assert losses[-1] < 0.97 * losses[0], losses
    assert_evaluated(whole)


def assert_evaluated(run: Run) -> None:
    """Held-out examples were measured before the first step and after the last, and got better."""
    before, *_, after = (event["loss"] for event in run.events("evaluate"))
    assert after < before
