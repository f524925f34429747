"""The machine that a run is on: what makes its numbers, and how fast it can multiply matrices."""

import ctypes
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from sesame.config import Recipe
from sesame.processes import cores


def device_of(recipe: Recipe) -> torch.device:
    """Where the recipe runs; under torchrun every process has its own GPU."""
    if recipe.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def fingerprint(recipe: Recipe, world: int) -> dict[str, str]:
    """All that floating-point results depend on besides the recipe: the same bits are promised where it is equal."""
    device = device_of(recipe)
    return {
        "torch": str(torch.__version__),
        "cpu": cpu_model(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": str(min(recipe.threads, cores())),
        "processes": str(world),
    }


def keep_freed_memory() -> None:
    """Let the C library keep the large blocks that a step frees, for the next step to take again.

    glibc gives every block over 32 MiB back to the system at once, which then clears it, page by page, for the next
    step, which a small model feels. A large one pays with some memory lost to fragmentation (docs/results.md).
    Elsewhere this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        m_trim_threshold, m_mmap_threshold, most = -1, -3, 2**31 - 1
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, most)


def seed(device: torch.device, number: int) -> None:
    """Seed the generators that work on `device` draws from, as `torch.manual_seed` does.

    Where there is no accelerator, that one keeps a note of every call, with a stack trace, for each kind there could
    be: a millisecond a step.
    """
    if device.type != "cpu":
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Line:
    """How long this process's threads stand in line for a core, from here on."""

    def __init__(self) -> None:
        self.began = self._so_far()

    def share(self) -> float:
        """Of the time that they could have computed in, from 0 to 1; 0 where the system does not count it."""
        running, waiting = (now - then for now, then in zip(self._so_far(), self.began, strict=True))
        return waiting / (running + waiting) if running > 0 and waiting > 0 else 0.0

    @staticmethod
    def _so_far() -> tuple[float, float]:
        """Nanoseconds of the threads there are: on a core, and ready for one (Linux, Documentation/scheduler/)."""
        running = waiting = 0.0
        for counts in Path("/proc/self/task").glob("*/schedstat"):
            with suppress(OSError, ValueError):  # a thread that has just ended
                on, ready, _ = map(int, counts.read_text().split())
                running, waiting = running + on, waiting + ready
        return running, waiting


def matmul_limit(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Floating-point operations a second of a large matrix product on this machine: the limit of any training."""
    size = 4096 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device, generator=torch.Generator(device).manual_seed(0)).to(dtype)

    def timed(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            a @ a
        wait_for(device)
        return time.perf_counter() - start

    timed(1)
    once = timed(1)
    repeats = max(1, round(seconds / 3 / max(once, 1e-6)))
    return 2 * size**3 * repeats / min(timed(repeats) for _ in range(3))
