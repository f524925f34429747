"""Views of images a second, against kornia's, at equal operations: SimCLR's of uint8 images of 32x32 and of 224x224.

    python bench/views.py                        kornia from the environment, or from a folder:
    python bench/views.py --peers FOLDER         python -m pip install --target FOLDER --no-deps kornia kornia_rs
    python bench/views.py --cases 32 --rounds 5  CIFAR's settings alone
    python bench/views.py --check                how far kornia's operations, with the same parameters, are from ours

Both sides turn a batch of bytes into two batches of views, numbers from 0 to 1: a random resized crop (bicubic), a
flip, colour jitter, grey and, at 224x224, a Gaussian blur of 23 pixels, each with the same chances and ranges. Crops
only enlarge here, so nothing needs antialiasing. Ours draws one order of the colours for each image, kornia's one for
each batch. kornia's cubic has a = -3/4 where Pillow's and ours has -1/2, which costs neither side anything. Speed is
views a second; each measurement is a process of its own, in turn.
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


def pixels_of(case: str, images: int = 0) -> Any:
    """Smooth colours, as bytes; as many as a batch has, or so many."""
    import torch
    import torch.nn.functional as F

    _, size, batch = CASES[case]
    coarse = torch.rand(images or batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
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


def torch_views(a: Any, size: int) -> Any:
    """kornia's parts for the settings `a`: a module from numbers from 0 to 1 to such numbers."""
    import kornia.augmentation as K
    from torch import nn

    parts = [
        K.RandomResizedCrop((size, size), scale=a.area, ratio=a.ratio, resample="BICUBIC", align_corners=False),
        K.RandomHorizontalFlip(p=a.flip),
        K.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue, p=a.jitter),
        K.RandomGrayscale(p=a.grey),
    ]
    if a.blur:
        kernel = 2 * (int(a.kernel * size) // 2) + 1
        parts.append(K.RandomGaussianBlur((kernel, kernel), a.sigma, p=a.blur))
    return nn.Sequential(*parts)


def theirs(case: str) -> Callable[[int], Any]:
    import torch

    from sesame.config import VIEWS

    torch.manual_seed(0)
    name, size, _ = CASES[case]
    pixels = pixels_of(case)
    views = [torch_views(a, size) for a in VIEWS[name]]

    def both(turn: int) -> Any:
        return [made(pixels.float() / 255.0) for made in views]

    return both


def apart(case: str) -> dict[str, float]:
    """By part: the greatest difference between ours and kornia's functions from the same parameters, in 1/255."""
    import kornia as k
    import torch
    from msgspec.structs import replace

    from sesame.config import VIEWS
    from sesame.data.images import content_keys
    from sesame.data.views import Parameters, apply, draw

    name, size, _ = CASES[case]
    pixels = pixels_of(case, 16)
    keys, x = content_keys(pixels.numpy()), pixels.float() / 255.0
    whole = replace(VIEWS[name][0], jitter=1.0, grey=1.0, blur=1.0)
    still = {"area": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0}

    def cropped(p: Parameters, i: int) -> torch.Tensor:
        top, left, high, wide = p.box[i].tolist()
        inside = x[i : i + 1, :, top : top + high, left : left + wide]
        found = k.geometry.resize(inside, (size, size), "bicubic", align_corners=False)
        return (k.geometry.hflip(found) if p.flip[i] else found).clamp(0, 1)

    def coloured(p: Parameters, i: int) -> torch.Tensor:
        y, e = x[i : i + 1], k.enhance
        changes: list[Callable[[torch.Tensor, Any], torch.Tensor]] = [
            e.adjust_brightness_accumulative,
            e.adjust_contrast_with_mean_subtraction,
            e.adjust_saturation_with_gray_subtraction,
            lambda y, f: e.adjust_hue(y, f * 2 * torch.pi),
        ]
        for c in p.order[i].tolist():
            y = changes[c](y, p.factor[i, c])
        return y

    def blurred(p: Parameters, i: int) -> torch.Tensor:
        sigma, kernel = float(p.sigma[i]), 2 * p.radius + 1
        return k.filters.gaussian_blur2d(x[i : i + 1], (kernel, kernel), (sigma, sigma))

    parts: dict[str, tuple[tuple[str, ...], Callable[[Parameters, int], torch.Tensor]]] = {
        "crop and flip": (("area", "ratio", "flip"), cropped),
        "colours": (("jitter",), coloured),
        "grey": (("grey",), lambda p, i: k.color.rgb_to_grayscale(x[i : i + 1]).expand(-1, 3, -1, -1)),
    }
    if VIEWS[name][0].blur:
        parts["blur"] = (("blur",), blurred)
    found = {}
    for part, (kept, made) in parts.items():
        p = draw(
            replace(whole, **{key: value for key, value in still.items() if key not in kept}), keys, 0, 0, 0, size, size
        )
        got = apply(pixels, p)
        found[part] = max(float((got[i] - made(p, i)[0]).abs().max()) * 255 for i in range(len(x)))
    return found


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
    parser.add_argument("--peers", default="", metavar="FOLDER", help="where kornia was installed with --target")
    parser.add_argument("--check", action="store_true", help="compare both sides' pixels instead of their speed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.peers:
        sys.path.append(a.peers)  # behind the environment: it brings kornia alone
    if importlib.util.find_spec("kornia") is None:
        raise SystemExit(
            "kornia is not installed. Install it beside the environment (python -m pip install --target FOLDER "
            "--no-deps kornia kornia_rs) and pass --peers FOLDER."
        )
    if a.check:
        for case in a.cases:
            said = ", ".join(f"{part} {most:.2f}" for part, most in apart(case).items())
            print(f"{case}x{case}, greatest difference in 1/255: {said}")
        return
    if a.side:
        import torch

        torch.set_num_threads(a.threads)
        (case,) = a.cases
        side = ours if a.side == "ours" else theirs
        print(json.dumps(measured(side(case), CASES[case][2], a.seconds)))
        return
    same = ["--threads", str(a.threads), "--seconds", str(a.seconds), *(["--peers", a.peers] if a.peers else [])]
    done = []
    for case in a.cases:
        sides = ([__file__, "--side", side, "--cases", case, *same] for side in ("ours", "theirs"))
        done.append(alternate(f"{case}x{case}", *sides, a.rounds))
    show(done, "views/s", a.json)


if __name__ == "__main__":
    main()
