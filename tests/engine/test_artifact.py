from pathlib import Path

import numpy as np
from small_store import random_documents, store_of, vocabulary

from sesame import config, models, pretext
from sesame.data.text import TextSet
from sesame.engine.artifact import artifact_of

SHAPE = config.Transformer(layers=1, width=16, heads=2, ffn=16, vocab=60, positions=24)


def test_it_is_computed_once_and_again_when_the_text_changes(tmp_path: Path, monkeypatch) -> None:
    recipe = config.Recipe(name="x", data=config.TextData(length=24), backbone=SHAPE, pretext=config.Bert())
    task = pretext.build(recipe.pretext, models.build(SHAPE), vocabulary())
    calls = []
    prepare = type(task).prepare
    monkeypatch.setattr(type(task), "prepare", lambda self, data: calls.append(1) or prepare(self, data))
    one, other = (TextSet(store_of(tmp_path / str(n), random_documents(n)), recipe.data) for n in (9, 8))
    first = artifact_of(tmp_path / "kept", task, recipe, one)
    again = artifact_of(tmp_path / "kept", task, recipe, one)
    assert len(calls) == 1
    assert np.array_equal(first["counts"], again["counts"])
    assert np.array_equal(first["counts"], np.bincount(one.store.ids, minlength=60))
    changed = artifact_of(tmp_path / "kept", task, recipe, other)
    assert len(calls) == 2
    assert not np.array_equal(first["counts"], changed["counts"])
    assert sorted(p.suffix for p in (tmp_path / "kept").iterdir()) == [".npz", ".npz"]
