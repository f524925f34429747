"""Scores of answers: hand-computed cases, and the definitions counted out by brute force."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.tasks.qa_metrics import cmrc_score, normalised, segments, squad_score


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The Eiffel-Tower!", ["eiffeltower"], 1, 1),  # case, article, punctuation
        ("a  tower\n", ["the tower"], 1, 1),
        ("in Paris", ["Paris"], 0, 2 / 3),  # precision 1/2, recall 1
        ("Paris", ["in Paris, France"], 0, 1 / 2),  # precision 1, recall 1/3
        ("to be or not to be", ["be to be"], 0, 2 * 3 / 9),  # to x1, be x2 in common
        ("Rome", ["Paris", "in Rome", "Milan"], 0, 2 / 3),  # the best of the answers
        ("Rome", ["Paris"], 0, 0),
        ("", [], 1, 1),  # impossible, and said so
        ("Rome", [], 0, 0),
        ("", ["Rome"], 0, 0),
        ("the", [], 1, 1),  # an article is no word
        ("anthem", ["them"], 0, 0),  # articles are whole words
        ("naïve «x»", ["naïve «x»"], 1, 1),
        ("«x»", ["x"], 0, 0),  # only ASCII punctuation goes
        ("1,000", ["1000"], 1, 1),
    ],
)
def test_squad_by_hand(prediction, answers, exact, f1):
    assert squad_score(prediction, answers) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("踢爆", ["踢爆"], 1, 1),
        ("《战国无双3》。", ["战国无双3"], 1, 1),  # punctuation goes
        ("ABC公司", ["abc 公司"], 0, 1),  # the white space counts for the match, not for the segments
        ("北京大学", ["北京的大学"], 0, 2 * 2 / 9),  # a run of 2, not a bag of 4; precision 2/4, recall 2/5
        ("光荣和ω-force", ["ω-force"], 0, 2 * 1 / 5),  # one Latin run, joined where the hyphen was
        ("hello world", ["hello"], 0, 2 / 3),
        ("1,000米", ["1,000米"], 1, 1),
        ("南京", ["北京", "南京市"], 0, 2 * 2 / 5),
        ("东", ["西"], 0, 0),
        ("", [], 1, 1),
        ("东", [], 0, 0),
        ("", ["东"], 0, 0),
    ],
)
def test_cmrc_by_hand(prediction, answers, exact, f1):
    assert cmrc_score(prediction, answers) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("于1628年", ["于", "1628", "年"]),
        ("3.14 and 1,000, ok.", ["3.14", "and", "1,000", ",", "ok", "."]),
        ("u.s. army", ["u.s.", "army"]),
        ('(npc) "x" 5% a&b?!', ["(", "npc", ")", '"', "x", '"', "5", "%", "a", "&", "b", "?", "!"]),
        ("a.b.c.日本", ["a.b.c", ".", "日", "本"]),
        ("1990—1991", ["1990", "—", "1991"]),
        ("wait... ", ["wait", "..."]),
        ("カナ한글", ["カナ한글"]),  # only U+4E00 to U+9FA5 stand alone
        ("  ", []),
    ],
)
def test_segments_by_hand(text, expected):
    assert segments(text) == expected


def bag_f1(said: list[str], gold: list[str]) -> float:
    """Precision and recall with every word of the prediction matched to an unused equal word of the answer."""
    if not said or not gold:
        return float(said == gold)
    left, hits = list(gold), 0
    for word in said:
        if word in left:
            left.remove(word)
            hits += 1
    if hits == 0:
        return 0.0
    precision, recall = hits / len(said), hits / len(gold)
    return 2 * precision * recall / (precision + recall)


ENGLISH = st.lists(st.sampled_from(["the", "A", "an", "sky", "sea", "Sea.", "is", "-", "an-the", "blue"]), max_size=7)


@settings(max_examples=80, deadline=None)
@given(ENGLISH, st.lists(ENGLISH, max_size=3))
def test_squad_equals_the_definition_counted_out(said, golds):
    def plain(words: list[str]) -> list[str]:
        kept = ["".join(c for c in word.lower() if c not in string.punctuation) for word in words]
        return [word for word in kept if word not in ("", "a", "an", "the")]

    told = [plain(gold) for gold in golds if plain(gold)] or [[]]
    exact, f1 = squad_score(" ".join(said), [" ".join(gold) for gold in golds])
    assert exact == float(plain(said) in told)
    assert f1 == pytest.approx(max(bag_f1(plain(said), gold) for gold in told))
    assert normalised(" ".join(said)).split() == plain(said)


@settings(max_examples=80, deadline=None)
@given(st.text("天地人ab ，-", max_size=9), st.lists(st.text("天地人ab ，-", max_size=9), min_size=1, max_size=3))
def test_cmrc_equals_the_longest_common_run_found_by_trying_all(said, golds):
    def cut(text: str) -> list[str]:
        return re.findall("[天地人]|[ab]+", re.sub("[，-]", "", text.strip()))

    def f1(said: list[str], gold: list[str]) -> float:
        runs = [said[i:j] for i in range(len(said)) for j in range(i + 1, len(said) + 1)]
        common = max(
            (len(run) for run in runs if any(gold[k : k + len(run)] == run for k in range(len(gold)))), default=0
        )
        return float(said == gold) if not said or not gold else 2 * common / (len(said) + len(gold))

    exact, score = cmrc_score(said, golds)
    assert exact == float(any(re.sub("[，-]", "", said.strip()) == re.sub("[，-]", "", g.strip()) for g in golds))
    assert score == pytest.approx(max(f1(cut(said), cut(gold)) for gold in golds))
