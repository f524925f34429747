"""`sesame zoo`: the table, one of them, the figure, and mistakes."""

import json
from pathlib import Path

import pytest

from sesame.cli.main import main
from sesame.models.zoo import ZOO


def test_the_table_has_every_size_and_fits_a_terminal(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["zoo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.strip().split(" ")[0] in ZOO]
    assert len(table) == len(ZOO)  # a name that does not fit would be folded
    counts = [int(line.split()[2].replace(",", "")) for line in table]
    assert counts == sorted(counts) and all(len(line) <= 80 for line in table)


def test_one_of_them_says_where_its_figure_is_from_and_why_it_differs(capsys: pytest.CaptureFixture) -> None:
    assert main(["zoo", "gpt2"]) == 0
    said = capsys.readouterr().out
    assert "124,439,808" in said and "117,000,000" in said and "124M" in said and "Radford" in said
    assert main(["zoo", "gpt2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 124_439_808


def test_the_ladder_is_drawn_and_every_model_is_on_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["zoo", "--json", "--figure", str(tmp_path / "ladder.svg")]) == 0
    assert len(json.loads(capsys.readouterr().out)["sizes"]) == len(ZOO)
    drawn = (tmp_path / "ladder.svg").read_text()
    assert all(f">{name}<" in drawn for name in ZOO)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["gpt5"], "no published size called 'gpt5'"), (["--figure", "ladder.gif"], ".png, .svg or .html")],
)
def test_a_mistake_is_said_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["zoo", *words]) == 2
    assert said in capsys.readouterr().err
