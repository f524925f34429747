"""How often words had been seen: against counting them in the batches that a run is given, as text."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from items import tables
from small_store import store_of

from sesame import config
from sesame.data import open_data
from sesame.data.batch import Cursor
from sesame.data.encode import WORD
from sesame.data.parallel import document_key
from sesame.data.prepare import prepare
from sesame.data.store import TokenStore
from sesame.engine import build, machine
from sesame.engine.run import Config, Run
from sesame.errors import UserError
from sesame.probes.answers import answered
from sesame.probes.exposure import Occurrences, exposures, first_lasting, ledger, seen_by

NAMES = ("anna", "bert", "carl", "dora", "emma")
TEXTS = [
    f"{a} plays. {b} replays what {a} played; the {c} is not {b}'s. then {c}, {a} and {b} play."
    for a in NAMES for b in NAMES for c in ("player", "flute", "don't") if a != b
]  # fmt: skip
WORDS = ["play", "plays", "played", "replays", "the", "The", "don't", "anna", "flute", "never"]


def prepared(folder: Path, texts: list[str], name: str, **told) -> Path:
    (folder / f"{name}.txt").write_text("\n\n".join(texts))
    prepare([folder / f"{name}.txt"], folder / name, **told)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tokenizer cuts words, what a twin leaves out and adds, and a byte-level store."""
    made = tmp_path_factory.mktemp("text")
    prepared(made, TEXTS, "pieces", vocab=60, held_out=0.1)
    prepared(made, TEXTS, "bytes", tokenizer="bytebpe", vocab=300, held_out=0.1)
    np.save(made / "without.npy", np.array([document_key(text.encode()) for text in TEXTS[::3]], np.uint64))
    prepared(made, ["anna plays the flute.", "never. never again, said anna."], "added", tokenizer=made / "pieces",
             held_out=0.0)  # fmt: skip
    return made


PHASES = (config.Phase(share=0.5, length=32, rows=4), config.Phase(share=0.5, length=64, rows=2))


def recipe_of(data: config.TextData, pretext: config.Pretext) -> config.Recipe:
    causal = isinstance(pretext, config.CausalLM)
    backbone = config.Transformer(layers=1, width=8, heads=1, ffn=8, causal=causal)
    return config.Recipe(name="", data=data, pretext=pretext, backbone=backbone, steps=40, device="cpu", seed=3)


def counted(recipe: config.Recipe, steps: list[int]) -> list[Counter[str]]:
    """Of each of `steps`: every word of the batches until then, decoded and cut at spaces and marks."""
    data = open_data(recipe.data)
    objective = build.build(build.freeze(recipe, data), data)
    stream = objective.pretext.stream(data, recipe.seed).train(Cursor(), 0, recipe.steps, 1)
    seen, found = Counter[str](), []
    for step in range(max(steps) + 1):
        if step in steps:
            found.append(Counter(seen))
        for batch in next(stream).parts:
            for number in range(len(batch.key)):
                row, here = np.nonzero(batch.example == number)
                row, here = row[1:-1], here[1:-1]  # a window also shows what stands beside it, which others count
                for kind in (0, 1):
                    of = here[(batch.kind[row[0], here] == kind) & ~batch.special[row[0], here]]
                    text = data.vocabulary.decode(batch.ids[row[0], of])
                    for mark in ";,.":
                        text = text.replace(mark, " ")
                    seen.update(text.replace(" ' ", "'").replace("'s", " s").split())
    return found


PAIRED = config.Bert(next_sentence=1.0, sentence_order=1.0)


@pytest.mark.parametrize(
    ("store", "pretext", "changes"),
    [
        ("pieces", config.Bert(), {}),
        ("pieces", PAIRED, {"length": 30}),
        ("bytes", config.CausalLM(), {"phases": PHASES}),
        ("pieces", PAIRED, {"twin": {"without": ("a",), "added": ("b",), "at": 5, "times": 2}}),
    ],
)
def test_words_are_counted_as_the_run_reads_them(folder: Path, store: str, pretext, changes: dict) -> None:
    changes = dict(changes)
    if told := changes.pop("twin", None):
        changes["twin"] = config.Twin(of="", folder=str(folder), **told)
    data = msgspec.structs.replace(config.TextData(store=str(folder / store), length=40, rows=3), **changes)
    recipe, steps = recipe_of(data, pretext), [0, 1, 7, 30]
    expected = counted(recipe, steps)
    found = seen_by(open_data(data), recipe, WORDS, np.array(steps))
    for word, row in zip(WORDS, found, strict=True):
        spelled = word.lower() if store == "pieces" else word
        assert row.tolist() == [seen[spelled] for seen in expected], word  # [UNK] is nobody's "never"
    assert found[WORDS.index("play"), -1] > found[WORDS.index("play"), 1] > 0


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_occurrences_are_whole_words_inside_a_span(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    """Against a search of every place; three tokens make up the text, so that words hold one another."""
    documents = data.draw(st.lists(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1,
                                            max_size=2), min_size=1, max_size=4))  # fmt: skip
    store = store_of(tmp_path_factory.mktemp("store") / "s", documents)
    store.ids = np.asarray(store.ids) % 3 + 5
    ids, flags, n = store.ids.tolist(), np.asarray(store.flags) & WORD, len(store.ids)
    spelled = data.draw(st.lists(st.lists(st.integers(5, 7), min_size=1, max_size=4).map(tuple), min_size=1,
                                 max_size=6, unique=True))  # fmt: skip
    spans = data.draw(st.lists(st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted), max_size=5))
    found = Occurrences(store, spelled).within(
        np.array([a for a, _ in spans], int), np.array([b - a for a, b in spans], int)
    )
    for word, count in zip(spelled, found.tolist(), strict=True):
        k = len(word)
        places = [i for i in range(n - k + 1) if tuple(ids[i : i + k]) == word and flags[i]
                  and (i + k == n or flags[i + k])]  # fmt: skip
        assert count == sum(a <= i and i + k <= b for a, b in spans for i in places)


@settings(max_examples=40, deadline=None)
@given(right=st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_word_is_learned_where_it_starts_to_stay(right: list[bool]) -> None:
    expected = next((i for i in range(len(right)) if all(right[i:])), len(right))
    assert first_lasting(np.array([right]))[0] == expected


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """A run that was never trained: its ledger needs its settings alone."""
    recipe = recipe_of(config.TextData(store=str(folder / "pieces"), length=40, rows=3), config.Bert())
    store = TokenStore.open(folder / "pieces")
    made = Run.create(tmp_path / "run", Config(recipe=recipe, machine=machine.fingerprint(recipe, 1), data=store.hash))
    made.close()
    return made


STEPS = [0, 1, 4, 9, 30]
RIGHT = {
    "noun": np.array([[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 0, 1], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1.0]]),
    "verb": np.array([[1.0, 1, 1, 1, 1], [0, np.nan, 1, np.nan, 1], [0, 0, 0, 1, 1]]),
}
ASKED = {"noun": ["flute", "flute", "flute", "never", "anna"], "verb": ["play", "plays", "Plays"]}


def test_the_ledger_says_when_each_word_was_learned_and_how_often_it_had_been_seen(run: Run) -> None:
    answers = answered(*tables(RIGHT, STEPS, words=ASKED), "word-classes", "mask_prediction")
    rows = {row["word"]: row for row in ledger(run, answers).to_pylist()}
    seen = dict(
        zip(WORDS, seen_by(open_data(run.recipe.data), run.recipe, WORDS, np.array(STEPS)).tolist(), strict=True)
    )
    # Two of three flutes are right from step 4 on (1 and 3, then 1 and 2); never is lost again; play was known at once;
    # Plays is plays to this tokenizer, and more than half of both are right where both are.
    learned = {"flute": 2, "never": None, "anna": 4, "play": 0, "plays": 3}
    assert rows.keys() == learned.keys() and rows["flute"]["items"] == 3
    for word, at in learned.items():
        row = rows[word]
        assert row["seen_in_all"] == seen[word][-1]
        if at is None:
            assert row["step"] is row["tokens"] is row["seen"] is row["seen_before"] is None
        else:
            assert (row["step"], row["tokens"], row["seen"]) == (STEPS[at], 1000 * STEPS[at], seen[word][at])
            assert row["seen_before"] == (seen[word][at - 1] if at else 0)
    found = {one.group: one for one in exposures(ledger(run, answers))}
    assert (found["noun"].words, found["noun"].learned) == (3, 2)
    assert found["noun"].seen == np.median([seen["flute"][2], seen["anna"][4]])
    assert found["noun"].seen_unlearned == seen["never"][-1]
    assert (found["verb"].learned, found["verb"].seen_unlearned) == (2, None)


def test_a_ledger_needs_the_text_that_the_run_read(run: Run, folder: Path, tmp_path: Path) -> None:
    answers = answered(*tables(RIGHT, STEPS, words=ASKED), "word-classes", "mask_prediction")
    other = msgspec.structs.replace(run.config, data="another")
    with pytest.raises(UserError, match="holds other text"):
        ledger(Run(tmp_path, other), answers)
    images = msgspec.structs.replace(run.recipe, data=config.ImageData())
    with pytest.raises(UserError, match="not trained on text"):
        ledger(Run(tmp_path, msgspec.structs.replace(run.config, recipe=images)), answers)
    wordless = answered(*tables({"": np.ones((1, 5))}, STEPS, words={"": [""]}), "word-classes", "mask_prediction")
    with pytest.raises(UserError, match="not everything that was asked is about a word"):
        ledger(run, wordless)
