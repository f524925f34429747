"""ConvNet: shapes, and independence of images."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sesame import config
from sesame.data.batch import Pixels
from sesame.models.base import channels_last
from sesame.models.convnet import ConvNet, Pointwise


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3), (9, 3)])
def test_last_is_the_mean_of_the_last_map_at_any_size(side: int, channels: int) -> None:
    model = ConvNet(config.ConvNet(channels=(8, 16, 24), in_channels=channels)).eval()
    states = model(Pixels(torch.rand(5, channels, side, side)), layers=True)
    assert states.last.shape == (5, model.width) == (5, 24)
    sides = [side, side, (side + 1) // 2, ((side + 1) // 2 + 1) // 2]
    assert [tuple(m.shape) for m in states.layers] == [(5, c, s, s) for c, s in zip((8, 8, 16, 24), sides, strict=True)]
    torch.testing.assert_close(states.last, states.layers[-1].mean((2, 3)))


def test_in_evaluation_an_image_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    model, x = ConvNet(config.ConvNet()), torch.rand(6, 1, 8, 8)
    model(Pixels(x))  # gives batch norm running statistics of its own
    model.eval()
    one_by_one = torch.cat([model(Pixels(x[i : i + 1])).last for i in range(6)])
    torch.testing.assert_close(model(Pixels(x)).last, one_by_one)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("channels", [(4, 8), (6, 10), (16, 24)])
def test_a_strided_shortcut_of_few_channels_is_torchs_own_convolution(channels: tuple[int, int], side: int) -> None:
    """oneDNN's overwrites memory and gives other gradients here; doubles do not go through it."""
    torch.manual_seed(0)
    ours = Pointwise(*channels, 1, stride=2, bias=False)
    plain = torch.nn.Conv2d(*channels, 1, stride=2, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    for _ in range(20):
        x = channels_last(torch.randn(16, channels[0], side, side)).requires_grad_()
        wide = x.detach().double().requires_grad_()
        got, expected = ours(x), plain(wide)
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
        towards = torch.randn_like(got)
        got.backward(towards)
        expected.backward(towards.double())
        torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_lie_channels_last_which_is_fastest(channels: int) -> None:
    states = ConvNet(config.ConvNet(in_channels=channels))(Pixels(torch.rand(2, channels, 8, 8)), layers=True)
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in states.layers)


def test_the_size_for_photos_on_a_cpu_stays_below_15_million_operations_at_32_by_32() -> None:
    model = ConvNet(config.ConvNet(channels=(24, 48, 96), stride=2, in_channels=3)).eval()
    with FlopCounterMode(display=False) as counter:
        states = model(Pixels(torch.rand(1, 3, 32, 32)), layers=True)
    assert [m.shape[2] for m in states.layers] == [16, 16, 8, 4]
    assert 10e6 < counter.get_total_flops() < 15e6
