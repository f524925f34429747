"""`sesame report` as it is typed: a page, figures, JSON alone; a mistake is one message and nothing is written."""

import json
import os
import subprocess
import sys

import pytest
from report_folders import write_run, write_tuning

from sesame.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_run(tmp_path / "run", state="interrupted", step=100)
    write_tuning(tmp_path / "tuned", tasks=("pydocs/area",), seeds=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_real_process_writes_the_page_and_says_what_is_on_it(here):
    done = subprocess.run(
        [sys.executable, "-m", "sesame", "report", "run", "tuned", "--out", "report.html", "--json"],
        cwd=here, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["runs"] == {"run": "interrupted"}
    assert told["finetuned"] == {"tuned": ["pydocs/area"]}
    assert told["bytes"] == (here / "report.html").stat().st_size
    assert "stopped early" in (here / "report.html").read_text()
    assert sorted(path.name for path in here.iterdir()) == ["report.html", "run", "tuned"]


def test_figures_are_written_beside_it(here, capsys):
    assert main(["report", "tuned", "--figures", "figures", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["files"]) == sorted(
        f"figures/{name}.{kind}" for name in told["figures"] for kind in ("png", "svg", "csv")
    )
    assert all((here / file).stat().st_size for file in told["files"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "report on what?"),
        (["nowhere"], "nowhere does not exist"),
        (["."], "There are some in it: run, tuned"),
        (["run", "run"], "given twice"),
        (["run", "--out", "run/report.html"], "which a report does not change"),
        (["run", "tuned", "--figures", "tuned/figures"], "which a report does not change"),
        (["run", "--out", "mine.html"], "is no report of sesame"),
        (["run", "--text", "no gap"], "0 [MASK]s"),
        (["run", "--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(here, capsys, words, says):
    (here / "mine.html").write_text("<p>mine</p>")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main(["report", *words]) == 2
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
