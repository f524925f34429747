"""The corpus inside every Python installation: docstrings, found with `ast`, and the language reference's topics.

Nothing is imported or run, and nothing depends on where Python is installed: the same Python version gives the same
documents in the same order.
"""

import ast
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path

from sesame.errors import UserError

_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data"} | {
    "encodings",
    "lib2to3",
    "turtledemo",
}
"""Folders without prose of their own: tests, what is installed beside the standard library,
tables of characters, demonstrations, and the topics' module."""
_SHORTEST = 40
"""Characters below which a docstring is a label, not prose."""


def documents(package: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of every document: one a module, its docstrings in order of appearance; then the topics.

    `package` names an installed package to read instead of the standard library.
    """
    if package:
        yield from _modules(_package_root(package), package)
        return
    yield from standard_library()


@cache
def standard_library() -> tuple[tuple[str, str], ...]:
    """The documents of the standard library, about 2 MB; kept, because a preparation reads its sources twice."""
    return (*_modules(Path(sysconfig.get_path("stdlib")), ""), *_topics())


def _package_root(package: str) -> Path:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"pydocs:{package}: no package of that name is installed. Install it, or use plain pydocs.")
    return Path(next(iter(spec.submodule_search_locations)))


def _modules(root: Path, prefix: str) -> Iterator[tuple[str, str]]:
    files = ((path.relative_to(root), path) for path in root.rglob("*.py"))
    for relative, path in sorted((r.as_posix(), p) for r, p in files if not _LEFT_OUT.intersection(r.parts)):
        text = "\n".join(_docstrings(path))
        if text:
            name = f"{prefix}/{relative}".removesuffix(".py").removesuffix("/__init__").strip("/")
            yield name.replace("/", "."), text


def _docstrings(path: Path) -> Iterator[str]:
    """Docstrings of a module and everything in it, in order of appearance, each said once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's source
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            return  # a template, or source for another Python
    seen = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = _lines_of_text(ast.get_docstring(node, clean=True) or "")
            if len(text) >= _SHORTEST and text not in seen:
                seen.add(text)
                yield text
            todo.extend(reversed(node.body))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            todo.extend(reversed(list(ast.iter_child_nodes(node))))


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
    return f"pydocs of Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
