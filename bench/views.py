"""Views of images a second, against kornia's, at equal operations: SimCLR's of uint8 images of 32x32 and of 224x224.

    python bench/views.py                        kornia from the environment, or from a folder:
    python bench/views.py --kornia FOLDER        python -m pip install --target FOLDER --no-deps kornia kornia_rs
    python bench/views.py --cases 32 --rounds 5  CIFAR's settings alone

Both sides turn a batch of bytes into two batches of views, numbers from 0 to 1: a random resized crop (bicubic), a
flip, colour jitter, grey and, at 224x224, a Gaussian blur of 23 pixels. Ours draws one order of the colours for each
image, kornia's one for each batch. Speed is views a second; each measurement is a process of its own, in turn.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from compare import alternate, peak_memory, show

CASES = {"32": ("simclr-cifar", 32, 256), "224": ("simclr", 224, 32)}
"""The settings, the height and width of the images, and how many there are in a batch."""


def pixels_of(case: str) -> Any:
    """Smooth colours, as bytes."""
    import torch
    import torch.nn.functional as F

    _, size, images = CASES[case]
    coarse = torch.rand(images, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (large * 255).round().to(torch.uint8)


def ours(case: str) -> Callable[[int], Any]:
    from sesame.config import VIEWS
    from sesame.data.images import content_keys
    from sesame.data.views import apply, draw
    from sesame.engine.machine import keep_freed_memory

    keep_freed_memory()  # as every command that trains does
    name, size, _ = CASES[case]
    pixels = pixels_of(case)
    keys = content_keys(pixels.numpy())

    def both(turn: int) -> Any:
        return [apply(pixels, draw(a, keys, 0, turn, view, size, size)) for view, a in enumerate(VIEWS[name])]

    return both


def theirs(case: str) -> Callable[[int], Any]:
    import kornia.augmentation as K
    import torch
    from torch import nn

    from sesame.config import VIEWS

    torch.manual_seed(0)
    name, size, _ = CASES[case]
    pixels = pixels_of(case)

    def view(a: Any) -> nn.Module:
        parts = [
            K.RandomResizedCrop((size, size), scale=a.area, ratio=a.ratio, resample="BICUBIC"),
            K.RandomHorizontalFlip(p=a.flip),
            K.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue, p=a.jitter),
            K.RandomGrayscale(p=a.grey),
        ]
        if a.blur:
            kernel = 2 * (int(a.kernel * size) // 2) + 1
            parts.append(K.RandomGaussianBlur((kernel, kernel), a.sigma, p=a.blur))
        return nn.Sequential(*parts)

    views = [view(a) for a in VIEWS[name]]

    def both(turn: int) -> Any:
        return [made(pixels.float() / 255.0) for made in views]

    return both


def measured(both: Callable[[int], Any], images: int, seconds: float) -> dict[str, float]:
    both(0)
    both(1)
    began, turns = time.perf_counter(), 0
    while turns < 2 or time.perf_counter() - began < seconds:
        both(2 + turns)
        turns += 1
    return {"speed": 2 * images * turns / (time.perf_counter() - began), "memory": peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--kornia", default="", metavar="FOLDER", help="where kornia was installed with --target")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.kornia:
        sys.path.append(a.kornia)  # behind the environment: it brings kornia alone
    if importlib.util.find_spec("kornia") is None:
        raise SystemExit(
            "kornia is not installed. Install it beside the environment (python -m pip install --target FOLDER "
            "--no-deps kornia kornia_rs) and pass --kornia FOLDER."
        )
    if a.side:
        import torch

        torch.set_num_threads(a.threads)
        (case,) = a.cases
        side = ours if a.side == "ours" else theirs
        print(json.dumps(measured(side(case), CASES[case][2], a.seconds)))
        return
    same = ["--threads", str(a.threads), "--seconds", str(a.seconds), *(["--kornia", a.kornia] if a.kornia else [])]
    done = []
    for case in a.cases:
        sides = ([__file__, "--side", side, "--cases", case, *same] for side in ("ours", "theirs"))
        done.append(alternate(f"{case}x{case}", *sides, a.rounds))
    show(done, "views/s", a.json)


if __name__ == "__main__":
    main()
