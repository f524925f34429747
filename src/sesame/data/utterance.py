"""What an utterance is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Span:
    """A phone or a word, and when it sounds; seconds from the beginning of its utterance."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """A stretch of a sound file; text is empty where the source does not know."""

    path: Path
    start: float = 0.0
    """Seconds."""
    end: float | None = None
    """Seconds; None for the end of the file."""
    text: str = ""
    speaker: str = ""
    label: str = ""
    """What `data.label` names."""
    split: str = ""
    """train, dev or test."""
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Everything that the source says, by its name: emotion, digit, voice …"""
    phones: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()
    where: str = ""
    """Manifest and line, or the path."""
    key: int = 0
    """64 bits that stand for the content: the file's bytes, and the stretch if it is not all."""
    samples: int = 0
    """Length, at the file's own rate."""
    rate: int = 0
    """The file's own sampling rate."""
    channels: int = 0
    frames: int = 0
    """How many frames of features it makes."""

    @property
    def seconds(self) -> float:
        return self.samples / self.rate
