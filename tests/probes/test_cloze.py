"""Facts to be filled in: ranks against sorting all scores, and what a bad file says."""

import json
from collections import Counter

import numpy as np
import pytest
import readers
import torch

from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, cloze
from sesame.probes.prediction import Reader

FACTS = [
    ("she walked into [MASK].", "paris", "place"),
    ("[MASK] walked into the house.", "someone", "who"),
    ("the old man liked [MASK] again.", "a small ship", "what"),
    ("he was seeing [MASK] and smiled.", "london", "place"),
    ("they never lost [MASK].", "Ωmega", "what"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text("text\tanswer\trelation\n" + "".join("\t".join(fact) + "\n" for fact in FACTS))
    return path


def measured(model, **told) -> tuple[dict[tuple[str, str], Value], list[Item]]:
    with torch.no_grad():
        found = list(cloze.measure(model, Ask(**told)))
    return {(v.metric, v.group): v for v in found if isinstance(v, Value)}, [i for i in found if isinstance(i, Item)]


@pytest.mark.parametrize("make", [readers.bert, readers.gpt])
def test_an_answer_has_the_rank_of_its_worst_sub_word(data, file, make):
    model = make(data)
    reader = Reader.of(model)
    values, items = measured(model, source=str(file))
    ranks = {}
    for text, answer, _ in FACTS[:4]:
        before, after = text.split("[MASK]")
        ids = [np.array(i) for i in reader.vocabulary.encode_batch([before, answer, after])]
        start, stop = len(ids[0]), len(ids[0]) + len(ids[1])
        seen = np.concatenate(ids)
        target = seen[start:stop].copy()
        if not reader.causal:
            seen[start:stop] = reader.vocabulary.mask
        order = (-readers.alone(reader, seen)[start:stop]).argsort(dim=1, stable=True).tolist()
        ranks[answer] = max(row.index(token) + 1 for row, token in zip(order, target, strict=True))
    assert len(reader.vocabulary.encode_batch(["a small ship"])[0]) >= 3
    for group in ("place", "who", "what", ""):
        of = np.array([ranks[answer] for _, answer, relation in FACTS[:4] if group in (relation, "")])
        assert values["top1", group].value == np.mean(of == 1)
        assert values["top10", group].value == np.mean(of <= 10)
        assert values["reciprocal_rank", group].value == pytest.approx(np.mean(1 / of))
        assert {values[metric, group].n for metric in ("top1", "top10", "reciprocal_rank")} == {len(of)}
    assert Counter(item.metric for item in items) == {"top1": 4, "top10": 4}
    for item in items:
        assert item.right == (ranks[item.word] <= (1 if item.metric == "top1" else 10))
        assert f"⟦{item.word}⟧" in item.text


def test_the_live_form_asks_some_of_every_relation_and_the_full_form_all(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cloze, "LIGHT", 6)
    path = tmp_path / "facts.jsonl"
    rows = [{"text": f"{n} walked into [MASK].", "answer": "paris", "relation": "ab"[n % 5 == 0]} for n in range(30)]
    rows = [row | {"text": row["text"].replace(str(n), readers.sentence(n, 7)[:-1])} for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    light, full = (measured(readers.bert(data), source=str(path), full=form)[1] for form in (False, True))
    groups = [Counter(i.group for i in items if i.metric == "top1") for items in (light, full)]
    assert groups == [{"a": 3, "b": 3}, {"a": 24, "b": 6}]
    assert {i.key for i in light} < {i.key for i in full}


@pytest.mark.parametrize("header", ["answer,text", '"answer","text"'])
def test_without_relations_there_is_one_group(data, tmp_path, header):
    path = tmp_path / "facts.csv"
    path.write_text(f"{header}\nparis,she walked into [MASK].\n")
    values, (one, _) = measured(readers.bert(data), source=str(path))
    assert set(values) == {(metric, "") for metric in ("top1", "top10", "reciprocal_rank")}
    assert (one.word, one.text) == ("paris", "she walked into ⟦paris⟧.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\tanswer\nshe saw him\tparis\n", r"bad.tsv:2: \[MASK\] stands in the text 0 times; once is expected"),
        ("text\tanswer\n[MASK] saw [MASK]\tparis\n", r"bad.tsv:2: \[MASK\] stands in the text 2 times"),
        ("text\tanswer\n[MASK] saw him\t \n", r"bad.tsv:2: the text in 'answer' is empty"),
        ("text\tlabel\n[MASK]\tparis\n", r"bad.tsv:1: there is no field 'answer', but text and answer are needed"),
        (
            "text\tanswer\n[MASK]\tΩmega\n",
            r"none of its 1 facts can be asked \(1 words that the tokenizer cannot spell",
        ),
    ],
)
def test_a_bad_file_gets_one_line(data, tmp_path, text, message):
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(UserError, match=message):
        measured(readers.bert(data), source=str(tmp_path / "bad.tsv"))


def test_facts_must_be_given(data):
    with pytest.raises(UserError, match=r"no facts were given.*--probe cloze=FILE"):
        measured(readers.bert(data))
