"""A fresh encoder-decoder that copies: texts as they are, moved, and behind what is missing."""

import msgspec
import pytest
import torch

from sesame import config
from sesame.data.batch import Rows
from sesame.errors import UserError
from sesame.models import build
from sesame.models.copying import one_back
from sesame.tasks.arms import starts_of

VOCAB, LENGTH = 400, 60


def shape(width: int = 128, heads: int = 2, start: str = "copying", **changes) -> config.EncoderDecoder:
    stack = config.Transformer(
        layers=2, width=width, heads=heads, ffn=4 * width, vocab=VOCAB, positions=128, kinds=0, start=start
    )
    stack = msgspec.structs.replace(stack, **changes)
    return config.EncoderDecoder(encoder=stack, decoder=msgspec.structs.replace(stack, causal=True))


def rows(ids: torch.Tensor) -> Rows:
    zero = torch.zeros_like(ids)
    number = torch.arange(len(ids))[:, None].expand_as(ids)
    return Rows(ids, torch.arange(ids.shape[1]).expand_as(ids), zero, number, alone=True)


@torch.no_grad()
def copied(c: config.EncoderDecoder, source: torch.Tensor, text: torch.Tensor) -> float:
    """The share of the tokens of `text` that are the likeliest, given those before."""
    torch.manual_seed(1)
    model = build(c).eval()
    before = torch.cat([torch.zeros_like(text[:, :1]), text[:, :-1]], 1)
    states = model((rows(source), rows(before)))
    return float(((states.last @ states.vocabulary.T).argmax(-1) == text)[:, 1:].float().mean())


def texts(n: int = 8) -> torch.Tensor:
    """No token comes twice in a text, so that what stands behind one is no matter of chance."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(VOCAB - 1, generator=generator)[:LENGTH] + 1 for _ in range(n)])


@pytest.mark.parametrize(("width", "heads"), [(64, 2), (128, 2), (128, 4), (256, 4), (96, 1)])
def test_it_copies_from_the_first_step_on(width: int, heads: int) -> None:
    text = texts()
    assert copied(shape(width, heads), text, text) > 0.6
    assert copied(shape(width, heads, start="normal"), text, text) < 0.1


def test_it_goes_by_words_and_not_by_places() -> None:
    text = texts()
    turned = torch.cat([text[:, 25:], text[:, :25]], 1)
    assert copied(shape(), turned, text) > 0.6
    left_out = torch.cat([text[:, :20], text[:, 35:]], 1)  # all but the 15 and the token behind them can be copied
    assert copied(shape(), left_out, text) > 0.6 * (LENGTH - 16) / LENGTH


def test_a_pre_norm_stack_copies_too() -> None:
    text = texts()
    assert copied(shape(norm="pre"), text, text) > 0.5


def test_positions_are_turned_into_those_before() -> None:
    rate = torch.tensor([1.0, 0.3, 0.01])
    angle = torch.arange(9)[:, None] * rate
    table = torch.zeros(9, 8)
    table[:, :6] = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
    torch.testing.assert_close((table @ one_back(rate, 8).T)[1:], table[:-1])


@pytest.mark.parametrize(
    ("c", "said"),
    [
        (shape().encoder, "for an encoder-decoder"),
        (shape(position="relative"), "learned positions"),
        (config.EncoderDecoder(encoder=shape().encoder, decoder=shape(start="normal").decoder), "takes both"),
    ],
)
def test_where_it_cannot_be_had_is_said(c: config.Backbone, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(c)


def test_scratch_also_tries_the_start_that_its_rival_had() -> None:
    """A weak start from scratch would make pretraining look better than it is."""
    assert starts_of(build(shape())) == ("normal", "copying")
    assert starts_of(build(shape(start="normal"))) == (None,)
    assert starts_of(build(shape(start="normal").encoder)) == ("normal", "mimetic")
