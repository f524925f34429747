"""A tiny task in place of BYOL's, so that the engine is tested without waiting for a network."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from tiny import TinyData, TinyNet, TinyPretext

from sesame import config, models, pretext
from sesame.engine import build, hooks, machine
from sesame.engine.loop import Hook, pretrain
from sesame.engine.run import Config, Run

torch.set_num_threads(1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., config.Recipe]:
    """A recipe of the tiny task; give fields to change them."""
    monkeypatch.setitem(models.MODELS, config.ConvNet, TinyNet)
    monkeypatch.setitem(pretext.PRETEXTS, config.Byol, TinyPretext)

    def recipe(**changes: object) -> config.Recipe:
        made = config.Recipe(
            name="tiny",
            data=config.ImageData(),
            backbone=config.ConvNet(channels=(6, 6)),
            pretext=config.Byol(),
            optimizer=config.Optimizer(lr=0.01),
            steps=12,
            threads=1,
            device="cpu",
            precision="fp32",
            eval_every=6,
            save_every=4,
            log_every=3,
        )
        return msgspec.structs.replace(made, **changes)

    return recipe


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    """Train a recipe in a folder of the test, or go on with the run that is there."""

    def go(recipe: config.Recipe, name: str = "run", extra: tuple[Hook, ...] = ()) -> Run:
        path = tmp_path / name
        data = TinyData()
        if path.exists():
            run = Run.open(path)
            run.lock()
        else:
            run = Run.create(path, Config(recipe=build.freeze(recipe, data), machine=machine.fingerprint(recipe, 1)))
        try:
            pretrain(run, data, [*hooks.standard(), *extra])
        finally:
            run.close()
        return run

    return go
