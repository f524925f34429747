"""A stopped run on images or sounds goes on with what it was started with; where that was changed, it is said."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from chirps import write_chirps
from PIL import Image
from safetensors.torch import load_file

from sesame import config
from sesame.cli.main import main
from sesame.data import mel_compiled
from sesame.engine import start
from sesame.engine.loop import Training
from sesame.engine.run import Run
from sesame.errors import UserError

STEPS, STOP = 6, 3
STACK = config.Transformer(layers=1, width=16, heads=2, ffn=32, input="frames", kinds=0)
SHAPES: dict[str, tuple[config.Backbone, config.Pretext]] = {
    "images": (config.ConvNet(channels=(4, 8)), config.Byol(views=config.VIEWS["digits"], hidden=16, out=8)),
    "speech": (STACK, config.Hubert(clusters=4, span=3)),
}


def picture(seed: int, path: Path) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


def source_of(kind: str, folder: Path) -> config.Data:
    if kind == "speech":
        return config.SpeechData(source=str(write_chirps(folder / "source", 12)), mels=8, length=32, rows=4)
    (folder / "source").mkdir()
    for number in range(24):
        picture(number, folder / "source" / f"{number:02}.png")
    return config.ImageData(source=str(folder / "source"), rows=4, cache=str(folder / "cache"))


def add(run: Path) -> None:
    """One file more."""
    source = run.parent / "source"
    if isinstance(Run.open(run).recipe.data, config.ImageData):
        picture(99, source / "99.png")
    else:
        write_chirps(run.parent / "more", 13)
        shutil.copy(run.parent / "more" / "12.wav", source / "99.wav")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{STEPS:08d}" / "objective.safetensors")


@pytest.fixture(scope="module", params=list(SHAPES))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source, a run that was not disturbed, and one that was stopped in the middle."""
    folder = tmp_path_factory.mktemp(request.param)
    backbone, task = SHAPES[request.param]
    recipe = config.Recipe(
        name="small", data=source_of(request.param, folder), backbone=backbone, pretext=task, steps=STEPS, threads=1,
        device="cpu", precision="fp32", eval_every=STEPS, eval_rows=4, save_every=STEPS, log_every=1,
    )  # fmt: skip

    def stop(training: Training) -> None:
        if training.step == STOP:
            os.kill(os.getpid(), signal.SIGTERM)

    start.start(recipe, folder / "whole")
    start.start(recipe, folder / "stopped", extra=(stop,))
    return folder


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> Path:
    """The run that was stopped, with a source of its own."""
    shutil.copytree(trained, tmp_path / "here")
    run = tmp_path / "here" / "stopped"
    told = (run / "config.json").read_text()
    (run / "config.json").write_text(told.replace(str(trained), str(tmp_path / "here")))
    found = Run.open(run)
    for manifest in run.glob("checkpoints/*/manifest.json"):  # the same settings, but for where the source lies
        of = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(of | {"config": found.config_hash}))
    return run


def test_content_is_what_counts_and_a_source_that_was_moved_goes_on_to_the_same_bits(
    trained: Path, stopped: Path
) -> None:
    assert (said := Run.open(stopped).state()) and said.state == "interrupted" and said.step < STEPS
    start.resume(stopped)
    ours, theirs = weights(stopped), weights(trained / "whole")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_file_that_was_added_is_said_and_nothing_is_trained(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(stopped)
    before = (stopped / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"source holds other (images|sounds) than it did, as where files were added"):
        start.resume(stopped)
    assert main(["pretrain", "--resume", str(stopped), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"{stopped.parent / 'source'} holds other" in " ".join(said.split()) and "--inexact" in said
    assert (stopped / "metrics.jsonl").read_bytes() == before


def test_inexact_goes_on_without_a_file_that_was_removed_and_says_so(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    min((stopped.parent / "source").iterdir()).unlink()
    assert main(["pretrain", "--resume", str(stopped), "--quiet"]) == 2
    assert main(["pretrain", "--resume", str(stopped), "--inexact"]) == 0
    assert (said := Run.open(stopped).state()) and said.state == "finished"
    assert f"going on under other conditions: {stopped.parent / 'source'} holds other" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_that_kept_no_identity_goes_on_with_what_is_there(stopped: Path) -> None:
    told = json.loads((stopped / "config.json").read_text())
    assert len(told["data"]) == 32
    (stopped / "config.json").write_text(json.dumps(told | {"data": ""}))
    min((stopped.parent / "source").iterdir()).unlink()
    assert (said := start.resume(stopped).run.state()) and said.state == "finished"


def test_frames_that_another_library_would_compute_are_said(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel_compiled, "fits", lambda *_: False)
    if isinstance(Run.open(stopped).recipe.data, config.ImageData):
        assert (said := start.resume(stopped).run.state()) and said.state == "finished"
        return
    with pytest.raises(UserError, match=r"under other conditions \(numba: [\d.]+ then, none now\)"):
        start.resume(stopped)
