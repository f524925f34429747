"""Logs become curves: tokens and seconds at every point, pauses left out, nothing dropped in silence."""

import json
import math

import msgspec
import numpy as np
import pytest
from report_folders import BEGAN, SECONDS, TOKENS, recipe, write_run, write_tuning

from sesame import config
from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.report.folders import open_folders
from sesame.report.reading import elapsed, pretraining, thinned, word_frequencies


def test_an_evaluation_gets_the_tokens_and_seconds_of_its_step(tmp_path):
    run = pretraining(write_run(tmp_path / "run"), "run")
    assert [row["step"] for row in run.held_out] == list(range(0, 401, 50))
    assert [row["tokens"] for row in run.held_out] == pytest.approx([TOKENS * row["step"] for row in run.held_out])
    assert [row["seconds"] for row in run.held_out] == pytest.approx(
        [3 + SECONDS * row["step"] for row in run.held_out]
    )
    assert (run.tokens, run.seconds, run.began) == (400 * TOKENS, 203.0, BEGAN)
    assert run.terms == ["masked_lm"]


def test_past_the_end_of_the_log_tokens_go_on_at_the_same_rate(tmp_path):
    run = write_run(tmp_path / "run", step=100)
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    without = [line for line in lines if not ('"log"' in line and json.loads(line)["step"] > 60)]
    (run.path / "metrics.jsonl").write_text("".join(without))
    assert pretraining(run, "run").held_out[-1]["tokens"] == pytest.approx(100 * TOKENS)


@pytest.mark.parametrize("pause", [0, 600, 86_400])
def test_a_pause_between_two_sittings_is_no_training(tmp_path, pause):
    events = list(write_run(tmp_path / "run").events())
    later = [event | {"time": event["time"] + pause * (event["step"] >= 200)} for event in events]
    assert elapsed(later) == pytest.approx(elapsed(events), abs=2)


def test_of_many_points_neighbours_are_averaged():
    rows = [{"step": i, "loss": float(i % 7)} for i in range(1000)]
    few = thinned(rows, 50)
    assert len(few) == 50
    assert np.mean([row["loss"] for row in few]) == pytest.approx(np.mean([row["loss"] for row in rows]))
    assert few[3]["step"] == pytest.approx(np.mean(range(60, 80)))
    assert thinned(rows[:50], 50) == rows[:50]


@pytest.mark.parametrize(
    ("state", "expected"), [("finished", "finished"), ("failed", "failed"), ("interrupted", "interrupted")]
)
def test_a_run_is_what_it_says_it_is(tmp_path, state, expected):
    run = pretraining(write_run(tmp_path / "run", state=state, step=200, reason="why"), "run")
    assert (run.state, run.step, run.reason) == (expected, 200, "why")


def test_a_run_that_says_it_is_running_is_so_only_while_its_process_is(tmp_path):
    run = write_run(tmp_path / "run", state="running", step=200)
    assert pretraining(Run.open(run.path), "run").state == "killed"
    run.lock()
    try:
        assert pretraining(Run.open(run.path), "run").state == "running"
    finally:
        run.close()


def test_numbers_that_are_not_finite_are_left_out_and_counted(tmp_path):
    run = write_run(tmp_path / "run")
    text = (run.path / "metrics.jsonl").read_text()
    (run.path / "metrics.jsonl").write_text(text.replace('"loss": 7.0,', '"loss": NaN,', 1))
    made = pretraining(run, "run")
    assert len(made.held_out) == 8
    assert made.notes == ["1 lines of the log hold numbers that are not finite; the curves leave them out."]


def test_the_level_of_word_frequencies_is_the_cross_entropy_of_the_held_out_text(weights):
    run, store = weights
    counts = np.zeros(store.vocabulary.size)
    for document in np.flatnonzero(~store.held_out).tolist():
        for token in store.document(document).tolist():
            counts[token] += 1
    (run.path / "artifacts").mkdir(exist_ok=True)
    np.savez(run.path / "artifacts" / "words.npz", counts=counts.astype(np.int64))
    held = [t for document in np.flatnonzero(store.held_out).tolist() for t in store.document(document).tolist()]
    total = counts.sum() + len(counts)
    level = word_frequencies(run)
    assert level["loss"] == pytest.approx(-sum(math.log((counts[t] + 1) / total) for t in held) / len(held))
    assert level["accuracy"] == pytest.approx(held.count(int(counts.argmax())) / len(held))


def test_a_run_that_guesses_no_words_has_no_such_level(tmp_path):
    assert word_frequencies(write_run(tmp_path / "run", recipe(pretext=config.CausalLM()))) == {}


def test_a_line_that_a_kill_cut_short_is_left_out_and_any_other_is_named(tmp_path):
    folder = write_tuning(tmp_path / "tuned", seeds=2)
    whole = open_folders([folder]).tunings[0].events
    with (folder / "metrics.jsonl").open("a") as lines:
        lines.write('{"event": "evalu')
    assert open_folders([folder]).tunings[0].events == whole
    with (folder / "metrics.jsonl").open("a") as lines:
        lines.write("\n")
    with pytest.raises(UserError, match=rf"metrics.jsonl: line {len(whole) + 1} is no JSON"):
        open_folders([folder])


def test_a_result_of_another_shape_is_named(tmp_path):
    folder = write_tuning(tmp_path / "tuned", seeds=2)
    result = msgspec.json.decode((folder / "result.json").read_bytes())
    result["tasks"]["pydocs/area"]["scratch"] = "good"
    (folder / "result.json").write_bytes(msgspec.json.encode(result))
    with pytest.raises(UserError, match=r"result.json is no result of fine-tuning .*scratch"):
        open_folders([folder])
