"""`sesame doctor`, as it is typed: a healthy run, a collapsed one, text, runs of which something is gone."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import SMALL, sesame

from sesame.cli.main import main
from sesame.engine.run import Run
from sesame.health import bands
from sesame.probes import Value
from sesame.probes.table import LIVE, Tables, rows_of

TINY = (
    "--backbone.channels", "6", "12", "--pretext.hidden", "64", "--pretext.out", "32", "--pretext.decay", "0.9",
        "--data.rows", "32", "--optimizer.lr", "1e-2", "--steps", "50", "--log-every", "5", "--threads", "1",
)  # fmt: skip
SICK = """
import sys
from sesame.cli.main import main
from sesame.pretext.byol import Byol
Byol.predict = lambda self, backbone, view: self.projector(backbone(view).last)  # no predictor stands between
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """A folder with two runs of BYOL on digits, with its predictor and without."""
    folder = tmp_path_factory.mktemp("views")
    words = ["pretrain", "byol-digits", *TINY, "--quiet", "--out"]
    done = sesame(*words, "well", folder=folder)
    assert done.returncode == 0, done.stderr
    without = subprocess.run([sys.executable, "-c", SICK, *words, "sick"], cwd=folder, capture_output=True, text=True)
    assert without.returncode == 0, without.stderr
    return folder


def told(*runs, capsys) -> list[dict]:
    capsys.readouterr()
    assert main(["doctor", *map(str, runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    return [one | {"checks": {check["name"]: check for check in one["checks"]}} for one in found]


def test_byol_without_its_predictor_is_found_collapsed_and_with_it_well(views):
    done = sesame("doctor", "well", "sick", folder=views)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    well, sick = said.split("sick: byol-digits")
    assert "is ill" not in well and "This run is ill: collapse" in sick
    assert "To try (collapse): All inputs look alike to it." in sick


def test_the_numbers_are_those_of_the_probes_and_nothing_is_written(views, capsys):
    before = {path: path.stat().st_mtime_ns for path in views.rglob("*")}
    (well,) = told(views / "well", capsys=capsys)
    assert {path: path.stat().st_mtime_ns for path in views.rglob("*")} == before
    assert (well["progress"], well["step"], well["steps"]) == ("finished", 50, 50)
    share = well["checks"]["collapse"]["value"]
    assert share >= bands.STD and well["checks"]["collapse"]["state"] == "healthy"

    # What probes beside training have measured of these weights is read, and how it began is told beside it.
    run = shutil.copytree(views / "well", views / "watched")
    for step, value in ((0, 0.77), (50, 0.01)):
        when = {"step": step, "tokens": 0, "seconds": 0.0, "probe": "collapse", "source": "", "form": LIVE,
                "made_from": ""}  # fmt: skip
        Tables(run).write(rows_of(when, [Value("std_share", value, 9, "projection")]))
    (watched,) = told(run, capsys=capsys)
    collapse = watched["checks"]["collapse"]
    assert (collapse["value"], collapse["state"]) == (0.01, "ill") and "0.77 at step 0" in collapse["reading"]


def test_a_checkpoint_is_examined_as_it_was(views, capsys):
    first, last = told(*(views / "well" / "checkpoints" / f"step-{n:08d}" for n in (0, 50)), capsys=capsys)
    assert (first["step"], last["step"]) == (0, 50)
    assert first["checks"]["gradient norm"]["state"] == "not examined"
    # Before the first step the network is the random one.
    assert first["checks"]["gain over a random network"]["value"] == 0.0


def test_a_text_run_that_begins_with_its_word_counts_has_learned_what_is_better_than_its_start(made, capsys):
    run = made[0] / "run"
    first, found = told(run / "checkpoints" / "step-00000000", run, capsys=capsys)
    begun, loss = (one["checks"]["loss (masked LM)"] for one in (first, found))
    assert begun["state"] == "doubtful" and "no better than at its start" in begun["reading"]
    assert loss["state"] == "healthy" and "its own start" in loss["expected"]
    checks = found["checks"]
    assert checks["repeated data"]["state"] == "healthy" and checks["idle heads"]["state"] in ("healthy", "doubtful")
    assert checks["gain over raw features"]["state"] == "not examined"


def test_a_text_run_that_has_barely_begun_is_on_the_plateau_and_needs_its_data_to_be_examined(made, tmp_path, capsys):
    # Half of the text is held out: the loss of a dozen words would say little.
    words = ["data", "prepare", made[0] / "text.txt", "--out", tmp_path / "data", "--vocab", "90", "--held-out", "0.5"]
    assert main([*map(str, words), "--quiet"]) == 0
    words = ["pretrain", "bert-tiny", "--data", tmp_path / "data", "--out", tmp_path / "run", *SMALL, "--steps", "2"]
    words += ["--pretext.embeddings", "normal", "--backbone.start", "normal", "--threads", "1", "--quiet"]
    assert main(list(map(str, words))) == 0
    (found,) = told(tmp_path / "run", capsys=capsys)
    loss = found["checks"]["loss (masked LM)"]
    assert (found["state"], loss["state"]) == ("ill", "ill") and "on the plateau" in loss["reading"]

    shutil.rmtree(tmp_path / "data")
    (found,) = told(tmp_path / "run", capsys=capsys)
    for name in ("loss", "repeated data", "collapse", "rank (RankMe)", "idle heads"):
        check = found["checks"][name]
        assert check["state"] == "not examined" and "data are gone" in check["reading"], name
    assert found["checks"]["training"]["state"] == "healthy"
    assert "Not examined: loss" in found["verdict"]


def test_a_run_that_ended_in_numbers_that_are_none_is_ill(made, tmp_path, capsys):
    run = Run.open(shutil.copytree(made[0] / "run", tmp_path / "run"))
    run.set_state("failed", 6, "run: the loss or the gradient of step 6 is not finite. Its examples: …")
    (found,) = told(run.path, capsys=capsys)
    assert found["state"] == "ill" and found["checks"]["training"]["state"] == "ill"


def test_what_cannot_be_examined_is_a_mistake_of_the_input(made, tmp_path, capsys):
    empty = shutil.copytree(made[0] / "run", tmp_path / "empty")
    shutil.rmtree(empty / "checkpoints")
    (empty / "checkpoints").mkdir()
    (found,) = told(empty, capsys=capsys)  # there is its log
    assert "no whole checkpoint" in found["checks"]["collapse"]["reading"]
    (empty / "metrics.jsonl").unlink()
    for words, said in (
        ([], "which run? Name one"),
        ([tmp_path / "nowhere"], "is no run folder"),
        ([made[0] / "data"], "is no run folder"),
        ([empty], "holds no whole checkpoint"),
    ):
        assert main(["doctor", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error
