"""Models that write: the prompts are read at once, then every step reads one token a row.

`Decoder` is all that sampling and beam search know. A causal LM goes on with its prompt; an encoder-decoder reads it
in the encoder and begins its answer with the end token, as BART does, or the padding, as T5.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame.data.batch import At, Rows
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.cache import Cache
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.causal_lm import CausalLM
from sesame.tasks.reading import name, reach

log = logging.getLogger(__name__)

Ids = Sequence[int]
Logits = Float[Tensor, "row vocab"]


class Decoder(ABC):
    """Rows of text that grow by a token a step. `start` once, then `step` and `take` in any order."""

    def __init__(self, objective: Objective, vocabulary: Vocabulary, reach: int):
        """`reach` is how many positions the model has learned."""
        self.pretext, self.vocabulary, self.reach = objective.pretext, vocabulary, reach
        self.device = next(objective.parameters()).device
        objective.eval()

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """The tokens of each prompt as `start` reads them, special ones included."""

    @abstractmethod
    def fitting(self, ids: Ids, new: int, window: bool) -> tuple[list[int], int]:
        """What is read of a prompt, and how many tokens may be written after it, `new` at most. A prompt that is
        longer than the context raises ValueError, or with `window` is read in part."""

    @abstractmethod
    def start(self, prompts: Sequence[Ids], new: int, window: bool) -> Logits:
        """Read the prompts, after which up to `new` tokens are written: the scores of the first of them."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, " row"]) -> Logits:
        """Read one more token a row: the scores of the next."""

    @abstractmethod
    def take(self, rows: Int[Tensor, " taken"]) -> None:
        """Go on with these rows, in this order; a row may be taken several times."""

    def before(self, prompt: Ids) -> Ids:
        """The tokens of the text itself that stand before the first one written."""
        return prompt

    def text(self, prompt: Ids, written: Ids) -> str:
        """What was written, as text. A word may begin in the prompt, so the two are decoded together."""
        before, whole = (self.vocabulary.decode(ids, skip_special=True) for ids in (prompt, [*prompt, *written]))
        return whole[len(before) :] if whole.startswith(before) else whole

    def _logits(self, h: Float[Tensor, "row width"]) -> Logits:
        """In fp32 at least, and without the rows of an embedding that are no token."""
        return self._scores(h)[:, : self.vocabulary.size].float()

    @abstractmethod
    def _scores(self, h: Float[Tensor, "row width"]) -> Logits:
        """Of every row of the embedding."""


class CausalDecoder(Decoder):
    """A causal LM that goes on with its prompts.

    Rows end together: shorter ones are empty on the left, and each counts its positions from 0. Where a row has filled
    the context, its newer half is read anew from position 0, as a window: no row depends on how long the others are.
    """

    def __init__(self, objective: Objective, vocabulary: Vocabulary, reach: int):
        super().__init__(objective, vocabulary, reach)
        assert isinstance(objective.backbone, Transformer)
        self.backbone = objective.backbone

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        return [[self.vocabulary.cls, *ids] if ids else [] for ids in self.vocabulary.encode_batch(prompts)]

    def fitting(self, ids: Ids, new: int, window: bool) -> tuple[list[int], int]:
        if window:
            return list(ids if len(ids) <= self.reach else ids[-self._window :]), new
        if len(ids) > self.reach:
            raise ValueError(f"it has {len(ids)} tokens, and the model reads {self.reach} at once")
        return list(ids), min(new, self.reach - len(ids) + 1)  # the last one that is written need not be read

    @property
    def _window(self) -> int:
        return max(self.reach // 2, 1)

    def start(self, prompts: Sequence[Ids], new: int, window: bool) -> Logits:
        longest = max(map(len, prompts))
        self.slots = longest + new
        self.tokens = torch.zeros(len(prompts), self.slots, dtype=torch.int64, device=self.device)
        self.begin = torch.tensor([longest - len(ids) for ids in prompts], device=self.device)
        self.length = longest
        for row, ids in enumerate(prompts):
            self.tokens[row, longest - len(ids) : longest] = torch.tensor(ids, device=self.device)
        return self._read()

    def step(self, tokens: Int[Tensor, " row"]) -> Logits:
        self.tokens[:, self.length] = tokens
        self.length += 1
        if self.length - self.first > self.reach:
            size = self.length - self.begin
            self.begin = torch.where(size > self.reach, self.length - self._window, self.begin)
            return self._read()
        here = self.tokens[:, self.length - 1 : self.length]
        rows = Rows(here, (self.length - 1 - self.begin)[:, None], self.zero, self.number)
        return self._logits(self.backbone(rows, cache=self.cache).last[:, 0])

    def take(self, rows: Int[Tensor, " taken"]) -> None:
        self.tokens, self.begin = self.tokens[rows], self.begin[rows]
        self.cache.take(rows)
        self._number()

    def _number(self) -> None:
        self.first = int(self.begin.min())
        self.number = torch.arange(len(self.begin), device=self.device)[:, None]
        self.zero = torch.zeros_like(self.number)

    def _read(self) -> Logits:
        """Read all rows whole; what has gone out of every row's window is forgotten."""
        self._number()
        self.tokens = self.tokens[:, self.first :].contiguous()
        self.slots, self.length, self.begin = self.slots - self.first, self.length - self.first, self.begin - self.first
        self.first = 0
        slot = torch.arange(self.length, device=self.device)[None]
        there = slot >= self.begin[:, None]
        ids = self.tokens[:, : self.length].masked_fill(~there, self.vocabulary.cls)
        position = (slot - self.begin[:, None]).clamp_(min=0)
        example = self.number.expand_as(ids).masked_fill(~there, -1)
        rows = Rows(ids, position, torch.zeros_like(ids), example, alone=bool(there.all()))
        last = np.zeros(ids.shape, bool)
        last[:, -1] = True
        self.cache = Cache(len(self.backbone.order), self.slots)
        return self._logits(self.backbone(rows, At.of(last).to(self.device), cache=self.cache).last)

    def _scores(self, h: Float[Tensor, "row width"]) -> Logits:
        assert isinstance(self.pretext, CausalLM)
        return self.pretext.logits(self.backbone, h)


class Seq2SeqDecoder(Decoder):
    """An encoder-decoder that reads the prompts in its encoder, and writes what its pretext task wants of them."""

    def __init__(self, objective: Objective, vocabulary: Vocabulary, reach: int):
        super().__init__(objective, vocabulary, reach)
        assert isinstance(objective.backbone, EncoderDecoder)
        self.backbone = objective.backbone

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Names of special tokens mean those tokens: "[MASK]" is what infilling is about."""
        v = self.vocabulary
        written = [text.replace("[MASK]", v.special.get("mask", "[MASK]")) for text in prompts]
        return [[*v.begin, *ids, v.sep] if ids else [] for ids in v.encode_batch(written, special=True)]

    def fitting(self, ids: Ids, new: int, window: bool) -> tuple[list[int], int]:
        """With `window` the beginning of a long source is read."""
        new = min(new, self.reach)
        if len(ids) <= self.reach:
            return list(ids), new
        if not window:
            raise ValueError(f"it has {len(ids)} tokens, and the model reads {self.reach} at once")
        return [*ids[: self.reach - 1], ids[-1]], new

    def start(self, prompts: Sequence[Ids], new: int, window: bool) -> Logits:
        rows, width = len(prompts), max(map(len, prompts))
        ids = torch.full((rows, width), self.vocabulary.pad, dtype=torch.int64)
        example, position = torch.full_like(ids, -1), torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            here = slice(0, len(prompt))
            ids[row, here], example[row, here] = torch.tensor(prompt), row
            position[row, here] = torch.arange(len(prompt))
        alone = bool((example >= 0).all())
        self.source = Rows(ids, position, torch.zeros_like(ids), example, alone).to(self.device)
        self.memory = self.backbone.encoder(self.source).last
        self.cache = Cache(len(self.backbone.decoder.order), new)
        return self.step(torch.full((rows,), self.vocabulary.decoder_begin, device=self.device))

    def step(self, tokens: Int[Tensor, " row"]) -> Logits:
        number = torch.arange(len(tokens), device=self.device)[:, None]
        position = torch.full_like(number, self.cache.length)
        rows = Rows(tokens[:, None], position, torch.zeros_like(number), number, alone=True)
        states = self.backbone.decoder(rows, memory=self.memory, memory_rows=self.source, cache=self.cache)
        return self._logits(states.last[:, 0])

    def take(self, rows: Int[Tensor, " taken"]) -> None:
        self.cache.take(rows)
        self.memory = self.memory[rows]

    def before(self, prompt: Ids) -> Ids:
        """The prompt is another text."""
        return [self.vocabulary.decoder_begin]

    def text(self, prompt: Ids, written: Ids) -> str:
        return self.vocabulary.decode(written, skip_special=True)

    def _scores(self, h: Float[Tensor, "row width"]) -> Logits:
        return self.pretext.logits(self.backbone, h)  # type: ignore[operator]


def decoder_of(model: Model) -> Decoder:
    """What writes with `model`; a UserError for one that was not trained to write."""
    backbone, pretext = model.objective.backbone, model.objective.pretext
    if model.vocabulary is not None:
        if isinstance(backbone, EncoderDecoder):
            return Seq2SeqDecoder(model.objective, model.vocabulary, reach(model))
        if isinstance(pretext, CausalLM):
            return CausalDecoder(model.objective, model.vocabulary, reach(model))
    raise UserError(
        f"{name(model)} was not trained to write text from left to right, so it cannot generate. "
        "Choose a GPT, or an encoder-decoder."
    )


def lay_out(module: nn.Module) -> None:
    """Store every matrix the other way round, column after column; numbers and shapes stay as they are.

    torch's own product of one row runs along what then lies together (a fifth faster for GPT-2 small's shape on two
    cores); of several rows it is the slower for it, and oneDNN's too.
    """
    for parameter in module.parameters():
        if parameter.ndim == 2 and parameter.is_contiguous():
            parameter.data = parameter.data.t().contiguous().t()
