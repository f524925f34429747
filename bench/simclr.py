"""SimCLR training on this machine: images per second and peak memory against a plain PyTorch loop with kornia, lightly.

    python bench/simclr.py                       kornia and lightly from the environment, or from a folder:
    python bench/simclr.py --peers FOLDER        pip install --target FOLDER --no-deps kornia kornia_rs lightly
    python bench/simclr.py --images SOURCE       your own images of 32x32 (any source of `sesame pretrain --data`)
    python bench/simclr.py --check               first: are the network, the loss and the step of both the same?

A step is that of the recipe simclr-cifar: 256 images of 32x32 become two views each (crop, flip, colour jitter, grey);
a conv net of 32, 64 and 128 channels and a projector read them, and NT-Xent tells them apart; AdamW with the recipe's
schedule. Ours is the engine itself with its loader, without its logging, evaluation and saving, which the peer lacks
too. The peer is the loop that a user writes: a DataLoader over bytes, kornia's augmentations of the batch, the same
network in plain torch.nn, lightly's NTXentLoss, fused AdamW without decay on biases and norms. Each measurement is a
process of its own, in turn.
"""

import argparse
import importlib.util
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from compare import alternate, peak_memory, show
from msgspec.structs import replace
from views import pixels_of, torch_views

RECIPE = "simclr-cifar"
WARMUP = 2
"""Steps before the clock starts."""


# ---------------------------------------------------------------------------------------------- ours
def recipe_of(a: argparse.Namespace) -> Any:
    from sesame.recipes import find

    recipe = find(RECIPE)
    data = replace(recipe.data, source=a.images, size=32, channels=3)
    return replace(recipe, data=data, threads=a.threads, device="cpu", precision="fp32")


def training_of(a: argparse.Namespace) -> Any:
    from sesame.data import open_data
    from sesame.engine import build, loop, products
    from sesame.engine.distributed import Team
    from sesame.engine.run import Config, Run

    recipe = recipe_of(a)
    data = open_data(recipe.data)
    recipe = build.freeze(recipe, data)
    recipe = replace(recipe, products=products.chosen(recipe, Team()))  # as `sesame pretrain` does
    return loop.set_up(recipe, Run(Path(tempfile.mkdtemp()), Config(recipe=recipe, machine={})), data)


def ours(a: argparse.Namespace) -> dict[str, float]:
    from sesame.engine import loop

    training = training_of(a)
    loop.begin(training, None)
    began, images = 0.0, 0
    for number, batch in enumerate(loop.batches(training, WARMUP + a.steps)):
        if number == WARMUP:
            began = time.perf_counter()
        loop.take_step(training, batch, {"nt_xent": float(sum(p.count["nt_xent"] for p in batch.parts))})
        images += batch.size * (number >= WARMUP)
    return {"speed": images / (time.perf_counter() - began), "memory": peak_memory()}


# -------------------------------------------------------------------------------------------- theirs
def lightly_loss(temperature: float) -> Any:
    """lightly's NTXentLoss. Its package imports torchvision and more, which the loss itself does not use: of the
    package only the loss and what it needs are loaded."""
    try:
        from lightly.loss import NTXentLoss

        return NTXentLoss(temperature)
    except ImportError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "lightly"]:
            del sys.modules[name]
    found = importlib.util.find_spec("lightly")
    assert found and found.submodule_search_locations
    root = Path(found.submodule_search_locations[0])
    for name in ("", ".loss", ".utils", ".models", ".models.modules"):
        package = ModuleType(f"lightly{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[package.__name__] = package
    empty = sys.modules["lightly.models.utils"] = ModuleType("lightly.models.utils")
    sys.modules["lightly.models"].utils = empty  # type: ignore[attr-defined]  # the memory bank's, which is not used
    from lightly.loss.ntx_ent_loss import NTXentLoss

    return NTXentLoss(temperature)


def peer_of(recipe: Any) -> Any:
    """The recipe's network and projector in plain torch.nn, in the order of Sesame's own parameters."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    def convolution(inward: int, outward: int, stride: int) -> nn.Conv2d:
        return nn.Conv2d(inward, outward, 3, stride, 1, bias=False)

    class Block(nn.Module):
        def __init__(self, inward: int, outward: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = convolution(inward, outward, stride), nn.BatchNorm2d(outward)
            self.conv2, self.bn2 = convolution(outward, outward, 1), nn.BatchNorm2d(outward)
            self.shortcut = nn.Sequential()
            if stride != 1 or inward != outward:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward)
                )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inner = F.relu(self.bn1(self.conv1(x)))
            return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))

    channels, out = recipe.backbone.channels, recipe.pretext.out
    width = channels[-1]
    stages = [Block(a, b, 2 if i else 1) for i, (a, b) in enumerate(zip((channels[0], *channels), channels))]  # noqa: B905
    last = nn.BatchNorm1d(out)
    last.register_parameter("bias", None)
    return nn.Sequential(
        convolution(3, channels[0], 1), nn.BatchNorm2d(channels[0]), nn.ReLU(), *stages,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, out, bias=False), last,
    )  # fmt: skip


def adamw_of(model: Any, c: Any) -> Any:
    import torch

    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": c.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, fused=True)


def schedule_of(optimizer: Any, recipe: Any) -> Any:
    import torch

    warm = round(recipe.optimizer.warmup * recipe.steps)

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (recipe.steps - 1 - warm)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def theirs(a: argparse.Namespace) -> dict[str, float]:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from sesame.data.images import ImageSet, ImageStream

    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    recipe = recipe_of(a)
    stream = ImageStream(ImageSet(recipe.data), 0)
    pixels = torch.from_numpy(np.array(stream.pixels[stream.training]))
    del stream
    views = [torch_views(augment, 32) for augment in recipe.pretext.views]
    model, loss_of = peer_of(recipe).train(), lightly_loss(recipe.pretext.temperature)
    optimizer = adamw_of(model, recipe.optimizer)
    schedule = schedule_of(optimizer, recipe)
    loader = DataLoader(TensorDataset(pixels), recipe.data.rows, shuffle=True, drop_last=True)
    began, number, images = 0.0, 0, 0
    while True:
        for (batch,) in loader:
            if number == WARMUP:
                began = time.perf_counter()
            if number == WARMUP + a.steps:
                return {"speed": images / (time.perf_counter() - began), "memory": peak_memory()}
            batch = batch.float() / 255.0
            both = torch.cat([view(batch) for view in views])
            loss_of(*model(both).chunk(2)).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            images += len(batch) * (number >= WARMUP)
            number += 1


# --------------------------------------------------------------------------------------------- check
def check(a: argparse.Namespace) -> None:
    """From the same weights and views: the loss of both, and the weights after two steps of both optimisers."""
    import torch

    from sesame.engine import loop

    training = training_of(a)
    objective, recipe = training.objective, training.recipe
    peer, loss_of = peer_of(recipe).train(), lightly_loss(recipe.pretext.temperature)
    mine = list(objective.parameters())
    with torch.no_grad():
        for p, q in zip(mine, peer.parameters(), strict=True):
            q.copy_(p)
    optimizer = adamw_of(peer, recipe.optimizer)
    schedule = schedule_of(optimizer, recipe)
    loop.begin(training, None)
    for batch in loop.batches(training, 2):
        (split,) = batch.parts
        first, second = objective.pretext.views(split)
        loss = loss_of(*peer(torch.cat([first.x, second.x])).chunk(2))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        term = objective(split)["nt_xent"]
        print(f"step {training.step}: NT-Xent of the peer {loss.item():.6f}, ours {term.sum.item() / term.count:.6f}")
        loop.take_step(training, batch, {"nt_xent": float(term.count)})
    # Adam divides by the size of the gradient: what is next to 0 may go either way, but not far.
    apart = max(float((p - q).detach().abs().max()) for p, q in zip(mine, peer.parameters(), strict=True))
    print(f"parameters after two steps: at most {apart:.1e} apart, {sum(p.numel() for p in mine):,} of them")


# ------------------------------------------------------------------------------------------- command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="measured steps of each measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", default="", metavar="SOURCE", help="else smooth colours made here")
    parser.add_argument("--peers", default="", metavar="FOLDER", help="where kornia and lightly were installed")
    parser.add_argument("--check", action="store_true", help="compare both sides' numbers instead of their speed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.peers:
        sys.path.append(a.peers)  # behind the environment: it brings the peers alone
    for name in ("kornia", "lightly"):
        if importlib.util.find_spec(name) is None:
            raise SystemExit(
                f"{name} is not installed. Install it beside the environment (python -m pip install --target FOLDER "
                "--no-deps kornia kornia_rs lightly) and pass --peers FOLDER."
            )
    if a.side:
        print(json.dumps((ours if a.side == "ours" else theirs)(a)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not a.images:
            a.images = f"{folder}/images.npy"
            np.save(a.images, pixels_of("32", 4096).numpy().transpose(0, 2, 3, 1))
        if a.check:
            check(a)
            return
        same = ["--threads", str(a.threads), "--steps", str(a.steps), "--images", a.images]
        same += ["--peers", a.peers] if a.peers else []
        sides = ([__file__, "--side", side, *same] for side in ("ours", "theirs"))
        show([alternate(f"{RECIPE}, 32x32, batch 256", *sides, a.rounds)], "images/s", a.json)


if __name__ == "__main__":
    main()
