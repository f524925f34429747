"""Negative sampling: tell the word that was there from words drawn by chance (Mikolov et al. 2013b, 2.2).

Two tables: of the words that are read (the vectors that stay) and of those that are guessed. For the mean h of a bag of
read words, and a word w that was there: −log σ(h·w) − Σ log σ(−h·v) over the drawn words v. The gradient touches few
rows of large tables, so it is sparse, and each row is added up once, in order of the rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt64
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import Movable, TextBatch
from sesame.data.text import TextSet, TextStream
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.word_vectors import WordVectors
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.word_windows import Noise, Words, keep_rate

MOST = 64
"""Places of a row in one step that count in full. Word by word, the later changes of a row are small because the first
ones have been made; in one step all are as great as the first, and those of a frequent word would throw it far away:
with 128 a vocabulary of forty words breaks, with 16 the vectors of a large one are worse (docs/results.md)."""


@dataclass(frozen=True)
class Occurrences(Movable):
    """Where each row of a table is asked for: `at[start[i] : start[i + 1]]` are the places of `row[i]`."""

    row: Int[Tensor, " row"]
    """The rows that are asked for, rising."""
    start: Int[Tensor, " row"]
    at: Int[Tensor, " place"]

    @classmethod
    def of(cls, rows: Int[np.ndarray, " place"], size: int) -> "Occurrences":
        """Of the row asked for at each place, in a table of `size` rows."""
        small = rows.astype(np.uint16) if size <= 1 << 16 else rows  # numbers of two bytes are sorted much faster
        at = np.argsort(small, kind="stable")
        sorted_rows = rows[at]
        start = np.flatnonzero(np.diff(sorted_rows, prepend=-1))
        return cls(*map(torch.from_numpy, (sorted_rows[start], start, at)))

    def gradient(
        self,
        vectors: Float[Tensor, "from width"],
        source: Int[Tensor, " place"],
        weight: Float[Tensor, " place"] | None,
    ) -> Float[Tensor, "row width"]:
        """Of each row the sum, over its places, of `weight` times the vector numbered `source`; of a row with more than
        MOST places their mean, MOST times."""
        scale = None if weight is None else weight[self.at]
        total = F.embedding_bag(source[self.at], vectors, self.start, mode="sum", per_sample_weights=scale)
        count = torch.diff(self.start, append=self.start.new_tensor([len(self.at)]))
        return total.mul_((MOST / count.to(total.dtype)).clamp(max=1.0)[:, None])


@dataclass(frozen=True)
class Bags(Movable):
    """The words that are read: bag i holds `words[start[i] : start[i + 1]]`, at least one."""

    words: Int[Tensor, " word"]
    start: Int[Tensor, " bag"]
    bag: Int[Tensor, " word"]
    """The bag of each word."""
    occurrences: Occurrences

    @classmethod
    def of(cls, words: Int[np.ndarray, " word"], sizes: Int[np.ndarray, " bag"], size: int) -> "Bags":
        """Of words on end, and how many each bag has."""
        start, bag = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
        tensor = torch.from_numpy
        return cls(tensor(words), tensor(start), tensor(bag), Occurrences.of(words, size))


class _NegativeSampling(torch.autograd.Function):
    """The gradient of a sum is known with the scores, up to the one factor that backward brings.

    It is word2vec's own: every word of a bag gets the whole gradient of the bag's mean, not its share of it (see
    İrsoy, Benton & Stratos 2021, who divide it and find that rates must be greater then).
    """

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, guessed: Tensor, bags: Bags, asked: Tensor, kept: Tensor, occurrences: Occurrences
    ) -> tuple[Tensor, Tensor]:
        alone = len(bags.words) == len(bags.start)
        h = read[bags.words] if alone else F.embedding_bag(bags.words, read, bags.start, mode="mean")
        vectors = guessed.index_select(0, asked.flatten()).view(*asked.shape, guessed.shape[1])
        score = torch.bmm(h[:, None], vectors.transpose(1, 2))[:, 0]  # on CPUs thrice as fast as vectors by h
        sign = torch.ones_like(score[:1])
        sign[:, 0] = -1.0
        total = (F.softplus(sign * score) * kept).sum()
        hits = (score[:, 0] > score[:, 1:].masked_fill(kept[:, 1:] == 0, float("-inf")).amax(1)).sum()
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            slope = sign * torch.sigmoid(sign * score) * kept
            of_h = torch.bmm(slope[:, None], vectors)[:, 0]
            place = torch.arange(len(h), device=h.device).repeat_interleave(asked.shape[1])
            of_read = bags.occurrences.gradient(of_h, bags.bag, None)
            of_guessed = occurrences.gradient(h, place, slope.flatten())
            ctx.save_for_backward(of_read, of_guessed)
            ctx.rows, ctx.shapes = (bags.occurrences.row, occurrences.row), (read.shape, guessed.shape)
        ctx.mark_non_differentiable(hits)
        return total, hits

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        sparse = [  # in place, so it is refused a second time
            torch.sparse_coo_tensor(row[None], values.mul_(grad), shape, is_coalesced=True, check_invariants=False)
            for row, values, shape in zip(ctx.rows, ctx.saved_tensors, ctx.shapes, strict=True)
        ]
        return *sparse, None, None, None, None


def negative_sampling(
    read: Float[Tensor, "vocab width"],
    guessed: Float[Tensor, "vocab width"],
    bags: Bags,
    asked: Int[Tensor, "bag asked"],
    kept: Float[Tensor, "bag asked"],
    occurrences: Occurrences,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """The loss, summed over the bags, and how often the true word's score is the highest.

    `asked` has for each bag the true word and then the drawn ones, `kept` 0 for those that do not count (drawn by
    chance, the true word itself), and `occurrences` is of `asked`, flattened. Gradients are sparse.
    """
    return _NegativeSampling.apply(read, guessed, bags, asked, kept, occurrences)


class NegativeSampling(Pretext):
    """What CBOW and skip-gram share; they differ in who is read for whom: `examples`.

    The table of guessed words starts at zero and is thrown away with the task.
    """

    summed = True
    name = ""
    """Of the loss."""

    def __init__(self, c: config.WordWindow, backbone: Backbone, vocabulary: Vocabulary):
        super().__init__()
        if not isinstance(backbone, WordVectors):
            raise UserError(
                f"Words are told from words drawn by chance on word vectors, not on a {type(backbone).__name__}."
            )
        self.config, self.special = c, vocabulary.special_ids
        self.guessed = nn.Embedding.from_pretrained(torch.zeros_like(backbone.embed.token.weight), freeze=False)
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros(len(self.guessed.weight), dtype=torch.int64))

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        """Also counts the words, by which they are left out and drawn."""
        if world > 1:
            raise UserError("Word vectors are trained by one process: their gradients are a few rows of a table.")
        counts = data.store.trained_counts(len(self.counts))
        counts[self.special[self.special < len(counts)]] = 0
        if not counts.any():
            raise UserError(f"{data.store.path}: the text that is trained on has no word that the vocabulary knows.")
        self.counts.copy_(torch.from_numpy(counts))
        self.rate = keep_rate(counts, self.config.sample)
        self.noise = Noise.of(np.where(counts > 0, counts**self.config.exponent, 0.0))
        return TextStream(data.store, data.config, frozenset(), seed, rank, world)

    def examples(
        self, words: Words
    ) -> tuple[Int[np.ndarray, " read"], Int[np.ndarray, " bag"], Int[np.ndarray, " bag"], UInt64[np.ndarray, " bag"]]:
        """The words that are read, on end, and of each bag: its size, the word it is to guess, a key for chance."""
        raise NotImplementedError("abstract")

    def split(self, batch: TextBatch) -> Split:
        read, sizes, true, key = self.examples(Words.of(batch, self.rate))
        size = len(self.counts)
        asked = np.concatenate([true[:, None], self.noise.draw(key, self.config.negative)], 1)
        kept = (asked != true[:, None]).astype(np.float32)
        kept[:, 0] = 1.0
        places = Occurrences.of(asked.ravel(), size)
        target = {"asked": torch.from_numpy(asked), "kept": torch.from_numpy(kept)}
        target |= {"row": places.row, "start": places.start, "at": places.at}
        return Split(Bags.of(read, sizes, size), target, {self.name: len(true)}, size=batch.size)

    def loss(self, backbone: WordVectors, split: Split) -> Loss:
        t = split.target
        places = Occurrences(t["row"], t["start"], t["at"])
        tables = backbone.embed.token.weight, self.guessed.weight
        total, hits = negative_sampling(*tables, split.seen, t["asked"], t["kept"], places)
        return {self.name: Term(total, split.count[self.name], hits=hits)}

    def start(self, backbone: WordVectors, artifact: dict[str, np.ndarray]) -> None:
        """Tokens that are no words stay where no text moves them: at zero."""
        with torch.no_grad():
            backbone.embed.token.weight[torch.from_numpy(self.special)] = 0.0
