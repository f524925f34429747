"""`sesame VERB …`: finds the verb, sets up logging, and turns what goes wrong into one message and an exit status.

The table of verbs is static and nothing heavy is imported before a verb runs, so that `sesame --help` is instant.
Exit status: 0 done, 1 a fault of the program (with a traceback), 2 a mistake of the input, 130 interrupted.
"""

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sesame.errors import UserError, nearest

log = logging.getLogger("sesame")


class Verb(NamedTuple):
    words: tuple[str, ...]
    help: str
    module: str
    function: str


VERBS = (
    Verb(("demo",), "prepare, pretrain and fill on built-in text, offline, in a few minutes", "demo", "demo_command"),
    Verb(
        ("demo", "images"),
        "SimCLR and BYOL on built-in digits, and what their features are worth",
        "demo_images",
        "images_command",
    ),
    Verb(
        ("demo", "speech"),
        "APC, TERA and BEST-RQ on speech synthesised here (extra: speech)",
        "demo_speech",
        "speech_command",
    ),
    Verb(("data", "prepare"), "turn text into a tokenizer and a token store", "data", "prepare_command"),
    Verb(("data", "show"), "what a prepared folder holds, and what was skipped and why", "data", "show_command"),
    Verb(("data", "listen"), "what a speech source holds: hours, speakers, labels", "listen", "listen_command"),
    Verb(
        ("data", "views"), "images beside what a recipe makes of them: a contact sheet", "data_views", "views_command"
    ),
    Verb(
        ("pretrain",), "train a recipe on text, or go on with a run (--resume, --from)", "pretrain", "pretrain_command"
    ),
    Verb(("compare",), "train recipes that differ in one thing, and measure all alike", "compare", "compare_command"),
    Verb(("fork",), "train a twin of a run without some documents, or with some more", "fork", "fork_command"),
    Verb(("acquisition",), "when a run learned what, and in which order", "acquisition", "acquisition_command"),
    Verb(("effect",), "what a twin run does differently, item by item", "effect", "effect_command"),
    Verb(("fill",), "fill the [MASK]s of a text, with probabilities", "fill", "fill_command"),
    Verb(("generate",), "write on from a prompt: sampled, greedy or by beam search", "generate", "generate_command"),
    Verb(("score",), "how probable each line of a file is: log-likelihood and perplexity", "score", "score_command"),
    Verb(("embed",), "turn each line of a file into a vector", "embed", "embed_command"),
    Verb(("vectors",), "words that are near, similarity sets, analogies, export", "vectors", "vectors_command"),
    Verb(("finetune",), "train on labelled data, beside scratch, TF-IDF and more", "finetune", "finetune_command"),
    Verb(("predict",), "put a fine-tuned model to work on a file", "predict", "predict_command"),
    Verb(("evaluate",), "score a fine-tuned model on a labelled file", "evaluate", "evaluate_command"),
    Verb(("import",), "open a published checkpoint as a run", "import_", "import_command"),
    Verb(("zoo",), "every published size, counted exactly, and the ladder of them", "zoo", "zoo_command"),
    Verb(("export",), "write a run as a folder that transformers opens", "export", "export_command"),
    Verb(("runs",), "list the runs of a folder: state, steps, loss, speed, disk", "runs", "runs_command"),
    Verb(("watch",), "measure what saved checkpoints know: word classes, probes, geometry", "watch", "watch_command"),
    Verb(
        ("doctor",), "is a run healthy? loss, gradients, collapse, rank, gains; what to try", "doctor", "doctor_command"
    ),
    Verb(("report",), "what runs did, on one HTML page: curves, fill examples, results", "report", "report_command"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        words, level = _take_level(words)
        _set_up_logging(level)
        return _dispatch(words)
    except UserError as mistake:
        return _fail(str(mistake))
    except KeyboardInterrupt:
        print("\nsesame: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `sesame … | head`: whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes stdout once more as it ends
        return 141
    except OSError as failure:
        if failure.filename is None and failure.errno != errno.ENOSPC:
            raise
        log.debug("where it happened:", exc_info=True)
        return _fail(_about(failure))
    except SystemExit as stop:  # tyro ends this way after --help (0) and after a wrong option (2)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"sesame {version('sesame-ssl')}")
        return 0
    verb = find(words)
    if verb is None:  # a group alone: `sesame data`, `sesame data --help`
        print(usage(words[0]))
        return 0 if len(words) > 1 else 2
    command = getattr(importlib.import_module(f"sesame.cli.{verb.module}"), verb.function)
    return int(command(words[len(verb.words) :]))


def find(words: Sequence[str]) -> Verb | None:
    """The verb that `words` start with, the longest of several (demo, demo images); None for a group's name alone.

    A UserError names the nearest verbs.
    """
    for verb in sorted(VERBS, key=lambda verb: -len(verb.words)):
        if tuple(words[: len(verb.words)]) == verb.words:
            return verb
    group = [verb for verb in VERBS if verb.words[0] == words[0]]
    if group and (len(words) == 1 or words[1] in ("-h", "--help")):
        return None
    said = " ".join(words[:2] if group else words[:1])
    raise UserError(f"there is no command {said!r}.{nearest(said, (' '.join(v.words) for v in group or VERBS))}")


def usage(group: str | None = None) -> str:
    """The page of `sesame --help`, or of one group of verbs."""
    verbs = [verb for verb in VERBS if group in (None, verb.words[0])]
    names = [" ".join(verb.words) for verb in verbs]
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in zip(names, verbs, strict=True)]
    if group:
        return "\n".join([f"usage: sesame {group} COMMAND …", "", *lines])
    return "\n".join(
        [
            "usage: sesame COMMAND … [--quiet | --verbose]",
            "",
            "Pretrain on your own unlabelled data, and put the model to work.",
            "",
            *lines,
            "",
            "`sesame COMMAND --help` lists the options of a command; `sesame --version` says which version this is.",
            "With --json a command prints its result alone on stdout, as JSON; everything else goes to stderr.",
        ]
    )


def _take_level(words: list[str]) -> tuple[list[str], int]:
    """The words without --quiet and --verbose, which may stand anywhere before a `--`, and the level they ask for."""
    end = words.index("--") if "--" in words else len(words)
    head = words[:end]
    quiet, verbose = "--quiet" in head, "--verbose" in head
    if quiet and verbose:
        raise UserError("--quiet and --verbose were both given. Leave one of them out.")
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    return [word for word in head if word not in ("--quiet", "--verbose")] + words[end:], level


def _set_up_logging(level: int) -> None:
    """Sesame's messages as plain lines on stderr; of other libraries only what is serious.

    Of several processes (torchrun sets RANK) the first one speaks; the others only complain.
    """
    if os.environ.get("RANK", "0") != "0":
        level = max(level, logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


class _Lines(logging.Formatter):
    """Information as it is; a warning or an error says so."""

    def format(self, record: logging.LogRecord) -> str:
        said = super().format(record)
        return said if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {said}"


def _about(failure: OSError) -> str:
    where = f"{failure.filename}: " if failure.filename else ""
    if failure.errno == errno.ENOSPC:
        return f"{where}no space left on the disk. Free some, or write elsewhere; what was complete is still there."
    return f"{where}{failure.strerror or failure}."


def _fail(message: str) -> int:
    print(f"sesame: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
