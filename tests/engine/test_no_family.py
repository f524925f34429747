"""The engine trains what it is given: no file of it knows a network, a pretext task, images or speech by name.

Of text it knows that it has documents (twins, fork.py) and that published models read it (exchange.py).
"""

import ast
from pathlib import Path

import pytest

from sesame import config, engine, models, pretext

FAMILIES = {kind.__name__ for kind in (*models.MODELS, *pretext.PRETEXTS, config.ImageData, config.SpeechData)}
FILES = sorted(Path(engine.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_engine_file_knows_a_family(file: Path) -> None:
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
    assert not found & FAMILIES


def test_the_families_are_those_of_the_tables() -> None:
    assert {"Transformer", "WordVectors", "Bert", "SimClr", "SpeechData"} <= FAMILIES and len(FILES) > 10
