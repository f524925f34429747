"""What a loss is compared with: targets that are all alike leave nothing to compare."""

from pathlib import Path

import pytest
import torch
from chirps import write_chirps

from sesame import config
from sesame.engine import start
from sesame.health.examine import doctor
from sesame.pretext.best_rq import BestRq


@pytest.fixture(scope="module")
def coded(tmp_path_factory) -> Path:
    """A short run of BEST-RQ."""
    folder = tmp_path_factory.mktemp("coded")
    source = config.SpeechData(source=str(write_chirps(folder / "sound", 24)), mels=8, length=32, rows=4)
    stack = config.Transformer(layers=1, width=16, heads=2, ffn=32, input="frames", kinds=0)
    recipe = config.Recipe(
        name="coded", data=source, backbone=stack, pretext=config.BestRq(codes=8, span=3), steps=3, threads=1,
        device="cpu", precision="fp32", eval_every=1, eval_rows=4, save_every=3, log_every=1,
    )  # fmt: skip
    return start.start(recipe, folder / "run").run.path


@pytest.mark.parametrize(
    ("left", "says"),
    [(lambda codes: torch.zeros_like(codes), "there is nothing to learn"), (lambda codes: codes[:0], "was hidden")],
)
def test_codes_that_are_all_one_or_none_are_no_level(coded, monkeypatch, left, says):
    codes = BestRq.codes
    monkeypatch.setattr(BestRq, "codes", lambda self, frames: left(codes(self, frames)))
    checks = {check.name: check for check in doctor(coded).checks}
    (loss,) = (check for name, check in checks.items() if name.startswith("loss"))
    assert loss.state == "not examined" and says in loss.reading
    assert (checks["codes in use"].state == "not examined") == ("hidden" in says)
