"""A task by its name: built in, a task file, a folder of labelled files, or a data set of the hub."""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from sesame import config
from sesame.data.sources import hub_folders, open_hub
from sesame.errors import UserError, nearest
from sesame.tasks.base import Labelled, Notes, Task, TaskData, keyed_order

log = logging.getLogger(__name__)

KINDS: dict[str, type[config.Task]] = {str(kind.__struct_config__.tag): kind for kind in get_args(config.Task)}
SPEECH: dict[str, type[config.Task]] = {name: kind for name, kind in KINDS.items() if issubclass(kind, config.Speech)}
_WORDS = config.Espeak(says="words", utterances=800, seed=1)
_COMMANDS = config.Espeak(says="commands", utterances=400, seed=1)
SPOKEN: dict[str, config.Task] = {
    "word": config.SpokenClass(train="espeak", espeak=_WORDS),
    "speaker": config.SpokenClass(train="espeak", espeak=_WORDS, label="speaker"),
    "tempo": config.SpokenClass(train="espeak", espeak=_WORDS, label="tempo"),
    "melody": config.SpokenClass(train="espeak", espeak=_WORDS, label="melody"),
    "command": config.SpokenClass(train="espeak", espeak=_COMMANDS),
    "phones": config.PhoneFrames(train="espeak", espeak=_COMMANDS),
    "ctc": config.PhoneCtc(train="espeak", espeak=_COMMANDS),
}
"""The built-in tasks on speech: which word of 20, in which of 12 voices, how fast, in which melody; which order is
given; which phones sound, and when. Other utterances are heard there than those of the source espeak itself."""
SUFFIXES = {
    ".tsv": "classification",
    ".csv": "classification",
    ".jsonl": "classification",
    ".conllu": "tagging",
    ".conll": "tagging",
    ".txt": "tagging",
    ".json": "span-qa",
}
"""What the files of a folder hold, unless it is said otherwise."""
PARTS = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}
"""What the files of a folder, and the splits of a data set, are called."""
IMAGES = ("digits",)
"""Labelled images that are built in."""
FEWEST = 10
"""Training examples below which none can be spared for dev."""

E = TypeVar("E", bound=Labelled)


def open_task(spec: str, skip_bad: bool = False, **fields: Any) -> TaskData[Any, Any]:
    """The task that `spec` names, with its examples.

    `spec` is `pydocs/NAME`, `espeak/NAME` or `digits`; a task file (.json: a `config.Task` with its `kind`, paths
    counted from the file's folder); a folder with train, dev and test files; or `hf:NAME/CONFIG`. With the kind images,
    or one on speech, it is also any source of these. `fields` are those of the kind, and `kind` itself, and outweigh
    the task file. Without a dev file a keyed tenth of the training examples is held out; without a test file the dev
    examples are reported (of images and speech both are held out, see `images.open_images` and `spoken.divided`).
    `skip_bad` leaves faulty examples out and counts them.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    if (kind := fields.get("kind")) is not None and kind not in KINDS:
        raise UserError(f"{spec}: there is no kind of task {kind!r}.{nearest(str(kind), KINDS)}")
    notes = Notes(skip=skip_bad)
    path = Path(spec).expanduser()
    if spec.startswith("pydocs/"):
        if fields:
            raise UserError(f"{spec} is built in, and its {', '.join(sorted(fields))} cannot be chosen.")
        from sesame.tasks.pydocs import open_pydocs

        return open_pydocs(spec.removeprefix("pydocs/"))
    if spec in IMAGES or (fields.get("kind") == "images" and path.suffix != ".json"):
        from sesame.tasks.images import parts_of

        fields = {"kind": "images", **fields}
        files = parts_of(path) if path.is_dir() else {"train": spec}
        name = path.resolve().name if path.exists() else path.name
        return task_data(name, _decoded(files | fields, lambda _: spec), notes)
    if spec.startswith("espeak/"):
        name = spec.removeprefix("espeak/")
        if name not in SPOKEN:
            raise UserError(f"espeak has no task {name!r}.{nearest(name, SPOKEN)}")
        return task_data(spec, msgspec.structs.replace(SPOKEN[name], **fields), notes)
    if fields.get("kind") in SPEECH and path.suffix != ".json":
        c = _decoded({"train": str(path), **fields}, lambda _: spec)
        what = getattr(c, "label", "") or fields["kind"].removeprefix("phone-")
        return task_data(f"{path.resolve().stem}-{what}", c, notes)
    if spec.startswith("hf:"):
        return _from_hub(spec.removeprefix("hf:"), fields, notes)
    if path.is_dir():
        return task_data(path.resolve().name, _of_folder(path, fields), notes)
    if path.suffix == ".json" and path.is_file():
        return task_data(path.stem, _of_file(path, fields), notes)
    from sesame.tasks.pydocs import TASKS

    like = [f"pydocs/{name}" for name in get_close_matches(path.name, TASKS)]
    meant = f" Did you mean {', '.join(like)}?" if like else ""
    raise UserError(
        f"{spec}: no such task.{meant} Give pydocs/NAME or digits (built in), a folder with train, dev and test files, "
        "a task file (.json), or hf:NAME. A source of speech needs --kind: spoken-class, phone-frames or phone-ctc."
    )


def files_of(spec: str) -> list[Path]:
    """The files and folders that the task `spec` is made of; none of a built-in one or of what is on the hub.

    Raises UserError for a task file that cannot be read.
    """
    path = Path(spec).expanduser()
    if spec.startswith("hf:"):
        return hub_folders(spec[3:])
    if spec.startswith(("pydocs/", "espeak/")) or not path.exists():
        return []
    c = _of_file(path, {}) if path.suffix == ".json" and path.is_file() else config.TaskFiles()
    return [path, *(Path(file) for file in (c.train, c.dev, c.test) if file)]


def task_data(name: str, c: config.Task, notes: Notes) -> TaskData[Any, Any]:
    """The task that `c` describes, with the examples of its files."""
    if not c.train:
        raise UserError(f"{name}: there is nothing to learn from. Name a training file.")
    if isinstance(c, config.Images):
        from sesame.tasks.images import open_images

        return open_images(name, c, notes)
    kind = class_of(c)
    train = kind.read(c, Path(c.train), notes)
    if isinstance(c, config.Speech) and not (c.dev and c.test):
        return _of_one_source(name, c, train, notes)
    task = kind(c, kind.labels_of(c, train))
    if c.dev:
        dev = task.check(kind.read(c, Path(c.dev), notes), notes)
        count_known(task, train, "dev", dev, notes)
    else:
        train, dev = hold_out(name, task, train, notes)
    if c.test:
        test = task.check(kind.read(c, Path(c.test), notes), notes)
        count_known(task, train, "test", test, notes)
    else:
        test = dev
        notes.counts["dev, reported for want of a test file"] = len(dev)
        log.info("%s has no test file: what is reported are its %d dev examples", name, len(dev))
    return TaskData(name, task, train, dev, test, notes)


def _of_one_source(name: str, c: Any, examples: list[Any], notes: Notes) -> TaskData[Any, Any]:
    """A task on speech whose dev or test utterances, or both, are held out of one source."""
    from sesame.tasks.spoken import divided

    if c.dev:
        raise UserError(f"{name}: a dev source was named and no test source. Name both, or neither.")
    kind = class_of(c)
    train, dev, test = divided(name, c, examples, notes, test=not c.test)
    task = kind(c, kind.labels_of(c, train))
    if c.test:
        test = kind.read(c, Path(c.test), notes)
    return TaskData(name, task, train, task.check(dev, notes), task.check(test, notes), notes)


def class_of(c: config.Task) -> type[Task[Any, Any]]:
    """The kind of task that `c` describes. Each is imported where it is used: they bring scikit-learn along."""
    if isinstance(c, config.Classification):
        from sesame.tasks.classification import Classification

        return Classification
    if isinstance(c, config.Regression):
        from sesame.tasks.classification import Regression

        return Regression
    if isinstance(c, config.Tagging):
        from sesame.tasks.tagging import Tagging

        return Tagging
    if isinstance(c, config.Images):
        from sesame.tasks.images import ImageClassification

        return ImageClassification
    if isinstance(c, config.SpokenClass):
        from sesame.tasks.spoken_class import SpokenClass

        return SpokenClass
    if isinstance(c, config.PhoneFrames | config.PhoneCtc):
        from sesame.tasks.phones import PhoneCtc, PhoneFrames

        return PhoneFrames if isinstance(c, config.PhoneFrames) else PhoneCtc
    if isinstance(c, config.Seq2Seq):
        from sesame.tasks.seq2seq import Seq2Seq

        return Seq2Seq
    from sesame.tasks.span_qa import SpanQA

    return SpanQA


def hold_out(name: str, task: Task[E, Any], train: list[E], notes: Notes) -> tuple[list[E], list[E]]:
    """(train, dev): a tenth of the examples, by a keyed choice, is dev.

    Examples about the same (`Task.content`) go one way, all where the key of the first leads, so that nothing is asked
    on dev that training has seen: a group that is more than what is still wanted stays in train. Where every group is
    more than a tenth, the smallest is dev. Raises UserError where there are too few examples, or what is left is not to
    be learned from.
    """
    if len(train) < FEWEST:
        raise UserError(
            f"{name} has no dev file and only {len(train)} training examples, of which none can be spared. "
            "Name a dev file."
        )
    found: dict[Any, list[int]] = {}
    for i, example in enumerate(train):
        found.setdefault(task.content(example), []).append(i)
    groups, held = list(found.values()), set[int]()
    if len(groups) == 1:
        raise UserError(f"{name} has no dev file, and all {len(train)} examples are about one text. Name a dev file.")
    for number in keyed_order([train[group[0]] for group in groups], "held-out dev"):
        if len(held) + len(groups[number]) <= len(train) // 10:
            held.update(groups[number])
    smallest = min(groups, key=len)
    held = held or set(smallest)
    notes.counts["held out of train as dev"] = len(held)
    log.info("%s has no dev file: %d of %d training examples are held out", name, len(held), len(train))
    train, dev = [x for i, x in enumerate(train) if i not in held], [x for i, x in enumerate(train) if i in held]
    task.check_train(train, f"{name} has no dev file, and {len(dev)} examples are held out as one", "Name a dev file.")
    return train, dev


def count_known(task: Task[E, Any], train: list[E], part: str, examples: list[E], notes: Notes) -> None:
    """Note how many `examples` are about something that an example of `train` is about too."""
    seen = {task.content(example) for example in train}
    if known := sum(task.content(example) in seen for example in examples):
        what = "image" if task.reads == "images" else "text"
        notes.counts[f"{part} examples whose {what} is in train too"] = known


# -------------------------------------------------------------------------------------------- task files
def _of_file(path: Path, fields: Mapping[str, Any]) -> config.Task:
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno}).") from None
    if not isinstance(found, dict) or "kind" not in found:
        raise UserError(
            f"{path} is no task file: it names no kind. Write one of {', '.join(KINDS)} into it, as "
            '{"kind": "classification", "train": "train.tsv", …}; or give a folder with train, dev and test files.'
        )
    found |= fields
    for name in PARTS:
        if isinstance(found.get(name), str) and found[name] and name not in fields:
            found[name] = str(path.parent / Path(found[name]).expanduser())
    return _decoded(found, lambda name: f"{path}:{_line_of(name, text)}")


def _line_of(name: str, text: str) -> int:
    """The line of a JSON text in which a field is first named."""
    found = re.search(rf"{re.escape(json.dumps(name))}\s*:", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _decoded(found: Mapping[str, Any], where: Callable[[str], str]) -> config.Task:
    """The typed task of a plain dictionary; `where(field)` says where a field stands."""
    kind = found["kind"]
    if kind not in KINDS:
        raise UserError(f"{where('kind')}: there is no kind of task {kind!r}.{nearest(str(kind), KINDS)}")
    known = KINDS[kind].__struct_fields__
    for name in found:
        if name != "kind" and name not in known:
            raise UserError(f"{where(name)}: a task of kind {kind} has no field {name!r}.{nearest(name, known)}")
    try:
        return msgspec.convert(dict(found), KINDS[kind])
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        raise UserError(f"{where(name)}: {name} {found.get(name)!r}: {said[0].lower() + said[1:]}.") from None


# ------------------------------------------------------------------------------------------------ folders
def _of_folder(folder: Path, fields: Mapping[str, Any]) -> config.Task:
    files = sorted(path for path in folder.iterdir() if path.is_file() and _suffix(path) in SUFFIXES)
    found = {part: path for part, names in PARTS.items() if (path := part_of(folder, files, part, names))}
    if "train" not in found:
        seen = ", ".join(path.name for path in files[:5]) or "none that could be one"
        raise UserError(
            f"{folder} holds no training file (found: {seen}). Call it train with one of the endings "
            f"{', '.join(SUFFIXES)}, also .gz, or name the files in a task file."
        )
    kinds = {SUFFIXES[_suffix(path)] for path in found.values()}
    if len(kinds) > 1 and "kind" not in fields:
        raise UserError(
            f"{folder}: {', '.join(path.name for path in found.values())} are of several kinds "
            f"({', '.join(sorted(kinds))}). Choose with --kind, or name the files in a task file."
        )
    files_of = {part: str(path) for part, path in found.items()}
    return _decoded({"kind": min(kinds), **files_of, **fields}, lambda _: str(folder))


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def part_of(folder: Path, files: list[Path], part: str, names: tuple[str, ...]) -> Path | None:
    """The one file that is called like a part, or else has that among the words of its name."""
    stems = {path: path.name.removesuffix(".gz").removesuffix(_suffix(path)).lower() for path in files}
    exact = [path for path, stem in stems.items() if stem in names]
    found = exact or [path for path, stem in stems.items() if set(re.split(r"[-_. ]", stem)) & set(names)]
    if len(found) > 1:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"{folder}: {', '.join(path.name for path in found[:3])}{more} could each be the {part} file. "
            "Name the one to use in a task file."
        )
    return found[0] if found else None


# ------------------------------------------------------------------------------------------------ the hub
def _from_hub(name: str, fields: Mapping[str, Any], notes: Notes) -> TaskData[Any, Any]:
    """Tables of the hub, through files that are gone afterwards, so that every kind of task reads files alone."""
    c = _decoded({"kind": "classification", **fields}, lambda _: f"hf:{name}")
    if not isinstance(c, config.Table | config.Seq2Seq):
        raise UserError(f"hf:{name}: only tables are read from the hub. Download it, and give the files.")
    splits = open_hub(name, None, "the folder of its .tsv, .csv or .jsonl files")
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for part, names in PARTS.items():
            split = next((splits[n] for n in (part, *names) if n in splits), None)
            path = Path(folder) / f"{part}.jsonl"
            if split is not None and _write_split(split, path, c.target if isinstance(c, config.Seq2Seq) else c.label):
                files[part] = str(path)
        try:
            if "train" not in files:
                raise UserError(f"hf:{name}: no training examples with labels (splits: {', '.join(splits)}).")
            local = Path(name).expanduser().exists() or Path(name).is_absolute()
            return task_data(Path(name).name if local else name, msgspec.structs.replace(c, **files), notes)
        except UserError as error:
            raise UserError(str(error).replace(f"{folder}/", f"hf:{name} ")) from None


def _write_split(split: Any, path: Path, label: str) -> bool:
    """Write the rows as JSON lines; False where no row has a label, as in the test data of a contest."""
    names = getattr((split.features or {}).get(label), "names", None)
    labelled = False
    with path.open("wb") as file:
        for row in split:
            if names and isinstance(row.get(label), int):
                row[label] = names[row[label]] if row[label] >= 0 else None
            labelled |= row.get(label) is not None
            file.write(msgspec.json.encode(row) + b"\n")
    return labelled
