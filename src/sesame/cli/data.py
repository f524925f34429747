"""`sesame data prepare` and `sesame data show`: text to tokens, and what is in them."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError

if TYPE_CHECKING:
    from sesame.data.store import StoreInfo


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Turn text into a tokenizer and a token store, which every text recipe trains on.

    An existing folder is never overwritten; the same command again uses what is there.
    """

    sources: Positional[tuple[str, ...]]
    """Files, folders or globs of .txt, .gz, .zst, .jsonl, .parquet; hf:NAME[/CONFIG]; pydocs (built in). Each is one
    source: a language, say."""
    out: Path
    """Folder for the token store."""
    tokenizer: str | None = None
    """A tokenizer you have: tokenizer.json, vocab.txt, a folder that holds one, a model's name on the hub."""
    kind: Literal["wordpiece", "bytebpe", "chars", "bytes", "words"] = "wordpiece"
    """Kind of tokenizer to train where none is given."""
    vocab: int = 0
    """Entries of a trained vocabulary, special tokens included; 0 for 8,192, or as many as the text fills; of words 0
    for all."""
    min_count: int = 5
    """Words: how often one must occur in what the tokenizer is trained on."""
    no_lowercase: bool = False
    """Keep capital letters and accents (WordPiece and words)."""
    document: Literal["blank-line", "file"] = "blank-line"
    """In plain text: a blank line starts a new document, or a file is one document."""
    text_field: str = "text"
    """Field of JSON lines, column of Parquet files and hub data sets, that holds the text."""
    held_out: float = 0.01
    """Share of documents that training never sees, chosen by a hash of their text."""
    sample_mb: float = 32.0
    """Millions of characters that the tokenizer is trained on; beyond, documents are sampled."""
    sample_exponent: float = 1.0
    """Sources share that sample in proportion to size**exponent (0.7 for multilingual BERT)."""
    skip_bad: bool = False
    """Leave out what cannot be read, count and report it, instead of stopping."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


@dataclass(frozen=True)
class Show:
    """What a token store holds: documents, tokens, lengths, unknowns, samples, and what was skipped and why."""

    store: Positional[Path]
    """Folder made by `sesame data prepare`."""
    samples: int = 3
    """Documents of which the beginning is shown."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def prepare_first(sources: Sequence[str], out: Path | str, **settings: Any) -> None:
    """Prepare raw text that another command was given in place of a prepared folder."""
    from sesame.data.prepare import prepare

    try:
        prepare(sources, out, **settings)
    except UserError as error:
        more = [option for option in ("--skip-bad", "--text-field") if option in str(error)]
        said = f" {more[0]} is an option of sesame data prepare, which makes a folder for --data." if more else ""
        raise UserError(f"{error}{said}") from None


def prepare_command(argv: list[str]) -> int:
    options = options_of(Prepare, argv, "sesame data prepare")
    from sesame.data.prepare import prepare

    with _progress() as tell:
        info = prepare(
            options.sources,
            options.out,
            tokenizer=options.tokenizer or options.kind,
            vocab=options.vocab,
            lowercase=not options.no_lowercase,
            min_count=options.min_count,
            document=options.document,
            text_field=options.text_field,
            held_out=options.held_out,
            sample_mb=options.sample_mb,
            sample_exponent=options.sample_exponent,
            skip_bad=options.skip_bad,
            progress=tell,
        )
    result, shown = _described(options.out, info)
    recipe = "cbow" if options.kind == "words" else "bert-tiny"
    go_on = f"Train on it: sesame pretrain {recipe} --data {shlex.quote(str(options.out))} --out run"
    emit("data prepare", result, *shown, go_on, as_json=options.json, path=options.out / "result.json")
    return 0


def show_command(argv: list[str]) -> int:
    options = options_of(Show, argv, "sesame data show")
    from sesame.data.store import TokenStore

    store = TokenStore.open(options.store)
    result, shown = _described(options.store, store.info)
    count = min(options.samples, len(store))
    samples = []
    for index in (len(store) * i // max(count, 1) for i in range(count)):
        ids = store.document(index)[:40]
        samples.append({"document": index, "tokens": len(store.document(index)), "text": store.vocabulary.decode(ids)})
    rows = [(s["document"], s["tokens"], s["text"]) for s in samples]
    if rows:
        shown.append(table("Beginnings, as the model reads them", ["document", "tokens", "text"], rows))
    emit("data show", {**result, "samples": samples}, *shown, as_json=options.json, path=options.result)
    return 0


def _described(path: Path, info: "StoreInfo") -> tuple[dict[str, Any], list[Any]]:
    """The numbers, and tables of them."""
    from msgspec import to_builtins

    result = {"store": str(path), **to_builtins(info), "unknown_rate": info.unknown_rate}
    rows = [
        ("documents", info.documents),
        ("of these held out", info.held_out),
        ("sentences", info.sentences),
        ("tokens", info.tokens),
        ("characters", info.characters),
        ("characters a token", info.characters / info.tokens),
        ("unknown tokens", f"{info.unknown:,} ({info.unknown_rate:.3%})"),
        ("vocabulary", f"{info.vocabulary_size:,} ({info.vocabulary})"),
    ]
    shown = [table(str(path), ["", ""], rows)]
    if len(info.sources) > 1:
        sources = [(s.name, s.documents, s.tokens, s.characters) for s in info.sources]
        shown.append(table("Sources", ["source", "documents", "tokens", "characters"], sources))
    lengths = [(f"{2**i:,} to {2 ** (i + 1) - 1:,}", n) for i, n in enumerate(info.lengths) if n]
    shown.append(table("Lengths", ["tokens in a document", "documents"], lengths))
    if info.skipped:
        skipped = [(reason, skip.count, "\n".join(skip.examples)) for reason, skip in info.skipped.items()]
        shown.append(table("Skipped", ["why", "how many", "for example"], skipped))
    return result, shown


def _progress() -> AbstractContextManager[Any]:
    """What `prepare` tells, as a line on a terminal; nothing elsewhere."""
    import sys

    return _Line() if sys.stderr.isatty() else nullcontext()


class _Line:
    """A line that says what is being done, and how much has been."""

    def __enter__(self) -> "_Line":
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True),
            transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("starting")
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def __call__(self, what: str, documents: int, characters: int) -> None:
        done = f": {documents:,} documents, {characters / 1e6:,.0f} million characters" if documents else ""
        self.bar.update(self.task, description=f"{what}{done}")
