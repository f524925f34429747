"""The run folder: what a recipe becomes on the disk.

`config.json` (the frozen recipe and the machine's fingerprint), `metrics.jsonl` (a line an event), `state.json`,
`lock`, `artifacts/`, `checkpoints/`. One process writes it at a time, which an operating-system lock guarantees and
which therefore ends with the process, however it ends.
"""

import errno
import fcntl
import json
import logging
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from sesame import config as settings
from sesame.data import FACTS
from sesame.data.tokenizer import Vocabulary
from sesame.engine import checkpoint
from sesame.engine.checkpoint import Checkpoint, Manifest
from sesame.errors import UserError

log = logging.getLogger(__name__)

CONFIG, METRICS, STATE, LOCK, TOKENIZER = "config.json", "metrics.jsonl", "state.json", "lock", "tokenizer"
PICTURE = "examples.png"
"""What the run learns from, where it can be seen."""

_BEGUN = ("data", LOCK, TOKENIZER, "checkpoints", "artifacts", CONFIG + ".tmp")
"""What may be where a run is to be made: prepared data, and what is left where making one was cut short."""

Progress = Literal["running", "finished", "interrupted", "failed", "imported"]


class Config(Struct, frozen=True, kw_only=True):
    """What `config.json` holds."""

    recipe: settings.Recipe
    machine: dict[str, str]
    data: str = ""
    """Hash of what it learns from (`build.identity_of`); empty where an earlier version kept none."""
    origin: str = ""
    """The model whose weights the run starts from; empty for fresh ones."""


class State(Struct, frozen=True, kw_only=True):
    """What `state.json` holds."""

    state: Progress
    step: int
    pid: int
    reason: str = ""


class Run:
    """A run folder, open for reading; `lock()` opens it for writing."""

    def __init__(self, path: Path, config: Config):
        self.path = path
        self.config = config
        self.recipe = config.recipe
        self.config_hash = checkpoint.config_hash(config.recipe)
        self.checkpoints = path / "checkpoints"
        self.artifacts = path / "artifacts"
        self._before: set[str] = set()
        """What was in the folder when the run was made."""
        self._lock: IO[str] | None = None
        self._metrics: IO[str] | None = None

    # ------------------------------------------------------------------------------------ make, open
    @classmethod
    def create(cls, path: Path | str, config: Config, vocabulary: Vocabulary | None = None) -> "Run":
        """A new run folder, locked, with the tokenizer of its text: it can be used where the text is not.

        Raises UserError where there is a run already, or anything but prepared data.
        """
        path = Path(path)
        check_free(path, config.recipe)
        run = cls(path, config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.lock()
            run._before = {item.name for item in path.iterdir()}
            (path / "checkpoints").mkdir(exist_ok=True)
            (path / "artifacts").mkdir(exist_ok=True)
            if vocabulary is not None:
                vocabulary.save(path / TOKENIZER)
            _write(path / CONFIG, msgspec.json.encode(run.config))
        except OSError as error:
            if run._lock:
                run.discard()
            raise UserError(f"{path}: the run folder cannot be made ({error.strerror or error}).") from error
        run.set_state("running", 0)
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """An existing run. Raises UserError where `path` is none or its settings cannot be read."""
        path = Path(path)
        file = path / CONFIG
        if not is_run(path):
            raise UserError(f"{path} is no run folder: {file} is missing. `sesame runs` lists the runs there are.")
        try:
            content = file.read_bytes()
            run = cls(path, _with_own_data(msgspec.json.decode(content, type=Config), path))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is damaged, or written by another version of sesame ({error}).") from None
        # Of what is written there: a version that knows more settings still knows this run's checkpoints.
        run.config_hash = checkpoint.config_hash(json.loads(content)["recipe"])
        return run

    # ---------------------------------------------------------------------------------------- writing
    def lock(self) -> None:
        """Become the one process that writes this folder. Raises UserError where another does."""
        handle = (self.path / LOCK).open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(
                    f"{self.path} is being written by process {owner}, which is alive. Wait for it, stop it "
                    f"(kill {owner} saves first), or choose another --out."
                ) from None
            raise
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._lock = handle

    def is_live(self) -> bool:
        """Whether some process is writing this folder now."""
        if self._lock:
            return True
        try:
            with (self.path / LOCK).open("r") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Let go of the lock and the log."""
        for handle in (self._metrics, self._lock):
            if handle:
                handle.close()
        self._metrics = self._lock = None

    def discard(self) -> None:
        """Take away what a new run that never took a step has written, so that its name is free again.

        What was there before stays, such as prepared data, and so does what cannot be removed.
        """
        if self._lock is None:
            self.lock()
        for item in self.path.iterdir():
            if item.name not in {"checkpoints", LOCK, *self._before}:
                with suppress(OSError):
                    shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        (self.path / LOCK).unlink(missing_ok=True)
        self.close()
        for folder in (self.checkpoints, self.path):
            with suppress(OSError):  # it holds something
                folder.rmdir()

    def log(self, event: str, step: int, **values: Any) -> None:
        """Append one event to `metrics.jsonl`."""
        if self._metrics is None:
            self._metrics = (self.path / METRICS).open("a", encoding="utf-8")
        line = {"event": event, "step": step, "time": round(time.time(), 3), **values}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def forget_after(self, step: int) -> None:
        """Drop the events past `step`, and a line that a kill cut short: what follows writes them again."""
        kept = [json.dumps(event) for event in self.events() if event["step"] <= step]
        _write(self.path / METRICS, "".join(line + "\n" for line in kept).encode())

    def set_state(self, state: Progress, step: int, reason: str = "") -> None:
        _write(self.path / STATE, msgspec.json.encode(State(state=state, step=step, pid=os.getpid(), reason=reason)))

    # ---------------------------------------------------------------------------------------- reading
    def state(self) -> State | None:
        """What the run last said of itself; None where it said nothing that can be read."""
        try:
            return msgspec.json.decode((self.path / STATE).read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            return None

    @property
    def resuming(self) -> str:
        """The command that goes on with it, in as many processes as it has."""
        processes = self.config.machine.get("processes", "1")
        start = "sesame" if processes == "1" else f"torchrun --nproc-per-node {processes} -m sesame"
        return f"{start} pretrain --resume {shlex.quote(str(self.path))}"

    def events(self, event: str | None = None) -> Iterator[dict[str, Any]]:
        """The lines of `metrics.jsonl`, in order; a last line that a kill cut short is left out."""
        path = self.path / METRICS
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), 1):
            try:
                value = json.loads(line)
            except ValueError:
                if line.endswith(b"\n"):
                    raise UserError(f"{path}: line {number} is no JSON. Mend or remove that line.") from None
                return
            if event is None or value["event"] == event:
                yield value

    def newest(self, weights_only: bool = False) -> Checkpoint | None:
        """The newest whole checkpoint, or None where there is none. Damaged ones are named and passed over."""
        for folder in reversed(checkpoint.listed(self.checkpoints)):
            try:
                return checkpoint.read(folder, self.config_hash, weights_only)
            except UserError as error:
                log.warning("%s This checkpoint is passed over for the one before it.", error)
        return None

    def at(self, step: int | None = None) -> Checkpoint:
        """The weights of one step, or of the newest whole checkpoint. Raises UserError where there are none."""
        if step is None:
            found = self.newest(weights_only=True)
            if found is None:
                raise UserError(f"{self.checkpoints} holds no whole checkpoint. Go on with: {self.resuming}")
            return found
        folder = checkpoint.folder_of(self.checkpoints, step)
        if not folder.is_dir():
            known = [str(int(path.name.split("-")[1])) for path in checkpoint.listed(self.checkpoints)]
            raise UserError(f"{folder} does not exist. Steps with a checkpoint: {', '.join(known) or 'none'}.")
        return checkpoint.read(folder, self.config_hash, weights_only=True)

    def manifests(self) -> Iterator[Manifest]:
        for folder in checkpoint.listed(self.checkpoints):
            yield checkpoint.read_manifest(folder)


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder (a published model's config.json has no recipe)."""
    try:
        content = json.loads((path / CONFIG).read_bytes())
    except FileNotFoundError:  # also where making a run was cut short
        return False
    except (OSError, ValueError):
        return (path / LOCK).exists() and (path / "checkpoints").is_dir()
    return isinstance(content, dict) and "recipe" in content


def check_free(path: Path, recipe: settings.Recipe) -> None:
    """Raise UserError unless a new run can be made at `path`."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path} exists and is no folder. Choose another --out.")
    if is_run(path):
        run = Run.open(path)
        if run.is_live():
            run.lock()  # says who writes it
        differing = differences(run.recipe, recipe)
        what = f" with other settings ({differing})" if differing else ""
        raise UserError(
            f"{path} is a run already{what}. Nothing was changed. Go on with it: {run.resuming}, "
            "or choose another --out."
        )
    if foreign := sorted(item.name for item in path.iterdir() if item.name not in _BEGUN):
        raise UserError(
            f"{path} exists and holds something else ({foreign[0]}). Nothing was changed. Choose another --out."
        )


def differences(there: settings.Recipe, here: settings.Recipe, most: int = 3) -> str:
    """The first settings that differ, with both values. What is measured or asked of the data at the start is none."""
    measured = {"threads", "device", "precision", "steps", "eval_every", "save_every", "watch.seconds"}
    measured |= {f"backbone.{stack}{name}" for stack in ("", "encoder.", "decoder.") for name in FACTS}
    a, b = _flat(msgspec.to_builtins(there)), _flat(msgspec.to_builtins(here))
    keys = [
        k for k in a | b if a.get(k) != b.get(k) and not ((k in measured and not (b.get(k) or 0)) or b.get(k) == "auto")
    ]
    return ", ".join(f"{k}: {a.get(k)} there, {b.get(k)} here" for k in keys[:most])


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}" if prefix else key).items()}


def _with_own_data(config: Config, path: Path) -> Config:
    """What a twin reads otherwise lies in its own folder, wherever that is now."""
    data: Any = config.recipe.data
    own = path.resolve() / "data"
    if getattr(data, "twin", None) is None or not own.is_dir():
        return config
    data = msgspec.structs.replace(data, twin=msgspec.structs.replace(data.twin, folder=str(own)))
    return msgspec.structs.replace(config, recipe=msgspec.structs.replace(config.recipe, data=data))


def found_in(folder: Path) -> list[Run]:
    """The runs directly in `folder`, or `folder` itself, by name."""
    candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    return [Run.open(path) for path in candidates if path.is_dir() and (path / CONFIG).is_file() and is_run(path)]


def _write(path: Path, content: bytes) -> None:
    """Replace a small file in one go: a reader sees the old one or the new one."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
