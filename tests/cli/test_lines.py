"""Files of inputs: what of a line is the input, and which lines are none."""

import gzip

import pytest

from sesame.cli.lines import read_lines
from sesame.errors import UserError


def test_a_line_keeps_its_spaces_and_loses_its_end_and_the_files_mark(tmp_path):
    content = "\ufeff    return x\r\nx = 1 \n\tpass".encode()
    (tmp_path / "code.txt").write_bytes(content)
    (tmp_path / "code.txt.gz").write_bytes(gzip.compress(content))
    for name in ("code.txt", "code.txt.gz"):
        assert read_lines(tmp_path / name, False, "why") == (["    return x", "x = 1 ", "\tpass"], [])


def test_a_line_of_spaces_is_empty(tmp_path):
    (tmp_path / "gaps.txt").write_text("one\n \t\ntwo\n")
    assert read_lines(tmp_path / "gaps.txt", True, "why") == (["one", "two"], [2])
    with pytest.raises(UserError, match=r"line 2 is empty, and so it is. Remove it, or pass --skip-empty"):
        read_lines(tmp_path / "gaps.txt", False, "so it is")
