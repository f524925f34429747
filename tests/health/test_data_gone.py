"""A run on sounds that were taken away, or are others by now: what needs them is not examined, and why is said."""

import shutil
from pathlib import Path

import pytest
from chirps import write_chirps

from sesame import config
from sesame.engine import start
from sesame.health.examine import doctor
from sesame.health.patient import Patient

TASKS = {
    "mockingjay": config.Mockingjay(),
    "best_rq": config.BestRq(codes=8, span=3),
    "hubert": config.Hubert(clusters=4, span=3),
}


@pytest.mark.parametrize("name", TASKS)
def test_sounds_that_are_gone_or_others_are_not_measured_on(name: str, tmp_path: Path) -> None:
    sounds = write_chirps(tmp_path / "sound", 24)
    source = config.SpeechData(source=str(sounds), mels=8, length=32, rows=4)
    stack = config.Transformer(layers=1, width=16, heads=2, ffn=32, input="frames", kinds=0)
    recipe = config.Recipe(
        name=name, data=source, backbone=stack, pretext=TASKS[name], steps=3, threads=1, device="cpu",
        precision="fp32", eval_every=1, eval_rows=4, save_every=3, log_every=1,
    )  # fmt: skip
    run = start.start(recipe, tmp_path / "run").run
    readings = {check.name: check.reading for check in doctor(run.path).checks}
    assert not any("data are gone" in reading for reading in readings.values())

    (sounds / "00.wav").unlink()
    assert "holds other sounds than it did" in Patient(run.path).no_data
    shutil.rmtree(sounds)
    checks = {check.name: check for check in doctor(run.path).checks}
    gone = {name for name, check in checks.items() if "its data are gone" in check.reading}
    assert "collapse" in gone and any(name.startswith("loss") for name in gone), checks
    assert all(checks[name].state == "not examined" for name in gone)
