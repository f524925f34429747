"""`sesame embed RUN FILE --out vectors.npy`"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

from tyro.conf import Positional, arg

from sesame.cli.lines import read_lines
from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError


@dataclass(frozen=True)
class Embed:
    """A vector for every line of a file: the mean over its positions, [CLS] and [SEP] included.

    --out gets an array [line, width] (.npy). With --tokens (.npz) it gets `vectors` [token, width], `ids` [token]
    and `offsets` [line + 1], where line i has the tokens offsets[i] to offsets[i + 1].
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Text, UTF-8, one input a line."""
    out: Path
    """Where the vectors go: .npy, or .npz with --tokens. An existing file is not replaced."""
    tokens: bool = False
    """A vector for every token, without [CLS] and [SEP], in place of their mean."""
    layer: int = -1
    """Which layer's states: 0 for the embeddings, 1 for the first layer, -1 for the last."""
    skip_empty: bool = False
    """Leave empty lines out (they are counted) in place of refusing them."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def embed_command(argv: list[str]) -> int:
    options = options_of(Embed, argv, "sesame embed")
    _check_out(options.out, ".npz" if options.tokens else ".npy")
    lines, skipped = read_lines(options.file, options.skip_empty, "nothing has no vector")

    import numpy as np

    from sesame.engine.build import load
    from sesame.tasks.embed import POOLING, embed, embed_tokens

    model = load(options.run)
    if options.tokens:
        found = embed_tokens(model, lines, options.layer)
        vectors, pooling = found.vectors, "none"
        _write(options.out, lambda f: np.savez(f, vectors=vectors, ids=found.ids, offsets=found.offsets))
    else:
        vectors, pooling = embed(model, lines, options.layer), POOLING
        _write(options.out, lambda f: np.save(f, vectors))
    result = {
        "run": options.run,
        "file": options.file,
        "out": options.out,
        "lines": len(lines),
        "skipped_empty_lines": skipped,
        "vectors": len(vectors),
        "width": vectors.shape[1],
        "layer": options.layer,
        "pooling": pooling,
    }
    shown = table(str(options.out), ["lines", "empty, skipped", "vectors", "width", "layer", "pooling"],
                  [(len(lines), len(skipped), len(vectors), vectors.shape[1], options.layer, pooling)])  # fmt: skip
    emit("embed", result, shown, as_json=options.json, path=options.result)
    return 0


def _check_out(out: Path, suffix: str) -> None:
    if out.suffix != suffix:
        raise UserError(f"--out {out}: the vectors are written as {suffix}. Choose a name that ends in it.")
    check_free("--out", out)


def _write(out: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write beside `out`, then rename: it appears complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with beside.open("wb") as f:
            write(f)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
