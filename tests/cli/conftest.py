"""A text, its token store and a short run on it, made once by real processes."""

import json
import os
import subprocess
import sys

import pytest

SUBJECTS = ("the list", "a value", "every item", "the empty set", "a sorted copy", "the first word")
VERBS = ("returns", "holds", "raises an error without", "is found in", "stands before", "follows")
SMALL = ("--backbone.width", "32", "--backbone.heads", "2", "--backbone.ffn", "64", "--data.length", "32")


def sesame(*words: object, folder) -> subprocess.CompletedProcess:
    """A real process, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "sesame", *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with a text, its token store, and a run of six steps on it."""
    folder = tmp_path_factory.mktemp("made")
    documents = [f"{a} {v} {b}. {b} {w} {a}." for a in SUBJECTS for v in VERBS for b in SUBJECTS for w in VERBS[:3]]
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    told = {}
    for verb, *words in (
        ("data", "prepare", "text.txt", "--out", "data", "--vocab", 90),
        ("pretrain", "bert-tiny", "--data", "data", "--out", "run", *SMALL, "--steps", 6, "--threads", 1),
    ):
        done = sesame(verb, *words, "--json", folder=folder)
        assert done.returncode == 0, done.stderr
        told[verb] = json.loads(done.stdout)  # nothing but JSON
    return folder, told
