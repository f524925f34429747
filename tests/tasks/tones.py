"""Utterances of known tones, as phones with times, and small models on speech with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sesame import config, models, pretext
from sesame.data.utterance import Span, Utterance
from sesame.engine.build import Model
from sesame.pretext.base import Objective
from sesame.tasks.base import Notes, TaskData
from sesame.tasks.spoken import Spoken

RATE = 8000
TONES = {"a": 300.0, "i": 900.0, "o": 2000.0}
DATA = config.SpeechData(mels=20, sample_rate=RATE, length=120)
BOTH_SIDES = config.Transformer(
    input="frames", features=20, layers=2, width=32, heads=2, ffn=64, positions=128, kinds=0, norm="pre"
)
FROM_LEFT = config.Gru(features=20, layers=2, width=24)


def model(backbone: config.Backbone = BOTH_SIDES, data: config.SpeechData = DATA) -> Model:
    task: Any = config.Apc() if isinstance(backbone, config.Gru) else config.Mockingjay()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = models.build(backbone)
        objective = Objective(built, pretext.build(task, built, None)).eval()
    return Model(objective, None, config.Recipe(name="tiny", data=data, backbone=backbone, pretext=task), 0)


def said(folder: Path, count: int = 36, speakers: int = 6, first: int = 0) -> list[Spoken]:
    """Utterances of two to four tones of 80 to 150 ms, the first three times as long; it is the label."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        names, parts, spans, at = random.choice(list(TONES), random.integers(2, 5)), [], [], 0.0
        names[0] = list(TONES)[number % 3]
        for place, name in enumerate(names.tolist()):
            size = int(random.uniform(0.08, 0.15) * (1 if place else 3) * RATE)
            wave = 0.3 * np.sin(2 * np.pi * TONES[name] * (1 + 0.1 * random.standard_normal()) * np.arange(size) / RATE)
            parts.append(wave)
            spans.append(Span(name, at / RATE, (at + size) / RATE))
            at += size
        sound = np.concatenate(parts)
        path = folder / f"{number:03}.wav"
        soundfile.write(path, sound + 0.01 * random.standard_normal(len(sound)), RATE)
        utterance = Utterance(
            path, speaker=f"s{number // 3 % speakers}", label=names[0], phones=tuple(spans), where=str(path),
            key=number, samples=len(sound), rate=RATE,
        )  # fmt: skip
        found.append(Spoken(f"{number:016x}", str(path), utterance, str(names[0])))
    return found


def task_data(kind: type[Any], c: Any, folder: Path, train: int = 24, other: int = 12) -> TaskData[Any, Any]:
    parts = said(folder, train), said(folder, other, first=100), said(folder, other, first=200)
    return TaskData("tones", kind(c, kind.labels_of(c, parts[0])), *parts, Notes())
