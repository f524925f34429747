"""Utterances as examples: who is kept apart from whom, what is cut and counted, what is refused."""

import dataclasses
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tones import BOTH_SIDES, DATA, model, said, task_data

from sesame import config
from sesame.data.utterance import Utterance
from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.finetune import encode
from sesame.tasks.hearing import Ear
from sesame.tasks.opening import open_task
from sesame.tasks.spoken import Spoken, divided, mean_and_spread, numbered
from sesame.tasks.spoken_class import SpokenClass

C = config.SpokenClass(train="x")


def utterance(number: int, speaker: str, split: str = "") -> Spoken:
    return Spoken(f"{number:04}", "", Utterance(Path("x"), speaker=speaker, split=split), "a")


def sides(parts: tuple[list[Spoken], ...]) -> list[set[str]]:
    return [{e.utterance.speaker for e in part} for part in parts]


def test_no_speaker_is_on_two_sides_where_the_task_is_not_the_speaker() -> None:
    examples = [utterance(n, f"s{n % 10}") for n in range(200)]
    notes = Notes()
    train, dev, test = sides(divided("x", C, examples, notes, test=True))
    assert not (train & dev or train & test or dev & test)
    assert (len(train), len(dev), len(test)) == (6, 2, 2)
    assert notes.counts == {"utterances divided by speakers": 200}


def test_of_the_speaker_task_every_speaker_is_on_every_side() -> None:
    examples = [utterance(n, f"s{n % 5}") for n in range(200)]
    parts = divided("x", config.SpokenClass(train="x", label="speaker"), examples, Notes(), test=True)
    assert sides(parts) == [{f"s{n}" for n in range(5)}] * 3 and sum(map(len, parts)) == 200


def test_the_source_s_own_division_is_kept_if_it_keeps_speakers_apart() -> None:
    apart = [utterance(n, f"s{n % 6}", "test" if n % 6 == 0 else "train") for n in range(60)]
    assert sides(divided("x", C, apart, Notes(), test=True))[2] == {"s0"}
    mixed = [utterance(n, f"s{n % 6}", "test" if n < 12 else "train") for n in range(60)]
    train, dev, test = sides(divided("x", C, mixed, Notes(), test=True))
    assert not (train & test or dev & test or train & dev)
    own = divided("x", msgspec.structs.replace(C, apart="source"), mixed, Notes(), test=True)
    assert {e.key for e in own[2]} == {f"{n:04}" for n in range(12)}


def test_who_is_held_out_does_not_depend_on_who_else_is_there() -> None:
    """Adding utterances of known speakers moves none of the others."""
    some = [utterance(n, f"s{n % 8}") for n in range(80)]
    more = [*some, *(utterance(n, "s3") for n in range(80, 99))]
    first, second = (sides(divided("x", C, part, Notes(), test=True)) for part in (some, more))
    assert first == second


def test_two_speakers_are_too_few_to_keep_apart() -> None:
    examples = [utterance(n, f"s{n % 2}") for n in range(40)]
    notes = Notes()
    divided("x", C, examples, notes, test=True)
    assert "utterances divided by utterances" in notes.counts
    with pytest.raises(UserError, match="2 speakers are known"):
        divided("x", msgspec.structs.replace(C, apart="speakers"), examples, Notes(), test=True)


def test_the_same_sound_twice_has_two_keys() -> None:
    keys = [e.key for e in numbered([utterance(1, "a"), utterance(2, "a"), utterance(1, "b"), utterance(1, "c")])]
    assert keys == ["0001", "0002", "0001-2", "0001-3"]


def test_an_utterance_is_read_as_pretraining_reads_it(tmp_path: Path) -> None:
    data = task_data(SpokenClass, C, tmp_path, train=4, other=3)
    encoded = encode(model(), data)
    frames = list(Ear(DATA).frames([e.utterance for e in data.train]))
    assert encoded.train.lengths.tolist() == [min(len(f), 120) for f in frames]
    np.testing.assert_array_equal(encoded.train.ids, np.concatenate(frames))
    short = encode(model(), dataclasses.replace(data, notes=Notes()), length=30)
    assert (short.train.lengths == 30).all() and short.data.notes.counts["cut to 30 frames"] == 10


def test_the_mean_and_spread_are_those_of_the_mel_bands_before_anything_is_normalised(tmp_path: Path) -> None:
    quiet, loud = said(tmp_path / "a", 1), said(tmp_path / "b", 1)
    import soundfile

    sound, rate = soundfile.read(loud[0].utterance.path)
    soundfile.write(loud[0].utterance.path, sound * 2, rate)
    first, second = mean_and_spread([*quiet, *loud])
    bands = len(first) // 4
    np.testing.assert_allclose(second[:bands] - first[:bands], np.log(4.0), atol=0.05)


def test_without_a_network_mel_statistics_beat_the_commonest_label(tmp_path: Path) -> None:
    data = task_data(SpokenClass, C, tmp_path)
    said = data.task.baselines(data.train, data.test)
    scores = {name: data.task.metrics(data.test, p)["accuracy"] for name, p in said.items()}
    assert scores["spread"] > scores["majority"] + 0.3
    alike = [example for example in data.train if example.label == data.train[0].label]
    assert data.task.lexical(alike, data.test) == data.task.majority(alike, data.test)


# -------------------------------------------------------------------------------------------------- opening
def tones(folder: Path, count: int = 48) -> Path:
    """A folder whose file names say what is in it."""
    for example in said(folder, count):
        u = example.utterance
        u.path.rename(folder / f"{u.label}_{u.speaker}_{u.path.stem}.wav")
    return folder


def test_a_folder_whose_file_names_say_the_label_is_a_task(tmp_path: Path) -> None:
    folder = tones(tmp_path / "tones")
    fields = {"kind": "spoken-class", "pattern": "{tone}_{speaker}_{take}", "label": "tone"}
    data = open_task(str(folder), **fields)
    assert data.name == "tones-tone" and data.task.labels == ("a", "i", "o")
    assert len(data.train) + len(data.dev) + len(data.test) == 48
    speakers = open_task(str(folder), **fields | {"label": "speaker"})
    assert set(Counter(e.label for e in speakers.train)) == {f"s{n}" for n in range(6)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "spoken-class", "label": "mood", "pattern": "{tone}_{speaker}_{take}"}, "mood"),
        ({"kind": "phone-frames"}, "does not know the phones"),
        ({"kind": "spoken-clas"}, "kind"),
    ],
)
def test_what_a_source_does_not_say_is_named(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_task(str(tones(tmp_path / "tones", 6)), **fields)


def test_a_text_model_hears_nothing_and_a_speech_model_reads_nothing(tmp_path: Path) -> None:
    from small_model import make
    from small_task import task_data as of_text

    with pytest.raises(UserError, match="reads no speech"):
        encode(make(), task_data(SpokenClass, C, tmp_path, train=4, other=3))
    with pytest.raises(UserError, match="cannot read this text"):
        encode(model(BOTH_SIDES), of_text())
