"""`sesame import MODEL --out RUN`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit


@dataclass(frozen=True)
class Import:
    """Open a published BERT, RoBERTa, ALBERT, GPT-2, BART or T5 as a run, to use it and to train it further (`sesame
    pretrain --from RUN`)."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A folder as `transformers` writes it (safetensors or .bin, shards too), or a name on the hub."""
    out: Path
    """The run folder to make."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def import_command(argv: list[str]) -> int:
    options = options_of(Import, argv, "sesame import")
    from sesame.engine.exchange import import_model

    run = import_model(options.model, options.out)
    parameters = sum(tensor.numel() for tensor in run.at(0).objective.values())
    result = {"model": options.model, "run": str(options.out), "parameters": parameters}
    says = f"{options.model} is the run {options.out}: {parameters:,} parameters."
    emit("import", result, says, as_json=options.json, path=options.out / "result.json")
    return 0
