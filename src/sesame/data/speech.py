"""Speech: a folder of audio files as batches of log-mel frames, one utterance a row."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from sesame.config import SpeechData
from sesame.data import chance
from sesame.data.batch import Cursor, Rows, SpeechBatch, Step
from sesame.data.log_mel import LogMel, normalised
from sesame.data.order import HELD_OUT_SEED, Order, held_out
from sesame.errors import UserError

log = logging.getLogger(__name__)

SUFFIXES = (".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class Utterance:
    path: Path
    key: int
    """Hash of the file's bytes."""
    frames: int


def read_sound(path: Path, sample_rate: int) -> Float[np.ndarray, " sample"]:
    """The sound at `sample_rate`, channels averaged, samples in [-1, 1]."""
    import soundfile

    try:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: the sound cannot be read ({error}). Mend or remove the file.") from None
    mono = sound.mean(1)
    return mono if rate == sample_rate else _resampled(mono, rate, sample_rate, path)


def _resampled(sound: np.ndarray, rate: int, sample_rate: int, path: Path) -> Float[np.ndarray, " sample"]:
    try:
        import soxr
    except ImportError:
        raise UserError(
            f"{path} has {rate} samples a second, {sample_rate} were expected. "
            f"Pass --data.sample-rate {rate}, or install soxr, which resamples."
        ) from None
    return soxr.resample(sound, rate, sample_rate)


def find_utterances(folder: Path, sample_rate: int, log_mel: LogMel) -> tuple[list[Utterance], Counter[str]]:
    """Every audio file under `folder`, in order of its path, and how many were skipped for which reason."""
    import soundfile

    found: list[Utterance] = []
    skipped: Counter[str] = Counter()
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            info = soundfile.info(path)
            key = hashlib.blake2b(path.read_bytes(), digest_size=8).digest()
        except (soundfile.SoundFileError, OSError) as error:
            log.warning("%s is skipped: it cannot be read as sound (%s)", path, error)
            skipped["unreadable"] += 1
            continue
        frames = log_mel.frames_in(info.frames * sample_rate // info.samplerate)
        if frames < 1:
            log.warning("%s is skipped: %d samples are shorter than one frame", path, info.frames)
            skipped["shorter than a frame"] += 1
            continue
        found.append(Utterance(path, int.from_bytes(key, "little"), frames))
    return found, skipped


class SpeechStream:
    """Utterances in keyed order; a tenth, by hash of content, is held out.

    Each utterance is normalised as a whole; one longer than a row is cut at a place that changes with the epoch.
    """

    def __init__(self, data: SpeechData, seed: int, rank: int = 0, world: int = 1):
        folder = Path(data.source)
        if not data.source or not folder.is_dir():
            raise UserError(
                f"{data.source!r} is no folder. Speech is a folder of {', '.join(SUFFIXES)} files (--data)."
            )
        self.log_mel = LogMel(data.sample_rate, data.mels)
        self.utterances, self.skipped = find_utterances(folder, data.sample_rate, self.log_mel)
        if self.skipped:
            log.warning("%s: %s", folder, "; ".join(f"{n} files skipped: {why}" for why, n in self.skipped.items()))
        if not self.utterances:
            raise UserError(f"{folder} holds no readable {', '.join(SUFFIXES)} file. Name a folder that does.")
        self.data, self.seed = data, seed
        self.key = np.array([u.key for u in self.utterances], np.uint64)
        self.frames = np.minimum([u.frames for u in self.utterances], data.length)
        away = held_out(self.key)
        self.training, self.away = np.flatnonzero(~away), np.flatnonzero(away)
        self.order = Order(len(self.training), data.rows, seed, rank, world)

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly; `step` and `steps` mean nothing to speech."""
        for turn in self.order.turns(cursor, parts):
            batches = tuple(self.batch(self.training[part], self.seed, turn.epoch) for part in turn.mine)
            yield Step(batches, turn.cursor, int(self.frames[self.training[turn.whole]].sum()))

    def held_out(self, rows: int) -> Iterator[SpeechBatch]:
        """At most `rows` utterances that training never hears, the same for every run and process."""
        chosen = self.away[:rows]
        for start in range(0, len(chosen), self.data.rows):
            yield self.batch(chosen[start : start + self.data.rows], HELD_OUT_SEED, epoch=0)

    def batch(self, utterance: Int[np.ndarray, " row"], seed: int, epoch: int) -> SpeechBatch:
        """The utterances of these numbers, as wide as the longest of them."""
        frames_in, key = self.frames[utterance], self.key[utterance]
        frames = np.zeros((len(utterance), int(frames_in.max()), self.data.mels), np.float32)
        for row, number in enumerate(utterance.tolist()):
            whole, size = self.features(self.utterances[number]), int(frames_in[row])
            start = int(chance.integers(len(whole) - size + 1, "cut", seed, epoch, self.utterances[number].key))
            frames[row, :size] = whole[start : start + size]
        return SpeechBatch(frames=frames, frames_in=frames_in, key=key, seed=seed, epoch=epoch)

    def features(self, utterance: Utterance) -> Float[np.ndarray, "frame mel"]:
        """All frames of an utterance, normalised."""
        sound = read_sound(utterance.path, self.data.sample_rate)
        if (found := self.log_mel.frames_in(len(sound))) < utterance.frames:
            raise UserError(
                f"{utterance.path}: the header promises {utterance.frames} frames of 10 ms and {found} can be read. "
                "The file is truncated: mend or remove it."
            )
        return normalised(self.log_mel(sound)[: utterance.frames])


def rows_of(batch: SpeechBatch) -> Rows:
    """The batch as a backbone reads it: every utterance is one example, alone in its row."""
    rows, time = batch.frames.shape[:2]
    there = np.arange(time) < batch.frames_in[:, None]
    nothing = torch.zeros((rows, time), dtype=torch.int64)
    return Rows(
        x=torch.from_numpy(batch.frames),
        position=torch.arange(time).expand(rows, time) * torch.from_numpy(there),
        kind=nothing,
        example=torch.from_numpy(np.where(there, np.arange(rows)[:, None], -1)),
        alone=bool(there.all()),
    )
