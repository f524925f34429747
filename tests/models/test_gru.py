"""The GRU backbone: against torch's own, whatever shares a row or stands beside it."""

import torch

from sesame import config
from sesame.data.batch import At, Rows
from sesame.models.gru import Gru

C = config.Gru(layers=3, width=16, features=5)


def network() -> Gru:
    torch.manual_seed(0)
    return Gru(C).eval()


def rows(*lengths: list[int]) -> Rows:
    """Rows that pack examples of these lengths, filled up to the longest row."""
    width = max(map(sum, lengths)) + 2
    example, number = torch.full((len(lengths), width), -1), 0
    for row, sizes in enumerate(lengths):
        at = 0
        for size in sizes:
            example[row, at : at + size] = number
            at, number = at + size, number + 1
    x = torch.randn(len(lengths), width, 5) * (example >= 0)[:, :, None]
    nothing = torch.zeros_like(example)
    return Rows(x, nothing, nothing, example)


def reference(gru: Gru, x: torch.Tensor) -> list[torch.Tensor]:
    """Layer after layer, with torch's loop over time and the sum of input and output from the second on."""
    layers, h = [], x
    for number, block in enumerate(gru.blocks):
        cell = torch.nn.GRUCell(h.shape[1], C.width)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in block.state_dict().items()})
        state, out = torch.zeros(1, C.width), []
        for frame in h:
            state = cell(frame[None], state)
            out.append(state[0])
        h = torch.stack(out) + (h if number else 0)
        layers.append(h)
    return layers


def test_every_example_is_read_by_itself_layer_after_layer_with_residuals() -> None:
    gru, packed = network(), rows([4, 7], [9], [1, 1, 3])
    states = gru(packed, layers=True)
    assert len(states.layers) == gru.depth == 3 and torch.equal(states.last, states.layers[-1])
    for number in range(6):
        here = packed.example == number
        for found, expected in zip(states.layers, reference(gru, packed.x[here]), strict=True):
            torch.testing.assert_close(found[here], expected)
    assert (states.last[packed.example < 0] == 0).all()


def test_positions_that_are_read_are_those_of_the_whole() -> None:
    gru, packed = network(), rows([4, 7], [9])
    where = torch.rand(packed.example.shape) < 0.3
    where &= packed.valid
    torch.testing.assert_close(gru(packed, At.of(where.numpy())).last, gru(packed).last[where])
