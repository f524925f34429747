"""Power in mel bands, compiled by numba: what `mel_power` does through torch, about twice as fast.

LANES windows go through together, a lane each, so that every step is the same few operations on numbers that stand side
by side, as a processor's vectors want them, and all stays in the cache from the samples to the bands. The transform is
Stockham's, which needs no sorting (Swarztrauber 1984, "FFT algorithms for vector computers"), with radices 4, 2 and 5,
in double precision, of the even samples as real and the odd ones as imaginary parts.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from inspect import unwrap
from math import cos, pi, prod, sin
from threading import local
from typing import Any, ClassVar

import numba
import numpy as np
import torch
from jaxtyping import Float

from sesame.data.mel import Bands, frames_in

LANES = 32
TOGETHER = 4 * LANES
"""Windows at a time. Bands are summed for all of them at once, in single precision, as all that comes after."""
LEAST = 256
"""Windows that are worth a thread."""
RADICES = (4, 2, 5)
C1, C2, S1, S2 = cos(2 * pi / 5), cos(4 * pi / 5), sin(2 * pi / 5), sin(4 * pi / 5)


def compiled(function: Callable[..., None]) -> Any:
    """Compiled at its first call, and kept for the next process. Tests wrap functions in a check of their types."""
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(unwrap(function))


def fits(size: int, fft_size: int) -> bool:
    """Whether windows of `size` samples, padded to `fft_size`, can be transformed here."""
    return size % 2 == fft_size % 2 == 0 and prod(_radices(fft_size // 2)) == fft_size // 2


class CompiledMelPower:
    """What `mel_power.MelPower` is, for sizes that `fits`."""

    libraries: ClassVar[dict[str, str]] = {"numba": str(numba.__version__)}

    def __init__(self, bands: Bands):
        half, filters = bands.fft_size // 2, bands.filters
        used = filters != 0.0
        self.size, self.hop, self.then = len(bands.window), bands.hop, bands.then
        self.sizes = half, filters.shape[1]
        self.plan = (
            bands.window,
            np.array(_radices(half)),
            np.concatenate([turn.ravel() for turn in _turns(half)]),
            np.exp(-1j * pi * np.arange(half + 1) / half),
            used.argmax(0),
            used.sum(0),
            (0.25 * filters.T[used.T]).astype(np.float32),  # the power is four times what it should be
        )

    def __call__(
        self, sound: Float[np.ndarray, " sample"], shift: Float[np.ndarray, " frame"] | None = None
    ) -> Float[np.ndarray, "frame mel"]:
        frames = frames_in(len(sound), self.size, self.hop)
        minus = np.zeros(frames) if shift is None else shift
        mel = np.empty((frames, self.sizes[1]), np.float32)
        rest = iter(range(0, frames, TOGETHER))

        def work() -> None:
            workspace = _kept.workspace(*self.sizes)
            for a in rest:  # whoever is free takes the next: a thread needs a while to wake up
                b = min(a + TOGETHER, frames)
                _mel_power(sound[self.hop * a :], minus[a:b], self.hop, *self.plan, *workspace, mel[a:b])
                self.then(mel[a:b])

        threads = min(torch.get_num_threads(), frames // LEAST)
        others = [_threads(threads - 1).submit(work) for _ in range(1, threads)]
        work()
        for other in others:
            other.result()
        return mel


class _Kept(local):
    """Of each thread. The system clears large pieces of memory, page by page, whenever they are asked for anew."""

    def __init__(self) -> None:
        self.workspaces: dict[tuple[int, int], list[np.ndarray]] = {}

    def workspace(self, half: int, mels: int) -> list[np.ndarray]:
        if (half, mels) not in self.workspaces:
            transform = [np.zeros(2 * half * LANES) for _ in range(2)]
            sums = [np.zeros(rows * TOGETHER, np.float32) for rows in (half + 1, mels)]
            self.workspaces[half, mels] = transform + sums
        return self.workspaces[half, mels]


_kept = _Kept()


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "mel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads stay behind


def _radices(n: int) -> list[int]:
    """What to divide `n` by, one after the other."""
    found = []
    for radix in RADICES:
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return found


def _turns(n: int) -> list[np.ndarray]:
    """e^(−2πi jp/n) by j = 1 … radix − 1 and p, before each radix is divided out."""
    made = []
    for radix in _radices(n):
        made.append(np.exp(-2j * pi / n * np.outer(np.arange(1, radix), np.arange(n // radix))))
        n //= radix
    return made


@compiled
def _mel_power(sound, shift, hop, window, radices, turns, last_turn, lowest, reach, weights, x, y, power, bands, mel):
    """At most TOGETHER windows, as many as there are of `shift`."""
    half, mels = len(last_turn) - 1, len(lowest)
    for start in range(0, len(shift), LANES):
        _cut(sound[start * hop :], shift[start : start + LANES], window, hop, x)
        m, s, turn = half, LANES, 0
        for radix in radices:
            m //= radix
            w = turns[turn : turn + (radix - 1) * m]
            if radix == 4:
                _by_four(x, y, m, s, w)
            elif radix == 2:
                _by_two(x, y, m, s, w)
            else:
                _by_five(x, y, m, s, w)
            x, y, s, turn = y, x, s * radix, turn + len(w)
        _square(x, last_turn, power[start:])
    _sum(power, lowest, reach, weights, bands)
    for frame in range(len(shift)):
        for band in range(mels):
            mel[frame, band] = bands[band * TOGETHER + frame]


# What follows makes slices of what it reads and writes: of sums of indices the compiler does not see that they are
# contiguous, and makes no vectors. A row of s values is their s real parts and then their s imaginary ones.


@compiled
def _row(x, i, size):
    return x[i * size : (i + 1) * size]


@compiled
def _cut(sound, shift, window, hop, x):
    """The windows that begin every `hop` samples, a lane each, and zeros up to the size of the transform."""
    half = len(window) // 2
    for n in range(half):
        z, even, odd = _row(x, n, 2 * LANES), sound[2 * n :: hop], sound[2 * n + 1 :: hop]
        u, v = window[2 * n], window[2 * n + 1]
        for lane in range(len(shift)):
            z[lane], z[LANES + lane] = (even[lane] - shift[lane]) * u, (odd[lane] - shift[lane]) * v
    x[2 * half * LANES :] = 0.0


@compiled
def _by_two(x, y, m, s, w):
    """One step of the transform: of 2m rows of s those m apart are combined, turned, and stand together in m of 2s."""
    for p in range(m):
        u, a, b, z = w[p], _row(x, p, 2 * s), _row(x, m + p, 2 * s), _row(y, p, 4 * s)
        for q in range(s):
            z[q], z[2 * s + q] = a[q] + b[q], a[s + q] + b[s + q]
            dr, di = a[q] - b[q], a[s + q] - b[s + q]
            z[s + q], z[3 * s + q] = dr * u.real - di * u.imag, dr * u.imag + di * u.real


@compiled
def _by_four(x, y, m, s, w):
    for p in range(m):
        t, u, v = w[p], w[m + p], w[2 * m + p]
        a, b, c, d = _row(x, p, 2 * s), _row(x, m + p, 2 * s), _row(x, 2 * m + p, 2 * s), _row(x, 3 * m + p, 2 * s)
        z = _row(y, p, 8 * s)
        for q in range(s):
            er, ei, fr, fi = a[q] + c[q], a[s + q] + c[s + q], a[q] - c[q], a[s + q] - c[s + q]
            gr, gi, hr, hi = b[q] + d[q], b[s + q] + d[s + q], b[q] - d[q], b[s + q] - d[s + q]
            z[q], z[4 * s + q] = er + gr, ei + gi
            jr, ji = fr + hi, fi - hr
            z[s + q], z[5 * s + q] = jr * t.real - ji * t.imag, jr * t.imag + ji * t.real
            jr, ji = er - gr, ei - gi
            z[2 * s + q], z[6 * s + q] = jr * u.real - ji * u.imag, jr * u.imag + ji * u.real
            jr, ji = fr - hi, fi + hr
            z[3 * s + q], z[7 * s + q] = jr * v.real - ji * v.imag, jr * v.imag + ji * v.real


@compiled
def _by_five(x, y, m, s, w):
    """Values 1 and 4 of the five, then 2 and 3: all in one loop are more than the compiler makes vectors of."""
    for p in range(m):
        a, b, c = _row(x, p, 2 * s), _row(x, m + p, 2 * s), _row(x, 2 * m + p, 2 * s)
        d, e, z = _row(x, 3 * m + p, 2 * s), _row(x, 4 * m + p, 2 * s), _row(y, p, 10 * s)
        t, v = w[p], w[3 * m + p]
        for q in range(s):
            fr, fi, gr, gi = b[q] + e[q], b[s + q] + e[s + q], b[q] - e[q], b[s + q] - e[s + q]
            hr, hi, kr, ki = c[q] + d[q], c[s + q] + d[s + q], c[q] - d[q], c[s + q] - d[s + q]
            z[q], z[5 * s + q] = a[q] + fr + hr, a[s + q] + fi + hi
            lr, li, nr, ni = (
                a[q] + C1 * fr + C2 * hr,
                a[s + q] + C1 * fi + C2 * hi,
                S1 * gr + S2 * kr,
                S1 * gi + S2 * ki,
            )
            jr, ji = lr + ni, li - nr
            z[s + q], z[6 * s + q] = jr * t.real - ji * t.imag, jr * t.imag + ji * t.real
            jr, ji = lr - ni, li + nr
            z[4 * s + q], z[9 * s + q] = jr * v.real - ji * v.imag, jr * v.imag + ji * v.real
        t, v = w[m + p], w[2 * m + p]
        for q in range(s):
            fr, fi, gr, gi = b[q] + e[q], b[s + q] + e[s + q], b[q] - e[q], b[s + q] - e[s + q]
            hr, hi, kr, ki = c[q] + d[q], c[s + q] + d[s + q], c[q] - d[q], c[s + q] - d[s + q]
            lr, li, nr, ni = (
                a[q] + C2 * fr + C1 * hr,
                a[s + q] + C2 * fi + C1 * hi,
                S2 * gr - S1 * kr,
                S2 * gi - S1 * ki,
            )
            jr, ji = lr + ni, li - nr
            z[2 * s + q], z[7 * s + q] = jr * t.real - ji * t.imag, jr * t.imag + ji * t.real
            jr, ji = lr - ni, li + nr
            z[3 * s + q], z[8 * s + q] = jr * v.real - ji * v.imag, jr * v.imag + ji * v.real


@compiled
def _square(x, turn, power):
    """Four times the power of every bin: the transforms of even and of odd samples, put together."""
    half = len(turn) - 1
    real, imaginary = _row(x, 0, half * LANES), _row(x, 1, half * LANES)
    for k in range(half // 2 + 1):
        w, j = turn[k], (half - k) % half
        ar, ai = _row(real, k, LANES), _row(imaginary, k, LANES)
        br, bi = _row(real, j, LANES), _row(imaginary, j, LANES)
        low, high = power[k * TOGETHER :], power[(half - k) * TOGETHER :]
        for q in range(LANES):
            er, ei, dr, di = ar[q] + br[q], ai[q] - bi[q], ai[q] + bi[q], br[q] - ar[q]
            tr, ti = w.real * dr - w.imag * di, w.real * di + w.imag * dr
            low[q] = (er + tr) * (er + tr) + (ei + ti) * (ei + ti)
            high[q] = (er - tr) * (er - tr) + (ei - ti) * (ei - ti)


@compiled
def _sum(power, lowest, reach, weights, bands):
    weight = 0
    for band in range(len(lowest)):
        total = _row(bands, band, TOGETHER)
        total[:] = 0.0
        for k in range(lowest[band], lowest[band] + reach[band]):
            row, w = _row(power, k, TOGETHER), weights[weight]
            for lane in range(TOGETHER):
                total[lane] += w * row[lane]
            weight += 1
