"""What shows how training goes: the terminal is given back, and what is not known is left out."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from sesame.cli.pretrain import shows

TRAINING: Any = SimpleNamespace(step=3, recipe=SimpleNamespace(steps=9), ending=False)
VALUES = {"loss": 1.5, "lr": 0.1, "tokens": 12, "tokens_per_second": 4.0, "of_limit": None, "eta": 2.0}


def test_the_terminal_is_given_back_however_training_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt), shows(tmp_path, tensorboard=False) as told:
        told[0]("log", TRAINING, VALUES)
        assert told[0].bar.live.is_started
        raise KeyboardInterrupt
    assert not told[0].bar.live.is_started


def test_tensorboard_has_what_is_known(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with shows(tmp_path, tensorboard=True) as told:
        told[-1]("log", TRAINING, VALUES)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(found.Tags()["scalars"]) == {f"train/{name}" for name in VALUES if name != "of_limit"}
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(3, 1.5)]
