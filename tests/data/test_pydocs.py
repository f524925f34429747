"""The corpus inside Python."""

import sys
from pathlib import Path

import pytest

from sesame.data import pydocs
from sesame.errors import UserError


def test_the_standard_library_holds_about_two_megabytes_of_english() -> None:
    found = list(pydocs.documents())
    names = [name for name, _ in found]
    text = "\n".join(text for _, text in found)
    assert 1e6 < len(text) < 4e6
    assert len(set(names)) == len(names) > 300
    assert "json.decoder" in names
    assert dict(found)["json"].startswith("JSON (JavaScript Object Notation) <")
    words = text.lower().split()
    assert words.count("the") / len(words) > 0.03
    assert sys.prefix not in text and not any("\n\n" in text for _, text in found)


def test_docstrings_come_in_order_of_appearance_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = '"""{} explains at some length what this is good for."""'
    (tmp_path / "corpus_of_mine").mkdir()
    (tmp_path / "corpus_of_mine" / "__init__.py").write_text(doc.format("The package"))
    (tmp_path / "corpus_of_mine" / "b.py").write_text(
        f"{doc.format('The module')}\n"
        f"class C:\n    {doc.format('The class')}\n    def f(self):\n        {doc.format('The method')}\n"
        f"if True:\n    def g():\n        {doc.format('The function')}\n"
        f"def h():\n        {doc.format('The function')}\n"
        f"def i():\n    'short'\n"
    )
    (tmp_path / "corpus_of_mine" / "broken.py").write_text("def (:")
    monkeypatch.syspath_prepend(tmp_path)
    found = dict(pydocs.documents("corpus_of_mine"))
    assert list(found) == ["corpus_of_mine", "corpus_of_mine.b"]
    assert [line.split(" explains")[0] for line in found["corpus_of_mine.b"].split("\n")] == [
        "The module",
        "The class",
        "The method",
        "The function",
    ]


def test_a_package_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="pydocs:no_such_thing: no package"):
        list(pydocs.documents("no_such_thing"))
