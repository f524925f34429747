"""The corpus inside Python."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

from sesame.data import areas, pydocs
from sesame.data.sources import Skips, SourceOptions, documents
from sesame.errors import UserError


def test_the_standard_library_holds_more_than_a_megabyte_of_english() -> None:
    found = list(pydocs.documents())
    names = [name for name, _ in found]
    text = "\n".join(text for _, text in found)
    assert 1e6 < len(text) < 4e6
    assert len(set(names)) == len(names) > 200
    words = text.lower().split()
    assert words.count("the") / len(words) > 0.03
    assert sys.prefix not in text and not any("\n\n" in text for _, text in found)


def test_a_module_is_a_document_or_it_is_set_aside_and_said() -> None:
    skips = Skips()
    found = [document.where for document in documents(["pydocs"], SourceOptions(), skips)]
    (reason,) = skips.report()
    aside = pydocs.set_aside()
    assert reason == "set aside for the dev and test examples of the pydocs tasks"
    assert skips.report()[reason].count == len(aside) > 50
    assert not {f"pydocs {name}" for name in aside} & set(found)
    assert {"json.decoder", "json", "argparse"} < {name.removeprefix("pydocs ") for name in found} | set(aside)


def test_at_most_a_fifth_of_every_area_is_for_test_and_a_tenth_for_dev() -> None:
    sizes: dict[tuple[str, str], int] = {}
    modules = Counter(areas.area(module.name) for module in pydocs.all_modules())
    for module in pydocs.all_modules():
        where = areas.area(module.name), pydocs.splits()[module.name]
        sizes[where] = sizes.get(where, 0) + len(module.docstrings)
    there = [about for about in areas.AREAS if modules[about] > 2]
    assert len(there) >= len(areas.AREAS) - 2  # some systems package tkinter and idlelib apart
    for about in there:
        train, dev, test = (sizes.get((about, split), 0) for split in ("train", "dev", "test"))
        total = train + dev + test
        assert total > 50 and 0.03 < dev / total <= 0.1 and 0.08 < test / total <= 0.2, about


def test_docstrings_come_in_order_of_appearance_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = '"""{} explains at some length what this is good for."""'
    (tmp_path / "corpus_of_mine").mkdir()
    (tmp_path / "corpus_of_mine" / "__init__.py").write_text(doc.format("The package"))
    (tmp_path / "corpus_of_mine" / "b.py").write_text(
        f"{doc.format('The module')}\n"
        f"class C:\n    {doc.format('The class')}\n    def f(self):\n        {doc.format('The method')}\n"
        f"if True:\n    def g(x, y=1):\n        {doc.format('The function')}\n"
        f"def h():\n        {doc.format('The function')}\n"
        f"def i():\n    'short'\n"
    )
    (tmp_path / "corpus_of_mine" / "broken.py").write_text("def (:")
    monkeypatch.syspath_prepend(tmp_path)
    found = dict(pydocs.documents("corpus_of_mine"))
    assert list(found) == ["corpus_of_mine", "corpus_of_mine.b"]
    assert [line.split(" explains")[0] for line in found["corpus_of_mine.b"].split("\n")] == [
        "The module",
        "C",
        "The class",
        "f",
        "The method",
        "g(x, y=1)",
        "The function",
    ]


@pytest.mark.parametrize(
    ("source", "name", "parameters", "signature"),
    [
        ("def f(a, /, b: int = 1, *c, d, **e): 'x'", "f", "abcde", "a, /, b: int=1, *c, d, **e"),
        ("class C:\n def f(self, /, a, b=2): 'x'", "C.f", "ab", "a, b=2"),
        ("class C:\n def f(self, a=1): 'x'", "C.f", "a", "a=1"),
        ("class C:\n def f(self=None, a=1): 'x'", "C.f", "a", "a=1"),
        ("class C:\n def f(cls): 'x'", "C.f", "", ""),
        ("class C:\n 'x'\n def __init__(self, a): ...", "C", "a", "a"),
        ("class C:\n 'x'", "C", "", ""),
    ],
)
def test_a_docstring_knows_its_parameters(
    tmp_path: Path, source: str, name: str, parameters: str, signature: str
) -> None:
    (tmp_path / "m.py").write_text(source)
    (module,) = pydocs._modules(tmp_path, "")
    (docstring,) = module.docstrings
    assert (docstring.name, docstring.parameters, docstring.signature) == (name, tuple(parameters), signature)
    defined = {n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert module.defined == defined


def test_a_package_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="pydocs:no_such_thing: no package"):
        list(pydocs.documents("no_such_thing"))
