"""The shapes of published data sets, as tiny folders, and names that say what a file is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sesame.config import SpeechData
from sesame.data.sources import Skips
from sesame.data.utterance import Utterance
from sesame.data.utterances import utterances
from sesame.errors import UserError


def write(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.random.default_rng(number).uniform(-0.1, 0.1, 1600), 16000)
    return folder


def found(folder: Path, skips: Skips | None = None, **options: object) -> dict[str, Utterance]:
    listed = utterances(SpeechData(source=str(folder), **options), skips)
    return {str(u.path.relative_to(folder)): u for u in listed}


def test_librispeech_gives_texts_readers_and_splits(tmp_path: Path) -> None:
    write(tmp_path, *(f"{s}/84/121/84-121-000{i}.flac" for s in ("dev-clean", "train-clean-100") for i in (0, 1)))
    for subset in ("dev-clean", "train-clean-100"):
        texts = f"84-121-0000 GO DO YOU HEAR\n84-121-0001 BUT IN {subset.upper()}\n"
        (tmp_path / subset / "84/121/84-121.trans.txt").write_text(texts)
    one = found(tmp_path)["train-clean-100/84/121/84-121-0001.flac"]
    assert (one.text, one.speaker, one.split) == ("BUT IN TRAIN-CLEAN-100", "84", "train")
    assert one.fields["subset"] == "train-clean-100"
    assert [u.split for u in found(tmp_path / "dev-clean").values()] == ["dev", "dev"]


def test_librispeech_without_a_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, "84/121/84-121-0000.flac", "84/121/84-121-0001.flac")
    (tmp_path / "84/121/84-121.trans.txt").write_text("84-121-0000 GO\n")
    with pytest.raises(UserError, match=r"84-121-0001\.flac: 84-121\.trans\.txt has no line"):
        found(tmp_path)
    skips = Skips()
    assert len(found(tmp_path, skips, skip_bad=True)) == 1 and skips.report()["no text"].count == 1


def test_speech_commands_gives_words_speakers_and_the_official_split(tmp_path: Path) -> None:
    names = ["yes/0a7c_nohash_0.wav", "no/0a7c_nohash_1.wav", "no/ff00_nohash_0.wav", "_background_noise_/tap.wav"]
    write(tmp_path, *names)
    (tmp_path / "validation_list.txt").write_text("no/0a7c_nohash_1.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/ff00_nohash_0.wav\n")
    skips = Skips()
    listed = found(tmp_path, skips)
    assert {n: (u.label, u.text, u.speaker, u.split) for n, u in listed.items()} == {
        "yes/0a7c_nohash_0.wav": ("yes", "yes", "0a7c", "train"),
        "no/0a7c_nohash_1.wav": ("no", "no", "0a7c", "dev"),
        "no/ff00_nohash_0.wav": ("no", "no", "ff00", "test"),
    }
    assert skips.report()["background noise, which is no utterance"].count == 1


@pytest.mark.parametrize("below", ["", "wav/"])
def test_voxceleb_gives_speakers(tmp_path: Path, below: str) -> None:
    write(tmp_path, f"{below}id10270/5r0dWxy17C8/00001.wav", f"{below}id10271/1gtz-CUIygI/00002.wav")
    (tmp_path / "iden_split.txt").write_text("3 id10270/5r0dWxy17C8/00001.wav\n1 id10271/1gtz-CUIygI/00002.wav\n")
    listed = list(found(tmp_path).values())
    assert [(u.speaker, u.label, u.split) for u in listed] == [
        ("id10270", "id10270", "test"),
        ("id10271", "id10271", "train"),
    ]


def test_another_label_of_a_published_folder_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, "yes/0a7c_nohash_0.wav", "no/ff00_nohash_1.wav")
    assert [u.label for u in found(tmp_path, label="speaker").values()] == ["ff00", "0a7c"]
    with pytest.raises(UserError, match=r"no field 'speeker' \(--data\.label\)\. Did you mean speaker"):
        found(tmp_path, label="speeker")


def test_a_label_that_nothing_says_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    with pytest.raises(UserError, match="nothing says what 'mood'"):
        found(tmp_path, label="mood")


def test_names_say_what_a_pattern_says(tmp_path: Path) -> None:
    write(tmp_path, "flac/7_george_12.flac", "flac/0_theo_3.flac")
    listed = found(tmp_path, pattern="{digit}_{speaker}_{take}", label="digit")
    assert [(u.label, u.speaker, u.fields["take"]) for u in listed.values()] == [
        ("0", "theo", "3"),
        ("7", "george", "12"),
    ]


def test_a_pattern_counts_characters_and_names_folders(tmp_path: Path) -> None:
    write(tmp_path, "loud/03a01Fa.wav")
    (one,) = found(tmp_path, pattern="{label}/{speaker:2}{sentence:3}{emotion:1}{take}").values()
    assert one.label == "loud"
    assert one.fields == {"label": "loud", "speaker": "03", "sentence": "a01", "emotion": "F", "take": "a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "{digit}_{who}", "label": "emotion"}, "no field of --data.pattern"),
        ({"pattern": "{digit"}, "cannot be read"),
        ({"pattern": "name"}, "cannot be read"),
        ({"pattern": "{a}_{a}"}, "names 'a' twice"),
        ({"pattern": "{a}_{b}_{c}_{d}"}, r"7_x\.wav: the name does not fit"),
    ],
)
def test_patterns_that_do_not_fit_are_named(tmp_path: Path, options: dict[str, str], message: str) -> None:
    write(tmp_path, "7_x.wav")
    with pytest.raises(UserError, match=message):
        found(tmp_path, **options)


def test_any_other_folder_is_a_list_of_files_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b/2.ogg", "a.flac", "b/1.WAV")
    (tmp_path / "notes.txt").write_text("none")
    assert list(found(tmp_path)) == ["a.flac", "b/1.WAV", "b/2.ogg"]


def test_every_kind_that_can_be_read_is_and_the_others_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", "b.mp3", "c.aiff", "e.ogg")
    (tmp_path / "d.AIF").write_bytes((tmp_path / "c.aiff").read_bytes())
    soundfile.write(tmp_path / "f.opus", np.zeros(1600), 16000, format="OGG", subtype="OPUS")
    for name in ("g.m4a", "h.WMA", "notes.txt"):
        (tmp_path / name).write_bytes(b"none")
    skips = Skips()
    assert list(found(tmp_path, skips)) == ["a.wav", "b.mp3", "c.aiff", "d.AIF", "e.ogg", "f.opus"]
    assert skips.report()["a kind of sound that is not read"].count == 2


def test_one_file_is_a_source_too(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    assert len(utterances(SpeechData(source=str(tmp_path / "a.wav")))) == 1
