import os
import shutil
from pathlib import Path

import numpy as np
from chirps import write_chirps
from small_store import random_documents, store_of, vocabulary

from sesame import config, models, pretext
from sesame.data.speech import SpeechSet
from sesame.data.text import TextSet
from sesame.engine import build
from sesame.engine.artifact import artifact_of
from sesame.engine.run import Config, Run

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


def test_clusters_of_sounds_are_kept_by_what_is_heard_and_a_run_has_its_newest(tmp_path: Path) -> None:
    shape = config.Transformer(layers=1, width=16, heads=2, ffn=16, input="frames", features=8, kinds=0)

    def clustered(name: str, sounds: Path) -> set[int]:
        """The utterances whose clusters are known to the run `name`, begun with these sounds and opened later."""
        shutil.rmtree(tmp_path / "source", ignore_errors=True)
        shutil.copytree(sounds, tmp_path / "source")
        source = config.SpeechData(source=str(tmp_path / "source"), mels=8, length=32, rows=2)
        recipe = config.Recipe(name="x", data=source, backbone=shape, pretext=config.Hubert(clusters=4, span=3))
        run = Run(tmp_path / name, Config(recipe=recipe, machine={}))
        artifact_of(run.artifacts, build.build(recipe, None).pretext, recipe, SpeechSet(source))
        opened = build.build(recipe, None)
        build.recall(opened, run)
        known = set(opened.pretext.labels)
        assert known == set(SpeechSet(source).key.tolist())
        for file in run.artifacts.iterdir():  # of an earlier day than what comes next
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**12))
        return known

    one = write_chirps(tmp_path / "one", 8)
    other = Path(shutil.copytree(one, tmp_path / "other"))
    (other / "07.wav").unlink()
    for name, first, second in (("run", one, other), ("run the other way round", other, one)):
        assert clustered(name, first) == clustered(name, first)
        assert len(list((tmp_path / name / "artifacts").iterdir())) == 1
        assert clustered(name, second) != clustered(name, first)
        assert len(list((tmp_path / name / "artifacts").iterdir())) == 2
