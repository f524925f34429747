"""`sesame pretrain RECIPE --data SOURCE… --out RUN`, `sesame pretrain --resume RUN`."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import tyro
from tyro.conf import AvoidSubcommands, FlagCreatePairsOff, UseAppendAction, arg

from sesame import recipes
from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.config import (
    Bert,
    CausalLM,
    Denoising,
    Elmo,
    ImageData,
    Recipe,
    SpanCorruption,
    SpeechData,
    TextData,
    TextInfilling,
    WordVectors,
)
from sesame.errors import UserError, nearest

if TYPE_CHECKING:
    from sesame.engine.hooks import Show
    from sesame.engine.loop import Hook
    from sesame.engine.start import Ended

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Where:
    """What to train on, from what, and where to."""

    data: tuple[str, ...] = ()
    """A folder made by `sesame data prepare`; or files, folders, globs, hf:NAME, pydocs, which are prepared first."""
    out: Path | None = None
    """The run folder to make."""
    from_: Annotated[str, arg(name="from")] = ""
    """A run, a model folder or a hub name to start from, instead of fresh weights; brings its shape and tokenizer. Of a
    run of word vectors only the first embeddings are taken."""
    probe: UseAppendAction[tuple[str, ...]] = ()
    """Measure this while training: a probe of `sesame watch --help`, or PROBE=FILE; may be given several times."""
    tokenizer: str = ""
    """For raw text: tokenizer.json, vocab.txt, a folder or a hub name; otherwise one is trained (--data.tokenizer)."""
    tensorboard: bool = False
    """Also write RUN/tensorboard (needs the extra `tensorboard`)."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


@dataclass(frozen=True)
class Start:
    """Train a recipe. Every field of the recipe is an option."""

    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    recipe: Annotated[Recipe, arg(name="")] = field(default_factory=lambda: recipes.find("bert-mini"))


@dataclass(frozen=True)
class Resume:
    """Go on with a run exactly where it stopped. Its settings are its own: none can be changed."""

    resume: Annotated[Path, arg(metavar="RUN")]
    """The run folder."""
    inexact: bool = False
    """Go on although the machine, torch or the data have changed; the result is then not exact to the bit."""
    tensorboard: bool = False
    """Also write RUN/tensorboard (needs the extra `tensorboard`)."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def pretrain_command(argv: list[str]) -> int:
    if any(word.split("=")[0] == "--resume" for word in argv):
        return _resume(argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        raise UserError(
            "which recipe? Write it first: sesame pretrain RECIPE --data SOURCE… --out RUN. "
            f"Recipes: {', '.join(recipes.RECIPES)}."
        )
    if argv[0] in ("-h", "--help"):
        print(_usage())
        return 0
    where, recipe = read_options(argv[0], argv[1:])
    if where.out is None:
        raise UserError("where to? Name the run folder to make with --out RUN.")
    from sesame.engine import start

    extra = probe_hooks(recipe)  # a probe that is not there is said before anything is prepared
    recipe = _with_data(where, recipe)
    with shows(where.out, where.tensorboard) as told:
        ended = start.start(recipe, where.out, where.from_, told, extra)
    return report(ended, where.json)


def _resume(argv: list[str]) -> int:
    options = options_of(Resume, argv, "sesame pretrain")
    from sesame.engine import start
    from sesame.engine.run import Run

    run = Run.open(options.resume)
    state = run.state()
    if state and state.state == "finished" and not run.is_live():
        raise UserError(f"{run.path} is finished ({state.step} steps): there is nothing to go on with.")
    with shows(run.path, options.tensorboard) as told:
        ended = start.resume(options.resume, options.inexact, told, probe_hooks(run.recipe))
    return report(ended, options.json)


# ---------------------------------------------------------------------------------------------- options
def read_options(name: str, words: Sequence[str]) -> tuple[Where, Recipe]:
    """The recipe called `name` with the fields that the command line changes."""
    found = recipes.find(name)
    config = (AvoidSubcommands, FlagCreatePairsOff)
    start, unknown = tyro.cli(
        Start, default=Start(recipe=found), args=words, prog=f"sesame pretrain {name}", config=config,
        return_unknown_args=True,
    )  # fmt: skip
    if unknown:
        word = unknown[0].split("=")[0]
        if word.startswith("-"):
            raise UserError(f"{name} has no option {word}.{nearest(word, option_names(found))}")
        raise UserError(f"{word!r} belongs to no option. Sources are given with --data, the run folder with --out.")
    given = {word.split("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    recipe = start.recipe
    if given & {"--steps", "--max-tokens"} and "--max-minutes" not in given:  # what is said outweighs the recipe's
        recipe = msgspec.structs.replace(recipe, max_minutes=0.0)
    if start.where.probe:
        from sesame.probes import named

        watch = msgspec.structs.replace(recipe.watch, probes=tuple(named(text) for text in start.where.probe))
        recipe = msgspec.structs.replace(recipe, watch=watch)
    return start.where, checked(recipe)


def checked(settings: S) -> S:
    """The settings, if every value is one that it may have; otherwise a UserError that names the option."""
    try:
        return msgspec.convert(msgspec.to_builtins(settings), type(settings))
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        option = "--" + path.rstrip("`").replace("_", "-")
        option, _, _ = option.partition("[")  # of several values the message says what each must be
        value: Any = settings
        for part in path.rstrip("`").partition("[")[0].split("."):
            value = getattr(value, part, None)
        value = shlex.join(map(str, value)) if isinstance(value, tuple) else value
        raise UserError(f"{option} {value}: {what[0].lower() + what[1:]}.") from None


def option_names(value: msgspec.Struct, prefix: str = "--") -> Iterator[str]:
    """The options of a recipe, and those of the command."""
    if prefix == "--":
        yield from ("--data", "--out", "--from", "--probe", "--tokenizer", "--tensorboard", "--json")
    for name in value.__struct_fields__:
        inner, option = getattr(value, name), prefix + name.replace("_", "-")
        if isinstance(inner, msgspec.Struct):
            yield from option_names(inner, option + ".")
        elif inner is True:
            yield f"{prefix}no-{name.replace('_', '-')}"
        elif inner is not None:  # what only a command of its own sets: `sesame fork`
            yield option


def _usage() -> str:
    return "\n".join(
        [
            "usage: sesame pretrain RECIPE --data SOURCE… --out RUN [any field of the recipe as an option]",
            "       sesame pretrain RECIPE --from MODEL --data SOURCE… --out RUN",
            "       sesame pretrain --resume RUN [--inexact]",
            "",
            f"Recipes: {', '.join(recipes.RECIPES)}.",
            "`sesame pretrain RECIPE --help` lists the options of a recipe with their values.",
        ]
    )


# ------------------------------------------------------------------------------------------------- data
def _with_data(where: Where, recipe: Recipe) -> Recipe:
    """The recipe with its data in place; raw text is prepared into RUN/data first."""
    from sesame.data import located
    from sesame.data.sources import is_store

    if not isinstance(recipe.data, TextData):
        if len(where.data) > 1:
            raise UserError(f"--data {shlex.join(where.data)}: of images and speech, give one source.")
        if where.tokenizer:
            raise UserError(f"--tokenizer: {recipe.name} reads no text. Leave it out.")
        source = where.data[0] if where.data else recipe.data.source
        return msgspec.structs.replace(recipe, data=located(recipe.data, source))
    if not where.data and not recipe.data.store:
        raise UserError("what to train on? Give --data a prepared folder, files, folders, or pydocs (built in).")
    sources, store = where.data or (recipe.data.store,), recipe.data.store
    assert where.out is not None
    if len(sources) == 1 and is_store(sources[0]):
        if where.tokenizer:
            raise UserError(
                f"--tokenizer: {sources[0]} is prepared already, with its own. Give the raw text to --data."
            )
        store = sources[0]
    else:
        from sesame.cli.data import prepare_first
        from sesame.engine.run import check_free

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError(
                f"{sources[0]} is not prepared, and many processes cannot prepare one folder. Run first: "
                f"sesame data prepare {shlex.join(sources)} --out DIR, and give --data DIR."
            )

        check_free(where.out, recipe)
        store = str(where.out / "data")
        tokenizer = where.tokenizer or where.from_ or recipe.data.tokenizer
        prepare_first(sources, store, tokenizer=tokenizer, vocab=recipe.data.vocab)
    return msgspec.structs.replace(recipe, data=located(recipe.data, store))


# ----------------------------------------------------------------------------------------------- report
def probe_hooks(recipe: Recipe) -> "list[Hook]":
    """What the engine calls beside its own hooks: the probes."""
    if not recipe.watch.probes:
        return []
    from sesame.probes import bus

    return bus.hooks(recipe)


@contextmanager
def shows(out: Path, tensorboard: bool) -> "Iterator[list[Show]]":
    """What says how training goes; the terminal is given back afterwards."""
    from sesame.cli.progress import Bar, TensorBoard
    from sesame.engine.lines import Lines

    board = [TensorBoard(out / "tensorboard")] if tensorboard else []
    if not sys.stderr.isatty():
        yield [Lines(), *board]
        return
    with closing(Bar()) as bar:
        yield [bar, *board]


def report(ended: "Ended", as_json: bool) -> int:
    """Say what came out and what to do next; the exit status is that of the signal, if one stopped training."""
    run, stop = ended.run, ended.stop
    if not ended.first:
        return 0
    state = run.state()
    assert state is not None
    evaluations = list(run.events("evaluate"))
    last = {k: v for k, v in evaluations[-1].items() if k not in ("event", "time", "seconds")} if evaluations else {}
    result = {"run": str(run.path), "state": state.state, "step": state.step, "held_out": last}
    where = shlex.quote(str(run.path))
    if state.state == "interrupted":
        says = [f"Stopped at step {state.step} and saved. Go on with:", f"  {run.resuming}"]
    else:
        says = [f"The model is in {run.path}. Next:"]
        if run.recipe.watch.probes:
            says += [f"  sesame report {where}"]
        if isinstance(run.recipe.data, TextData) and (twin := run.recipe.data.twin):
            both = f"{shlex.quote(twin.of)} {where}"
            says += [] if run.recipe.watch.probes else [f"  sesame watch {both}"]
            says += [f"  sesame effect {both}"]
        if isinstance(run.recipe.pretext, Denoising):
            if any(isinstance(c, SpanCorruption | TextInfilling) for c in run.recipe.pretext.corruptions):
                says += [f'  sesame fill {where} "Return the [MASK] of the list."']
            says += [f"  sesame finetune {where} pydocs/summary --out summaries"]
        elif isinstance(run.recipe.backbone, WordVectors | Elmo):
            says += [f"  sesame vectors {where} --nearest WORD", f"  sesame embed {where} FILE --out vectors.npy"]
        elif isinstance(run.recipe.data, TextData):
            verb = "fill" if isinstance(run.recipe.pretext, Bert) else "generate"
            text = "Return the" if isinstance(run.recipe.pretext, CausalLM) else "Return the [MASK] of the list."
            says += [
                f'  sesame {verb} {where} "{text}"',
                f"  sesame embed {where} FILE --out vectors.npy",
            ]
        elif isinstance(run.recipe.data, ImageData):
            says += [f"  sesame finetune {where} FOLDER-WITH-LABELS --per-class 10 --out DIR"]
        elif isinstance(run.recipe.data, SpeechData):
            says += [f"  sesame finetune {where} espeak/word --frozen --per-class 10 --out {where}-word"]
        says += [f"  sesame runs {where}"]
    rows = [(name, value) for name, value in last.items()]
    emit(
        "pretrain", result, table("Held-out examples", ["measure", "value"], rows), "\n".join(says),
        as_json=as_json, path=run.path / "result.json",
    )  # fmt: skip
    return 128 + stop.number if stop.requested and state.state == "interrupted" else 0
