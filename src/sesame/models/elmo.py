"""ELMo (Peters et al. 2018): words from their characters, then LSTMs over the text from both sides.

A word's vector comes from its characters alone (Kim et al. 2016, as Józefowicz et al. 2016 have it): convolutions of
several widths, the maximum of each over the word, highway layers, a projection. Each layer above it is two LSTMs with
projections (Sak et al. 2014), one reading forwards and one backwards, which never see each other: so both can be
language models. Rows are taken apart for them: every example begins with empty states.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Rows
from sesame.data.tokenizer import Vocabulary
from sesame.models.base import Backbone, States
from sesame.models.segments import apart, in_rows

BYTES, BEGIN_TEXT, END_TEXT, BEGIN_WORD, END_WORD, PAD = 256, 257, 258, 259, 260, 261
"""Characters are bytes of UTF-8, from 1 on, and five signs; 0 is unused. The published weights number them so."""
CHARACTERS = 262


def spelling(vocabulary: Vocabulary, longest: int) -> Int[np.ndarray, "token longest"]:
    """The characters of every token: BEGIN_WORD, its bytes, END_WORD, filled up with PAD; what is longer is cut.

    The tokens where a text begins and ends have a sign of their own in place of bytes; padding has none at all, and a
    gap in the vocabulary or the unknown token none between its ends.
    """
    table = np.full((vocabulary.size, longest), PAD, np.int64)
    signs = {vocabulary.cls: [BEGIN_TEXT], vocabulary.sep: [END_TEXT], vocabulary.ids.get("unk", -1): []}
    for id, token in enumerate(vocabulary.tokens(range(vocabulary.size))):
        if id == vocabulary.pad:
            continue
        spelled = signs.get(id, [byte + 1 for byte in token.encode()] if token != "<none>" else [])
        word = [BEGIN_WORD, *spelled[: longest - 2], END_WORD]
        table[id, : len(word)] = word
    return table


class CharacterNetwork(nn.Module):
    """Words from their characters."""

    def __init__(self, c: config.Elmo):
        super().__init__()
        filters = sum(count for _, count in c.filters)
        self.character = nn.Embedding(CHARACTERS, c.character_width)
        self.convolutions = nn.ModuleList(nn.Conv1d(c.character_width, count, size) for size, count in c.filters)
        self.highways = nn.ModuleList(nn.Linear(filters, 2 * filters) for _ in range(c.highways))
        self.projection = nn.Linear(filters, c.width)
        self.widest = max(size for size, _ in c.filters)
        nn.init.uniform_(self.character.weight, -1.0, 1.0)
        for highway in self.highways:
            assert isinstance(highway, nn.Linear)
            nn.init.constant_(highway.bias[filters:], 1.0)  # the gate is open at first: words pass through

    def forward(self, characters: Int[Tensor, "word longest"]) -> Float[Tensor, "word width"]:
        """A vector for each word; `characters` as `spelling` gives them."""
        # Where only padding is left, one window of it says all that the others would: the maximum is the same.
        length = int((characters != PAD).sum(1).max()) if len(characters) else 1
        x = self.character(characters[:, : length + self.widest]).mT
        x = F.relu(torch.cat([convolution(x).amax(2) for convolution in self.convolutions], 1))
        for highway in self.highways:
            new, gate = highway(x).chunk(2, 1)
            gate = torch.sigmoid(gate)
            x = gate * x + (1 - gate) * F.relu(new)
        return self.projection(x)


class BothWays(nn.Module):
    """Two LSTMs with projections, one for each direction, stepped together; a weight's first index is the direction.

    With x the input and h the projected output of the step before: (i, f, g, o) = W x + U h + b;
    c ← σ(f) c + σ(i) tanh g; h ← P (σ(o) tanh c). c and h are kept within ±`clip`.
    """

    def __init__(self, c: config.Elmo):
        super().__init__()
        self.clip = c.clip
        self.input = nn.Parameter(torch.empty(2, c.width, 4 * c.cell))
        self.state = nn.Parameter(torch.empty(2, c.width, 4 * c.cell))
        self.bias = nn.Parameter(torch.zeros(2, 1, 4 * c.cell))
        self.projection = nn.Parameter(torch.empty(2, c.cell, c.width))
        with torch.no_grad():
            self.bias[:, :, c.cell : 2 * c.cell] = 1.0  # nothing is forgotten at first
            for weight in (self.input, self.state, self.projection):
                weight.uniform_(-1 / math.sqrt(weight.shape[1]), 1 / math.sqrt(weight.shape[1]))

    def forward(
        self, x: Float[Tensor, "2 example time width"], going: Int[Tensor, " time"]
    ) -> Float[Tensor, "2 example time width"]:
        """The outputs; at time t the first `going[t]` examples are still read, and the outputs of others are zero."""
        outputs = []
        read = torch.baddbmm(self.bias, x.flatten(1, 2), self.input).view(*x.shape[:3], -1)
        h, c = x.new_zeros(2, x.shape[1], x.shape[3]), x.new_zeros(2, x.shape[1], self.projection.shape[1])
        for t, count in enumerate(going.tolist()):
            gates = torch.baddbmm(read[:, :count, t], h[:, :count], self.state)
            i, f, g, o = gates.chunk(4, 2)
            c = torch.sigmoid(f) * c[:, :count] + torch.sigmoid(i) * torch.tanh(g)
            if self.clip:
                c = c.clamp(-self.clip, self.clip)
            h = torch.bmm(torch.sigmoid(o) * torch.tanh(c), self.projection)
            if self.clip:
                h = h.clamp(-self.clip, self.clip)
            outputs.append(F.pad(h, (0, 0, 0, x.shape[1] - count)))
        return torch.stack(outputs, 2)


class Elmo(Backbone):
    """States are both directions side by side: forwards in the first half, backwards in the second.

    Layer 0 is the word's own vector, twice. `characters` says how each token is spelled; it is no weight, and the
    pretext task writes it once.
    """

    def __init__(self, c: config.Elmo):
        super().__init__()
        self.config, self.width = c, 2 * c.width
        self.embed = CharacterNetwork(c)
        self.blocks = nn.ModuleList(BothWays(c) for _ in range(c.layers))
        self.characters: Tensor
        self.register_buffer("characters", torch.full((c.vocab, c.longest), PAD, dtype=torch.int16))

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        words, which = torch.unique(inputs.x, return_inverse=True)  # each word is spelled out once
        x = self.embed(self.characters[words].long())[which]
        forwards, backwards, there, going = apart(inputs.example)
        flat = x.flatten(0, 1)
        h = torch.stack([flat[forwards], flat[backwards]])
        kept = [torch.cat([x, x], -1)]
        for number, block in enumerate(self.blocks):
            out = block(F.dropout(h, self.config.dropout, self.training), going)
            h = out + h if number else out  # each layer but the first adds to what it reads
            sides = zip(h, (forwards, backwards), strict=True)
            kept.append(torch.cat([in_rows(side, places, there, inputs.example.shape) for side, places in sides], -1))
        last = kept[-1] if at is None else kept[-1].flatten(0, 1)[at.places(inputs.x.shape[1])]
        return States(last, tuple(kept) if layers else (), inputs.valid)

    def words(self) -> Float[Tensor, "token width"]:
        """The vector of every token of the vocabulary by itself."""
        parts = [self.embed(part.long()) for part in self.characters.split(1024)]
        return torch.cat(parts)
