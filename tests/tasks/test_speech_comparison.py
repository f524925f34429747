"""A task on speech from every arm, in one comparison: paired by seed, saved, used again."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_spoken import tones
from tones import FROM_LEFT, model, said, task_data

from sesame import config
from sesame.config import FineTune
from sesame.errors import UserError
from sesame.tasks import folder as folders
from sesame.tasks.arms import ARMS, HEAD_ALONE
from sesame.tasks.comparison import compare
from sesame.tasks.opening import open_task
from sesame.tasks.phones import PhoneCtc, PhoneFrames
from sesame.tasks.spoken_class import SpokenClass
from sesame.tasks.tuned import open_tuned

QUICK = FineTune(epochs=1e-9, min_steps=4, rows=8, evaluations=1, threads=1)


@pytest.mark.parametrize(
    ("kind", "c"),
    [
        (SpokenClass, config.SpokenClass(train="x")),
        (PhoneFrames, config.PhoneFrames(train="x")),
        (PhoneCtc, config.PhoneCtc(train="x")),
    ],
)
def test_every_arm_learns_every_kind(kind, c, tmp_path: Path) -> None:
    told = []
    compared = compare(model(), task_data(kind, c, tmp_path, 12, 6), QUICK, seeds=2, tell=told.append)
    point = compared.result
    for arm in ("raw", "random", "frozen", "scratch", "pretrained"):
        assert getattr(point, arm).n == 2
    results = {(e["arm"], e["seed"]): e["test"][point.metric] for e in told if e["event"] == "result"}
    paired = [results["frozen", seed] - results["random", seed] for seed in (0, 1)]
    assert point.over_random.mean == pytest.approx(np.mean(paired))
    assert point.over_random.se == pytest.approx(np.std(paired, ddof=1) / 2**0.5)
    assert point.embeddings is None and point.tfidf is None and compared.arm == "pretrained"


def test_the_heads_of_a_class_are_chosen_balanced_and_smaller_choices_are_part_of_larger(tmp_path: Path) -> None:
    from sesame.tasks.comparison import Comparison

    data = task_data(SpokenClass, config.SpokenClass(train="x"), tmp_path, 30, 6)
    settings = FineTune(per_class=(2, 4), labels=(7,))
    work = Comparison.of(model(), data, settings, 3, HEAD_ALONE, False)
    assert work.sizes == {6: True, 7: False, 12: True}
    choices = {n: set(work.chosen(n, 1).tolist()) for n in work.sizes}
    for count in (6, 12):
        labels = [data.train[i].label for i in choices[count]]
        assert all(labels.count(label) == count // 3 for label in "aio")
    assert choices[6] < choices[12]
    assert set(work.chosen(6, 2).tolist()) != choices[6]
    assert len(set(choices[7])) == 7


def test_what_is_the_same_for_every_seed_is_worked_out_once(tmp_path: Path) -> None:
    compared = compare(
        model(FROM_LEFT),
        task_data(SpokenClass, config.SpokenClass(train="x"), tmp_path, 18, 9),
        FineTune(per_class=(3,)),
        seeds=3,
        arms=HEAD_ALONE,
    )
    assert compared.result.frozen.se == 0.0 and compared.arm == "frozen"
    assert compared.result.labels["9"].frozen.n == 3
    assert compared.result.random.se != 0.0


def test_phones_cannot_be_balanced(tmp_path: Path) -> None:
    data = task_data(PhoneFrames, config.PhoneFrames(train="x"), tmp_path, 6, 3)
    data.train[:] = [dataclasses.replace(example, label=None) for example in data.train]
    with pytest.raises(UserError, match="--per-class"):
        compare(model(), data, FineTune(per_class=(2,)), seeds=1, arms=HEAD_ALONE)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "load", lambda run: model())
    torch.set_num_threads(1)


@pytest.mark.parametrize("arms", [ARMS, HEAD_ALONE])
def test_the_best_model_is_saved_and_used_on_other_sounds(arms, loaded, tmp_path: Path) -> None:
    task = open_task(
        str(tones(tmp_path / "tones")), kind="spoken-class", label="tone", pattern="{tone}_{speaker}_{take}"
    )
    out = tmp_path / "out"
    found = folders.finetune("run", [task], out, QUICK, seeds=1, arms=arms)
    assert set(found) == {"tones-tone"} and json.loads((out / "result.json").read_text())["tasks"]["tones-tone"]
    tuned = open_tuned(out / "tones-tone")
    count, scores = tuned.evaluate(tmp_path / "tones")
    assert count == 48 and 0 <= scores["accuracy"] <= 1
    said(tmp_path / "other", 5, first=500)
    assert tuned.predict(tmp_path / "other", tmp_path / "said.tsv") == 5
    header, *rows = (tmp_path / "said.tsv").read_text().splitlines()
    assert header == "path\tprediction\tprobability" and len(rows) == 5
    assert all(row.split("\t")[1] in "aio" for row in rows)


def test_a_published_network_is_the_arm_frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    c = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=8,
        conv_dim=(8, 8, 8), conv_stride=(5, 8, 8), conv_kernel=(10, 8, 8), num_feat_extract_layers=3,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(c).save_pretrained(tmp_path / "hubert")
    from tones import DATA

    from sesame.engine import build
    from sesame.interop import published

    hears = config.SpeechData(sample_rate=DATA.sample_rate)  # the tones' own rate: nothing is resampled
    monkeypatch.setattr(published, "SAMPLE_RATE", DATA.sample_rate)
    whole = build.load(tmp_path / "hubert")
    assert whole.data == hears
    for kind, task in ((SpokenClass, config.SpokenClass), (PhoneFrames, config.PhoneFrames)):
        data = task_data(kind, task(train="x"), tmp_path / "sounds", 12, 6)
        point = compare(whole, data, QUICK, seeds=1).result
        assert point.frozen and point.raw and not (point.random or point.pretrained or point.scratch)
