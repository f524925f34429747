"""Text to training-ready tokens: `sesame data prepare` against `datasets.map` with the same fast tokenizer.

    python bench/prepare.py                          10 MB of text, alternating, three rounds; then memory at 300 MB
    python bench/prepare.py --text en_wiki.txt --cases speed --json

Both sides start from one plain file and a given WordPiece vocabulary and end with ids on disk. The peer splits
documents with the text loader and maps `tokenizer(batch)` with `num_proc` = all cores into an Arrow file; its ids carry
neither word starts nor sentence starts. `memory` compares our own peak at 300 MB ("ours") with that at 10 MB
("theirs"): a memory_ratio of 1 is flat. Peaks are of all processes: ours is counted as if every worker were as large
as the largest, theirs as if there were one worker, because forked workers share memory. Without --text the text is
pydocs, repeated with changed words.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from compare import alternate, peak_memory, show


def synthesise(path: Path, megabytes: float, text: str | None) -> None:
    """Write `megabytes` of documents; when the text runs out it comes again with a number on every seventh word."""
    from sesame.data import pydocs

    texts = Path(text).read_text().split("\n\n") if text else [t for _, t in pydocs.documents()]
    chance, written, turn = random.Random(0), 0, 0
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            for document in texts:
                if turn:
                    words = document.split(" ")
                    words[::7] = [f"{word}{chance.randrange(1000)}" for word in words[::7]]
                    document = " ".join(words)
                written += file.write(document.strip() + "\n\n")
                if written >= megabytes * 1e6:
                    break
            turn += 1


def ours(text: Path, vocabulary: Path, out: Path) -> dict[str, float]:
    from sesame.data.prepare import prepare

    start = time.perf_counter()
    info = prepare([text], out / "store", tokenizer=vocabulary)
    seconds = time.perf_counter() - start
    workers = len(os.sched_getaffinity(0)) * largest_child()
    return {"speed": info.bytes / 1e6 / seconds, "memory": peak_memory() + workers}


def theirs(text: Path, vocabulary: Path, out: Path) -> dict[str, float]:
    from datasets import load_dataset
    from transformers import AutoTokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as its processes have it: a process a core
    tokenizer = AutoTokenizer.from_pretrained(vocabulary)
    start = time.perf_counter()
    data = load_dataset("text", data_files=str(text), sample_by="paragraph", split="train", cache_dir=str(out))
    data.map(
        lambda batch: tokenizer(batch["text"], add_special_tokens=False, return_attention_mask=False),
        batched=True,
        remove_columns=["text"],
        num_proc=os.cpu_count(),
    )
    seconds = time.perf_counter() - start
    return {"speed": text.stat().st_size / 1e6 / seconds, "memory": peak_memory() + largest_child()}


def largest_child() -> float:
    """The most memory that any process started by this one has held, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="plain text to use instead of pydocs")
    parser.add_argument("--mb", type=float, default=10.0, help="megabytes of text for the speed")
    parser.add_argument("--large-mb", type=float, default=300.0, help="megabytes of text for the memory")
    parser.add_argument("--cases", nargs="+", choices=["speed", "memory"], default=["speed", "memory"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "TEXT", "VOCABULARY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side, text, vocabulary = options.side
        out = Path(tempfile.mkdtemp(dir=Path(text).parent))
        try:
            print(json.dumps((ours if side == "ours" else theirs)(Path(text), Path(vocabulary), out)))
        finally:
            shutil.rmtree(out)
        return
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        small, large, vocabulary = Path(folder, "small.txt"), Path(folder, "large.txt"), Path(folder, "vocabulary")
        synthesise(small, options.mb, options.text)
        train_vocabulary(small, vocabulary)
        command = [__file__, "--side"]
        if "speed" in options.cases:
            sides = [[*command, side, str(small), str(vocabulary)] for side in ("ours", "theirs")]
            cases.append(alternate(f"prepare {options.mb:g} MB", *sides, options.rounds))
        if "memory" in options.cases:
            synthesise(large, options.large_mb, options.text)
            sides = [[*command, "ours", str(text), str(vocabulary)] for text in (large, small)]
            cases.append(alternate(f"memory {options.large_mb:g} MB / {options.mb:g} MB", *sides, 1))
    show(cases, "MB/s", options.json)


def train_vocabulary(text: Path, folder: Path) -> None:
    from sesame.data.tokenizer import train

    texts = text.read_text()[:5_000_000].split("\n\n")
    train("wordpiece", lambda: texts, 8192).save(folder)


if __name__ == "__main__":
    sys.exit(main())
