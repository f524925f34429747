"""On all cores: the same parts in the same order, and no process left behind whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sesame import processes
from sesame.data import parallel
from sesame.data.parallel import parts
from sesame.data.prepare import prepare
from sesame.data.sources import Document
from sesame.data.tokenizer import Vocabulary, train
from sesame.errors import UserError

SENTENCE = "the model reads 我们喜欢。 Unbelievably long [MASK] strings, e.g. café! And numbers 12 34. "
TEXTS = [" ".join(SENTENCE.split(" ")[i % 7 :] + [f"word{i}."] * (i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train("wordpiece", lambda: TEXTS * 3, 90)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers from the second small batch on."""
    monkeypatch.setattr(parallel, "BATCH", 500)
    monkeypatch.setattr(parallel, "ALONE", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)


def documents() -> Iterator[Document]:
    return (Document(text, i % 3, f"a.txt:{i}") for i, text in enumerate([*TEXTS, "\u200b", "The end."]))


def children() -> set[int]:
    """Processes that this one started and that are there still."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def test_all_cores_give_the_same_store(two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join([*TEXTS, "\u200b", "The end."]))
    before = children()
    seen = set()

    def tell(what: str, documents: int, characters: int) -> None:
        seen.update(children() - before)

    for name in ("together", "alone"):
        prepare([tmp_path / "a.txt"], tmp_path / name, vocab=90, progress=tell)
        assert len(seen) == 2 and children() == before
        monkeypatch.setattr(processes, "cores", lambda: 1)
    files = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*") if path.is_file())
    assert len(files) > 7
    for file in files:
        assert (tmp_path / "together" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()


def test_small_corpora_start_no_process(vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert sum(len(part.keys) for part in parts(documents(), vocabulary)) == 201


def test_a_part_tells_of_its_documents(vocabulary: Vocabulary) -> None:
    (part,) = parts(documents(), vocabulary)
    texts = [*TEXTS, "The end."]
    assert part.no_token == ("a.txt:200",)
    assert part.characters.tolist() == [len(text) for text in texts]
    assert part.bytes == sum(len(text.encode()) for text in texts)
    assert part.source.tolist() == [i % 3 for i in range(202) if i != 200]
    assert [ids.tolist() for ids in np.split(part.ids, np.cumsum(part.lengths)[:-1])] == vocabulary.encode_batch(texts)


def test_an_error_in_a_source_is_raised_as_it_is(two_cores: None, vocabulary: Vocabulary) -> None:
    def broken() -> Iterator[Document]:
        yield from documents()
        raise UserError("line 7 is not UTF-8")

    before = children()
    with pytest.raises(UserError, match=r"^line 7 is not UTF-8$"):
        list(parts(broken(), vocabulary))
    assert children() == before


def test_an_error_in_a_worker_is_raised_as_it_is(two_cores: None, vocabulary: Vocabulary) -> None:
    def broken() -> Iterator[Document]:
        yield from documents()
        yield Document("\ud800", 0, "nowhere")

    before = children()
    with pytest.raises(TypeError) as alone:
        vocabulary.encode_batch(["\ud800"])
    with pytest.raises(TypeError) as together:
        list(parts(broken(), vocabulary))
    assert str(together.value) == str(alone.value) and "in _part" in together.value.__notes__[0]
    assert children() == before


def test_a_killed_worker_is_an_error_with_a_way_out(two_cores: None, vocabulary: Vocabulary) -> None:
    before = children()
    found = parts(documents(), vocabulary)
    next(found)
    for child in children() - before:
        os.kill(child, signal.SIGKILL)
    with pytest.raises(UserError, match=r"ended early \(status -9\), probably because memory ran out"):
        list(found)
    assert children() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_program_that_started_them(how: signal.Signals, tmp_path: Path) -> None:
    """A program without a `__main__` guard, which stops in the middle of its text until it is ended."""
    (tmp_path / "program.py").write_text(
        "import os, pathlib, signal, time\n"
        "from sesame import processes\n"
        "from sesame.data import parallel, prepare, sources\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "parallel.BATCH, parallel.ALONE, processes.cores = 100, 1, lambda: 2\n"
        "def documents(*_):\n"
        "    for i in range(10):\n"
        "        yield sources.Document('a sentence of text. ' * 10, 0, '')\n"
        "    print(pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "    time.sleep(60)\n"
        "prepare.documents = documents\n"
        "prepare.prepare(['-'], 'out', tokenizer='bytes')\n"
    )
    program = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    workers = [Path("/proc", child) for child in program.stdout.readline().split()]
    assert len(workers) == 2 and all(worker.exists() for worker in workers)
    program.send_signal(how)
    _, said = program.communicate(timeout=10)  # returns when the workers have closed stderr, too
    end = time.monotonic() + 10
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert said.count("Traceback") == (how == signal.SIGINT)  # the program's own
    left = {path.name for path in tmp_path.iterdir()} - {"program.py"}
    assert left == (set() if how == signal.SIGINT else {f".out.{program.pid}.partial"})
