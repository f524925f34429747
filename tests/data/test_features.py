"""Every feature against transformers' reference, within 1e-4, also where quiet bands are far below the loud."""

from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from sesame.config import SpeechData
from sesame.data import mel_compiled
from sesame.data.features import Features, deltas, normalised
from sesame.data.mel_power import BLOCK
from sesame.errors import UserError

TIME = np.arange(24000) / 16000
SOUNDS = {
    "noise": np.random.default_rng(0).uniform(-0.5, 0.5, 24000),
    "tone": 0.9 * np.sin(2 * np.pi * 440 * TIME),
    "tone, and noise 75 dB below": 0.9 * np.sin(2 * np.pi * 700 * TIME)
    + 1.6e-4 * np.random.default_rng(1).standard_normal(24000),
    "chirp off centre": 0.3 + 0.4 * np.sin(2 * np.pi * (100 + 2500 * TIME) * TIME),
    "silence, then a tone": np.where(TIME < 0.7, 0.0, np.sin(2 * np.pi * 1234 * TIME)),
}


@pytest.fixture(params=["compiled", "torch"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(mel_compiled, "fits", lambda *_: False)


def features(**options: Any) -> Features:
    return Features(SpeechData(**{"cmvn": False, **options}))


def kaldi(sound: np.ndarray, mels: int, rate: int = 16000) -> np.ndarray:
    size = rate * 25 // 1000
    fft = 1 << (size - 1).bit_length()
    return spectrogram(
        sound.astype(np.float64) * 32768,
        window_function(size, "povey", periodic=False),
        frame_length=size,
        hop_length=rate // 100,
        fft_length=fft,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=mel_filter_bank(
            fft // 2 + 1, mels, 20.0, rate / 2, rate, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
        ),
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", SOUNDS)
def test_log_mel_is_that_of_the_reference(name: str) -> None:
    sound = SOUNDS[name].astype(np.float32)
    expected = spectrogram(
        sound.astype(np.float64),
        window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        mel_filters=mel_filter_bank(257, 80, 0.0, 8000, 16000, norm=None, mel_scale="htk"),
        log_mel="log",
        mel_floor=1e-10,
    ).T
    (frames,) = features().raw([sound])
    np.testing.assert_allclose(frames, expected, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", SOUNDS)
def test_fbank_is_kaldis(name: str) -> None:
    sound = SOUNDS[name].astype(np.float32)
    (frames,) = features(features="fbank").raw([sound])
    np.testing.assert_allclose(frames, kaldi(sound, 80), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_fbank_at_another_rate(rate: int) -> None:
    sound = SOUNDS["noise"].astype(np.float32)
    (frames,) = features(features="fbank", sample_rate=rate, mels=40).raw([sound])
    np.testing.assert_allclose(frames, kaldi(sound, 40, rate), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", SOUNDS)
def test_mfcc_is_the_liftered_cosine_transform_of_fbank(name: str) -> None:
    sound = SOUNDS[name].astype(np.float32)
    cepstra = scipy.fft.dct(kaldi(sound, 23), norm="ortho")[:, :13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
    made = features(features="mfcc")
    (frames,) = made.raw([sound])
    assert frames.shape[1] == made.data.width == 13
    np.testing.assert_allclose(frames, cepstra, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", SOUNDS)
def test_whisper_is_whispers(name: str) -> None:
    sound = SOUNDS[name].astype(np.float32)
    extractor = WhisperFeatureExtractor()
    expected = extractor._np_extract_fbank_features(sound[None].astype(np.float64), "cpu")[0].T
    (frames,) = features(features="whisper").raw([sound])
    np.testing.assert_allclose(frames, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("loudness", [1.0, 1e-3])
def test_a_normalised_wave_is_what_wav2vec2_is_given(loudness: float) -> None:
    sound = (SOUNDS["chirp off centre"] * loudness).astype(np.float32)
    (expected,) = Wav2Vec2FeatureExtractor()(sound, sampling_rate=16000)["input_values"]
    (frames,) = Features(SpeechData(features="wave"))([sound])
    assert frames.shape == (len(sound), 1)
    np.testing.assert_allclose(frames[:, 0], expected, atol=1e-4, rtol=0)


def test_mel_filters_and_spectra_are_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    sound = SOUNDS["noise"].astype(np.float32)
    mel = librosa.feature.melspectrogram(y=sound, sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect")
    level = np.log10(np.maximum(mel, 1e-10)).T[:-1]
    (frames,) = features(features="whisper").raw([sound])
    np.testing.assert_allclose(frames, (np.maximum(level, level.max() - 8) + 4) / 4, atol=1e-4, rtol=0)


def test_deltas_are_slopes_over_five_frames_with_repeated_ends() -> None:
    frames = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    expected = np.zeros_like(frames)
    for t in range(9):
        for n in (1, 2):
            expected[t] += n * (frames[min(t + n, 8)] - frames[max(t - n, 0)]) / 10
    np.testing.assert_allclose(deltas(torch.from_numpy(frames)), expected, atol=1e-6)
    assert len(deltas(torch.ones(1, 3))) == 1


def test_superbs_fbank_is_240_numbers_normalised_over_the_utterance() -> None:
    sound = SOUNDS["chirp off centre"].astype(np.float32)
    made = Features(SpeechData(features="fbank", deltas=2))
    (frames,) = made([sound])
    assert frames.shape[1] == made.data.width == 240
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-3)
    (raw,) = made.raw([sound])
    slope = deltas(torch.from_numpy(raw[:, 80:160]))
    np.testing.assert_array_equal(raw[:, 160:], slope)


KINDS = ("logmel", "fbank", "whisper", "mfcc", "wave")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [0, 1, 200, 201, 399, 400, 559, 560, 660, 16000, (BLOCK + 3) * 160])
@pytest.mark.parametrize("rate", [16000, 22050, 11025, 44100, 8000])
def test_the_number_of_frames_is_known_beforehand(kind: str, samples: int, rate: int) -> None:
    made = features(features=kind, sample_rate=rate, mels=23)
    if (count := made.frames_in(samples)) > 0:
        assert len(made([np.zeros(samples, np.float32)])[0]) == count
    else:
        assert samples < rate // 40


@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_is_the_same_to_the_bit_whatever_it_is_batched_with(kind: str) -> None:
    made, sound = Features(SpeechData(features=kind, deltas=1)), SOUNDS["noise"].astype(np.float32)
    alone = made([sound[:9000]])[0]
    for batch in ([sound, sound[:9000], sound[:500]], [sound[:9000]] * 3):
        assert (made(batch)[1 if len(batch[0]) > 9000 else 0] == alone).all()


def test_a_steady_tone_is_loudest_in_the_band_around_it() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32)
    centre = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)[1:-1] / 2595) - 1)
    assert (features().raw([tone])[0].argmax(1) == np.abs(centre - 1000).argmin()).all()


def test_what_never_changes_is_zero() -> None:
    frames = normalised(np.full((50, 4), np.log(1e-10), np.float32))
    np.testing.assert_allclose(frames, 0, atol=1e-3)


@pytest.mark.parametrize("kind", ["logmel", "fbank", "whisper"])
def test_more_bands_than_the_spectrum_resolves_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match=r"Take fewer \(--data\.mels\)"):
        features(features=kind, sample_rate=8000, mels=160)


def test_more_cepstra_than_bands_are_refused() -> None:
    with pytest.raises(UserError, match=r"--data\.cepstra"):
        features(features="mfcc", cepstra=30)


def test_normalising_is_that_of_double_precision() -> None:
    for frames in (
        np.random.default_rng(0).normal(-15, 0.01, (20000, 4)),
        np.random.default_rng(1).normal(8, 4, (3, 4)),
    ):
        single = frames.astype(np.float32)
        x = single.astype(np.float64)
        np.testing.assert_allclose(normalised(single), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-7), atol=1e-4)
