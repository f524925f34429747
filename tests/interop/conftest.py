"""A vocabulary, and a whole model folder."""

from pathlib import Path

import pytest
from small_bert import WORDS, bert

from sesame import config, interop
from sesame.data.tokenizer import Vocabulary


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return Vocabulary.open(folder)


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    """A whole model folder with both heads, as `transformers` would write it."""
    folder = tmp_path / "model"
    assert interop.save_model(bert(vocabulary, task=config.Bert(next_sentence=1.0)), vocabulary, folder)
    return folder
