"""`sesame zoo [NAME]`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from tyro.conf import Positional, arg

from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError, nearest


@dataclass(frozen=True)
class Zoo:
    """Every published size of the families that Sesame has: parameters counted exactly, and what they weigh."""

    name: Annotated[Positional[str], arg(metavar="NAME")] = ""
    """One of them, with all that is known of it; otherwise all, from the smallest."""
    figure: Path | None = None
    """Draw the ladder: a .png, .svg or .html file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def zoo_command(argv: list[str]) -> int:
    options = options_of(Zoo, argv, "sesame zoo")
    if options.figure and options.figure.suffix not in (".png", ".svg", ".html"):
        raise UserError(f"--figure {options.figure}: what kind of file? Give one that ends in .png, .svg or .html.")
    if options.figure:
        check_free("--figure", options.figure)
    from sesame.models.zoo import ZOO, short, size_of

    if options.name and options.name not in ZOO:
        raise UserError(f"there is no published size called {options.name!r}.{nearest(options.name, ZOO)}")
    sizes = sorted((size_of(name) for name in ZOO), key=lambda size: size.parameters)
    if options.figure:
        from sesame.report import ladder

        ladder.draw(sizes, options.figure)
    if options.name:
        (size,) = (size for size in sizes if size.name == options.name)
        known = [(label.replace("_", " "), value) for label, value in _shown(size)]
        emit("zoo", msgspec.to_builtins(size), table(size.name, ["", ""], known), as_json=options.json, path=None)
        return 0
    rows = [
        (s.name, str(s.year), s.parameters, short(s.said), *map(giga, (s.hold_fp32, s.hold_bf16, s.train)))
        for s in sizes
    ]
    columns = ["model", "year", "parameters", "said", "fp32", "bf16", "train"]
    says = (
        "said: as it was published. fp32, bf16: the weights. train: in fp32, with gradients and AdamW's two moments,\n"
        "without what the layers compute. `sesame zoo NAME` says where a figure is from and why it differs."
    )
    drawn = [] if options.figure is None else [f"The ladder is in {options.figure}."]
    shown = table("Published sizes", columns, rows)
    emit("zoo", {"sizes": msgspec.to_builtins(sizes)}, shown, says, *drawn, as_json=options.json, path=None)
    return 0


def _shown(size: msgspec.Struct) -> list[tuple[str, object]]:
    """Each field of a `Size` as a person reads it."""
    known = msgspec.structs.asdict(size)
    weights = {"hold_fp32", "hold_bf16", "train"}
    known["year"] = str(known["year"])
    rows = [(key, giga(value) if key in weights else value) for key, value in known.items() if key != "name"]
    return [(key, f"{value:,}" if key in ("parameters", "said") and value else value) for key, value in rows if value]


def giga(size: int) -> str:
    """Bytes in GB, TB or MB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return f"{size} B"
