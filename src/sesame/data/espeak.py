"""Speech that is synthesised here: every phone and word with its time, every speaker and manner known.

What is spoken is written once, as sound files and a manifest, into a folder of the user's cache whose name is a hash of
what made it. Needs the extra `speech`; espeak-ng is GPL-3 and runs in a process of its own (espeak_process.py).
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile

from sesame import config
from sesame.data import chance, manifest
from sesame.data.prompts import Prompt, prompts
from sesame.data.sound import resampled
from sesame.data.utterance import Utterance
from sesame.errors import UserError, nearest

log = logging.getLogger(__name__)

EDITION = 1
"""Changes whenever the same settings come to say something else."""
VARIANTS = (
    *("m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "m7", "m8"),
    *("adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "edward", "grandma"),
    *("grandpa", "gustave", "ian", "john", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo"),
    *("pedro", "quincy", "robert", "sandro", "steph"),
)
"""Voices of espeak-ng that sound like people."""
TEMPO = {"slow": 0.75, "normal": 1.0, "fast": 1.35}
HEIGHT = {"low": -20, "middle": 0, "high": 20}
MELODY = {"flat": 10, "normal": 50, "lively": 95}
"""Manners of speaking: factor of the speaker's rate, steps (of 100) from the speaker's pitch, range of the pitch."""


@dataclass(frozen=True)
class Wanted:
    """One utterance before it is spoken."""

    prompt: Prompt
    language: str
    speaker: str
    tempo: str
    height: str
    melody: str
    rate: int
    """Words in a minute."""
    pitch: int
    """0 to 99."""

    def request(self) -> dict[str, Any]:
        """What espeak_process.py is told."""
        return {
            "language": self.language,
            "variant": self.speaker,
            "rate": self.rate,
            "pitch": self.pitch,
            "range": MELODY[self.melody],
            "text": self.prompt.text,
        }

    def fields(self) -> dict[str, str]:
        """What the manifest says of it, beside path and times."""
        names = ("language", "speaker", "tempo", "height", "melody", "rate", "pitch")
        return {"text": self.prompt.text, **self.prompt.fields, **{name: str(getattr(self, name)) for name in names}}


def utterances(data: config.SpeechData) -> Iterator[Utterance]:
    """What `data.espeak` asks for; spoken now, if it has not been before."""
    folder = _spoken(data)

    def damaged(reason: str, message: str) -> None:
        raise UserError(f"{message} Remove the folder {folder}, and it will be made again.")

    yield from manifest.read(folder / "manifest.jsonl", data.label, damaged)


def wanted(asked: config.Espeak) -> list[Wanted]:
    """Every choice, keyed by the seed and the number of the utterance."""
    if asked.speakers > len(VARIANTS):
        raise UserError(f"espeak has {len(VARIANTS)} speakers, not {asked.speakers}. Ask for fewer.")
    if not asked.languages:
        raise UserError("espeak needs a language to speak. Name one: --data.espeak.languages en-us.")
    number = np.arange(asked.utterances)

    def drawn(n: int, what: str) -> list[int]:
        found: list[int] = chance.integers(n, f"espeak {what}", asked.seed, number).tolist()
        return found

    chosen = zip(
        prompts(asked.says, asked.utterances, asked.seed),
        drawn(len(asked.languages), "language"),
        drawn(asked.speakers, "speaker"),
        *(drawn(3, manner) for manner in ("tempo", "height", "melody")),
        strict=True,
    )
    return [_wanted(prompt, asked.languages[language], *voice) for prompt, language, *voice in chosen]


def _wanted(prompt: Prompt, language: str, speaker: int, *manner: int) -> Wanted:
    """A speaker keeps a rate and a pitch of its own in every data set; the manner is beside these."""
    manners = list(TEMPO), list(HEIGHT), list(MELODY)
    tempo, height, melody = (names[i] for names, i in zip(manners, manner, strict=True))
    rate = 140 + int(chance.integers(60, "espeak speaker's rate", speaker))
    pitch = 35 + int(chance.integers(30, "espeak speaker's pitch", speaker))
    spoken_rate, spoken_pitch = round(rate * TEMPO[tempo]), pitch + HEIGHT[height]
    return Wanted(prompt, language, VARIANTS[speaker], tempo, height, melody, spoken_rate, spoken_pitch)


def cache_folder() -> Path:
    """`$SESAME_CACHE`, or `sesame` in the user's folder for caches."""
    if chosen := os.environ.get("SESAME_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sesame"


def _spoken(data: config.SpeechData) -> Path:
    """The folder with the sounds and their manifest."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise UserError(
            "the source espeak needs the wheel espeakng-loader, which is not installed. "
            "Install the extra: pip install 'sesame-ssl[speech]'; or give --data a folder of sound files."
        )
    with _Speaker() as speaker:
        for language in data.espeak.languages:
            if language not in speaker.languages:
                raise UserError(f"espeak speaks no language {language!r}.{nearest(language, speaker.languages)}")
        all_wanted = wanted(data.espeak)
        said = [(one.request(), one.fields()) for one in all_wanted]
        made_of = [EDITION, speaker.version, data.sample_rate, said]
        name = hashlib.blake2b(msgspec.json.encode(made_of), digest_size=10).hexdigest()
        folder = cache_folder() / f"espeak-{name}"
        if (folder / "manifest.jsonl").exists():
            return folder
        log.info("espeak speaks %d utterances into %s", len(said), folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix="espeak-", dir=folder.parent))
        try:
            _write(beside, all_wanted, speaker, data.sample_rate)
            try:
                beside.rename(folder)
            except OSError:  # another process was first
                if not (folder / "manifest.jsonl").exists():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write(folder: Path, all_wanted: list[Wanted], speaker: "_Speaker", sample_rate: int) -> None:
    digits = len(str(len(all_wanted)))
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as lines:
        for number, one in enumerate(all_wanted):
            told, sound = speaker(one.request())
            path = f"{number:0{digits}}.flac"
            mono = resampled(sound.astype(np.float32) / 32768.0, told["rate"], sample_rate, folder / path)
            soundfile.write(folder / path, mono, sample_rate, subtype="PCM_16")
            record = {"path": path, **one.fields(), "phones": told["phones"], "words": told["words"]}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


class _Speaker:
    """espeak-ng in its process; ends when it is left."""

    def __enter__(self) -> "_Speaker":
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("espeak_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.to, self.answers = self.process.stdin, self.process.stdout
        told = self._told()
        self.version, self.languages = str(told["version"]), list(told["languages"])
        return self

    def __call__(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """What espeak-ng says of the utterance, and its samples."""
        self.to.write(msgspec.json.encode(request) + b"\n")
        self.to.flush()
        told = self._told()
        return told, np.frombuffer(self.answers.read(2 * told["samples"]), np.int16)

    def _told(self) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            status = self.process.wait()
            raise UserError(f"the process that speaks (espeak-ng) ended early, with status {status}. See above, why.")
        told: dict[str, Any] = json.loads(line)
        return told

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
