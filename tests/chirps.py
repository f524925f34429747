"""Synthesised sounds, so that no test needs a download."""

from pathlib import Path

import numpy as np
import soundfile


def write_chirps(folder: Path, count: int = 24, rate: int = 16000) -> Path:
    """`count` rising and falling tones of 0.2 to 0.6 s, each with its own start, end and loudness."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        time = np.arange(int(random.uniform(0.2, 0.6) * rate)) / rate
        start, end = random.uniform(100, 3000, 2)
        wave = np.sin(2 * np.pi * (start + (end - start) * time / 2 / time[-1]) * time) * random.uniform(0.1, 0.8)
        soundfile.write(folder / f"{number:02}.wav", wave + 0.01 * random.standard_normal(len(wave)), rate)
    return folder
