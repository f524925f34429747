"""Mask prediction of many words: packed copies of sentences against one unpacked forward pass a word.

    python bench/mask_prediction.py RUN GOLD.conllu.gz                the weights of a run
    python bench/mask_prediction.py RUN GOLD.conllu.gz --fresh 12x768 fresh ones of another shape, with its tokenizer

The words are those that the probe `word-classes` asks in its full form. Both sides use the same model, and read only
the hidden places of its output; the other side reads one sentence at a time, without padding, and computes its last
layer for all places, as a plain forward pass does. Each measurement is a process of its own, in turn; what both
predict for every word must be the same.
"""

import argparse
import json
import os
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from compare import alternate, peak_memory, show


def asked(a: argparse.Namespace) -> tuple[Any, list[Any]]:
    """The model, and the words as it meets them."""
    import msgspec
    import torch

    from sesame.engine import build as building
    from sesame.probes.prediction import Reader
    from sesame.probes.word_classes import CLASSES, gold
    from sesame.probes.words import balanced, keyed_order, placed

    torch.set_num_threads(a.threads)
    model = building.load(a.run)
    if a.fresh:
        assert model.recipe is not None, "a published folder has no recipe to change"
        layers, width = map(int, a.fresh.split("x"))
        shape = {"layers": layers, "width": width, "heads": width // 64, "ffn": 4 * width}
        recipe = msgspec.structs.replace(model.recipe, backbone=msgspec.structs.replace(model.recipe.backbone, **shape))
        model = building.Model(building.build(recipe, model).eval(), model.vocabulary, recipe, 0)
    reader = Reader.of(model)
    found = placed(reader, list(dict.fromkeys(gold(a.gold, Counter()))), Counter())
    order = keyed_order([one.key for one, _ in found])
    grouped = {name: [n for n in order if found[n][0].group == name] for name in sorted(set(CLASSES.values()))}
    return reader, [found[n][1] for n in balanced(grouped, a.words)]


def ours(reader: Any, words: list[Any]) -> tuple[float, list[str]]:
    import torch

    from sesame.engine import machine, products
    from sesame.probes.prediction import predict

    products.use(products.fastest(torch.get_num_threads()))  # as `sesame watch` does
    machine.keep_freed_memory()
    predict(reader, words[:50])
    began = time.perf_counter()
    predict(reader, words)
    seconds = time.perf_counter() - began
    guesses = predict(reader, words, shown=range(len(words))).guesses
    return seconds, [guesses[number][0][0] for number in range(len(words))]


def theirs(reader: Any, words: list[Any]) -> tuple[float, list[str]]:
    import torch

    from sesame.data.batch import Rows

    vocabulary = reader.vocabulary

    def predicted(word: Any) -> list[int]:
        here = slice(word.start + 1, word.stop + 1)
        ids = torch.tensor([[vocabulary.cls, *word.ids.tolist(), vocabulary.sep]])
        ids[0, here] = vocabulary.mask
        zero = torch.zeros_like(ids)
        states = reader.backbone(Rows(ids, torch.arange(ids.shape[1])[None], zero, zero, alone=True)).last
        best: list[int] = reader.logits(states[0, here]).argmax(1).tolist()
        return best

    for word in words[:50]:
        predicted(word)
    began = time.perf_counter()
    found = [predicted(word) for word in words]
    return time.perf_counter() - began, [vocabulary.decode(ids) for ids in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("gold", metavar="GOLD", type=Path)
    parser.add_argument("--fresh", default="", metavar="LAYERSxWIDTH")
    parser.add_argument("--words", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        import torch

        with torch.no_grad():
            reader, words = asked(a)
            seconds, said = (ours if a.side == "ours" else theirs)(reader, words)
        digest = zlib.crc32("\n".join(said).encode())
        print(json.dumps({"speed": len(words) / seconds, "memory": peak_memory(), "digest": digest}))
        return
    same = [__file__, a.run, str(a.gold), "--words", str(a.words), "--threads", str(a.threads), "--fresh", a.fresh]
    name = f"{a.words} words, {a.fresh or Path(a.run).name}"
    case = alternate(name, *([*same, "--side", side] for side in ("ours", "theirs")), a.rounds)
    if len({told["digest"] for told in (*case.ours, *case.theirs)}) > 1:
        raise SystemExit("the two sides do not predict the same words")
    show([case], "words/s", a.json)


if __name__ == "__main__":
    main()
