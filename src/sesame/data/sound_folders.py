"""Folders of sound files: those of published data sets, which are recognised by their shape, and any others.

LibriSpeech: READER/CHAPTER/READER-CHAPTER-0000.flac beside READER-CHAPTER.trans.txt with the texts.
Speech Commands: WORD/SPEAKER_nohash_0.wav; validation_list.txt and testing_list.txt; `_background_noise_` is left out.
VoxCeleb: id10001/VIDEO/00001.wav; iden_split.txt says 1, 2 or 3 for train, dev or test.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sesame.data.sound import LEFT_OUT, SUFFIXES
from sesame.data.sources import Bad, Skips
from sesame.data.utterance import Utterance
from sesame.errors import UserError, nearest

SPLITS = {"1": "train", "2": "dev", "3": "test"}


def read(folder: Path, pattern: str, label: str, bad: Bad, skips: Skips) -> Iterator[Utterance]:
    """The utterances of a folder, in order of their paths. `pattern` says what names mean, whatever the folder's shape.

    What a data set itself means to be left out goes to `skips`, and sound of kinds that are not read.
    """
    everything = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES + LEFT_OUT and p.is_file())
    paths = [p for p in everything if p.suffix.lower() in SUFFIXES]
    for path in everything:
        if path.suffix.lower() in LEFT_OUT:
            skips.add("a kind of sound that is not read", str(path))
    if pattern:
        yield from _patterned(folder, paths, pattern, label, bad)
        return
    reader = next((reader for shape, reader in _SHAPES if shape(folder, paths)), None)
    if reader is None:
        if label != "label":
            raise UserError(
                f"{folder}: nothing says what {label!r} (--data.label) is. Say what names mean with --data.pattern, "
                "or give a manifest (.tsv, .jsonl)."
            )
        yield from map(Utterance, paths)
        return
    for utterance in reader(folder, paths, bad, skips):
        if label != "label" and label not in utterance.fields:
            raise UserError(f"{folder}: no field {label!r} (--data.label).{nearest(label, sorted(utterance.fields))}")
        yield utterance if label == "label" else replace(utterance, label=utterance.fields[label])


# ------------------------------------------------------------------------------------- names that say something
def _patterned(folder: Path, paths: Sequence[Path], pattern: str, label: str, bad: Bad) -> Iterator[Utterance]:
    matcher = _matcher(pattern)
    names = set(matcher.groupindex)
    if label not in names and label != "label":
        raise UserError(f"--data.label {label!r} is no field of --data.pattern {pattern!r}. Name one of its fields.")
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if (found := matcher.search(name)) is None:
            bad("name of another pattern", f"{path}: the name does not fit --data.pattern {pattern!r}. Change one.")
            continue
        fields = found.groupdict()
        yield Utterance(
            path,
            text=fields.get("text", ""),
            speaker=fields.get("speaker", ""),
            label=fields.get(label, ""),
            split=fields.get("split", ""),
            fields=fields,
        )


def _matcher(pattern: str) -> re.Pattern[str]:
    """`{name}` is anything without a slash, as short as can be; `{name:2}` is two characters."""
    if not re.fullmatch(r"(?:[^{}]|\{[A-Za-z]\w*(?::\d+)?\})+", pattern) or "{" not in pattern:
        raise UserError(
            f"--data.pattern {pattern!r} cannot be read. Name parts of a file's name, {{digit}}_{{speaker}}_{{take}}, "
            "or how long they are, {speaker:2}{text:3}{emotion:1}{take}."
        )
    parts = re.split(r"(\{.*?\})", pattern)
    names = [re.match(r"\{(\w+)", part)[1] for part in parts[1::2]]  # type: ignore[index]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--data.pattern {pattern!r} names {sorted(twice)[0]!r} twice. Give each part its own name.")
    for i, name in zip(range(1, len(parts), 2), names, strict=True):
        _, _, count = parts[i].strip("{}").partition(":")
        parts[i] = f"(?P<{name}>[^/]{f'{{{count}}}' if count else '+?'})"
    parts[::2] = map(re.escape, parts[::2])
    return re.compile(f"(?:^|/){''.join(parts)}$")


# ------------------------------------------------------------------------------------- published shapes
def _is_librispeech(folder: Path, paths: Sequence[Path]) -> bool:
    return any(re.fullmatch(r"\d+-\d+-\d+", p.stem) and _texts_of(p).exists() for p in paths[:1])


def _texts_of(path: Path) -> Path:
    return path.with_name(path.stem.rpartition("-")[0] + ".trans.txt")


def _librispeech(folder: Path, paths: Sequence[Path], bad: Bad, skips: Skips) -> Iterator[Utterance]:
    texts: dict[Path, dict[str, str]] = {}
    for path in paths:
        beside = _texts_of(path)
        if beside not in texts:
            texts[beside] = _keyed_lines(beside) if beside.exists() else {}
        text = texts[beside].get(path.stem)
        if text is None:
            bad("no text", f"{path}: {beside.name} has no line for it. Add it.")
            continue
        subset = next((part for part in path.parts[::-1] if re.match(r"(train|dev|test)-", part)), "")
        reader, chapter, _ = path.stem.split("-")
        fields = {"text": text, "speaker": reader, "chapter": chapter, "subset": subset}
        yield Utterance(path, text=text, speaker=reader, split=subset.partition("-")[0], fields=fields)


def _keyed_lines(path: Path) -> dict[str, str]:
    """The rest of each line by its first word."""
    lines = (line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {first: rest.strip() for first, _, rest in lines}


_NOISE = "_background_noise_"
_SPOKEN = re.compile(r"(?P<speaker>[0-9a-f]+)_nohash_\d+")


def _is_speech_commands(folder: Path, paths: Sequence[Path]) -> bool:
    spoken = [p for p in paths if p.parent.name != _NOISE]
    return bool(spoken) and all(_SPOKEN.fullmatch(p.stem) for p in spoken[:20])


def _speech_commands(folder: Path, paths: Sequence[Path], bad: Bad, skips: Skips) -> Iterator[Utterance]:
    lists = {"dev": "validation_list.txt", "test": "testing_list.txt"}
    split_of = {
        name: split
        for split, file in lists.items()
        if (folder / file).exists()
        for name in (folder / file).read_text(encoding="utf-8").split()
    }
    for path in paths:
        if path.parent.name == _NOISE:
            skips.add("background noise, which is no utterance", str(path))
            continue
        if (found := _SPOKEN.fullmatch(path.stem)) is None:
            bad("name of another pattern", f"{path}: SPEAKER_nohash_NUMBER was expected. Rename or remove it.")
            continue
        word = path.parent.name
        split = split_of.get(f"{word}/{path.name}", "train" if split_of else "")
        fields = {"text": word, "speaker": found["speaker"], "label": word}
        yield Utterance(path, text=word, speaker=found["speaker"], label=word, split=split, fields=fields)


def _is_voxceleb(folder: Path, paths: Sequence[Path]) -> bool:
    return bool(paths) and all(re.fullmatch(r"id\d{5}", p.parent.parent.name) for p in paths[:20])


def _voxceleb(folder: Path, paths: Sequence[Path], bad: Bad, skips: Skips) -> Iterator[Utterance]:
    listed = folder / "iden_split.txt"
    split_of: dict[str, str] = {}
    if listed.exists():
        pairs = (line.split() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip())
        split_of = {name: SPLITS.get(number, "") for number, name in pairs}
    for path in paths:
        speaker, video = path.parent.parent.name, path.parent.name
        split = split_of.get(f"{speaker}/{video}/{path.name}", "")
        fields = {"speaker": speaker, "video": video, "label": speaker}
        yield Utterance(path, speaker=speaker, label=speaker, split=split, fields=fields)


_Reader = Callable[[Path, Sequence[Path], Bad, Skips], Iterator[Utterance]]
_SHAPES: tuple[tuple[Callable[[Path, Sequence[Path]], bool], _Reader], ...] = (
    (_is_librispeech, _librispeech),
    (_is_speech_commands, _speech_commands),
    (_is_voxceleb, _voxceleb),
)
