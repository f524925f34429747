"""Power in mel bands, compiled and through torch, against numpy's FFT."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data import mel_compiled, mel_power
from sesame.data.mel import Bands, mel_filters
from sesame.data.mel_compiled import LANES, LEAST, TOGETHER, CompiledMelPower
from sesame.data.mel_power import MelPower

WAYS = [CompiledMelPower, MelPower]


def half(mel: np.ndarray) -> None:
    mel *= 0.5


def nothing(mel: np.ndarray) -> None:
    """Leaves the power as it is."""


def by_numpy(
    window: np.ndarray, fft_size: int, hop: int, filters: np.ndarray, sound: np.ndarray, shift: np.ndarray | None
) -> np.ndarray:
    size = len(window)
    starts = range(0, len(sound) - size + 1, hop)
    rows = [
        np.abs(np.fft.rfft((sound[a : a + size] - (0.0 if shift is None else shift[i])) * window, fft_size)) ** 2
        for i, a in enumerate(starts)
    ]
    return np.array(rows).reshape(-1, len(filters)) @ filters


@settings(max_examples=60, deadline=None)
@given(
    radices=st.lists(st.sampled_from([2, 4, 5]), min_size=2, max_size=4),
    missing=st.integers(0, 10),
    hop=st.integers(1, 40),
    frames=st.sampled_from([0, 1, LANES - 1, LANES, LANES + 1, TOGETHER + 1]),
    shifted=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_size_is_transformed_as_by_numpy(
    radices: list[int], missing: int, hop: int, frames: int, shifted: bool, seed: int
) -> None:
    fft_size = 2 * int(np.prod(radices))
    size = max(2, fft_size - 2 * missing)
    random = np.random.default_rng(seed)
    window, filters = random.uniform(0.1, 1.0, size), np.zeros((fft_size // 2 + 1, 3))
    for band in range(3):
        low = random.integers(0, fft_size // 2)
        high = random.integers(low, fft_size // 2) + 1
        filters[low : high + 1, band] = random.uniform(0.1, 1.0, high + 1 - low)
    sound = random.standard_normal(max(0, size + (frames - 1) * hop))
    shift = random.standard_normal(frames) if shifted else None
    assert mel_compiled.fits(size, fft_size)
    made = CompiledMelPower(Bands(window, fft_size, hop, filters, nothing))(sound, shift)
    assert made.shape == (frames, 3)
    np.testing.assert_allclose(made, by_numpy(window, fft_size, hop, filters, sound, shift), rtol=1e-5)


@pytest.mark.parametrize("make", WAYS)
def test_quiet_bands_of_a_loud_frame_are_exact(make: type) -> None:
    time = np.arange(16000) / 16000
    sound = 0.9 * np.sin(2 * np.pi * 700 * time) + 1e-5 * np.random.default_rng(0).standard_normal(16000)
    window, filters = np.hanning(401)[:-1], mel_filters(257, 80, 16000, "htk")
    made = make(Bands(window, 512, 160, filters, nothing))(sound)
    np.testing.assert_allclose(made, by_numpy(window, 512, 160, filters, sound, None), rtol=1e-5)


def test_a_window_is_the_same_to_the_bit_wherever_it_stands() -> None:
    sound = np.random.default_rng(0).standard_normal(480 + 160 * (8 * TOGETHER + 70))
    power = CompiledMelPower(Bands(np.hanning(400), 512, 160, mel_filters(257, 80, 16000, "htk"), nothing))
    whole = power(sound)
    for frame in (1, LANES - 1, TOGETHER + 3, 8 * TOGETHER + 69):
        later = power(sound[160 * frame :])
        assert (later == whole[frame:]).all(), frame
        assert (power(sound[: 400 + 160 * frame]) == whole[: frame + 1]).all(), frame


def test_threads_change_nothing() -> None:
    sound, threads = np.random.default_rng(0).standard_normal(160 * 5 * LEAST), torch.get_num_threads()
    power = CompiledMelPower(Bands(np.hanning(400), 400, 160, mel_filters(201, 40, 16000, "slaney"), half))
    shift = np.random.default_rng(1).standard_normal(5 * LEAST - 2)
    try:
        torch.set_num_threads(1)
        alone = power(sound, shift)
        for count in (2, 3, 8):
            torch.set_num_threads(count)
            assert (power(sound, shift) == alone).all()
    finally:
        torch.set_num_threads(threads)


def test_what_does_not_fit_or_cannot_be_compiled_goes_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    window, filters = np.hanning(400), mel_filters(257, 80, 16000, "htk")
    assert isinstance(mel_power.mel_power(Bands(window, 512, 160, filters, nothing)), CompiledMelPower)
    assert not mel_compiled.fits(275, 512), "an odd window"
    assert not mel_compiled.fits(1200, 1200), "three"
    assert isinstance(mel_power.mel_power(Bands(np.hanning(399), 512, 160, filters, nothing)), MelPower)
    monkeypatch.delattr("sesame.data.mel_compiled")
    monkeypatch.delitem(sys.modules, "sesame.data.mel_compiled")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert isinstance(mel_power.mel_power(Bands(window, 512, 160, filters, nothing)), MelPower)


FORK = """
import os, numpy as np, torch
from sesame.data.features import Features
from sesame.config import SpeechData
torch.set_num_threads(2)
made, sound = Features(SpeechData(cmvn=False)), np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
(before,) = made.raw([sound])
if (child := os.fork()) == 0:
    torch.set_num_threads(1)  # torch's own threads do not survive
    import sesame.data.mel_compiled as compiled
    assert not compiled._threads.cache_info().currsize
    torch.get_num_threads = lambda: 2
    os._exit(int((made.raw([sound])[0] != before).any()))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
