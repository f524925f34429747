"""`sesame data views`: a picture, the numbers of the source, and clear words for what it cannot draw."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sesame.cli.main import main


def test_a_sheet_is_drawn_and_the_source_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(name: str, *words: str) -> bytes:
        out = tmp_path / "new" / name
        given = f"data views digits --recipe digits --out {out} --images 2 --views 3 --json".split()
        assert main([*given, *words]) == 0
        return Image.open(out).tobytes()

    first = drawn("sheet.png")
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["height"], told["channels"], told["classes"]) == (1797, 8, 1, 10)
    assert drawn("again.png") == first  # the same chance again
    assert drawn("other.png", "--seed", "1") != first
    assert main(["data", "views", "digits", "--recipe", "digits", "--out", str(tmp_path / "new" / "sheet.png")]) == 2
    assert "exists and is left as it is" in capsys.readouterr().err
    assert Image.open(tmp_path / "new" / "sheet.png").tobytes() == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits", "--recipe", "digits", "--out", "a.jpg"], "ends in .png"),
        (["digits", "--recipe", "digit", "--out", "a.png"], "Did you mean"),
        (["digits", "--recipe", "bert-tiny", "--out", "a.png"], "bert-tiny learns from no views"),
        (["digits", "--recipe", "digits", "--out", "a.png", "--images", "0"], "at least 1"),
        (["a.npy", "--recipe", "digits", "--out", "a.png"], "a.npy"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.save("a.npy", np.zeros((3, 1, 1), np.uint8))
    assert main(["data", "views", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and "--data." not in error
    assert not (tmp_path / "a.png").exists()
