"""`sesame generate RUN "Return the" --max-tokens 100`"""

import dataclasses
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from sesame.cli.lines import read_lines
from sesame.cli.options import options_of
from sesame.cli.output import emit
from sesame.cli.pretrain import checked
from sesame.config import Generate
from sesame.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Write:
    """Go on from a prompt, or from every line of a file, as a model that was trained to write.

    A single text appears while it is written. Drawing at temperature 0.8 is the default, unless a published model says
    otherwise; --temperature 0 takes the likeliest token each time, --beams 4 searches. The same command writes the
    same text; --seed changes it.
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    prompt: Annotated[Positional[str], arg(metavar="PROMPT")] = ""
    """Text to go on from; for an encoder-decoder, the text that it reads."""
    file: Path | None = None
    """Prompts in place of PROMPT: UTF-8, one a line."""
    skip_empty: bool = False
    """Leave empty lines of the file out (they are counted) in place of refusing them."""
    result: Path = Path("result.json")
    """Where the texts are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""
    settings: Annotated[Generate, arg(name="")] = field(default_factory=Generate)


def _given(words: list[str], options: Write, own: Generate | None) -> dict[str, Any]:
    """The settings on the command line, those too that are the default."""
    given = _changes(options.settings, Generate())
    if own is None:
        return given
    default = Write(options.run, settings=own)
    again = tyro.cli(Write, args=words, default=default, config=(FlagCreatePairsOff,))
    return {name: getattr(again.settings, name) for name in _changes(own, Generate())
            if getattr(again.settings, name) == getattr(options.settings, name)} | given  # fmt: skip


def _changes(settings: Generate, than: Generate) -> dict[str, Any]:
    """The fields of `settings` that are others."""
    fields = Generate.__struct_fields__
    return {name: getattr(settings, name) for name in fields if getattr(settings, name) != getattr(than, name)}


def _said(settings: Generate) -> str:
    changed = _changes(settings, Generate()).items()
    return ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in changed) or "the defaults"


def generate_command(argv: list[str]) -> int:
    words = ["--samples" if word == "-n" else word for word in argv]
    options = options_of(Write, words, "sesame generate")
    if options.file is not None and options.prompt:
        raise UserError("a PROMPT and --file were both given. Leave one of them out.")
    prompts = [options.prompt]
    if options.file is not None:
        prompts, _ = read_lines(options.file, options.skip_empty, "nothing can be gone on from")

    from sesame.engine.build import load
    from sesame.models.encoder_decoder import EncoderDecoder
    from sesame.tasks.generate import checked as fitting
    from sesame.tasks.generate import generate, settings_for

    fitting(checked(options.settings))  # what cannot be is said before a model is opened
    model = load(options.run)
    settings = settings_for(model, **_given(words, options, model.writes))
    if model.writes is not None:
        log.info("as the model was published: %s", _said(model.writes))
    answers = isinstance(model.objective.backbone, EncoderDecoder)
    live = len(prompts) * settings.samples == 1 and settings.beams == 1 and not options.json
    begun = False

    def tell(prompt: int, sample: int, piece: str) -> None:
        nonlocal begun
        sys.stdout.write(piece if begun or answers else prompts[prompt] + piece)
        sys.stdout.flush()
        begun = True

    try:
        texts = generate(model, prompts, settings, tell if live else None)
    finally:
        if begun:
            print(flush=True)
    result = {
        "run": options.run,
        "settings": msgspec.to_builtins(settings),
        "prompts": prompts,
        "texts": [dataclasses.asdict(text) for text in texts],
    }
    several = len(texts) > 1
    shown: list[Any] = []
    for text in () if begun else texts:
        if several:
            shown.append(f"--- prompt {text.prompt + 1}, sample {text.sample + 1}")
        shown.append(text.text if answers else prompts[text.prompt] + text.text)
    emit("generate", result, *shown, as_json=options.json, path=options.result)
    return 0
