"""Features of sound: hours a second against the extractors of transformers and against librosa.

    python bench/features.py                               five cases, alternating, three rounds, all cores
    python bench/features.py --threads 1 --minutes 20 --cases fbank whisper --json
    python bench/features.py --batch 16                    as whoever reads a folder: so many sounds in a call

Every side makes features of the same sounds, each by itself as data loaders do, from samples in memory: clips of 1 to
15 seconds. With `--batch` a call is given several of like length: ours and Whisper's take them so (its padded to the
longest), of the others each sound is a call. `speed` is seconds of sound a second. fbank: SeamlessM4T's extractor,
the one in transformers that is Kaldi's with Povey's window. whisper: WhisperFeatureExtractor padded to the longest of
its call, which is the sound itself; whisper30: as it comes, padded to 30 seconds, which is what a user of it pays.
logmel, mfcc: librosa's, skipped where that is not installed. Ours transforms in double precision; of theirs fbank does,
the others in single.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from compare import alternate, peak_memory, show

CASES = ("fbank", "whisper", "whisper30", "logmel", "mfcc")


def sounds(minutes: float) -> list[np.ndarray]:
    """Noise that comes and goes about four times a second, as speech does."""
    random = np.random.default_rng(0)
    made, left = [], minutes * 60.0
    while left > 0:
        seconds = random.uniform(1.0, 15.0)
        time_ = np.arange(int(seconds * 16000)) / 16000
        loudness = 0.2 * (1.01 + np.sin(2 * np.pi * (4.0 * time_ + random.uniform())))
        made.append((loudness * random.uniform(-1.0, 1.0, len(time_))).astype(np.float32))
        left -= seconds
    return made


def batches(all_sounds: list[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """Sounds of like length together, as whoever batches them does."""
    if size > 1:
        all_sounds = sorted(all_sounds, key=len)
    return [all_sounds[start : start + size] for start in range(0, len(all_sounds), size)]


def ours(case: str) -> Callable[[list[np.ndarray]], Any]:
    from sesame.config import SpeechData
    from sesame.data.features import Features

    kind: Any = "whisper" if case == "whisper30" else case
    features = Features(SpeechData(features=kind, cmvn=False))
    return features.raw


def theirs(case: str) -> Callable[[list[np.ndarray]], Any]:
    if case == "fbank":
        from transformers import SeamlessM4TFeatureExtractor

        return each(SeamlessM4TFeatureExtractor()._extract_fbank_features)
    if case.startswith("whisper"):
        from transformers import WhisperFeatureExtractor

        whisper = WhisperFeatureExtractor()
        padding = "max_length" if case == "whisper30" else "longest"
        return lambda some: whisper(some, sampling_rate=16000, padding=padding, return_tensors="np")
    import librosa

    shape = {"sr": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "center": False}
    if case == "mfcc":
        return each(lambda sound: librosa.feature.mfcc(y=sound, n_mfcc=13, n_mels=23, **shape))

    def log_mel(sound: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(y=sound, n_mels=80, htk=True, norm=None, **shape)
        return np.log(np.maximum(mel, 1e-10))

    return each(log_mel)


def each(make: Callable[[np.ndarray], Any]) -> Callable[[list[np.ndarray]], Any]:
    """What takes one sound, asked for each of several."""
    return lambda some: [make(sound) for sound in some]


def run(side: str, case: str, minutes: float, threads: int, batch: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    all_sounds = sounds(minutes)
    make = (ours if side == "ours" else theirs)(case)
    calls = batches(all_sounds, batch)
    for some in calls[:3]:  # what is made once
        make(some)
    start = time.perf_counter()
    for some in calls:
        make(some)
    seconds = time.perf_counter() - start
    return {"speed": sum(map(len, all_sounds)) / 16000 / seconds, "memory": peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--minutes", type=float, default=10.0, help="of sound, in every turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=1, help="sounds in a call")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        print(json.dumps(run(a.side, a.cases[0], a.minutes, a.threads, a.batch)))
        return
    have = importlib.util.find_spec("librosa") is not None
    cases = [case for case in a.cases if have or case not in ("logmel", "mfcc")]
    given = ["--minutes", str(a.minutes), "--threads", str(a.threads), "--batch", str(a.batch)]
    side = [[__file__, "--side", name, *given, "--cases"] for name in ("ours", "theirs")]
    done = [alternate(case, [*side[0], case], [*side[1], case], a.rounds) for case in cases]
    show(done, "seconds of sound a second", a.json)


if __name__ == "__main__":
    main()
