"""What a model knows, and when it learned it: measurements of live or saved weights that change nothing."""

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sesame import config
from sesame.errors import UserError, nearest
from sesame.probes.base import Answer, Ask, Item, Measure, Value

__all__ = ["PROBES", "Answer", "Ask", "Item", "Measure", "Opened", "Value", "find", "find_all", "named"]

PROBES: dict[str, str] = {
    "word-classes": "sesame.probes.word_classes",
    "minimal-pairs": "sesame.probes.minimal_pairs",
    "cloze": "sesame.probes.cloze",
    "frequency": "sesame.probes.frequency",
    "calibration": "sesame.probes.calibration",
    "linear": "sesame.probes.linear",
    "downstream": "sesame.probes.downstream",
    "rank": "sesame.probes.rank",
    "geometry": "sesame.probes.geometry",
    "attention": "sesame.probes.attention",
    "neighbours": "sesame.probes.neighbours",
    "collapse": "sesame.probes.collapse",
    "alignment": "sesame.probes.alignment",
    "frames": "sesame.probes.frames",
}
"""name -> module; imported when it is asked for."""


@dataclass(frozen=True)
class Opened:
    """A probe that was found."""

    config: config.Probe
    measure: Measure
    reads: frozenset[str]
    """Of "text", "images" and "speech": the data of the models that it can measure."""
    about: str
    """The first line of its docstring."""
    files: Callable[[str], Sequence[Path]] = lambda source: [Path(source)]
    """The files and folders that a measurement on a source depends on: a probe's own `files`, if it has one."""
    unfit: Callable[[str, str], str] = lambda source, pretext: ""
    """Why it cannot be measured on a source with models of a pretext task: a probe's own `unfit`, if it has one."""

    @property
    def name(self) -> str:
        """What the tables call it; a file by its name, wherever it lies."""
        path = Path(self.config.name)
        return path.name if path.suffix == ".py" else self.config.name


def named(text: str) -> config.Probe:
    """The probe that a command line calls NAME or NAME=FILE. Files by their whole path: a run may go on elsewhere."""
    name, _, source = text.partition("=")
    if Path(name).suffix == ".py":
        name = str(Path(name).resolve())
    if source and Path(source).exists():
        source = str(Path(source).resolve())
    elif Path(source).suffix[1:].isalpha() and not source.startswith(("pydocs:", "hf:")):  # others may name tasks
        raise UserError(f"--probe {text}: there is no file {source}. Give the path of the file it is measured on.")
    return config.Probe(name=name, source=source)


def find_all(probes: Iterable[config.Probe], kind: str, pretext: str = "") -> list[Opened]:
    """Every probe, for models of `kind` ("text", "images", "speech"), of that pretext task where it is known.

    Raises UserError for one that is not there, that reads other data or is for other tasks, or that stands there twice.
    """
    found: dict[tuple[str, str], Opened] = {}
    for probe in probes:
        opened = find(probe)
        if kind not in opened.reads:
            raise UserError(
                f"the probe {opened.name} measures models of {' and '.join(sorted(opened.reads))}, and this one is "
                f"trained on {kind}. `sesame watch --help` says which probe is for what."
            )
        if pretext and (why := opened.unfit(probe.source, pretext)):
            raise UserError(why)
        if (opened.name, probe.source) in found:
            raise UserError(f"the probe {opened.name} is asked for twice. Once is enough.")
        found[opened.name, probe.source] = opened
    return list(found.values())


def find(probe: config.Probe) -> Opened:
    """The probe of that name, or in that file. Raises UserError for one that is not there or is no probe."""
    path = Path(probe.name)
    if path.suffix == ".py":
        module = _from_file(path)
    elif probe.name in PROBES:
        module = importlib.import_module(PROBES[probe.name])
    else:
        raise UserError(
            f"there is no probe {probe.name!r}.{nearest(probe.name, PROBES)} Probes: {', '.join(PROBES)}; or the path "
            "of a file of your own, with the function measure(model, ask)."
        )
    measure = getattr(module, "measure", None)
    if not callable(measure):
        raise UserError(f"{path}: it has no function measure(model, ask). docs/write-your-own-probe.md shows one.")
    reads = frozenset(getattr(module, "READS", ("text", "images", "speech")))
    about = (module.__doc__ or probe.name).strip().splitlines()[0]
    own = {name: getattr(module, name) for name in ("files", "unfit") if hasattr(module, name)}
    return Opened(probe, measure, reads, about, **own)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. A probe of your own is a file with measure(model, ask).")
    name = f"sesame_probe_{hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: it cannot be imported ({type(error).__name__}: {error}).") from error
    return module
