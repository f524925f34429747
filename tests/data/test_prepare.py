"""From text to a token store and back; what is made twice, split off, refused and left behind."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from sesame.data import parallel
from sesame.data.encode import SENTENCE, WORD
from sesame.data.prepare import _Sample, prepare
from sesame.data.sources import Document
from sesame.data.store import TokenStore
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError

TEXTS = [f"Document {i} tells of {word}s. It is short, and number {i}." for i, word in enumerate(["cat", "dog"] * 60)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n\n".join(TEXTS[:70]))
    (tmp_path / "texts" / "b.txt.gz").write_bytes(gzip.compress("\n\n".join(TEXTS[70:]).encode()))
    return tmp_path / "texts"


def test_the_store_holds_every_document_in_order(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BATCH", 500)
    info = prepare([folder], tmp_path / "out", tokenizer="bytebpe", vocab=280, held_out=0.1)
    store = TokenStore.open(tmp_path / "out")
    assert store.info == info and len(store) == info.documents == 120
    assert [store.vocabulary.decode(store.document(i)) for i in range(120)] == TEXTS
    assert store.ids.dtype == np.uint16
    first = store.offsets[:-1].astype(int)
    assert (store.flags[first] == WORD | SENTENCE).all()
    assert int(np.count_nonzero(store.flags & SENTENCE)) == info.sentences == 240
    assert info.tokens == len(store.ids) and info.characters == sum(map(len, TEXTS))
    assert sum(info.lengths) == 120 and sum(s.tokens for s in info.sources) == info.tokens
    assert len(set(store.keys.tolist())) == 120
    assert Vocabulary.open(tmp_path / "out").hash == store.vocabulary.hash


def test_what_is_held_out_depends_on_content_alone(folder: Path, tmp_path: Path) -> None:
    prepare([folder], tmp_path / "one", tokenizer="bytes", held_out=0.2)
    (tmp_path / "other.txt").write_text("\n\n".join(reversed(TEXTS[30:])))
    prepare([tmp_path / "other.txt"], tmp_path / "two", tokenizer="bytes", held_out=0.2)
    one, two = TokenStore.open(tmp_path / "one"), TokenStore.open(tmp_path / "two")
    assert 10 < one.held_out.sum() < 40
    held = dict(zip(one.keys.tolist(), one.held_out.tolist(), strict=True))
    assert [held[k] for k in two.keys.tolist()] == two.held_out.tolist()


def test_the_same_again_is_used_and_anything_else_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = prepare([folder], out, tokenizer="bytes")
    before = (out / "tokens.bin").stat().st_mtime_ns
    assert prepare([folder], out, tokenizer="bytes") == first
    with pytest.raises(UserError, match="other text or with other settings; nothing was overwritten"):
        prepare([folder], out, tokenizer="bytes", held_out=0.5)
    (folder / "a.txt").write_text("changed")
    with pytest.raises(UserError, match="nothing was overwritten"):
        prepare([folder], out, tokenizer="bytes")
    assert (out / "tokens.bin").stat().st_mtime_ns == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(UserError, match="is no token store; nothing was written"):
        prepare([folder], tmp_path / "mine", tokenizer="bytes")


def test_another_tokenizer_in_the_same_run_is_something_else(folder: Path, tmp_path: Path) -> None:
    for vocab in (70, 90):
        prepare([folder], tmp_path / str(vocab), vocab=vocab)
    run = tmp_path / "run"
    shutil.copytree(tmp_path / "70" / "tokenizer", run / "tokenizer")
    first = prepare([folder], tmp_path / "out", tokenizer=run)
    assert prepare([folder], tmp_path / "out", tokenizer=run) == first
    shutil.copytree(tmp_path / "90" / "tokenizer", run / "tokenizer", dirs_exist_ok=True)
    with pytest.raises(UserError, match="nothing was overwritten"):
        prepare([folder], tmp_path / "out", tokenizer=run)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), UserError("bad")])
def test_what_is_stopped_leaves_nothing(
    error: BaseException, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("sesame.data.store.StoreWriter.append", stop)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        prepare([folder], tmp_path / "out", tokenizer="bytes")
    assert [p.name for p in tmp_path.iterdir()] == ["texts"]


def test_a_folder_left_by_a_killed_process_is_swept(folder: Path, tmp_path: Path) -> None:
    left = tmp_path / f".out.{2**22 + 1}.partial"  # above the largest process id
    left.mkdir()
    prepare([folder], tmp_path / "out", tokenizer="bytes")
    assert not left.exists()


def test_text_without_tokens_is_counted_and_no_text_at_all_is_an_error(folder: Path, tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary"
    prepare([folder], tmp_path / "first", vocab=70)
    Vocabulary.open(tmp_path / "first").save(vocabulary)
    (folder / "c.txt").write_text("\u200b\u200b\n\n中 end.")
    info = prepare([folder], tmp_path / "out", tokenizer=vocabulary)
    assert info.skipped["no token"].count == 1 and info.documents == 121
    assert info.vocabulary_hash == Vocabulary.open(vocabulary).hash and info.unknown == 1
    (tmp_path / "c.txt").write_text("\u200b")
    with pytest.raises(UserError, match="no text was found"):
        prepare([tmp_path / "c.txt"], tmp_path / "none", tokenizer=vocabulary)


def test_a_sample_takes_its_share_of_every_source_and_repeats_small_ones() -> None:
    sample = _Sample(2, 20_000, exponent=0.5)
    for i in range(900):
        sample.add(Document(f"large {i:04} ".ljust(100, "x"), 0, ""))
    for i in range(100):
        sample.add(Document(f"small {i:04} ".ljust(100, "x"), 1, ""))
    assert sample.held.sum() <= 20_000
    texts = list(sample.texts())
    large = sum(text.startswith("large") for text in texts) / len(texts)
    assert large == pytest.approx(900**0.5 / (900**0.5 + 100**0.5), abs=0.06)
    tiny = _Sample(2, 10**6, exponent=0.0)
    for i in range(80):
        tiny.add(Document(f"document {i}", int(i >= 60), ""))
    assert 30 < sum(int(t.split()[1]) >= 60 for t in tiny.texts()) < 50


def test_a_sample_within_its_size_is_everything_once() -> None:
    sample = _Sample(1, 10**6, exponent=1.0)
    for text in TEXTS:
        sample.add(Document(text, 0, ""))
    assert sorted(sample.texts()) == sorted(TEXTS)


def test_an_absurd_share_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"held_out is 1\.5"):
        prepare([folder], tmp_path / "out", held_out=1.5)
    with pytest.raises(UserError, match="No source"):
        prepare([], tmp_path / "out")
