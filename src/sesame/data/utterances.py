"""What is said in a speech source: utterance after utterance, with whatever the source knows of each.

Every utterance is opened: one that cannot be read, or is empty, stops with its place, or is counted with `skip_bad`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sesame.config import SpeechData
from sesame.data import espeak, manifest, sound_folders
from sesame.data.features import Features
from sesame.data.sound import SUFFIXES, resampled_size, span_in_samples
from sesame.data.sources import Bad, Skips
from sesame.data.utterance import Utterance
from sesame.errors import UserError

ROUNDED = 0.05
"""Seconds that an utterance may seem to go on after its file: manifests are rounded."""

FLOATING = ("FLOAT", "DOUBLE")
"""Samples that may be no numbers; all others are whole numbers, or are decoded from them."""


def utterances(data: SpeechData, skips: Skips | None = None) -> list[Utterance]:
    """Every utterance of `data.source`, in its order; what `data.skip_bad` leaves out is counted in `skips`."""
    skips = skips if skips is not None else Skips()

    def bad(reason: str, message: str) -> None:
        if not data.skip_bad:
            raise UserError(f"{message} Or pass --data.skip-bad to leave such things out and count them.")
        skips.add(reason, message)

    found = list(_opened(_listed(data, bad, skips), data, bad))
    if not found:
        left_out = "; ".join(f"{skip.count} left out: {reason}" for reason, skip in skips.report().items())
        why = left_out or (f"no {_ENDINGS} file" if Path(data.source).is_dir() else "it lists none")
        raise UserError(f"{data.source} holds no usable utterance ({why}). Name a source that does.")
    return found


def labelled(found: Iterable[Utterance], data: SpeechData, skips: Skips | None = None) -> list[Utterance]:
    """Those that have a label. One without is an error; with `data.skip_bad` it is counted in `skips`."""
    kept: list[Utterance] = []
    for utterance in found:
        if utterance.label:
            kept.append(utterance)
            continue
        message = f"{utterance.where}: there is no label {data.label!r}."
        if not data.skip_bad:
            known = ", ".join(key for key, value in utterance.fields.items() if value) or "nothing"
            raise UserError(
                f"{message} Its source says {known}: choose with --data.label, or say what file names mean with "
                "--data.pattern, or pass --data.skip-bad to leave out what has none."
            )
        if skips is not None:
            skips.add("no label", message)
    if not kept:
        raise UserError(f"{data.source}: no utterance has a label {data.label!r}. Choose another with --data.label.")
    return kept


_ENDINGS = ", ".join(SUFFIXES)


def _listed(data: SpeechData, bad: Bad, skips: Skips) -> Iterator[Utterance]:
    path = Path(data.source).expanduser()
    if data.source == "espeak":
        yield from espeak.utterances(data)
    elif data.source and path.is_dir():
        yield from sound_folders.read(path, data.pattern, data.label, bad, skips)
    elif path.suffix in manifest.SUFFIXES and path.is_file():
        yield from manifest.read(path, data.label, bad)
    elif path.suffix.lower() in SUFFIXES and path.is_file():
        yield Utterance(path)
    else:
        raise UserError(
            f"{data.source!r} is no folder and no manifest. Speech (--data) is a folder of {_ENDINGS} files, "
            "a manifest (.tsv, .jsonl), or espeak (built in)."
        )


def _opened(listed: Iterable[Utterance], data: SpeechData, bad: Bad) -> Iterator[Utterance]:
    """Each with its length and its key, if it is there, can be read and is long enough."""
    import soundfile

    features = Features(data)
    last: tuple[Path, bytes] | None = None
    for utterance in listed:
        path, where = utterance.path, utterance.where or str(utterance.path)
        if not path.is_file():
            bad("missing file", f"{where}: there is no file {path}. Mend the path, or leave it out.")
            continue
        try:
            info = soundfile.info(path)
            if last is None or last[0] != path:  # utterances of one file stand together as a rule
                last = path, hashlib.blake2b(path.read_bytes(), digest_size=8).digest()
        except (soundfile.SoundFileError, OSError) as error:
            bad("unreadable file", f"{_place(where, path)} cannot be read as sound ({error}). Mend or remove it.")
            continue
        whole = info.frames / info.samplerate
        if (utterance.end or 0.0) > whole + ROUNDED:
            bad("end after the file's", f"{_place(where, path)} ends at {whole:.2f} s, not {utterance.end:g}. Mend it.")
            continue
        first, end = span_in_samples(utterance.start, utterance.end, info.samplerate, info.frames)
        frames = features.frames_in(resampled_size(max(0, end - first), info.samplerate, data.sample_rate))
        if frames < 1:
            seconds = max(0, end - first) / info.samplerate
            bad("shorter than a frame", f"{_place(where, path)}: {seconds:.4f} s are less than a frame. Leave it out.")
            continue
        if info.subtype in FLOATING and not _finite(path, first, end):
            place = _place(where, path)
            bad("samples that are not finite", f"{place}: samples are NaN or infinite. Mend the file, or leave it out.")
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
            frames=frames,
        )


def _finite(path: Path, first: int, end: int) -> bool:
    """Whether all samples of a stretch are numbers in single precision, as which they are heard."""
    import soundfile

    return bool(np.isfinite(soundfile.read(path, start=first, stop=end, dtype="float32")[0]).all())


def _place(where: str, path: Path) -> str:
    return where if where == str(path) else f"{where}: {path}"
