"""`sesame fill RUN "Return the [MASK] of the list."`"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table

if TYPE_CHECKING:
    from sesame.engine.build import Model


@dataclass(frozen=True)
class Fill:
    """Fill the [MASK]s of a text: the most probable tokens for each, with probabilities.

    An encoder-decoder (BART, T5) fills each with as many tokens as it takes, and tells no probabilities.
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    text: Annotated[Positional[str], arg(metavar="TEXT")]
    """Text with one or more [MASK]s."""
    k: int = 5
    """How many tokens to show for each [MASK]."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def fill_command(argv: list[str]) -> int:
    options = options_of(Fill, argv, "sesame fill")
    from sesame.engine.build import load
    from sesame.models.encoder_decoder import EncoderDecoder
    from sesame.tasks.fill import fill

    model = load(options.run)
    if isinstance(model.objective.backbone, EncoderDecoder):
        return _spans(model, options)
    filled = fill(model, options.text, options.k)
    several = len(filled.masks) > 1
    rows = [
        (*((number,) if several else ()), guess.token, guess.probability)
        for number, guesses in enumerate(filled.masks, 1)
        for guess in guesses
    ]
    columns = [*(["[MASK]"] if several else []), "token", "probability"]
    result = {"run": options.run, "text": options.text, **asdict(filled)}
    emit("fill", result, table(filled.text, columns, rows), as_json=options.json, path=options.result)
    return 0


def _spans(model: "Model", options: Fill) -> int:
    from sesame.tasks.fill_spans import fill_spans

    found = fill_spans(model, options.text)
    result = {"run": options.run, "given": options.text, **asdict(found)}
    shown = table(found.text, ["[MASK]", "filled in"], list(enumerate(found.spans, 1))) if found.spans else found.text
    emit("fill", result, shown, as_json=options.json, path=options.result)
    return 0
