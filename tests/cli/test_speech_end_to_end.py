"""Speech as a user has it: every recipe trains and resumes to the bit, its features learn a task; the demo's errors."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from chirps import write_chirps
from safetensors.torch import load_file

from sesame.cli.main import main

SMALL = [
    "--threads", "1", "--device", "cpu", "--data.mels", "20", "--data.rows", "4", "--data.length", "40", "--steps", "4",
    "--save-every", "2", "--eval-every", "2", "--eval-rows", "4", "--log-every", "1", "--backbone.width", "16",
]  # fmt: skip
TRANSFORMER = ["--backbone.layers", "1", "--backbone.heads", "2", "--backbone.ffn", "32"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chirps whose names say how high they begin, and who made them."""
    folder = write_chirps(tmp_path_factory.mktemp("sounds"), 40)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{'high' if number % 2 else 'low'}_s{number // 4 % 5}_{number:02}.wav")
    return folder


def ran(*words: object) -> None:
    assert main([*map(str, words), "--quiet"]) == 0


def trained(sounds: Path, out: Path, recipe: str, *words: str) -> Path:
    shape = [] if recipe.startswith(("apc-gru", "cpc")) else TRANSFORMER
    ran("pretrain", recipe, "--data", sounds, "--out", out, *SMALL, *shape, *words)
    return out


def last(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step-00000004" / "objective.safetensors")


RECIPES = {
    "apc-gru-tiny": (),
    "cpc-tiny": (),
    "mockingjay-tiny": (),
    "tera-tiny": (),
    "best-rq-tiny": ("--pretext.codes", "30"),
    "hubert-tiny": ("--pretext.clusters", "5"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(recipe: str, sounds: Path, tmp_path: Path) -> None:
    run = trained(sounds, tmp_path / "run", recipe, *RECIPES[recipe])
    whole = last(run)
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"state": "interrupted", "step": 2}))
    ran("pretrain", "--resume", run)
    again = last(run)
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)


def test_codes_are_told_with_the_loss(sounds: Path, tmp_path: Path) -> None:
    run = trained(sounds, tmp_path / "run", "best-rq-tiny", *RECIPES["best-rq-tiny"])
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [event for event in events if "code_perplexity" in event]
    assert told and all(1 <= event["code_perplexity"] <= 30 and 0 < event["code_usage"] <= 1 for event in told)
    assert all(event["loss"] == pytest.approx(event["best_rq.loss"]) for event in told)


def test_the_second_iteration_learns_from_a_run(sounds: Path, tmp_path: Path) -> None:
    first = trained(sounds, tmp_path / "first", "hubert-tiny", *RECIPES["hubert-tiny"])
    words = (*RECIPES["hubert-tiny"], "--pretext.labels", str(first), "--pretext.layer", "1")
    second = trained(sounds, tmp_path / "second", "hubert-tiny", *words)
    assert len(list((second / "artifacts").glob("*.npz"))) == 1
    third = ["pretrain", "hubert-tiny", "--data", str(sounds), "--out", str(tmp_path / "third"), *SMALL, *TRANSFORMER]
    assert main([*third, "--pretext.labels", str(tmp_path / "nowhere"), "--quiet"]) == 2


def test_clusters_are_known_where_the_steps_follow_from_the_speed(sounds: Path, tmp_path: Path) -> None:
    steps = SMALL.index("--steps")
    words = SMALL[:steps] + SMALL[steps + 2 :]
    run = tmp_path / "run"
    ran("pretrain", "hubert-tiny", "--data", sounds, "--out", run, *words, *TRANSFORMER, *RECIPES["hubert-tiny"],
        "--max-minutes", 0.02)  # fmt: skip
    assert json.loads((run / "state.json").read_text())["state"] == "finished"
    assert len(list((run / "artifacts").glob("*.npz"))) == 1


def test_features_learn_a_task_and_a_report_shows_it(sounds: Path, tmp_path: Path, capsys) -> None:
    run = trained(sounds, tmp_path / "run", "tera-tiny")
    told = ["--kind", "spoken-class", "--pattern", "{start}_{speaker}_{take}", "--label", "start"]
    tuned = tmp_path / "tuned"
    capsys.readouterr()
    ran("finetune", run, sounds, *told, "--frozen", "--per-class", 3, "--seeds", 2, "--workers", 1, "--out", tuned)
    shown = capsys.readouterr().out
    assert "pretrained, frozen" in shown and "gain of frozen over random" in shown and "frozen features:" in shown
    ran("report", run, tuned, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "random, frozen" in page and "mel statistics" in page and "TF-IDF</th>" not in page
    assert "--frozen" in page and "--kind spoken-class" in page  # how to do it again
    (name,) = json.loads((tuned / "result.json").read_text())["tasks"]
    ran("evaluate", tuned / name, sounds, "--result", tmp_path / "result.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--seconds", "0"], "--seconds 0"), (["--per-class", "0"], "--per-class 0"), (["--tasks"], "at least one")],
)
def test_a_demo_that_cannot_be_started_as_asked(words: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert main(["demo", "speech", "--out", str(tmp_path / "demo"), *words]) == 2
    assert message in capsys.readouterr().err


def test_where_espeak_is_absent_the_demo_says_what_to_install(tmp_path: Path, capsys, monkeypatch) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "espeakng_loader" else there(n, *a))
    assert main(["demo", "speech", "--out", str(tmp_path / "demo"), "--quiet"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "sesame-ssl[speech]" in said[0]
