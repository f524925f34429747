"""A sound out of a file: mono, at the sampling rate that is asked for."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from sesame.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
LEFT_OUT = (".m4a", ".aac", ".wma", ".amr")
"""Sound that libsndfile cannot read."""


def read_sound(
    path: Path, sample_rate: int, start: float = 0.0, end: float | None = None
) -> Float[np.ndarray, " sample"]:
    """The seconds from `start` to `end` at `sample_rate`, channels averaged, samples in [-1, 1]."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            first, last = span_in_samples(start, end, rate, file.frames)
            file.seek(first)
            sound = file.read(last - first, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: the sound cannot be read ({error}). Mend or remove the file.") from None
    if len(sound) < last - first:
        raise UserError(
            f"{path}: the header promises {last} samples and {first + len(sound)} can be read. "
            "The file is truncated: mend or remove it."
        )
    mono = sound[:, 0] if sound.shape[1] == 1 else sound.mean(1)
    if not np.isfinite(mono).all():  # one of them would spread over the features of the whole utterance
        raise UserError(f"{path}: samples are not finite (NaN or infinite). Mend or remove the file.")
    return resampled(mono, rate, sample_rate, path)


def span_in_samples(start: float, end: float | None, rate: int, samples: int) -> tuple[int, int]:
    """Where a stretch of seconds begins and ends in a file of so many samples."""
    return round(start * rate), samples if end is None else min(samples, round(end * rate))


def resampled_size(samples: int, rate: int, sample_rate: int) -> int:
    """How many samples there are at another rate; soxr rounds to the nearest."""
    return samples if rate == sample_rate else (2 * samples * sample_rate + rate) // (2 * rate)


def resampled(sound: Float[np.ndarray, "_"], rate: int, sample_rate: int, path: Path) -> Float[np.ndarray, " sample"]:
    """The sound of `path` at another rate."""
    if rate == sample_rate:
        return sound
    try:
        import soxr
    except ImportError:
        raise UserError(
            f"{path} has {rate} samples a second, {sample_rate} were expected. "
            f"Pass --data.sample-rate {rate}, or install soxr, which resamples (pip install 'sesame-ssl[speech]')."
        ) from None
    result: np.ndarray = soxr.resample(sound, rate, sample_rate)
    return result
