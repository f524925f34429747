"""Sums, joined rows and batch norm of two processes: values and gradients are those of one process with all rows."""

import multiprocessing
import os
import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn

from sesame.models.collective import JointBatchNorm, join_batch_norm, joined, summed
from sesame.pretext.simclr import nt_xent

X = torch.randn(11, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SHARES = ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10])


def network() -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4)).double()
    join_batch_norm(net)
    return net


def steps(x: torch.Tensor) -> list[torch.Tensor]:
    """A loss that is a sum over the own rows, each compared with all rows: its share, gradients, running statistics."""
    net = network()
    z = nn.functional.normalize(net(x), dim=1)
    everything, begin = joined(z)
    own = begin + torch.arange(len(z))
    positive = (own + 1) % len(everything)
    each, _ = nt_xent(z, positive, everything, own, 0.5)
    each.sum().backward()
    norm = net[1]
    found = [each.sum().detach(), *(p.grad for p in net.parameters())]
    return [summed(f) for f in found] + [norm.running_mean, norm.running_var, norm.num_batches_tracked]


def _process(rank: int, port: int, to: multiprocessing.Queue) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    to.put((rank, [found.tolist() for found in steps(X[SHARES[rank]])]))
    dist.destroy_process_group()


def test_two_processes_compute_what_one_does_with_all_rows():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    queue = context.Queue()
    processes = [context.Process(target=_process, args=(rank, port, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    told = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    expected = steps(X)
    for rank in range(2):
        for have, want in zip(told[rank], expected, strict=True):
            torch.testing.assert_close(torch.tensor(have, dtype=want.dtype), want)


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5, 2)])
def test_the_formula_of_joint_batch_norm_is_torchs(shape, monkeypatch):
    """Told that there are two processes, with sums that add nothing, it computes itself."""
    monkeypatch.setattr("sesame.models.collective.world", lambda: 2)
    monkeypatch.setattr("sesame.models.collective.summed", lambda x: x)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    theirs, base = kind(3), kind(3)
    with torch.no_grad():
        for norm in (theirs, base):
            norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
            norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    ours = JointBatchNorm.of(base)
    for seed in range(3):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
