"""What is said in a speech source: utterance after utterance, with whatever the source knows of each.

Every utterance is opened: one that cannot be read, or is empty, stops with its place, or is counted with `skip_bad`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sesame.config import SpeechData
from sesame.data.sound import SUFFIXES, span_in_samples
from sesame.data.sources import Bad, Skips
from sesame.errors import UserError


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

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


def utterances(data: SpeechData, skips: Skips | None = None) -> list[Utterance]:
    """Every utterance of `data.source`, in its order; what `data.skip_bad` leaves out is counted in `skips`."""
    skips = skips if skips is not None else Skips()

    def bad(reason: str, message: str) -> None:
        if not data.skip_bad:
            raise UserError(f"{message} Or pass --data.skip-bad to leave such things out and count them.")
        skips.add(reason, message)

    found = list(_opened(_listed(data, bad), bad))
    if not found:
        raise UserError(
            f"{data.source} holds no readable utterance. Speech is a folder of {', '.join(SUFFIXES)} files."
        )
    return found


def _listed(data: SpeechData, bad: Bad) -> Iterator[Utterance]:
    folder = Path(data.source)
    if not data.source or not folder.is_dir():
        raise UserError(f"{data.source!r} is no folder. Speech is a folder of {', '.join(SUFFIXES)} files (--data).")
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        yield Utterance(path)


def _opened(listed: Iterable[Utterance], bad: Bad) -> Iterator[Utterance]:
    """Each with its length and its key, if it is there and can be read."""
    import soundfile

    last: tuple[Path, bytes] | None = None
    for utterance in listed:
        path, where = utterance.path, utterance.where or str(utterance.path)
        try:
            info = soundfile.info(path)
            if last is None or last[0] != path:  # utterances of one file stand together as a rule
                last = path, hashlib.blake2b(path.read_bytes(), digest_size=8).digest()
        except (soundfile.SoundFileError, OSError) as error:
            bad("unreadable file", f"{where}: {path} cannot be read as sound ({error}). Mend or remove it.")
            continue
        first, end = span_in_samples(utterance.start, utterance.end, info.samplerate, info.frames)
        if end <= first:
            bad("empty utterance", f"{where}: {path} has no sound there ({info.frames} samples in all). Leave it out.")
            continue
        digest = last[1]
        if (first, end) != (0, info.frames):
            digest = hashlib.blake2b(digest + f"{first} {end}".encode(), digest_size=8).digest()
        yield replace(
            utterance,
            where=where,
            key=int.from_bytes(digest, "little"),
            samples=end - first,
            rate=info.samplerate,
            channels=info.channels,
        )
