"""Token store to packed batches: documents are shuffled, cut into examples, packed into rows, and the rows shuffled.

A block of documents is planned at a time, as spans of the store, so memory does not grow with the corpus. The plan
of a block is a pure function of (seed, epoch, block); a cursor (epoch, block, row) is all there is to resume.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from sesame import config
from sesame.config import TextData
from sesame.data import chance
from sesame.data.batch import Cursor, Rows, Step, TextBatch
from sesame.data.cutting import LEFT_OUT, Pieces, cut_pairs, cut_singles
from sesame.data.encode import SENTENCE, WORD
from sesame.data.layout import within
from sesame.data.packing import Block, Row, pack, pieces_of
from sesame.data.store import TokenStore
from sesame.data.tokenizer import Vocabulary
from sesame.data.twin import Twin, fingerprint
from sesame.errors import UserError

BLOCK_TOKENS = 1 << 20
"""Tokens planned at a time: enough for packing to leave next to nothing empty and for the rows to be well mixed."""
HELD_OUT_SEED = 0
"""Held-out examples and their masks are the same in every run, so that runs can be compared."""


class Taken(NamedTuple):
    """What one step reads, over all processes."""

    rows: list[Row]
    added: list[Row]
    """Those that only a twin run reads."""
    length: int
    cursor: Cursor
    """Where to go on after it."""

    @property
    def size(self) -> int:
        """Useful positions."""
        return int(pieces_of([*self.rows, *self.added]).written().sizes.sum())


@dataclass(frozen=True)
class TextSet:
    """An opened token store and how to read it."""

    store: TokenStore
    config: TextData

    @classmethod
    def open(cls, c: TextData) -> "TextSet":
        if not c.store:  # else it would be looked for in the working folder
            raise UserError("No text was named. Give files, a folder or what `sesame data prepare` made (--data).")
        return cls(TokenStore.open(c.store), c)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The store's, with the sentinels that the configuration adds."""
        return self.store.vocabulary.with_sentinels(self.config.sentinels)

    @property
    def hash(self) -> str:
        """Of the text, its tokenizer, and what a twin run reads otherwise."""
        return self.store.hash + (fingerprint(self.config.twin) if self.config.twin else "")

    @property
    def altered(self) -> str:
        twin = f" or {self.config.twin.folder}" if self.config.twin else ""
        return f"{self.store.path}{twin} holds other text than it did, or was prepared with another tokenizer"

    @property
    def facts(self) -> dict[str, int]:
        return {"vocab": self.vocabulary.size}


class TextStream:
    """Batches of packed examples for one process of `world` (see `data.batch.Stream`).

    `pairs` names the relations to build examples for: empty for single segments, some of {"next", "order"}, or
    {NEIGHBOURS} for pairs in order.
    With `windows`, pieces of a document are windows of `[CLS] document [SEP]` (see `as_windows`).
    """

    def __init__(
        self,
        store: TokenStore,
        data: config.TextData,
        pairs: frozenset[str],
        seed: int,
        rank: int = 0,
        world: int = 1,
        windows: bool = False,
        begin: int | None = None,
    ):
        self.windows, self.begin = windows, begin
        self.store, self.data, self.pairs, self.seed, self.rank, self.world = store, data, pairs, seed, rank, world
        self._check()
        documents = len(store)
        mean = max(1.0, len(store.ids) / documents)
        self.block_documents = max(1, round(BLOCK_TOKENS / mean))
        self.blocks = -(-documents // self.block_documents)
        self.copies = _copies(store, data.sample_exponent)

    def _check(self) -> None:
        longest = self.data.longest
        kept = self.store.held_out
        sizes = self.store.lengths
        trained = int(sizes[~kept].sum())
        if trained < longest:
            raise UserError(
                f"{self.store.path}: {trained} tokens are left to train on, fewer than one row of {longest}. "
                "Add text, or pass a shorter --length."
            )
        if "next" in self.pairs and int((~kept).sum()) < 2:
            raise UserError(
                f"{self.store.path} has one document to train on; next-sentence prediction draws wrong "
                "continuations from other documents. Add documents, or pass --pretext.next-sentence 0."
            )
        if abs(sum(phase.share for phase in self.data.schedule) - 1) > 1e-6:
            raise UserError("the shares of a length schedule (data.phases) must add up to 1.")

    # ------------------------------------------------------------------------------------ training
    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly; this process's slice of each, as `parts` micro-batches."""
        shares = self.world * parts
        for taken in self.read(cursor, step, steps):
            mine, left = divmod(len(taken.rows), shares)
            if left:
                raise UserError(
                    f"{len(taken.rows)} rows a step cannot be shared by {self.world} processes with {parts} "
                    f"micro-batches each. Choose --data.rows as a multiple of {shares}."
                )
            slices = [
                taken.rows[share * mine :][:mine] + taken.added[share::shares]
                for share in range(self.rank * parts, (self.rank + 1) * parts)
            ]
            batches = tuple(self._batch(rows, taken.length, self.seed) for rows in slices)
            yield Step(batches, taken.cursor, taken.size)

    def read(self, cursor: Cursor, step: int, steps: int) -> Iterator[Taken]:
        """What step after step reads, from `cursor`, endlessly."""
        twin = Twin.open(self.data.twin, self.store, self.seed, steps, self._phase, self._cut_and_pack)
        while True:
            length, count, until = self._phase(step, steps)
            reader = self._rows(cursor, length)
            while step < until:
                planned = [next(reader) for _ in range(count)]
                cursor = planned[-1][2]
                rows, added = [block.row(number) for block, number, _ in planned], []
                if twin and step >= twin.at:
                    rows, added = twin.left_out(rows), twin.added(step)
                step += 1
                if step == until and cursor.row:  # rows of another length are other rows: go on with the next block
                    cursor = Cursor(epoch=cursor.epoch, block=cursor.block + 1)
                yield Taken(rows, added, length, cursor)

    def _phase(self, step: int, steps: int) -> tuple[int, int, float]:
        """Length, rows, and the step at which they end."""
        share = 0.0
        *before, last = self.data.schedule
        for phase in before:
            share += phase.share
            if step < round(share * steps):
                return phase.length, phase.rows, float(round(share * steps))
        return last.length, last.rows, float("inf")

    def _rows(self, cursor: Cursor, length: int) -> Iterator[tuple[Block, int, Cursor]]:
        """Row after row from `cursor`, each with the cursor that follows it."""
        epoch, number, row = cursor.epoch, cursor.block, cursor.row
        while True:
            if number >= self.blocks:
                epoch, number, row = epoch + 1, 0, 0
            block = self._plan(epoch, number, length)
            while row < len(block.rows):
                row += 1
                done = row == len(block.rows)
                after = Cursor(epoch=epoch, block=number + done, row=0 if done else row)
                yield block, row - 1, after
            number, row = number + 1, 0

    def _plan(self, epoch: int, number: int, length: int) -> Block:
        index = np.arange(number * self.block_documents, min((number + 1) * self.block_documents, len(self.store)))
        documents = chance.permute(index, len(self.store), "documents", self.seed, epoch)
        documents = documents[~self.store.held_out[documents]]
        repeat = np.zeros(len(documents), np.int64)
        if self.copies is not None:
            rate = self.copies[self.store.source[documents]]
            u = chance.uniform("copies", self.seed, epoch, self.store.keys[documents])
            times = (np.floor(rate) + (u < rate % 1)).astype(np.int64)
            repeat = np.concatenate([np.arange(t) for t in times]) if len(times) else repeat
            documents = np.repeat(documents, times)
        return self._cut_and_pack(self.store, documents, repeat, self.seed, epoch, number, length)

    def _cut_and_pack(
        self,
        store: TokenStore,
        documents: Int[np.ndarray, " document"],
        repeat: Int[np.ndarray, " document"],
        seed: int,
        epoch: int,
        number: int,
        length: int,
        others: Int[np.ndarray, " other"] | None = None,
    ) -> Block:
        if self.pairs:
            pieces = cut_pairs(store, documents, repeat, length, self.data.short_rate, self.pairs, seed, epoch, others)
        else:
            pieces = cut_singles(store, documents, repeat, length, self.data.short_rate, seed, epoch)
        rows = pack(pieces.sizes, length)
        order: Iterable[int] = (
            chance.permute(np.arange(len(rows)), len(rows), "rows", seed, epoch, number) if rows else []
        )
        return Block(store, pieces, [rows[i] for i in order], epoch)

    # ------------------------------------------------------------------------------------ held out
    def held_out(self, rows: int) -> Iterator[TextBatch]:
        """At most `rows` rows of held-out documents, in batches of this process's training size."""
        length, step_rows, _ = self._phase(10**9, 10**9)
        documents = np.flatnonzero(self.store.held_out)
        documents = documents[chance.permute(np.arange(len(documents)), len(documents), "held out", HELD_OUT_SEED)]
        sizes = self.store.lengths[documents]
        enough = int(np.searchsorted(np.cumsum(sizes), 2 * rows * length)) + 1
        chosen = documents[:enough]
        if not len(chosen) or ("next" in self.pairs and len(documents) < 2):
            return
        block = self._cut_and_pack(self.store, chosen, 0 * chosen, HELD_OUT_SEED, 0, 0, length, documents)
        count = min(rows, len(block.rows))
        for start in range(0, count, step_rows):
            taken = [block.row(number) for number in range(start, min(start + step_rows, count))]
            yield self._batch(taken, length, HELD_OUT_SEED)

    def _batch(self, rows: list[Row], length: int, seed: int) -> TextBatch:
        by_store = groupby(rows, lambda row: id(row.store))
        return TextBatch.stacked([self._written(list(same), length, seed) for _, same in by_store])

    def _written(self, rows: list[Row], length: int, seed: int) -> TextBatch:
        """Rows of one store."""
        store, sizes = rows[0].store, [len(row.index) for row in rows]
        numbers = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        pieces = pieces_of(rows)
        batch = assemble(
            [number.tolist() for number in numbers],
            pieces,
            store.ids,
            store.flags,
            store.vocabulary,
            length,
            seed,
            np.repeat([row.epoch for row in rows], sizes),
            self.begin,
        )
        return as_windows(batch, pieces.written(), store) if self.windows else batch


def _copies(store: TokenStore, exponent: float) -> np.ndarray | None:
    """How often a document of each source is read in an epoch, so that P(source) ∝ size**exponent; None for once."""
    source = store.source
    if exponent == 1.0 or len(store.source_names) < 2:
        return None
    trained = ~store.held_out
    sizes = store.lengths * trained
    tokens = np.bincount(source, sizes, minlength=len(store.source_names)).astype(float)
    share = tokens / tokens.sum()
    wanted = np.where(tokens > 0, share**exponent, 0.0)
    return wanted / wanted.sum() / np.maximum(share, 1e-300)


# ------------------------------------------------------------------------------------------- batches
def assemble(
    rows: list[list[int]],
    pieces: Pieces,
    ids: np.ndarray,
    flags: np.ndarray,
    vocabulary: Vocabulary,
    length: int,
    seed: int = 0,
    epoch: Int[np.ndarray, " piece"] | None = None,
    begin: int | None = None,
) -> TextBatch:
    """Write the examples of each row out: [CLS] first [SEP], and second [SEP] where there is one.

    `pieces` are spans of `ids` and `flags`; `rows` lists pieces. Examples are numbered in the order they are written.
    `epoch` is that of each piece; 0 where it is not given. What a twin run leaves out stays empty. `begin`
    stands in the place of [CLS] where it is given: for a task that puts its own tokens around a text.
    """
    shape, places = (len(rows), length), len(rows) * length
    order = np.concatenate([np.zeros(0, np.int64), *(np.asarray(row, np.int64) for row in rows)])
    sizes, row_of = pieces.sizes[order], np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    before = np.cumsum(sizes) - sizes  # tokens of all earlier examples
    first_of_row = np.searchsorted(row_of, row_of)
    at = row_of * length + before - before[first_of_row]  # where each begins
    there = pieces.pair[order] != LEFT_OUT
    order, sizes, at = order[there], sizes[there], at[there]

    # rows on end, until all is written
    out, position, kind = np.full(places, vocabulary.pad), np.zeros(places, np.int64), np.zeros(places, np.int64)
    example = np.full(places, -1)
    word, sentence, special = np.zeros(places, bool), np.zeros(places, bool), np.ones(places, bool)
    place = within(sizes)
    here = np.repeat(at, sizes) + place
    position[here] = place
    example[here] = np.repeat(np.arange(len(order)), sizes)
    out[at] = vocabulary.cls if begin is None else begin
    for segment in range(2):
        start, size = pieces.start[order, segment], pieces.size[order, segment]
        if segment:
            second = size > 0
            at, start, size = (at + 1 + pieces.size[order, 0])[second], start[second], size[second]
        far = within(size)
        here, there = np.repeat(at + 1, size) + far, np.repeat(start, size) + far
        flag = flags[there]
        out[here], special[here], kind[here] = ids[there], False, segment
        word[here], sentence[here] = flag & WORD, flag & SENTENCE
        some = at[size > 0] + 1  # a piece cut inside a word begins one all the same
        word[some] = sentence[some] = True
        out[at + 1 + size], kind[at + 1 + size] = vocabulary.sep, segment
    return TextBatch(
        ids=out.reshape(shape),
        position=position.reshape(shape),
        kind=kind.reshape(shape),
        example=example.reshape(shape),
        word=word.reshape(shape),
        sentence=sentence.reshape(shape),
        special=special.reshape(shape),
        key=pieces.key[order],
        pair=pieces.pair[order],
        seed=seed,
        epoch=np.zeros(len(order), np.int64) if epoch is None else epoch[order],
    )


def as_windows(batch: TextBatch, pieces: Pieces, store: TokenStore) -> TextBatch:
    """The batch, in place, where a piece that begins inside its document has the token before it in place of [CLS], and
    one that ends inside has the next token in place of [SEP]: no document seems to begin or end where it was cut.

    `pieces` are the examples of the batch, in order, of one segment each.
    """
    row, first = np.nonzero((batch.position == 0) & (batch.example >= 0))
    start, stop = pieces.start[:, 0], pieces.start[:, 0] + pieces.size[:, 0]
    for place, token, edge in ((first, start - 1, start), (first + pieces.sizes - 1, stop, stop)):
        inside = store.inside(edge)
        here, there = (row[inside], place[inside]), token[inside]
        batch.ids[here] = store.ids[there]
        batch.word[here] = store.flags[there] & WORD
        batch.special[here] = False
    return batch


def examples_of(
    texts: Sequence[Sequence[int]] | Sequence[np.ndarray], vocabulary: Vocabulary, length: int
) -> tuple[TextBatch, Int[np.ndarray, " text"]]:
    """Given token ids (no special tokens), one batch that packs one example each, and each text's example number.

    Raises ValueError where a text is longer than `length` − 2. The batch is as narrow as its longest row.
    """
    sizes = np.array([len(t) for t in texts], np.int64)
    start = np.cumsum(sizes) - sizes
    pieces = Pieces.singles(start, sizes, np.arange(len(sizes), dtype=np.uint64))
    rows = pack(pieces.sizes, length)
    width = max((int(pieces.sizes[row].sum()) for row in rows), default=1)
    ids = np.concatenate([np.asarray(t, np.int64) for t in texts]) if len(texts) else np.zeros(0, np.int64)
    batch = assemble(rows, pieces, ids, np.ones(len(ids), np.uint8), vocabulary, width)
    number = np.empty(len(sizes), np.int64)
    number[np.concatenate(rows) if rows else np.zeros(0, np.int64)] = np.arange(len(sizes))
    return batch, number


def rows_of(batch: TextBatch, ids: Int[np.ndarray, "row time"] | None = None) -> Rows:
    """The batch as a backbone reads it, with other ids where a pretext task has changed them."""
    last = batch.position[:, -1]
    return Rows(
        torch.from_numpy(batch.ids if ids is None else ids),
        torch.from_numpy(batch.position),
        torch.from_numpy(batch.kind),
        torch.from_numpy(batch.example),
        alone=bool((last == batch.ids.shape[1] - 1).all()),
    )
