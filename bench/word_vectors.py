"""CBOW (or skip-gram) against gensim at equal settings: words a second with two threads, and the quality reached.

    python bench/word_vectors.py STORE --similarity EN-MEN-TR-3k.tsv.gz --analogies questions-words.txt
    python bench/word_vectors.py STORE --pretext skip-gram --epochs 2 --rounds 1

STORE is a token store of words (`sesame data prepare … --kind words`). Both sides read the same words of it, as often,
in documents cut at 10,000 words (gensim's limit) or at the length of our rows, and draw with seeds of their own. gensim
4 must be importable (`pip install --target DIR gensim`, PYTHONPATH=DIR). Each measurement is a process of its own, in
turn. The quality is measured by the same code on both sides; Spearman's correlations are means over the files.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from compare import alternate, peak_memory, show


def quality(a: argparse.Namespace, table: Any) -> dict[str, float]:
    from sesame.tasks.word_table import read_pairs, read_questions, total

    found = {}
    if a.similarity:
        found["spearman"] = statistics.mean(table.similarity(read_pairs(f)).spearman or 0.0 for f in a.similarity)
    for file in a.analogies:
        sections = table.analogies(read_questions(file))
        found[f"analogies {file.name}"] = total("", sections).accuracy or 0.0
    return {name: round(value, 4) for name, value in found.items()}


def ours(a: argparse.Namespace) -> None:
    import msgspec

    from sesame import recipes
    from sesame.engine import start
    from sesame.engine.build import load
    from sesame.tasks.word_table import WordTable

    recipe = recipes.find(a.pretext)
    data = msgspec.structs.replace(recipe.data, store=str(a.store.resolve()), rows=a.rows or recipe.data.rows)
    recipe = msgspec.structs.replace(
        recipe,
        data=data,
        backbone=msgspec.structs.replace(recipe.backbone, width=a.width),
        max_minutes=0.0,
        steps=round(a.epochs * words_of(a.store) / (data.rows * (data.length - 2))),
        threads=a.threads,
        seed=a.seed,
        eval_every=10**9,
        save_every=10**9,
        save_minutes=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        start.start(recipe, Path(folder) / "run")
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        memory = peak_memory()
        found = quality(a, WordTable.of(load(Path(folder) / "run")))
    say(a, seconds, cpu, memory, found)


def theirs(a: argparse.Namespace) -> None:
    from gensim.models import Word2Vec

    from sesame import recipes
    from sesame.data.store import TokenStore
    from sesame.tasks.word_table import WordTable

    store, recipe = TokenStore.open(a.store), recipes.find(a.pretext)
    names, special = store.vocabulary.tokens(range(store.vocabulary.size)), store.vocabulary.special_ids
    sentences = []
    for document in np.flatnonzero(~store.held_out):
        ids = store.document(int(document))
        words = [names[i] for i in ids[~np.isin(ids, special)]]
        sentences += [words[start : start + 10_000] for start in range(0, len(words), 10_000)]
    c = recipe.pretext
    model = Word2Vec(
        vector_size=a.width, window=c.window, min_count=1, negative=c.negative, ns_exponent=c.exponent, sample=c.sample,
        sg=int(a.pretext == "skip-gram"), alpha=recipe.optimizer.lr, min_alpha=recipe.optimizer.lr * 1e-4,
        workers=a.threads, seed=a.seed + 1,
    )  # fmt: skip
    model.build_vocab(sentences)
    began, cpu = time.perf_counter(), time.process_time()
    model.train(sentences, total_examples=model.corpus_count, epochs=a.epochs)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    memory = peak_memory()
    vectors = np.zeros((store.vocabulary.size, a.width), np.float32)
    for id, name in enumerate(names):
        if name in model.wv.key_to_index:
            vectors[id] = model.wv[name]
    say(a, seconds, cpu, memory, quality(a, WordTable(store.vocabulary, vectors)))


def words_of(store: Path) -> int:
    """Tokens that are trained on in an epoch."""
    from sesame.data.store import TokenStore

    opened = TokenStore.open(store)
    return int(opened.lengths[~opened.held_out].sum())


def say(a: argparse.Namespace, seconds: float, cpu: float, memory: float, found: dict[str, float]) -> None:
    speed = a.epochs * words_of(a.store) / seconds
    print(json.dumps({"speed": round(speed), "memory": memory, "cpu_seconds": round(cpu, 1), **found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--pretext", choices=("cbow", "skip-gram"), default="cbow")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--rows", type=int, default=0, help="rows in a step of ours; 0 for the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--similarity", type=Path, nargs="*", default=[])
    parser.add_argument("--analogies", type=Path, nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"))
    a = parser.parse_args()
    if a.side:
        (ours if a.side == "ours" else theirs)(a)
        return
    command = [__file__, *sys.argv[1:], "--side"]
    case = alternate(f"{a.pretext}, width {a.width}", [*command, "ours"], [*command, "theirs"], a.rounds)
    show([case], "words/s", a.json)
    for side, kept in (("ours", case.ours), ("theirs", case.theirs)):
        for name in kept[0]:
            if name not in ("speed", "memory", "cpu_seconds"):
                values = [one[name] for one in kept]
                print(f"{side}: {name} {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})",
                      file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    main()
