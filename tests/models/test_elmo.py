"""ELMo against plain loops: characters window by window, an LSTM of torch's own for each direction of an example."""

import pytest
import torch
from torch import nn

from sesame import config, models
from sesame.data.batch import At, Rows
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, word_level
from sesame.models.elmo import BEGIN_TEXT, BEGIN_WORD, END_TEXT, END_WORD, PAD, BothWays, Elmo, spelling
from sesame.models.layer_mix import LayerMix

WORDS = ["a", "of", "list", "naïve", "returns", "uncopyrightable"]
VOCABULARY = Vocabulary(word_level({w: i for i, w in enumerate([*BERT_SPECIAL.values(), *WORDS])}, False), BERT_SPECIAL)
SMALL = {
    "filters": ((1, 2), (2, 3), (3, 4)),
    "character_width": 3,
    "width": 5,
    "cell": 7,
    "longest": 12,
    "dropout": 0.0,
}


def elmo(**changes: object) -> Elmo:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = models.build(config.Elmo(**(SMALL | {"vocab": VOCABULARY.size} | changes)))
    assert isinstance(made, Elmo)
    made.characters[:] = torch.from_numpy(spelling(VOCABULARY, made.config.longest)).to(made.characters.dtype)
    return made.double()


def rows(*layout: list[int]) -> Rows:
    """Rows of examples of the given sizes, with a hole at the end of the shorter ones; random words."""
    width = max(map(sum, layout))
    generator = torch.Generator().manual_seed(1)
    x, example = torch.full((len(layout), width), VOCABULARY.pad), torch.full((len(layout), width), -1)
    position, number = torch.zeros_like(x), 0
    for r, sizes in enumerate(layout):
        at = 0
        for size in sizes:
            x[r, at : at + size] = torch.randint(2, VOCABULARY.size, (size,), generator=generator)
            example[r, at : at + size], position[r, at : at + size] = number, torch.arange(size)
            at, number = at + size, number + 1
    return Rows(x, position, torch.zeros_like(x), example)


LAYOUT = ([4, 1, 6], [9], [2, 3])


def test_the_published_count_is_exact() -> None:
    with torch.device("meta"):
        network = models.build(config.Elmo(vocab=10))
    assert sum(p.numel() for p in network.parameters()) == 93_600_864
    assert sum(p.numel() for p in network.blocks.parameters()) == 75_563_008


def test_words_are_spelled_in_bytes_between_their_ends() -> None:
    table = spelling(VOCABULARY, 8).tolist()
    assert table[VOCABULARY.cls] == [BEGIN_WORD, BEGIN_TEXT, END_WORD, *[PAD] * 5]
    assert table[VOCABULARY.sep][1] == END_TEXT
    assert table[VOCABULARY.pad] == [PAD] * 8
    assert table[VOCABULARY.unk] == [BEGIN_WORD, END_WORD, *[PAD] * 6]
    naive = [BEGIN_WORD, *(b + 1 for b in "naïve".encode()), END_WORD]
    assert table[5 + WORDS.index("naïve")] == naive and len(naive) == 8
    long = table[5 + WORDS.index("uncopyrightable")]
    assert long == [BEGIN_WORD, *(b + 1 for b in b"uncopy"), END_WORD]


@torch.no_grad()
def test_characters_become_words_as_window_by_window() -> None:
    network = elmo().embed
    table = torch.from_numpy(spelling(VOCABULARY, 12))
    found = network(table)
    for number, characters in enumerate(table):
        vectors = network.character.weight[characters]  # [12, 3]
        best = []
        for convolution in network.convolutions:
            size = convolution.kernel_size[0]
            said = [
                (convolution.weight * vectors[start : start + size].T).sum((1, 2)) + convolution.bias
                for start in range(12 - size + 1)
            ]
            best.append(torch.stack(said).amax(0).relu())
        x = torch.cat(best)
        for highway in network.highways:
            y = highway.weight @ x + highway.bias
            gate = y[9:].sigmoid()
            x = gate * x + (1 - gate) * y[:9].relu()
        torch.testing.assert_close(found[number], network.projection(x))
        torch.testing.assert_close(network(table[number : number + 1])[0], found[number])  # whatever it stands with


def plain_lstm(block: BothWays, direction: int, x: torch.Tensor) -> torch.Tensor:
    """torch's own LSTM over one example."""
    cell, width = block.projection.shape[1:]
    lstm = nn.LSTM(width, cell, proj_size=width).double()
    lstm.weight_ih_l0.copy_(block.input[direction].T)
    lstm.weight_hh_l0.copy_(block.state[direction].T)
    lstm.bias_ih_l0.copy_(block.bias[direction, 0])
    lstm.bias_hh_l0.zero_()
    lstm.weight_hr_l0.copy_(block.projection[direction].T)
    return lstm(x[:, None])[0][:, 0]


@torch.no_grad()
def test_packed_rows_are_each_example_by_itself_through_plain_lstms() -> None:
    network, batch = elmo(clip=0.0, layers=3), rows(*LAYOUT)
    for block in network.blocks:
        nn.init.normal_(block.bias)
    states = network(batch, layers=True)
    assert len(states.layers) == 4
    for number in range(int(batch.example.max()) + 1):
        here = batch.example == number
        x = network.embed(network.characters[batch.x[here]].long())
        sides = [x, x.flip(0)]
        torch.testing.assert_close(states.layers[0][here], torch.cat([x, x], 1))
        for layer, block in enumerate(network.blocks):
            out = [plain_lstm(block, direction, side) for direction, side in enumerate(sides)]
            sides = [o + side if layer else o for o, side in zip(out, sides, strict=True)]
            expected = torch.cat([sides[0], sides[1].flip(0)], 1)
            torch.testing.assert_close(states.layers[layer + 1][here], expected)
    assert not states.last[batch.example < 0].any()
    where = (batch.example >= 0) & (batch.position == 1)
    torch.testing.assert_close(network(batch, At.of(where.numpy())).last, states.last[where])


@torch.no_grad()
def test_cells_and_states_are_clipped_at_every_step() -> None:
    torch.manual_seed(0)
    block, clipped = BothWays(config.Elmo(**SMALL, clip=0.1, vocab=5)).double(), 0
    nn.init.normal_(block.state)
    x = torch.randn(2, 1, 6, 5, dtype=torch.float64)
    found = block(x, torch.ones(6, dtype=torch.int64))
    for direction in range(2):
        h, c = torch.zeros(5, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
        for t in range(6):
            gates = x[direction, 0, t] @ block.input[direction] + h @ block.state[direction] + block.bias[direction, 0]
            i, f, g, o = gates.chunk(4)
            c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-0.1, 0.1)
            h = ((o.sigmoid() * c.tanh()) @ block.projection[direction]).clamp(-0.1, 0.1)
            torch.testing.assert_close(found[direction, 0, t], h)
            clipped += int((c.abs() == 0.1).sum())
    assert clipped > 5


@pytest.mark.parametrize("changed", [3, 7])
@torch.no_grad()
def test_no_direction_sees_what_it_predicts(changed: int) -> None:
    network, batch = elmo(), rows([9, 4])
    before = network(batch).last[0]
    batch.x[0, changed] = (batch.x[0, changed] - 2 + 1) % (VOCABULARY.size - 2) + 2
    moved = (network(batch).last[0] - before).abs() > 1e-12  # more than another order of the words rounds to
    forwards, backwards = moved.chunk(2, -1)
    assert forwards.any(1).nonzero()[:, 0].tolist() == list(range(changed, 9))
    assert backwards.any(1).nonzero()[:, 0].tolist() == list(range(changed + 1))


def test_the_mix_is_the_formula_and_begins_as_the_mean() -> None:
    layers = tuple(torch.randn(2, 3, 4) for _ in range(3))
    mix = LayerMix(3)
    torch.testing.assert_close(mix(layers), torch.stack(layers).mean(0))
    with torch.no_grad():
        mix.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        mix.scale.fill_(1.5)
    e = mix.weight.exp()
    torch.testing.assert_close(mix(layers), 1.5 * sum(w * h for w, h in zip(e / e.sum(), layers, strict=True)))
