"""One small run that several tests look at, and copies of it to spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from watched import recipe, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps with checkpoints at 0, 4, 8 and 10, which nobody may change."""
    folder = tmp_path_factory.mktemp("trained")
    return train(recipe("bert", folder, ema=0.0), folder / "run").path


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def published(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """A folder of the run's checkpoints as model folders, under names made from their steps."""

    def make(name: str = "step-{}", folder: str = "series") -> Path:
        for step in (0, 4, 8, 10):
            model = trained / "checkpoints" / f"step-{step:08d}" / "model"
            shutil.copytree(model, tmp_path / folder / name.format(step))
        return tmp_path / folder

    return make
