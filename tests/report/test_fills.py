"""Fill examples are the model's own guesses, in sentences that it never trained on."""

import msgspec
import numpy as np
import pytest

from sesame import config
from sesame.data.text import TextSet
from sesame.data.twin import WITHOUT
from sesame.engine.build import load
from sesame.engine.run import Run
from sesame.report.fills import GUESSES, fills, held_out_gaps, steps_of
from sesame.report.reading import pretraining
from sesame.report.report import text_in
from sesame.tasks.fill import fill


@pytest.fixture
def run(weights):
    return pretraining(Run.open(weights[0].path), "run")


def test_of_many_checkpoints_the_first_the_last_and_some_between_are_shown(run):
    assert steps_of(run) == [0, 100, 200, 400, 500]


def test_the_guesses_are_those_of_each_checkpoint(run):
    found, notes = fills(run, ["the [MASK] of the list"])
    assert notes == []
    (example,) = found
    assert [step for step, _ in example.guesses] == [0, 100, 200, 400, 500]
    for step, guesses in example.guesses:
        assert guesses == fill(load(run.run.path, step), "the [MASK] of the list", GUESSES).masks[0]


def test_a_hidden_word_put_back_gives_a_sentence_of_the_held_out_text(run, weights):
    store = weights[1]
    held_out = [store.vocabulary.decode(store.document(d)) for d in np.flatnonzero(store.held_out).tolist()]
    gaps = held_out_gaps(run)
    assert len(gaps) == 4
    assert gaps == held_out_gaps(run)
    for gap in gaps:
        assert gap.text.count("[MASK]") == 1
        assert any(gap.text.replace("[MASK]", gap.word) in text for text in held_out)


def test_where_the_text_is_gone_it_is_said(run):
    gone = msgspec.structs.replace(run.run.recipe, data=msgspec.structs.replace(run.run.recipe.data, store="gone"))
    run.run.recipe = gone
    found, notes = fills(run)
    assert found == []
    assert "gone: no such token store" in notes[0]
    assert "--text" in notes[0]


def test_another_text_under_the_same_name_is_not_taken_for_the_run_s(run):
    run.run.config = msgspec.structs.replace(run.run.config, data="another")
    found, notes = fills(run)
    assert found == []
    assert "holds other text than it did" in notes[0]


def test_a_twin_s_sentences_are_those_of_the_text_that_it_shares(run, weights, tmp_path):
    gaps, store = held_out_gaps(run), weights[1]
    np.save(tmp_path / WITHOUT, store.keys[:1])
    twin = config.Twin(of="run", at=0, folder=str(tmp_path), without=("some.txt",))
    data = msgspec.structs.replace(run.run.recipe.data, twin=twin)
    run.run.recipe = msgspec.structs.replace(run.run.recipe, data=data)
    run.run.config = msgspec.structs.replace(run.run.config, data=TextSet.open(data).hash)
    assert held_out_gaps(run) == gaps and text_in(run) == store.info


def test_a_damaged_checkpoint_is_left_out_and_named(run):
    weights = run.run.checkpoints / "step-00000200" / "objective.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    try:
        found, notes = fills(run, ["the [MASK]"])
    finally:
        weights.write_bytes(whole)
    assert [step for step, _ in found[0].guesses] == [0, 100, 400, 500]
    assert notes[0].startswith("The checkpoint of step 200 is left out: ")
