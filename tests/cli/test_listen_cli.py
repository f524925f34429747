"""`sesame data listen`: what is said of a source, what was left out, the picture, and mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chirps import write_chirps

from sesame.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six chirps and a manifest that says who is heard and how."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    write_chirps(tmp_path / "sound", 6)
    lines = ["path\tspeaker\tmood\ttext", *(f"sound/{i:02}.wav\t{'ab'[i % 2]}\t{'xyz'[i % 3]}\tgo" for i in range(6))]
    (tmp_path / "list.tsv").write_text("\n".join(lines))
    return tmp_path


def test_it_says_hours_speakers_labels_rates(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "listen", "list.tsv", "--label", "mood", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    seconds = sum(soundfile.info(path).duration for path in (folder / "sound").iterdir())
    assert said == json.loads((folder / "result.json").read_text())
    assert said["utterances"] == said["distinct"] == said["with_text"] == 6
    assert said["hours"] == pytest.approx(seconds / 3600)
    assert said["speakers"] == {"a": 3, "b": 3} and said["labels"] == {"x": 2, "y": 2, "z": 2}
    assert said["rates"] == {"16000": 6} and said["skipped"] == {}


def test_what_is_left_out_is_counted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    soundfile.write(folder / "sound/zero.wav", np.zeros(0), 16000)
    (folder / "sound/broken.flac").write_bytes(b"no sound")
    assert main(["data", "listen", "sound"]) == 2
    assert "broken.flac cannot be read as sound" in capsys.readouterr().err
    assert main(["data", "listen", "sound", "--skip-bad"]) == 0
    out = capsys.readouterr().out
    assert "unreadable file" in out and "shorter than a frame" in out and "zero.wav" in out
    skipped = json.loads((folder / "result.json").read_text())["skipped"]
    assert {reason: of["count"] for reason, of in skipped.items()} == {"unreadable file": 1, "shorter than a frame": 1}


def test_the_picture_shows_each_tone_where_it_is(folder: Path, capsys: pytest.CaptureFixture) -> None:
    image = pytest.importorskip("PIL.Image")
    time = np.arange(8000) / 16000
    for name, hertz in (("low", 200), ("high", 6000)):
        (folder / name).mkdir()
        soundfile.write(folder / name / "tone.wav", 0.5 * np.sin(2 * np.pi * hertz * time), 16000)
        assert main(["data", "listen", name, "--picture", f"{name}.png"]) == 0
    bright = {n: np.asarray(image.open(folder / f"{n}.png"))[8:88, 8:50].mean(1).argmax() for n in ("low", "high")}
    assert bright["high"] < 12 and 65 < bright["low"] < 80  # low bands are at the bottom


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "'nowhere' is no folder and no manifest"),
        (["list.tsv", "--label", "mud"], "no column 'mud' (--data.label). Did you mean mood?"),
        (["list.tsv", "--picture", "list.tsv"], "Give a name that ends in .png"),
        (["list.tsv", "--shown", "0"], "at least one spectrogram"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture, options: list[str], message: str) -> None:
    assert main(["data", "listen", *options]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
