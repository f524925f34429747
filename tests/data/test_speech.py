"""SpeechStream: every utterance's own frames, whatever stands beside it; skips are counted, mistakes named."""

import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from chirps import write_chirps

from sesame.config import SpeechData
from sesame.data.batch import Cursor
from sesame.data.features import Features
from sesame.data.sound import read_sound
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chirps(tmp_path_factory.mktemp("chirps"))


def stream(folder: Path, seed: int = 0, rows: int = 4, **options: Any) -> SpeechStream:
    return SpeechStream(SpeechSet(SpeechData(source=str(folder), mels=40, rows=rows, **options)), seed)


def test_padding_never_changes_a_feature(folder: Path) -> None:
    found, features = stream(folder), Features(SpeechData(mels=40))
    batch = next(found.train(Cursor(), 0, 10, 1)).parts[0]
    path = {u.key: u.path for u in found.data.utterances}
    assert len(set(batch.frames_in.tolist())) > 1
    for row, (key, size) in enumerate(zip(batch.key.tolist(), batch.frames_in.tolist(), strict=True)):
        (own,) = features([soundfile.read(path[key], dtype="float32")[0]])
        assert size == len(own)
        assert (batch.frames[row, :size] == own).all()
        assert (batch.frames[row, size:] == 0).all()


def test_rows_number_the_examples_and_mark_what_is_no_data(folder: Path) -> None:
    batch = next(stream(folder).train(Cursor(), 0, 10, 1)).parts[0]
    rows = rows_of(batch)
    for row, size in enumerate(batch.frames_in.tolist()):
        assert (rows.example[row, :size] == row).all() and (rows.example[row, size:] == -1).all()
        assert torch.equal(rows.position[row, :size], torch.arange(size))
    assert int(rows.valid.sum()) == batch.size and not rows.alone


def test_a_long_utterance_is_cut_to_the_row_at_another_place_each_epoch(folder: Path) -> None:
    found = stream(folder, length=12)
    turn = np.arange(4)
    batches = [found.batch(turn, 0, epoch) for epoch in range(6)]
    assert all(batch.frames.shape == (4, 12, 40) for batch in batches)
    assert len({batch.frames[0].tobytes() for batch in batches}) > 1
    for row, batch in itertools.product(range(4), batches):
        whole = found.data.features(found.data.utterances[row])
        assert any((whole[i : i + 12] == batch.frames[row]).all() for i in range(len(whole) - 11))


def test_the_size_of_a_step_is_its_frames_over_all_processes(folder: Path) -> None:
    whole = next(stream(folder, rows=6).train(Cursor(), 0, 10, 1))
    data = SpeechSet(SpeechData(source=str(folder), mels=40, rows=6))
    shared = [next(SpeechStream(data, 0, rank, 2).train(Cursor(), 0, 10, 1)) for rank in range(2)]
    assert whole.size == whole.parts[0].size == sum(s.parts[0].size for s in shared)
    assert {s.size for s in shared} == {whole.size}


def test_equal_files_are_on_one_side_of_the_split(folder: Path, tmp_path: Path) -> None:
    both = shutil.copytree(folder, tmp_path / "both")
    for path in sorted(folder.iterdir()):
        shutil.copy(path, both / f"copy-{path.name}")
    found = stream(both)
    away = found.key[found.away].tolist()
    assert len(away) == 2 * len(set(away)) > 0
    assert not set(away) & set(found.key[found.training].tolist())


def test_unreadable_and_too_short_files_are_skipped_and_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worse = shutil.copytree(folder, tmp_path / "worse")
    soundfile.write(worse / "click.wav", np.zeros(300), 16000)
    (worse / "broken.flac").write_bytes(b"no sound at all")
    with pytest.raises(UserError, match=r"broken\.flac .*--data\.skip-bad"):
        stream(worse)
    found = stream(worse, skip_bad=True)
    assert {reason: skip.count for reason, skip in found.data.skips.report().items()} == {
        "unreadable file": 1,
        "shorter than a frame": 1,
    }
    assert len(found.data.utterances) == 24
    assert "broken.flac" in caplog.text and "click.wav" in caplog.text


@pytest.mark.parametrize(("value", "subtype"), [(np.nan, "FLOAT"), (-np.inf, "DOUBLE"), (1e300, "DOUBLE")])
def test_samples_that_are_not_finite_are_named_or_counted(
    value: float, subtype: str, folder: Path, tmp_path: Path
) -> None:
    worse = shutil.copytree(folder, tmp_path / "worse")
    sound = np.zeros((4000, 2))
    sound[50, 1] = value
    soundfile.write(worse / "worse.wav", sound, 16000, subtype=subtype)
    with pytest.raises(UserError, match=r"worse\.wav: samples are NaN or infinite.*--data\.skip-bad"):
        stream(worse)
    found = stream(worse, skip_bad=True)
    assert found.data.skips.report()["samples that are not finite"].count == 1
    assert len(found.data.utterances) == 24
    with pytest.raises(UserError, match=r"worse\.wav: samples are not finite"):
        read_sound(worse / "worse.wav", 16000)


def manifest(folder: Path, splits: list[str]) -> Path:
    names = sorted(path.name for path in folder.glob("*.wav"))
    lines = [f"{name}\t{split}\n" for name, split in zip(names, splits, strict=True)]
    (folder / "list.tsv").write_text("".join(["path\tsplit\n", *lines]))
    return folder / "list.tsv"


def test_what_the_source_calls_dev_or_test_is_neither_trained_on_nor_held_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, names = write_chirps(tmp_path, 60), ["train", "Test", "dev", "train", "", "test-clean"]
    whole = stream(folder)
    with caplog.at_level(logging.INFO):
        found = stream(manifest(folder, names * 10))
    assert "30 of 60 utterances are its dev or test part" in caplog.text
    ours = np.flatnonzero(np.array([0, 1, 1, 0, 0, 1] * 10) == 0)
    assert (found.training == np.intersect1d(whole.training, ours)).all()
    assert found.away.tolist() == [i for i in whole.away.tolist() if i in ours]
    assert found.data.hash != whole.data.hash


@pytest.mark.parametrize("split", ["", "train", "test"])
def test_a_source_of_one_part_is_all_trained_on(split: str, tmp_path: Path) -> None:
    folder = write_chirps(tmp_path, 60)
    whole, found = stream(folder), stream(manifest(folder, [split] * 60))
    assert (found.training == whole.training).all() and (found.away == whole.away).all()
    assert found.data.hash == whole.data.hash


def test_a_part_of_what_is_held_out_is_as_long_as_the_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number, size in enumerate(np.linspace(1600, 16000, 600).astype(int).tolist()):  # a folder sorted by length
        soundfile.write(tmp_path / f"{number:03}.wav", 0.1 * random.standard_normal(size), 16000)
    found = stream(tmp_path)
    whole = found.frames[found.away]
    part = np.concatenate([batch.frames_in for batch in found.held_out(24)])
    assert len(part) == 24 < len(whole) / 2 and (np.diff(part) >= 0).all()
    assert part.mean() == pytest.approx(whole.mean(), rel=0.2)


def test_flac_and_wav_of_one_sound_give_the_same_frames(tmp_path: Path) -> None:
    first = stream(write_chirps(tmp_path / "wav", 8))
    (tmp_path / "flac").mkdir()
    for path in (tmp_path / "wav").iterdir():
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(tmp_path / "flac" / f"{path.stem}.flac", samples, rate)
    other = stream(tmp_path / "flac")
    for a, b in zip(first.data.utterances, other.data.utterances, strict=True):
        assert (first.data.features(a) == other.data.features(b)).all()


def test_channels_are_averaged(tmp_path: Path) -> None:
    write_chirps(tmp_path, 8)
    left, rate = soundfile.read(tmp_path / "00.wav")
    soundfile.write(tmp_path / "00.wav", np.stack([left, np.zeros_like(left)], 1), rate, subtype="FLOAT")
    found = stream(tmp_path)
    (expected,) = Features(SpeechData(mels=40))([(left / 2).astype(np.float32)])
    np.testing.assert_allclose(found.data.features(found.data.utterances[0]), expected, atol=1e-3)


def test_another_sample_rate_says_which_one_to_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    found = stream(write_chirps(tmp_path, rate=8000))
    with pytest.raises(UserError, match=r"--data.sample-rate 8000"):
        next(found.train(Cursor(), 0, 10, 1))


@pytest.mark.parametrize("source", ["", "/nowhere/at/all"])
def test_a_missing_folder_is_named(source: str) -> None:
    with pytest.raises(UserError, match="no folder"):
        SpeechStream(SpeechSet(SpeechData(source=source)), 0)


def test_a_folder_without_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(UserError, match=r"holds no usable utterance \(no \.wav"):
        SpeechStream(SpeechSet(SpeechData(source=str(tmp_path))), 0)


def test_a_file_that_was_cut_meanwhile_is_named(folder: Path, tmp_path: Path) -> None:
    worse = shutil.copytree(folder, tmp_path / "worse")
    found = stream(worse)
    path = found.data.utterances[0].path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=path.name):
        found.data.features(found.data.utterances[0])


def test_rows_of_a_step_are_about_as_long_as_each_other(tmp_path: Path) -> None:
    folder = write_chirps(tmp_path, 60)

    def padded(bucket: int) -> float:
        batches = [s.parts[0] for s in itertools.islice(stream(folder, bucket=bucket).train(Cursor(), 0, 10, 1), 12)]
        return 1 - sum(b.size for b in batches) / sum(b.frames.shape[0] * b.frames.shape[1] for b in batches)

    assert padded(12) < 0.08 < 0.15 < padded(1)


def test_going_on_from_a_cursor_hears_the_same_to_the_bit(folder: Path) -> None:
    steps = list(itertools.islice(stream(folder, length=20).train(Cursor(), 0, 20, 1), 12))
    later = list(itertools.islice(stream(folder, length=20).train(steps[6].cursor, 7, 20, 1), 5))
    for a, b in zip(steps[7:], later, strict=True):
        assert a.cursor == b.cursor and (a.parts[0].frames == b.parts[0].frames).all()


@pytest.mark.parametrize("options", [{"features": "fbank", "deltas": 2}, {"features": "wave"}, {"features": "mfcc"}])
def test_a_batch_of_any_feature_is_as_wide_as_the_recipe_says(folder: Path, options: dict[str, Any]) -> None:
    data = SpeechData(source=str(folder), rows=4, length=25, **options)
    batch = SpeechStream(SpeechSet(data), 0).batch(np.arange(4), 0, 0)
    assert batch.frames.shape == (4, data.longest, data.width)
    assert batch.frames.shape[2] == batch.repeats * {"fbank": 80, "wave": 1, "mfcc": 13}[data.features]
    assert (batch.frames_in == data.longest).any() and np.isfinite(batch.frames).all()


def test_mixed_rates_are_resampled(tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    for rate in (48000, 44100, 16000, 8000):
        soundfile.write(tmp_path / f"{rate:05}.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate), rate)
    found = stream(tmp_path, rows=1)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert {u.rate for u in found.data.utterances} == {48000, 44100, 16000, 8000} and {
        u.frames for u in found.data.utterances
    } == {98}
    for utterance in found.data.utterances:
        sound = found.data.sound(utterance)
        assert len(sound) == 16000
        np.testing.assert_allclose(sound[1000:-1000], expected[1000:-1000], atol=1e-3)


@pytest.mark.parametrize("samples", [0, 300])
def test_a_clip_without_a_whole_frame_is_named(folder: Path, tmp_path: Path, samples: int) -> None:
    worse = shutil.copytree(folder, tmp_path / "worse")
    soundfile.write(worse / "click.wav", np.zeros(samples), 16000)
    with pytest.raises(UserError, match=r"click\.wav: .* are less than a frame.*--data\.skip-bad"):
        stream(worse)
