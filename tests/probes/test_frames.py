"""What APC predicts against the task's own loss and double loops; what utterances are, on made tones."""

import json
from pathlib import Path

import numpy as np
import probed
import pytest
import soundfile
import torch

from sesame import config
from sesame.data.features import Features
from sesame.data.sound import read_sound
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, frames
from sesame.probes.frames import measure


@pytest.fixture(scope="module")
def apc(tmp_path_factory) -> tuple[Model, Ask]:
    torch.set_num_threads(1)
    return probed.speech(tmp_path_factory.mktemp("speech"))


def test_the_error_is_the_held_out_loss(apc):
    model, ask = apc
    (error,) = [v for v in measure(model, ask) if v.metric == "error"]
    pretext = model.objective.pretext
    with torch.no_grad():
        terms = [model.objective(pretext.split(b))["apc"] for b in pretext.stream(ask.data, 0).held_out(10**6)]
    assert error.group == "3 ahead"
    assert error.n == sum(term.count for term in terms) // 20
    assert error.value == pytest.approx(sum(float(term.sum) for term in terms) / sum(term.count for term in terms))


def test_at_every_distance_the_three_errors_are_those_of_a_double_loop(apc):
    model, ask = apc
    found = {(v.metric, v.group): v for v in measure(model, Ask(data=ask.data, full=True))}
    utterances, guesses = [], []
    for batch in model.objective.pretext.stream(ask.data, 0).held_out(10**6):
        for f, n in zip(batch.frames, batch.frames_in, strict=True):
            utterances.append(f[:n].astype(float))
            rows = probed_rows(utterances[-1])
            with torch.no_grad():
                guesses.append(model.objective.pretext.head(model.objective.backbone(rows).last)[0].double().numpy())
    mean = np.concatenate(utterances).mean(0)
    for h in range(1, 7):
        errors: dict[str, list[float]] = {"error": [], "error_copy": [], "error_mean": []}
        for x, guess in zip(utterances, guesses, strict=True):
            for t in range(len(x) - h):
                errors["error"].append(np.abs(guess[t] - x[t + h]).mean())
                errors["error_copy"].append(np.abs(x[t] - x[t + h]).mean())
                errors["error_mean"].append(np.abs(mean - x[t + h]).mean())
        for metric, by_hand in errors.items():
            value = found.pop((metric, f"{h} ahead"))
            assert value.value == pytest.approx(np.mean(by_hand), rel=1e-5) and value.n == len(by_hand)
    assert not found


def probed_rows(x: np.ndarray):
    """One utterance, alone in its row."""
    from sesame.data.batch import SpeechBatch
    from sesame.data.speech import rows_of

    only = {"key": np.zeros(1, np.uint64), "seed": 0, "epoch": 0}
    return rows_of(SpeechBatch(frames=x[None].astype(np.float32), frames_in=np.array([len(x)]), **only))


def test_a_task_that_predicts_no_frames_is_refused(apc, tmp_path: Path):
    model, ask = probed.text(tmp_path)
    with pytest.raises(UserError, match="only APC learns"):
        list(measure(model, ask))


# ------------------------------------------------------------------------------------- what an utterance is
@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Steady and rising tones of many pitches and lengths, and a table that says which is which."""
    random = np.random.default_rng(0)
    rows = ["path\tlabel\tsplit"]
    for i in range(40):
        time = np.arange(int(random.uniform(0.1, 0.3) * 16000)) / 16000
        pitch, rise = random.uniform(300, 900), 4000 * (i % 2)
        wave = 0.5 * np.sin(2 * np.pi * (pitch + rise * time / 2) * time) + 0.01 * random.standard_normal(len(time))
        soundfile.write(tmp_path / f"{i}.wav", wave, 16000)
        rows.append(f"{i}.wav\t{['steady', 'rising'][i % 2]}\t{'test' if i >= 30 else 'train'}")
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "labels.tsv"


def test_utterances_are_told_apart_by_their_mean_states(apc, tones: Path, monkeypatch):
    monkeypatch.setattr(frames, "POSITIONS", 100)  # several rows of several lengths
    model, _ = apc
    answers = list(measure(model, Ask(source=str(tones), full=True)))
    values = {(v.metric, v.group, v.layer): v for v in answers if isinstance(v, Value)}
    assert {layer for metric, _, layer in values if metric == "knn"} == {-1, 0, 1, 2}
    assert values["knn", "", -1].n == 10 and values["majority", "", -1].value == 0.5
    assert values["linear_log_mel", "", -1].value > 0.8
    assert [values[m, "", 2].value for m in ("knn", "linear")] == [values[m, "", -1].value for m in ("knn", "linear")]
    items = [i for i in answers if isinstance(i, Item)]
    assert len(items) == 20 and {i.word for i in items} == {"steady", "rising"}


def test_the_features_are_means_over_real_frames_of_utterances_by_themselves(apc, tones: Path, monkeypatch):
    monkeypatch.setattr(frames, "POSITIONS", 100)
    model, _ = apc
    seen = []
    monkeypatch.setattr(frames, "told", lambda features, things: seen.append((features, things)) or iter(()))
    list(measure(model, Ask(source=str(tones))))
    ((features, things),) = seen
    features_of, keys = Features(config.SpeechData(mels=20)), {}
    for i in range(40):
        path = tones.parent / f"{i}.wav"
        rows = probed_rows(features_of([read_sound(path, 16000)])[0][:32].astype(float))
        with torch.no_grad():
            keys[frames._key(path, "")] = model.objective.backbone(rows).last[0].mean(0).numpy(), i
    assert len(keys) == len(features) == 40 and things.known == 30
    for number, (vector, key) in enumerate(zip(features, things.key.tolist(), strict=True)):
        expected, i = keys[key]
        np.testing.assert_allclose(vector, expected, atol=1e-5)
        assert things.names[things.label[number]] == ["steady", "rising"][i % 2]
        assert (number >= 30) == (i >= 30)


def test_without_a_split_a_fifth_is_asked_by_content(apc, tones: Path):
    lines = [line.rsplit("\t", 1)[0] for line in tones.read_text().splitlines()]
    tones.write_text("\n".join(lines))
    model, _ = apc
    first = {i.key for i in measure(model, Ask(source=str(tones))) if isinstance(i, Item)}
    tones.write_text("\n".join([lines[0], *lines[:0:-1]]))
    assert first == {i.key for i in measure(model, Ask(source=str(tones))) if isinstance(i, Item)}
    assert 2 <= len(first) <= 16


@pytest.mark.parametrize(
    "content, message",
    [
        ("path\tkind\n0.wav\ta\n", "no column 'label'"),
        ("path\tlabel\nnowhere.wav\ta\n", r"labels\.tsv:2: .*nowhere\.wav cannot be read"),
        ("path\tlabel\n0.wav\ta\n1.wav\ta\n", "At least two labels"),
        ("path\tlabel\tsplit\n0.wav\ta\ttrain\n1.wav\tb\ttrain\n", "0 to ask about"),
    ],
)
def test_a_faulty_table_is_said(apc, tones: Path, content: str, message: str):
    tones.write_text(content)
    with pytest.raises(UserError, match=message):
        list(measure(apc[0], Ask(source=str(tones))))


def test_a_path_that_says_split_is_no_column(apc, tones: Path):
    lines = [line.split("\t") for line in tones.read_text().splitlines()[1:]]
    (tones.parent / "splits").symlink_to(tones.parent)
    table = tones.with_name("labels.jsonl")
    rows = [{"path": f"splits/{path}", "label": label} for path, label, _ in lines]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert any(isinstance(answer, Item) for answer in measure(apc[0], Ask(source=str(table))))


def test_a_sound_shorter_than_a_frame_is_said(apc, tones: Path):
    soundfile.write(tones.parent / "0.wav", np.zeros(10), 16000)
    with pytest.raises(UserError, match=r"labels\.tsv:2: 0\.wav is shorter"):
        list(measure(apc[0], Ask(source=str(tones))))


def test_a_model_of_text_hears_nothing(tmp_path: Path):
    model, _ = probed.text(tmp_path)
    with pytest.raises(UserError, match="run on speech"):
        list(measure(model, Ask(source="labels.tsv")))
