"""LogMel against transformers' numpy reference."""

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from sesame.data.log_mel import FLOOR, LogMel, normalised
from sesame.errors import UserError


def sound(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "mels", "window", "hop", "fft"), [(16000, 80, 400, 160, 512), (8000, 40, 200, 80, 256)]
)
def test_frames_are_those_of_the_reference_library(rate: int, mels: int, window: int, hop: int, fft: int) -> None:
    wave = sound(rate)
    bank = mel_filter_bank(fft // 2 + 1, mels, 0.0, rate / 2, rate, norm=None, mel_scale="htk")
    expected = spectrogram(
        wave.astype(np.float64),
        window_function(window, "hann"),
        frame_length=window,
        hop_length=hop,
        fft_length=fft,
        power=2.0,
        center=False,
        mel_filters=bank,
        mel_floor=FLOOR,
        log_mel="log",
    ).T
    frames = LogMel(rate, mels)(wave)
    assert frames.shape == expected.shape
    np.testing.assert_allclose(frames, expected, atol=1e-4)


@pytest.mark.parametrize("samples", [399, 400, 401, 559, 560, 16000])
def test_the_number_of_frames_is_known_beforehand(samples: int) -> None:
    log_mel = LogMel(16000, 40)
    assert log_mel.frames_in(samples) == (len(log_mel(sound(samples))) if samples >= 400 else 0)


def test_a_frame_does_not_depend_on_what_follows_it() -> None:
    log_mel = LogMel(16000, 40)
    longer = log_mel(sound(16000))
    assert (log_mel(sound(16000)[:9000]) == longer[: log_mel.frames_in(9000)]).all()


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    log_mel = LogMel(16000, 80)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    centre = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)[1:-1] / 2595) - 1)
    assert (log_mel(tone).argmax(1) == np.abs(centre - 1000).argmin()).all()


def test_normalised_bands_have_mean_0_and_variance_1_and_a_constant_band_is_0() -> None:
    frames = LogMel(16000, 40)(sound(8000))
    frames[:, 7] = 3.0
    out = normalised(frames)
    kept = np.delete(out, 7, axis=1)
    np.testing.assert_allclose(kept.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(kept.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(out[:, 7], 0, atol=1e-5)


def test_more_bands_than_the_spectrum_resolves_are_refused() -> None:
    with pytest.raises(UserError, match="mel bands are too many at 8000 Hz"):
        LogMel(8000, 128)
