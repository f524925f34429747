"""Schedules, Muon, clipping and averages, against what the papers say and against torch."""

import math

import pytest
import torch
from torch import nn

from sesame.config import Optimizer as Config
from sesame.engine.optim import Average, Muon, Optimizer, orthogonalise, rate_at


def test_the_rate_rises_linearly_and_falls_to_the_floor():
    c = Config(warmup=0.1, decay="linear", floor=0.2)
    rates = [rate_at(c, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[99] == pytest.approx(0.2)
    assert rates[10:] == pytest.approx([1 - 0.8 * i / 89 for i in range(90)])


def test_cosine_is_half_way_down_in_the_middle():
    c = Config(warmup=0.0, decay="cosine", floor=0.1)
    assert rate_at(c, 0, 101) == 1.0
    assert rate_at(c, 50, 101) == pytest.approx(0.55)
    assert rate_at(c, 25, 101) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate_at(c, 100, 101) == pytest.approx(0.1)


def test_constant_stays_and_one_step_is_enough():
    c = Config(warmup=0.0, decay="constant")
    assert [rate_at(c, step, 5) for step in range(5)] == [1.0] * 5
    assert rate_at(Config(), 0, 1) == 1.0


def test_plain_descent_moves_what_has_a_gradient_and_nothing_else():
    table, layer = nn.Embedding(6, 3, sparse=True), nn.Linear(3, 2)
    module = nn.ModuleList([table, layer])
    optimizer = Optimizer(module, Config(name="sgd", lr=0.5, weight_decay=0.1, clip=0.0))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for ids in ([1, 4, 4], [4]):  # two parts of a step: their gradients add up
        layer(table(torch.tensor(ids))).square().sum().backward()
    whole = {name: p.grad.to_dense().clone() for name, p in module.named_parameters()}
    assert float(optimizer.clip()) == pytest.approx(float(torch.cat([g.flatten() for g in whole.values()]).norm()))
    optimizer.step(0.2)
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - 0.1 * whole[name])
    assert torch.equal(table.weight[[0, 2, 3, 5]], before["0.weight"][[0, 2, 3, 5]])
    assert optimizer.state() == {}


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
def test_muons_direction_has_the_singular_vectors_of_the_gradient_and_values_near_one(shape):
    gradient = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
    found = orthogonalise(gradient)
    in_basis = u.T @ found @ vh.T
    assert (in_basis - torch.diag(in_basis.diagonal())).abs().max() < 1e-9
    assert 0.6 < in_basis.diagonal().min() <= in_basis.diagonal().max() < 1.3


def test_muon_walks_as_torchs_does_up_to_its_bfloat16():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 4, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    a = Muon({"weight.weight": ours}, Config(name="muon", muon_lr=0.02, weight_decay=0.1))
    b = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(6, 4, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        with torch.no_grad():
            a.step(1.0)
        b.step()
    moved = (start - theirs).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_a_fused_matrix_is_orthogonalised_part_by_part():
    weight = nn.Parameter(torch.zeros(12, 4))
    muon = Muon({"blocks.0.qkv.weight": weight}, Config(name="muon", muon_lr=1.0, weight_decay=0.0))
    gradient = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    weight.grad = gradient
    with torch.no_grad():
        muon.step(1.0)
    for part, g in zip(weight.detach().chunk(3), gradient.chunk(3), strict=True):
        torch.testing.assert_close(part, -orthogonalise(g))


def walked(c: Config, start: dict[str, torch.Tensor], gradients: list[dict[str, torch.Tensor]], shares: list[float]):
    """Where parameters with these gradients go at these shares of the rate."""
    module = nn.Module()
    for name, value in start.items():
        module.register_parameter(name, nn.Parameter(value.clone()))
    optimizer = Optimizer(module, c)
    for each, share in zip(gradients, shares, strict=True):
        for name, parameter in module.named_parameters():
            parameter.grad = each[name].clone()
        optimizer.step(share)
    return {name: p.detach() for name, p in module.named_parameters()}, optimizer


def some(seed: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


SHAPES = {"matrix": (3, 2), "zero": (2, 2), "bias": (3,)}
SHARES = [0.5, 1.0, 0.7, 0.1]


def test_lars_has_the_reference_order_of_operations():
    """Number by number: decay into the gradient, then the norms, then the rate into the momentum; vectors plainly."""
    start = some(0, SHAPES) | {"zero": torch.zeros(2, 2, dtype=torch.float64)}
    gradients = [some(seed, SHAPES) for seed in range(1, 5)]
    c = Config(name="lars", lr=2.0, weight_decay=0.3, momentum=0.9, trust=0.01, clip=0.0)
    found, optimizer = walked(c, start, gradients, SHARES)
    for name, value in start.items():
        w, v = value.flatten().tolist(), [0.0] * value.numel()
        for gradient, share in zip(gradients, SHARES, strict=True):
            g = gradient[name].flatten().tolist()
            rate = 2.0 * share
            if name != "bias":
                g = [a + 0.3 * b for a, b in zip(g, w, strict=True)]
                own, its = math.hypot(*w), math.hypot(*g)
                rate *= 0.01 * own / its if own > 0 and its > 0 else 1.0
            v = [0.9 * a + rate * b for a, b in zip(v, g, strict=True)]
            w = [a - b for a, b in zip(w, v, strict=True)]
        assert found[name].flatten().tolist() == pytest.approx(w, rel=1e-12)
    assert optimizer.state().keys() == {f"lars.momentum.{name}" for name in SHAPES}


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_walks_as_torchs_sgd_does(nesterov):
    start, gradients = some(0, SHAPES), [some(seed, SHAPES) for seed in range(1, 5)]
    c = Config(name="momentum", lr=0.1, weight_decay=0.2, momentum=0.8, nesterov=nesterov, clip=0.0)
    found, _ = walked(c, start, gradients, SHARES)
    theirs = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    groups = [
        {"params": [theirs["matrix"], theirs["zero"]], "weight_decay": 0.2},
        {"params": [theirs["bias"]], "weight_decay": 0.0},  # biases and norms have none here
    ]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.8, nesterov=nesterov)
    for each, share in zip(gradients, SHARES, strict=True):
        for name, parameter in theirs.items():
            parameter.grad = each[name].clone()
        for group in sgd.param_groups:
            group["lr"] = 0.1 * share
        sgd.step()
    for name, value in found.items():
        torch.testing.assert_close(value, theirs[name].detach())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([nn.ModuleDict({"qkv": nn.Linear(4, 12), "norm": nn.LayerNorm(4)})])
        self.head = nn.Linear(4, 2)

    def gradients(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_only_matrices_inside_blocks_go_to_muon_and_only_vectors_escape_decay():
    optimizer = Optimizer(Net(), Config(name="muon", weight_decay=0.1))
    assert list(optimizer.parts["muon"].named) == ["blocks.0.qkv.weight"]
    decay = {name: optimizer.parts["adamw"].decay(name) for name in optimizer.parts["adamw"].named}
    assert decay == {
        "embed.weight": 0.1, "head.weight": 0.1,
        "blocks.0.qkv.bias": 0.0, "blocks.0.norm.weight": 0.0, "blocks.0.norm.bias": 0.0, "head.bias": 0.0,
    }  # fmt: skip


def test_adamw_walks_as_torchs_does():
    ours, theirs = Net(), Net()
    theirs.load_state_dict(ours.state_dict())
    c = Config(lr=0.01, weight_decay=0.0, clip=0.0)
    a = Optimizer(ours, c)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(c.beta1, c.beta2), eps=c.eps, weight_decay=0.0)
    for seed in range(3):
        ours.gradients(seed)
        theirs.gradients(seed)
        a.step(1.0)
        b.step()
    for x, y in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(x, y)


def test_gradients_are_clipped_to_the_norm_of_all_of_them():
    net = Net()
    net.gradients(0)
    before = torch.cat([p.grad.flatten() for p in net.parameters()])
    norm = Optimizer(net, Config(clip=0.5)).clip()
    after = torch.cat([p.grad.flatten() for p in net.parameters()])
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(after, before * 0.5 / before.norm(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_state_goes_out_and_in_under_the_parameters_names(name):
    c = Config(name=name)
    one, two = Net(), Net()
    a = Optimizer(one, c)
    one.gradients(0)
    a.step(1.0)
    two.load_state_dict(one.state_dict())
    b = Optimizer(two, c)
    saved = {key: value.clone() for key, value in a.state().items()}
    assert "adamw.exp_avg.head.weight" in saved
    assert ("muon.momentum.blocks.0.qkv.weight" in saved) == (name == "muon")
    b.load(saved)
    for net, optimizer in ((one, a), (two, b)):
        net.gradients(1)
        optimizer.step(0.5)
    for x, y in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(x, y)


def test_the_average_is_applied_inside_the_block_and_gone_after_it():
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    average = Average(net, 0.75)
    with torch.no_grad():
        net.weight.fill_(5.0)
    average.update()
    with average.applied():
        assert net.weight.tolist() == [[2.0, 2.0]]
    assert net.weight.tolist() == [[5.0, 5.0]]
