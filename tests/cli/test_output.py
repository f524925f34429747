"""A table for people, result.json, and --json that is JSON alone."""

import json

import numpy as np
import pytest

from sesame.cli.output import emit, table, write_result
from sesame.errors import UserError


def test_json_is_alone_on_stdout_and_the_same_on_disk(tmp_path, capsys):
    result = {"loss": np.float32(0.5), "ids": np.arange(3), "store": tmp_path, "text": "[MASK] 中"}
    emit("fill", result, "a line for people", as_json=True, path=tmp_path / "new" / "result.json")
    said = capsys.readouterr().out
    expected = {"command": "fill", "loss": 0.5, "ids": [0, 1, 2], "store": str(tmp_path), "text": "[MASK] 中"}
    assert json.loads(said) == expected
    assert json.loads((tmp_path / "new" / "result.json").read_text(encoding="utf-8")) == expected
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["result.json"]


def test_people_get_a_table_with_brackets_intact(capsys):
    shown = table("The [MASK]", ["token", "probability", "count"], [("[red]", 0.25, 12345), (None, None, True)])
    emit("fill", {}, shown, "Return the [MASK].", as_json=False, path=None)
    said = capsys.readouterr().out
    for part in ("The [MASK]", "[red]", "0.25", "12,345", "–", "Return the [MASK]."):
        assert part in said
    assert "{" not in said


def test_an_older_result_is_replaced_and_nothing_else_is(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, {"command": "fill", "k": 1})
    write_result(path, {"command": "embed", "k": 2})
    assert json.loads(path.read_text())["k"] == 2
    for foreign in ('{"mine": 1}', "not json", "3"):
        path.write_text(foreign)
        with pytest.raises(UserError, match=r"result\.json exists and is not a result"):
            write_result(path, {"command": "fill"})
        assert path.read_text() == foreign


def test_a_number_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path / "result.json", {"command": "fill", "loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
