"""`sesame vectors RUN --nearest WORD… --similarity FILE… --analogies FILE… --out FILE`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError


@dataclass(frozen=True)
class Vectors:
    """What the vectors of single words know: which are near, how they rank pairs, which analogies they solve.

    Of a run of word vectors these are its table, of any other model of text its first embeddings, before a word meets
    its context. Words that are no single token are left out and counted.
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    nearest: tuple[str, ...] = ()
    """Words, to see which ones have the greatest cosine to each."""
    similarity: tuple[Path, ...] = ()
    """Files with two words and a score a line; gives Spearman's correlation with the cosines."""
    analogies: tuple[Path, ...] = ()
    """Files with four words a line (a : b = c : d) under lines `: SECTION`; gives the share where d is the nearest word
    to b − a + c, these three left out."""
    count: int = 10
    """How many near words are shown."""
    most: int = 0
    """For near words and analogies: the vocabulary's first words (the frequent ones, in one of words); 0 for all."""
    out: Path | None = None
    """Also write all words and their vectors in word2vec's format: .txt or .vec as text, .bin in binary."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def vectors_command(argv: list[str]) -> int:
    options = options_of(Vectors, argv, "sesame vectors")
    if not (options.nearest or options.similarity or options.analogies or options.out):
        raise UserError(
            "what about the vectors? Give --nearest WORD, --similarity FILE, --analogies FILE or --out FILE."
        )
    if options.count < 1 or options.most < 0:
        raise UserError(f"--count {options.count} --most {options.most}: a count of at least 1, and 0 or more words.")
    if options.out is not None:
        if options.out.suffix not in (".txt", ".vec", ".bin"):
            raise UserError(f"--out {options.out}: choose a name that ends in .txt, .vec (text) or .bin (binary).")
        check_free("--out", options.out)

    from sesame.engine.build import load
    from sesame.tasks.word_table import (
        WordTable,
        read_pairs,
        read_questions,
        semantic_and_syntactic,
    )

    pairs = {str(file): read_pairs(file) for file in options.similarity}
    questions = {str(file): read_questions(file) for file in options.analogies}
    words = WordTable.of(load(options.run))
    result: dict[str, Any] = {"run": options.run, "words": len(words.words), "most": options.most}
    shown: list[Any] = []
    for word in options.nearest:
        near = words.nearest(word, options.count, options.most)
        result.setdefault("nearest", {})[word] = [{"word": n.word, "cosine": n.cosine} for n in near]
        shown.append(table(f"Nearest to {word}", ["word", "cosine"], [(n.word, n.cosine) for n in near]))
    if pairs:
        found = {file: words.similarity(asked) for file, asked in pairs.items()}
        result["similarity"] = {
            file: {"spearman": s.spearman, "pairs": s.pairs, "unknown": s.unknown} for file, s in found.items()
        }
        rows = [(Path(file).name, s.spearman, s.pairs, s.unknown) for file, s in found.items()]
        shown.append(table("Similarity", ["file", "Spearman", "pairs", "unknown, left out"], rows))
    for file, sections in questions.items():
        answered = words.analogies(sections, options.most)
        sums = semantic_and_syntactic(answered)
        result.setdefault("analogies", {})[file] = {
            "sections": [_told(section) for section in answered],
            **{section.name: _told(section) for section in sums},
        }
        scores = [(s.name, s.accuracy, s.right, s.questions, s.unknown) for s in (*answered, *sums)]
        columns = ["section", "accuracy", "right", "asked", "unknown, left out"]
        shown.append(table(f"Analogies of {Path(file).name}", columns, scores))
    if options.out is not None:
        written = words.save(options.out)
        result["out"] = options.out
        shown.append(f"{options.out}: {written:,} words.")
    emit("vectors", result, *shown, as_json=options.json, path=options.result)
    return 0


def _told(section: Any) -> dict[str, Any]:
    return {
        "name": section.name,
        "accuracy": section.accuracy,
        "right": section.right,
        "asked": section.questions,
        "unknown": section.unknown,
    }
