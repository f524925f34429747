"""The corpus inside every Python installation: docstrings, found with `ast`, and the language reference's topics.

Nothing is imported or run, and nothing depends on where Python is installed: the same Python version gives the same
documents in the same order. The modules of the standard library are split: those of dev and test are kept for the
tasks of `pydocs` (sesame.tasks.pydocs) and are no documents of the corpus.
"""

import ast
import os
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from sesame.data import chance
from sesame.data.areas import area
from sesame.data.kept import kept
from sesame.errors import UserError

Split = Literal["train", "dev", "test"]

_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data"} | {
    "encodings",
    "lib2to3",
    "turtledemo",
}
"""Folders without prose of their own: tests, what is installed beside the standard library,
tables of characters, demonstrations, and the topics' module."""
_SHORTEST = 40
"""Characters below which a docstring is a label, not prose."""
_KEPT: dict[Split, float] = {"test": 0.2, "dev": 0.1}
"""Shares of an area's docstrings that are kept for the tasks; a whole module is kept, or none of it."""
_EDITION = 3
"""Counts up when the same Python version gives other documents than before."""

_Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring and what it stands in."""

    module: str
    """json.decoder"""
    name: str
    """JSONDecoder.decode; empty for the module's own."""
    line: int
    """Of the definition."""
    text: str
    """Indentation removed, otherwise as it was written."""
    parameters: tuple[str, ...] = ()
    """Names of the parameters of a function, or of a class's __init__, without self or cls."""
    signature: str = ""
    """The same with their defaults and annotations, as they are written in Python."""


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    docstrings: tuple[Docstring, ...]
    """Of the module and everything in it, in order of appearance."""
    defined: frozenset[str]
    """Names of the classes, functions and methods in it."""


def documents(package: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of every document: one a module, its docstrings in order of appearance, each under what it
    describes; then the topics.

    `package` names an installed package to read instead of the standard library. It is read whole, the standard
    library without the modules of `set_aside`.
    """
    if package:
        yield from _documents(_modules(_package_root(package), package))
        return
    yield from _standard_library()


def files(package: str) -> list[Path]:
    """What the documents of an installed package are made from."""
    return [path for _, path in _files(_package_root(package))]


def set_aside() -> list[str]:
    """The documents of the standard library that are kept for the dev and test examples of the tasks."""
    return [name for name, _ in _documents(m for m in all_modules() if splits()[m.name] != "train")]


@cache
def _standard_library() -> tuple[tuple[str, str], ...]:
    """About 2 MB; kept, because a preparation reads its sources twice."""
    return (*_documents(m for m in all_modules() if splits()[m.name] == "train"), *_topics())


@cache
def all_modules() -> tuple[Module, ...]:
    """The modules of the standard library that have docstrings, in order of their names."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [(name, (seen := path.stat()).st_size, seen.st_mtime_ns) for name, path in _files(root)]
    return kept(
        "pydocs", (version(), files), tuple[Module, ...], lambda: tuple(m for m in _modules(root, "") if m.docstrings)
    )


@cache
def splits() -> dict[str, Split]:
    """Which split each module of the standard library belongs to.

    In every area by itself, modules come in a keyed order, and each goes to test or dev, whichever it fills less, if
    it still fits into that share of the docstrings. The rest, and so every large module, is for training.
    """
    sizes = {module.name: len(module.docstrings) for module in all_modules()}
    total, taken = Counter[str](), Counter[tuple[str, Split]]()
    for name, size in sizes.items():
        total[area(name)] += size
    chosen: dict[str, Split] = {}
    for name in sorted(sizes, key=lambda name: chance.seed_for("pydocs split", chance.purpose_key(name))):
        about = area(name)
        filled = {s: (taken[about, s] + sizes[name]) / (share * total[about]) for s, share in _KEPT.items()}
        split = min(_KEPT, key=lambda s: filled[s])
        chosen[name] = split if filled[split] <= 1 else "train"
        taken[about, chosen[name]] += sizes[name]
    return chosen


@cache
def in_training_text(text: str) -> bool:
    """Whether the words of `text` stand in the corpus, in this order: as a docstring, or within one."""
    own = words(text)
    return _triples(own) <= _training_triples() and f" {own} " in _training_words()


@cache
def _training_words() -> str:
    return "".join(f" {words(text)} \n" for _, text in _standard_library())


@cache
def _training_triples() -> frozenset[tuple[str, ...]]:
    """What a text must have all of its own in, so that few texts are looked for in all of the corpus."""
    return frozenset(_triples(_training_words()))


def _triples(text: str) -> set[tuple[str, ...]]:
    """Three words in a row."""
    every = text.split()
    return set(zip(every, every[1:], every[2:], strict=False))


def words(text: str) -> str:
    """The words of a text and nothing else, in lower case and with a space between them."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _package_root(package: str) -> Path:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"pydocs:{package}: no package of that name is installed. Install it, or use plain pydocs.")
    return Path(next(iter(spec.submodule_search_locations)))


def _documents(modules: Iterable[Module]) -> Iterator[tuple[str, str]]:
    for module in modules:
        said: dict[str, str] = {}  # each text once
        for docstring in module.docstrings:
            text = _lines_of_text(docstring.text)
            if len(text) >= _SHORTEST:
                said.setdefault(text, _heading(docstring))
        if said:
            yield module.name, "".join(heading + text + "\n" for text, heading in said.items()).rstrip()


def _heading(docstring: Docstring) -> str:
    """What is described, as `help` shows it: a line with the name and, of a function or class, its parameters."""
    name = docstring.name.rpartition(".")[2]
    return f"{name}({docstring.signature})\n" if docstring.parameters else f"{name}\n" if name else ""


def _modules(root: Path, prefix: str) -> Iterator[Module]:
    for relative, path in _files(root):
        name = f"{prefix}/{relative}".removesuffix(".py").removesuffix("/__init__").strip("/").replace("/", ".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's source
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue  # a template, or source for another Python
        found = list(_definitions(tree))
        docstrings = (_docstring(name, qualified, node) for qualified, node in found)
        defined = frozenset(qualified.rpartition(".")[2] for qualified, _ in found[1:])
        yield Module(name, tuple(docstring for docstring in docstrings if docstring.text), defined)


def _files(root: Path) -> list[tuple[str, Path]]:
    """Their names within `root`, in order."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        found += [Path(folder, name) for name in files if name.endswith(".py") and name not in _LEFT_OUT]
    return sorted((path.relative_to(root).as_posix(), path) for path in found)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, _Definition]]:
    """(qualified name, node) of a module and every class and function in it, in order of appearance."""
    todo: list[tuple[str, ast.AST]] = [("", tree)]
    while todo:
        scope, node = todo.pop()
        if isinstance(node, _Definition):
            if not isinstance(node, ast.Module):
                scope = f"{scope}.{node.name}".lstrip(".")
            yield scope, node
            todo.extend((scope, child) for child in reversed(node.body))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            todo.extend((scope, child) for child in reversed(list(ast.iter_child_nodes(node))))


def _docstring(module: str, name: str, node: _Definition) -> Docstring:
    text, line = ast.get_docstring(node) or "", 1 if isinstance(node, ast.Module) else node.lineno
    function: ast.AST | None = node
    if isinstance(node, ast.ClassDef):
        function = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if not text or not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return Docstring(module, name, line, text)
    its = _without_self(function.args)
    named = [*its.posonlyargs, *its.args, its.vararg, *its.kwonlyargs, its.kwarg]
    parameters = tuple(parameter.arg for parameter in named if parameter)
    return Docstring(module, name, line, text, parameters, ast.unparse(its))


def _without_self(arguments: ast.arguments) -> ast.arguments:
    positional = [*arguments.posonlyargs, *arguments.args]
    if not positional or positional[0].arg not in ("self", "cls"):
        return arguments
    return ast.arguments(
        posonlyargs=arguments.posonlyargs[1:],
        args=arguments.args if arguments.posonlyargs else arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults[max(0, len(arguments.defaults) - len(positional) + 1) :],
    )


def _topics() -> Iterator[tuple[str, str]]:
    path = Path(sysconfig.get_path("stdlib"), "pydoc_data", "topics.py")
    if not path.exists():  # some distributions leave it out
        return
    assigned = (n.value for n in ast.parse(path.read_bytes()).body if isinstance(n, ast.Assign | ast.AnnAssign))
    for name, text in sorted(ast.literal_eval(next(filter(None, assigned))).items()):
        yield f"topics.{name}", _lines_of_text(cleandoc(text))


def _lines_of_text(text: str) -> str:
    """Only lines with letters or digits: no rulers, and nothing that would read as a new document in a file."""
    return "\n".join(line for line in text.splitlines() if any(map(str.isalnum, line)))


def version() -> str:
    """What the documents depend on."""
    return f"pydocs {_EDITION} of Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
