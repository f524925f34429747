"""Public data sets with and without pretraining: every arm of `sesame finetune` over the tasks of one language.

    python bench/downstream.py RUN --data DIR --language en --out OUT
    python bench/downstream.py RUN --data DIR --language zh --out OUT --tasks ChnSentiCorp OCNLI

DIR holds the sets in the layout of `FILES` (gzip; TSV with a header, CoNLL-U, SQuAD JSON). This writes a task file for
each into OUT/tasks and runs one `sesame finetune` a task, whose command it shows. GLUE's own test labels are not
public: SST-2 and STS-B have the test files of their original sets, MRPC that of its authors, and CoLA and RTE report
dev, which the choice of the best weights has then seen.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

CLASSIFY: dict[str, Any] = {"kind": "classification"}
PAIRS = {"text": "sentence1", "pair": "sentence2"}
FILES: dict[str, dict[str, dict[str, Any]]] = {
    "en": {
        "CoLA": CLASSIFY | {"folder": "glue/CoLA", "text": "sentence", "metric": "matthews"},
        "SST-2": CLASSIFY | {"folder": "glue/SST-2", "text": "sentence"},
        "MRPC": CLASSIFY | {"folder": "glue/MRPC", **PAIRS},
        "RTE": CLASSIFY | {"folder": "glue/RTE", **PAIRS},
        "STS-B": {"kind": "regression", "folder": "glue/STS-B", **PAIRS, "label": "score"},
        "UD-English-EWT": {
            "kind": "tagging",
            "folder": "pos/ud_conllu/UD_English-EWT",
            "train": "en_ewt-ud-train.reconstructed.conllu.gz",
            "dev": "en_ewt-ud-dev.conllu.gz",
            "test": "en_ewt-ud-test.conllu.gz",
        },
        "SQuAD-split": {
            "kind": "span-qa",
            "folder": "qa/squad_v1.1",
            "train": "finetune_train.json.gz",
            "test": "finetune_test.json.gz",
            "stride": 40,
            "longest_question": 32,
        },
    },
    "zh": {
        "ChnSentiCorp": CLASSIFY | {"folder": "zh_classification/chnsenticorp"},
        "OCNLI": CLASSIFY | {"folder": "nli/ocnli", **PAIRS, "train": "train.10k.tsv.gz"},
        "UD-Chinese-GSD": {
            "kind": "tagging",
            "folder": "pos/udpos",
            "train": "train-zh.tsv.gz",
            "dev": "dev-zh.tsv.gz",
            "column": "2",
        },
        "DRCD": {
            "kind": "span-qa",
            "folder": "qa/drcd",
            "train": "DRCD_dev.json.gz",
            "test": "DRCD_test.json.gz",
            "metric": "cmrc",
            "stride": 40,
            "longest_question": 32,
        },
    },
}
"""Fields of a task file, and the folder of its files; those are train, dev and test, as far as they are there."""


def task_file(name: str, fields: dict[str, Any], data: Path, into: Path) -> Path:
    fields = dict(fields)
    folder = data / fields.pop("folder")
    for part in ("train", "dev", "test"):
        path = folder / fields.get(part, f"{part}.tsv.gz")
        if path.exists():
            fields[part] = str(path.resolve())
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{name}.json"
    path.write_text(json.dumps(fields, indent=2))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--language", choices=FILES, default="en")
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-on", type=int, default=10_000, help="examples at most")
    parser.add_argument("--questions", type=int, default=1_500, help="examples at most of question answering")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3])
    a = parser.parse_args()
    known = FILES[a.language]
    for name in a.tasks or known:
        file = task_file(name, known[name], a.data, a.out / "tasks")
        most = a.questions if known[name]["kind"] == "span-qa" else a.train_on
        command = ["finetune", a.run, str(file), "--out", str(a.out / name), "--seeds", str(a.seeds),
                   "--epochs", f"{a.epochs:g}", "--evaluations", "4", "--train-on", str(most),
                   "--sweep", *(f"{rate:g}" for rate in a.rates)]  # fmt: skip
        print(f"\n$ sesame {shlex.join(command)}", flush=True)
        subprocess.run([sys.executable, "-m", "sesame", *command], check=True)


if __name__ == "__main__":
    main()
