from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_store import random_documents, store_of, vocabulary

from sesame import config
from sesame.data import chance
from sesame.data.batch import Cursor, Step, TextBatch
from sesame.data.cutting import ELSEWHERE, IN_ORDER, LEFT_OUT, NEIGHBOURS, ONE_SEGMENT, SWAPPED, Pieces
from sesame.data.encode import SENTENCE, WORD
from sesame.data.text import TextStream, assemble, examples_of, rows_of
from sesame.errors import UserError

SETTINGS = config.TextData(length=24, rows=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("stores") / "plain", random_documents(40))


@pytest.fixture(scope="module")
def split_store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("stores") / "split", random_documents(60), held_out=0.2)


def take(stream: TextStream, count: int, cursor: Cursor | None = None, step: int = 0, parts: int = 1) -> list[Step]:
    return list(islice(stream.train(cursor or Cursor(), step, 100, parts), count))


def segments(batch: TextBatch) -> list[tuple[int, list[list[int]]]]:
    """(pair label, its segments without special tokens) of every example, checking the layout on the way."""
    words = vocabulary()
    found = []
    for number in range(len(batch.key)):
        row = np.flatnonzero((batch.example == number).any(1))
        assert len(row) == 1
        here = np.flatnonzero(batch.example[row[0]] == number)
        assert (np.diff(here) == 1).all()
        ids, kind = batch.ids[row[0], here], batch.kind[row[0], here]
        assert (batch.position[row[0], here] == np.arange(len(here))).all()
        assert ids[0] == words.cls and ids[-1] == words.sep and kind[0] == 0
        edges = np.flatnonzero(ids == words.sep)
        assert (kind == np.searchsorted(edges, np.arange(len(ids)))).all()
        assert (batch.special[row[0], here] == np.isin(ids, [words.cls, words.sep])).all()
        parts = [ids[a + 1 : b].tolist() for a, b in zip([0, *edges[:-1]], edges, strict=True)]
        found.append((int(batch.pair[number]), parts))
    outside = batch.example < 0
    assert (batch.ids[outside] == words.pad).all() and batch.special[outside].all()
    return found


def same(a: Step, b: Step) -> bool:
    fields = ("ids", "position", "kind", "example", "word", "special", "key", "pair")
    return a.cursor == b.cursor and all(
        np.array_equal(getattr(x, f), getattr(y, f)) for x, y in zip(a.parts, b.parts, strict=True) for f in fields
    )


def one_epoch(stream: TextStream) -> list[TextBatch]:
    batches = []
    for step in stream.train(Cursor(), 0, 100, 1):
        if step.parts[0].epoch[0] > 0:
            break
        batches.append(step.parts[0])
        if step.cursor.epoch > 0 or step.cursor.block >= stream.blocks:
            break
    return batches


@pytest.mark.parametrize("short_rate", [0.0, 0.5])
def test_an_epoch_holds_every_token_of_every_document_once(store, short_rate: float) -> None:
    rows = config.TextData(length=24, rows=1, short_rate=short_rate)
    found = [s[0] for batch in one_epoch(TextStream(store, rows, frozenset(), 3)) for _, s in segments(batch)]
    assert sorted(t for s in found for t in s) == sorted(np.asarray(store.ids).tolist())
    text = np.asarray(store.ids)
    for run in found:  # each example is a run of one document
        assert any(np.array_equal(text[i : i + len(run)], run) for i in range(len(text) - len(run) + 1))


def test_examples_are_cut_between_words(store) -> None:
    text, flags = np.asarray(store.ids), np.asarray(store.flags)
    starts = set(np.flatnonzero(flags & 1).tolist())
    for batch in one_epoch(TextStream(store, config.TextData(length=24, rows=1), frozenset(), 3)):
        for _, (run,) in segments(batch):
            places = [i for i in range(len(text) - len(run) + 1) if np.array_equal(text[i : i + len(run)], run)]
            assert starts.intersection(places)


def test_going_on_from_any_cursor_is_the_same_as_never_having_stopped(store) -> None:
    stream = TextStream(store, SETTINGS, frozenset({"next"}), 7)
    steps = take(stream, 40)
    assert steps[-1].cursor.epoch >= 1
    for at in range(0, 40, 7):
        again = take(TextStream(store, SETTINGS, frozenset({"next"}), 7), 3, steps[at].cursor, at + 1)
        assert all(same(a, b) for a, b in zip(again, steps[at + 1 :], strict=False))


@settings(max_examples=8, deadline=None)
@given(world=st.sampled_from([1, 2, 4]), parts=st.sampled_from([1, 2]))
def test_the_global_batch_does_not_depend_on_processes_and_parts(store, world: int, parts: int) -> None:
    data = config.TextData(length=24, rows=8)
    whole = take(TextStream(store, data, frozenset(), 5), 40)
    shares = [take(TextStream(store, data, frozenset(), 5, rank, world), 40, parts=parts) for rank in range(world)]
    assert any(len(set(step.parts[0].epoch.tolist())) > 1 for step in whole)  # one epoch ends inside a batch
    for step, mine in zip(whole, zip(*shares, strict=True), strict=True):
        for what in ("ids", "key", "epoch"):  # of which all chance is a function
            together = np.concatenate([getattr(part, what) for share in mine for part in share.parts])
            assert np.array_equal(together, getattr(step.parts[0], what))
        assert all(share.cursor == step.cursor and share.size == step.size for share in mine)
    assert whole[0].size == whole[0].parts[0].size


def test_rows_that_processes_cannot_share_are_refused(store) -> None:
    with pytest.raises(UserError, match="multiple of 3"):
        take(TextStream(store, SETTINGS, frozenset(), 0, 0, 3), 1)


def test_a_removed_document_moves_no_other_mask(tmp_path: Path) -> None:
    from sesame.pretext.masked_lm import choose

    documents = random_documents(20, seed=4, longest=2)
    masks = []
    for name, kept in (("all", documents), ("fewer", documents[:-1])):
        found: dict[int, bytes] = {}
        stream = TextStream(store_of(tmp_path / name, kept), config.TextData(length=60, rows=1), frozenset(), 9)
        for batch in one_epoch(stream):
            hidden = choose(batch, config.Bert(unit="word"))
            for number, key in enumerate(batch.key):
                found[int(key)] = hidden[batch.example == number].tobytes()
        masks.append(found)
    assert len(masks[0]) == 20 and len(masks[1]) == 19
    assert masks[1].items() <= masks[0].items()


def test_held_out_documents_are_never_trained_on(split_store) -> None:
    held = {int(chance.bits("document", int(k), 0)) for k in np.asarray(split_store.keys)[split_store.held_out]}
    assert held
    stream = TextStream(split_store, config.TextData(length=100, rows=2), frozenset(), 1)
    keys = {int(k) for batch in one_epoch(stream) for k in batch.key}
    away = {int(k) for batch in stream.held_out(1000) for k in batch.key}
    first = {int(chance.bits("example", h, 0)) for h in held}
    assert not keys & away and not keys & first and first <= away


def test_held_out_is_the_same_for_every_seed_and_process(split_store) -> None:
    streams = [TextStream(split_store, SETTINGS, frozenset(), s, r, w) for s, r, w in ((1, 0, 1), (2, 1, 2))]
    a, b = (list(s.held_out(9)) for s in streams)
    assert [x.ids.tolist() for x in a] == [x.ids.tolist() for x in b]
    assert {x.seed for x in a} == {x.seed for x in b}
    assert sum(len(x.ids) for x in a) == 9


PAIRS = [frozenset({"next"}), frozenset({"order"}), frozenset({"next", "order"}), frozenset({NEIGHBOURS})]


@pytest.mark.parametrize("pairs", PAIRS, ids=lambda pairs: "+".join(sorted(pairs)))
def test_pairs_are_what_their_label_says(store, pairs: frozenset[str]) -> None:
    text, offsets = np.asarray(store.ids), np.asarray(store.offsets).astype(int)
    whole = [text[a:b].tolist() for a, b in pairwise(offsets)]

    def inside(run: list[int]) -> set[int]:
        return {n for n, d in enumerate(whole) for i in range(len(d) - len(run) + 1) if d[i : i + len(run)] == run}

    seen = set()
    for batch in one_epoch(TextStream(store, config.TextData(length=40, rows=1), pairs, 3)):
        for label, parts in segments(batch):
            seen.add(label)
            if label == ONE_SEGMENT:
                assert len(parts) == 1 and inside(parts[0])
            elif label == IN_ORDER:
                assert inside(parts[0] + parts[1])
            elif label == SWAPPED:
                assert inside(parts[1] + parts[0])
            else:
                assert min(map(len, parts)) < 4 or not inside(parts[0]) & inside(parts[1])
    wanted = (
        {ONE_SEGMENT, IN_ORDER}
        | ({ELSEWHERE} if "next" in pairs else set())
        | ({SWAPPED} if "order" in pairs else set())
    )
    assert seen == wanted


def test_pair_labels_are_balanced_where_berts_code_is_not(store) -> None:
    # BERT's code calls every run of one sentence "not next", so that more than half are; here such a run has no label.
    labels: list[int] = []
    for seed in range(8):
        stream = TextStream(store, config.TextData(length=40, rows=1), frozenset({"next"}), seed)
        labels += [int(p) for batch in one_epoch(stream) for p in batch.pair]
    scored = np.array([p for p in labels if p != ONE_SEGMENT])
    assert abs((scored == IN_ORDER).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(scored))
    assert ONE_SEGMENT in labels


def test_what_a_wrong_continuation_replaced_is_read_all_the_same(store) -> None:
    stream = TextStream(store, config.TextData(length=40, rows=1), frozenset({"next"}), 3)
    read: list[int] = []
    for batch in one_epoch(stream):
        for label, parts in segments(batch):
            read += parts[0] if label == ELSEWHERE else [t for p in parts for t in p]
    assert sorted(read) == sorted(np.asarray(store.ids).tolist())


def test_a_length_schedule_changes_length_and_rows_at_its_step(store) -> None:
    phases = (config.Phase(share=0.75, length=16, rows=4), config.Phase(share=0.25, length=32, rows=2))
    stream = TextStream(store, config.TextData(phases=phases), frozenset(), 0)
    steps = list(islice(stream.train(Cursor(), 0, 12, 1), 12))
    assert [s.parts[0].ids.shape for s in steps] == [(4, 16)] * 9 + [(2, 32)] * 3
    again = list(islice(stream.train(steps[8].cursor, 9, 12, 1), 3))
    assert all(same(a, b) for a, b in zip(again, steps[9:], strict=True))


def test_sources_are_drawn_by_their_size_to_the_exponent(tmp_path: Path) -> None:
    documents = [[[2] * 8]] * 90 + [[[2] * 8]] * 10
    store = store_of(tmp_path / "two", documents, sources=[0] * 90 + [1] * 10)
    share = []
    for seed in range(8):
        stream = TextStream(store, config.TextData(length=18, rows=1, sample_exponent=0.5), frozenset(), seed)
        wanted = {int(chance.bits("document", 1000 + n, c)) for n in range(90, 100) for c in range(20)}
        keys = {int(chance.bits("example", k, 0)) for k in wanted}
        drawn = [int(k) for batch in one_epoch(stream) for k in batch.key]
        share.append(np.mean([k in keys for k in drawn]))
        assert len(set(drawn)) == len(drawn)  # copies of a document are masked each in its own way
    assert np.mean(share) == pytest.approx(0.25, abs=0.03)  # 10**.5 / (90**.5 + 10**.5)


def test_a_corpus_shorter_than_a_row_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path / "short", [[[1, 2]], [[3]]])
    with pytest.raises(UserError, match="fewer than one row"):
        TextStream(store, SETTINGS, frozenset(), 0)


def test_next_sentence_prediction_needs_another_document(tmp_path: Path) -> None:
    store = store_of(tmp_path / "one", [[[2] * 8] * 9])
    with pytest.raises(UserError, match="one document"):
        TextStream(store, SETTINGS, frozenset({"next"}), 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 14), min_size=1, max_size=12))
def test_given_texts_are_packed_whole_and_found_again(sizes: list[int]) -> None:
    texts = [np.random.default_rng(i).integers(5, 60, n).tolist() for i, n in enumerate(sizes)]
    batch, number = examples_of(texts, vocabulary(), 16)
    found = segments(batch)
    assert [found[n][1][0] for n in number] == texts
    assert batch.ids.shape[1] <= 16
    assert rows_of(batch).alone == (
        len(batch.ids) == len(texts) and all(len(t) + 2 == batch.ids.shape[1] for t in texts)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=3), min_size=1, max_size=4
    )
)
def test_rows_are_written_as_token_by_token(rows: list[list[tuple[int, int, bool]]]) -> None:
    random, words = np.random.default_rng(sum(map(len, rows))), vocabulary()
    ids, flags = random.integers(5, 60, 40), random.integers(0, 256, 40).astype(np.uint8)
    flat = [(*random.integers(0, 36, 2).tolist(), a, b, gone) for row in rows for a, b, gone in row]
    pieces = Pieces.of([(s, a, t, b, LEFT_OUT if gone else 0, 7 * n) for n, (s, t, a, b, gone) in enumerate(flat)])
    numbers = iter(range(len(flat)))
    listed, length = [[next(numbers) for _ in row] for row in rows], 30
    batch = assemble(listed, pieces, ids, flags, words, length, epoch=np.arange(len(flat)))
    kept = []
    for r, row in enumerate(listed):
        expected = []
        for number in row:
            first, second, a, b, gone = flat[number]
            if gone:
                expected += [(words.pad, 0, 0, -1, False, False, True)] * (a + 2 + (b + 1 if b else 0))
                continue
            written = [(words.cls, 0, False, False, True)]
            for segment, start, size in ((0, first, a), (1, second, b)):
                if segment and not size:
                    break
                for n in range(start, start + size):
                    begins = n == start
                    word, sentence = bool(flags[n] & WORD) or begins, bool(flags[n] & SENTENCE) or begins
                    written.append((ids[n], segment, word, sentence, False))
                written.append((words.sep, segment, False, False, True))
            expected += [(i, p, k, len(kept), w, s, x) for p, (i, k, w, s, x) in enumerate(written)]
            kept.append(number)
        expected += [(words.pad, 0, 0, -1, False, False, True)] * (length - len(expected))
        columns = (batch.ids, batch.position, batch.kind, batch.example, batch.word, batch.sentence, batch.special)
        assert list(zip(*(column[r].tolist() for column in columns), strict=True)) == expected
    assert batch.key.tolist() == [7 * n for n in kept]
    assert batch.epoch.tolist() == kept
