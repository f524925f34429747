"""What a twin reads: all that its run reads, in its row, step and place, except what it leaves out or has besides."""

from functools import cache
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_store import random_documents, store_of

from sesame import config
from sesame.data.batch import Cursor, Step
from sesame.data.store import TokenStore
from sesame.data.text import TextSet, TextStream
from sesame.data.twin import ADDED, WITHOUT
from sesame.errors import UserError
from sesame.pretext.masked_lm import choose

STEPS = 12
PLAIN = config.TextData(length=24, rows=4)
PHASES = config.TextData(
    phases=(config.Phase(share=0.5, length=18, rows=6), config.Phase(share=0.5, length=40, rows=2))
)
PAIRS = [frozenset(), frozenset({"next", "order"})]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return store_of(tmp_path_factory.mktemp("stores") / "plain", random_documents(40), held_out=0.1)


def twin(
    folder: Path, data: config.TextData, at: int, gone: list[int] | None = None, times: int = 0
) -> config.TextData:
    """The settings of a twin: documents left out, by number; those of `folder`'s added store read `times` times."""
    if gone is not None:
        np.save(folder / WITHOUT, np.array([1000 + number for number in gone], np.uint64))
    told = config.Twin(
        of="run", at=at, folder=str(folder), without=("some",) if gone is not None else (),
        added=("more",) if times else (), times=max(times, 1),
    )  # fmt: skip
    return msgspec.structs.replace(data, twin=told)


@cache
def read(store: TokenStore, data: config.TextData, pairs: frozenset[str], rank: int = 0, world: int = 1) -> list[Step]:
    return list(islice(TextStream(store, data, pairs, 7, rank, world).train(Cursor(), 0, STEPS, 1), STEPS))


@cache
def documents_of(store: TokenStore, data: config.TextData, pairs: frozenset[str]) -> list[list[list[set[int]]]]:
    """By step, row and example of the run: the documents it holds text of."""
    found = []
    for taken in islice(TextStream(store, data, pairs, 7).read(Cursor(), 0, STEPS), STEPS):
        rows = []
        for row in taken.rows:
            spans = zip(row.pieces.start.tolist(), row.pieces.size.tolist(), strict=True)
            rows.append(
                [
                    {int(np.sum(store.offsets <= a) - 1) for a, n in zip(*span, strict=True) if n}
                    for span in spans
                ]
            )  # fmt: skip
        found.append(rows)
    return found


FIELDS = ("ids", "position", "kind", "word", "special")


@pytest.mark.parametrize("data", [PLAIN, PHASES])
@pytest.mark.parametrize("pairs", PAIRS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.5, 0.1, 0.9]), at=st.sampled_from([0, 5]))
def test_what_is_left_out_becomes_padding_and_nothing_else_moves(
    store: TokenStore, tmp_path_factory: pytest.TempPathFactory, data, pairs, seed: int, share: float, at: int
) -> None:
    gone = {0, *np.flatnonzero(np.random.default_rng(seed).random(40) < share).tolist()}
    without = twin(tmp_path_factory.mktemp("twin"), data, at, sorted(gone))
    held = documents_of(store, data, pairs)
    both = zip(read(store, data, pairs), read(store, without, pairs), strict=True)
    for number, (whole, fewer) in enumerate(both):
        a, b = whole.parts[0], fewer.parts[0]
        assert whole.cursor == fewer.cursor
        in_order = [documents for row in held[number] for documents in row]
        kept = np.array([number < at or not documents & gone for documents in in_order], bool)
        there = (a.example >= 0) & kept[a.example]
        assert ((b.example >= 0) == there).all() and fewer.size == there.sum()
        assert all((getattr(a, name)[there] == getattr(b, name)[there]).all() for name in FIELDS)
        assert (b.ids[~there] == store.vocabulary.pad).all() and b.special[~there].all() and not b.word[~there].any()
        assert (b.key == a.key[kept]).all() and (b.pair == a.pair[kept]).all() and (b.epoch == a.epoch[kept]).all()
        for unit in ("token", "word", "span"):
            task = config.Bert(unit=unit)
            assert (choose(b, task) == choose(a, task) & there).all()


@pytest.mark.parametrize("data", [PLAIN, PHASES])
def test_a_twin_that_changes_nothing_reads_what_the_run_reads(store, tmp_path, data) -> None:
    for a, b in zip(read(store, data, frozenset()), read(store, twin(tmp_path, data, 3), frozenset()), strict=True):
        assert a.cursor == b.cursor and a.size == b.size
        assert all((getattr(a.parts[0], name) == getattr(b.parts[0], name)).all() for name in (*FIELDS, "key"))


@settings(max_examples=6, deadline=None)
@given(
    count=st.integers(2, 25),
    times=st.integers(1, 7),
    at=st.integers(0, STEPS - 1),
    data=st.sampled_from([PLAIN, PHASES]),
    pairs=st.sampled_from(PAIRS),
)
def test_what_is_added_comes_in_rows_of_its_own_as_often_as_asked(
    store: TokenStore, tmp_path_factory: pytest.TempPathFactory, count: int, times: int, at: int,
    data: config.TextData, pairs,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("twin")
    more = store_of(folder / ADDED, random_documents(count, seed=9))
    found: list[np.ndarray] = []
    rows = []
    both = zip(read(store, data, pairs), read(store, twin(folder, data, at, times=times), pairs), strict=True)
    for step, (a, b) in enumerate(both):
        n = len(a.parts[0].ids)
        assert all((getattr(b.parts[0], name)[:n] == getattr(a.parts[0], name)).all() for name in FIELDS)
        first = len(a.parts[0].key)
        assert (b.parts[0].key[:first] == a.parts[0].key).all() and a.cursor == b.cursor
        extra = b.parts[0].example[n:]
        assert step >= at or not len(extra)
        assert (np.unique(extra[extra >= 0]) == np.arange(first, len(b.parts[0].key))).all()
        assert b.size == (b.parts[0].example >= 0).sum()
        found.append(b.parts[0].ids[n:][~b.parts[0].special[n:]])
        rows += [len(extra)] * (step >= at)
    if not pairs:  # a wrong second sentence is read besides
        assert sorted(np.concatenate(found).tolist()) == sorted(np.tile(np.asarray(more.ids), times).tolist())
    if data is PLAIN and times == 1:
        assert max(rows) - min(rows) <= 1


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_twins_global_batch_does_not_depend_on_processes(store, tmp_path, pairs) -> None:
    store_of(tmp_path / ADDED, random_documents(20, seed=5))
    data = twin(tmp_path, PLAIN, 4, [1, 2, 3, 30], times=2)
    shares = [read(store, data, pairs, rank, 2) for rank in range(2)]
    for whole, *mine in zip(read(store, data, pairs), *shares, strict=True):
        together = [int(k) for share in mine for k in share.parts[0].key]
        assert sorted(together) == sorted(whole.parts[0].key.tolist())
        assert all(share.size == whole.size and share.cursor == whole.cursor for share in mine)


def test_a_twin_goes_on_from_any_cursor(store, tmp_path) -> None:
    store_of(tmp_path / ADDED, random_documents(20, seed=5))
    data = twin(tmp_path, PHASES, 4, [1, 2, 3, 30], times=3)
    whole = read(store, data, frozenset())
    for at in range(0, STEPS - 1, 3):
        stream = TextStream(store, data, frozenset(), 7)
        again = islice(stream.train(whole[at].cursor, at + 1, STEPS, 1), 3)
        for a, b in zip(again, whole[at + 1 :], strict=False):
            assert all((getattr(a.parts[0], name) == getattr(b.parts[0], name)).all() for name in (*FIELDS, "key"))


def test_other_documents_make_other_data(store, tmp_path) -> None:
    hashes = {TextSet(store, PLAIN).hash}
    for gone in ([1], [1, 2]):
        hashes.add(TextSet(store, twin(tmp_path, PLAIN, 4, gone)).hash)
    store_of(tmp_path / ADDED, random_documents(3))
    hashes.add(TextSet(store, twin(tmp_path, PLAIN, 4, times=1)).hash)
    assert len(hashes) == 4
    damaged = twin(tmp_path, PLAIN, 4, [1])
    (tmp_path / WITHOUT).write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"without.npy cannot be read"):
        _ = TextSet(store, damaged).hash
