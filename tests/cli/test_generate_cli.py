"""`sesame generate` and `sesame score` on runs as a user has them."""

import json

import pytest
from conftest import SMALL, sesame

from sesame.cli.main import main

HOW = ("--max-tokens", "8", "--json")


@pytest.fixture(scope="session")
def writers(made, tmp_path_factory):
    """A folder with a BERT, a GPT and a BART of a few steps."""
    folder = tmp_path_factory.mktemp("writers")
    (folder / "run").symlink_to(made[0] / "run")
    (folder / "data").symlink_to(made[0] / "data")
    stacks = [f"--backbone.{stack}.{x}" for stack in ("encoder", "decoder") for x in ("width", "heads", "ffn")]
    bart = [word for option, value in zip(stacks, (32, 2, 64) * 2, strict=True) for word in (option, value)]
    for recipe, shape in (("gpt-tiny", SMALL), ("bart-tiny", (*bart, "--data.length", 32))):
        words = ("pretrain", recipe, "--data", "data", "--out", recipe, "--steps", 3, "--threads", 1, *shape)
        done = sesame(*words, folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(writers, tmp_path, monkeypatch):
    for item in writers.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_single_text_is_streamed_and_is_the_text_of_the_result(here, capsys):
    assert main(["generate", "gpt-tiny", "the list", "--max-tokens", "8"]) == 0
    streamed = capsys.readouterr().out
    assert main(["generate", "gpt-tiny", "the list", *HOW]) == 0
    (text,) = json.loads(capsys.readouterr().out)["texts"]
    assert streamed == f"the list{text['text']}\n"
    assert json.loads((here / "result.json").read_text())["texts"] == [text]


def test_several_samples_and_a_file_of_prompts(here, capsys):
    (here / "prompts.txt").write_text("the list\na value\n")
    assert main(["generate", "gpt-tiny", "--file", "prompts.txt", "-n", "2", "--top-k", "5", *HOW]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(t["prompt"], t["sample"]) for t in told["texts"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert main(["generate", "gpt-tiny", "--file", "prompts.txt", "--beams", "3", "--max-tokens", "4"]) == 0
    said = capsys.readouterr().out
    assert "--- prompt 2, sample 1" in said and "a value" in said


def test_a_published_model_writes_as_its_settings_say_unless_told_otherwise(here, capsys):
    assert main(["export", "bart-tiny", "--out", "published"]) == 0
    says = here / "published" / "generation_config.json"
    says.write_text(json.dumps(json.loads(says.read_text()) | {"num_beams": 3, "length_penalty": 2.0}))

    def told(*options):
        capsys.readouterr()
        assert main(["generate", "published", "the [MASK] of the list", *options, *HOW]) == 0
        return json.loads(capsys.readouterr().out)["settings"]

    assert (told()["beams"], told()["length_penalty"]) == (3, 2.0)
    assert (told("--beams", "2")["beams"], told("--beams", "2")["length_penalty"]) == (2, 2.0)
    assert told("--length-penalty", "1")["length_penalty"] == 1.0  # the default, but asked for
    assert told("--temperature", "0")["beams"] == 1


def test_an_encoder_decoder_answers(here, capsys):
    assert main(["generate", "bart-tiny", "the [MASK] of the list", "--temperature", "0", *HOW]) == 0
    (text,) = json.loads(capsys.readouterr().out)["texts"]
    assert text["tokens"] >= 1


@pytest.mark.parametrize(("run", "measure"), [("gpt-tiny", "log-likelihood"), ("run", "pseudo-log-likelihood")])
def test_lines_are_scored_and_added_up(here, capsys, run, measure):
    (here / "lines.txt").write_text("the list\n\na value follows the empty set\n")
    assert main(["score", run, "lines.txt", "--skip-empty", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measure"] == measure
    assert told["skipped_empty_lines"] == [2]
    assert told["total"]["tokens"] == sum(line["tokens"] for line in told["lines"])
    assert told["total"]["log_likelihood"] == pytest.approx(sum(line["log_likelihood"] for line in told["lines"]))
    assert main(["score", run, "lines.txt", "--skip-empty"]) == 0
    assert "perplexity" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "gpt-tiny", ""], "the prompt is empty"),
        (["generate", "gpt-tiny"], "the prompt is empty"),
        (["generate", "gpt-tiny", "the list " * 30], "too long"),
        (["generate", "gpt-tiny", "the", "--beams", "5000"], "--beams 5000"),
        (["generate", "gpt-tiny", "the", "--beams", "2", "--temperature", "1"], "beam search draws nothing"),
        (["generate", "gpt-tiny", "the", "--top-p", "2"], "--top-p 2"),
        (["generate", "gpt-tiny", "the", "--file", "x"], "both given"),
        (["generate", "gpt-tiny", "--file", "nowhere.txt"], "nowhere.txt"),
        (["generate", "run", "the"], "was not trained to write"),
        (["generate", "nowhere", "the"], "nowhere"),
        (["score", "gpt-tiny", "nowhere.txt"], "nowhere.txt"),
        (["score", "gpt-tiny", "gap.txt"], "line 2 is empty"),
        (["score", "gpt-tiny", "one.txt", "--stride", "99"], "--stride 99"),
        (["score", "bart-tiny", "one.txt"], "bart-tiny"),
    ],
)
def test_a_mistake_gets_one_message(here, capsys, words, said):
    (here / "one.txt").write_text("the list\n")
    (here / "gap.txt").write_text("the list\n\n")
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err and "Traceback" not in told.err
    assert len(told.err.strip().splitlines()) == 1


def test_a_gpt_is_fine_tuned_on_all_four_kinds_of_task(here):
    """Through real files and the command; what the heads read of it is tested beside each task."""
    from dataclasses import replace

    from sesame.config import FineTune
    from sesame.tasks.folder import finetune
    from sesame.tasks.opening import open_task
    from sesame.tasks.tuned import open_tuned

    quick = FineTune(epochs=1, min_steps=0, evaluations=1, threads=1)
    names = ("pydocs/area", "pydocs/names", "pydocs/match", "pydocs/params")
    tasks = []
    for name in names:
        whole = open_task(name)
        tasks.append(replace(whole, train=whole.train[:30], dev=whole.dev[:8], test=whole.test[:8]))
    found = finetune("gpt-tiny", tasks, "out", quick, seeds=1, arms=("pretrained",))
    assert set(found) == set(names)
    kinds = {name: open_tuned(here / "out" / name).card.task for name in names}
    assert kinds["pydocs/area"].pooling == kinds["pydocs/match"].pooling == "last"
    assert kinds["pydocs/names"].piece == "last"
