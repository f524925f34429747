"""`sesame export RUN --out DIR`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit


@dataclass(frozen=True)
class Export:
    """Write a run as a model folder that `transformers` opens: config.json, model.safetensors, tokenizer."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or a name on the hub."""
    out: Path
    """The folder to make."""
    step: int | None = None
    """The checkpoint of this step; otherwise the newest."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def export_command(argv: list[str]) -> int:
    options = options_of(Export, argv, "sesame export")
    from sesame.engine.exchange import export_model
    from sesame.interop.tensors import read_json

    folder = export_model(options.run, options.out, options.step)
    architecture = read_json(folder / "config.json")["architectures"][0]
    result = {"run": options.run, "folder": str(folder), "architecture": architecture}
    says = f"Written. Open it with: transformers.{architecture}.from_pretrained({str(folder)!r})"
    emit("export", result, says, as_json=options.json, path=None)
    return 0
