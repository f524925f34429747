"""Answers without a network: the best constant rule, and spans that a few words give away."""

import random

import numpy as np
import pytest

from sesame import config
from sesame.tasks.span_lexical import CONSTANTS, SpanFeatures, Text, best_constant, first_words
from sesame.tasks.span_qa import SpanQA
from sesame.tasks.squad import Question

NAMES = ["Ada", "Alan", "Grace", "Edsger", "Barbara", "Donald"]
PLACES = ["London", "Paris", "New York", "Rotterdam", "Los Angeles", "Berlin"]


def made(count: int, seed: int, impossible: float = 0.0) -> list[Question]:
    """Each sentence tells of one person: where born, and when."""
    chance = random.Random(seed)
    questions = []
    for number in range(count):
        people = chance.sample(NAMES, 4)
        facts = {name: (chance.choice(PLACES), str(chance.randint(1800, 1999))) for name in people[:3]}
        text = " ".join(f"{name} was born in {place} in the year {year}." for name, (place, year) in facts.items())
        none = chance.random() < impossible
        name = people[3] if none else chance.choice(people[:3])
        what = chance.randint(0, 1)
        asked = f"{['Where', 'When'][what]} was {name} born?"
        if none:
            questions.append(Question(str(number), "here", asked, text, impossible=True))
            continue
        start = text.index(facts[name][what], text.index(f"{name} was"))
        questions.append(Question(str(number), "here", asked, text, (facts[name][what],), (start,)))
    return questions


def exact(train: list[Question], test: list[Question]) -> float:
    task = SpanQA(config.SpanQA())
    return task.metrics(test, task.lexical(train, test))["exact"]


def test_facts_that_words_give_away_are_found():
    assert exact(made(120, 0), made(60, 1)) > 0.9


def test_questions_about_nobody_in_the_text_are_left_unanswered():
    task = SpanQA(config.SpanQA(), ("no answer",))
    train, test = made(150, 0, impossible=0.4), made(80, 1, impossible=0.4)
    found = task.metrics(test, task.lexical(train, test))
    assert found["no_answer_exact"] > 0.7 and found["has_answer_exact"] > 0.7


def test_the_same_questions_give_the_same_answers():
    task = SpanQA(config.SpanQA())
    train, test = made(40, 0), made(20, 1)
    assert task.lexical(train, test) == task.lexical(train, test)


def test_a_text_without_a_word_is_answered_by_nothing():
    task = SpanQA(config.SpanQA())
    assert task.lexical(made(20, 0), [Question("1", "here", "Where?", "… !")])[0].text == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The price is low. Pay now.", "low. Pay"), ("The price is $ now.", "$"), ("Yes", "Yes"), ("$", "$")],
)
def test_where_no_answer_or_nothing_else_is_a_span_there_is_nothing_to_learn(text, answer):
    train = [Question(str(i), "here", "Which?", text, (answer,), (text.index(answer),)) for i in range(3)]
    (found,) = SpanQA(config.SpanQA()).lexical(train, train[:1])
    assert found.text in text


def test_majority_is_the_constant_that_scores_most_on_training():
    first = [
        Question(str(i), "here", "Who?", "Ada Lovelace, in 1843, wrote.", ("Ada Lovelace",), (0,)) for i in range(3)
    ]
    none = [Question(str(i), "here", "Who?", "Ada Lovelace wrote.", impossible=True) for i in range(4)]
    task = SpanQA(config.SpanQA(), ("no answer",))
    assert [answer.text for answer in task.majority(first, first[:1])] == ["Ada Lovelace"]
    assert [answer.text for answer in task.majority(first + none, first[:1])] == [""]

    def f1(count: int) -> float:
        return float(np.mean([task.score(q, first_words(q.context, count))[1] for q in made(30, 0)]))

    assert f1(best_constant(made(30, 0), task.score)) == max(map(f1, CONSTANTS))


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [("“Ada,” she said.", 2, "Ada,” she"), ("山水画 2020", 2, "山水"), ("one", 9, "one"), ("…", 3, ""), ("one", 0, "")],
)
def test_first_words(text, count, expected):
    assert first_words(text, count) == expected


def test_words_know_their_sentence_and_what_stands_beside_them():
    text = Text("Ada wrote (1843). 山水！And so on")
    assert text.words == ["ada", "wrote", "1843", "山", "水", "and", "so", "on"]
    assert text.sentences == [(0, 3), (3, 5), (5, 8)]
    assert text.shape.tolist() == [1, 0, 3, 0, 0, 1, 0, 0]
    assert text.gaps[2] != text.gaps[1] == text.gaps[7]  # a bracket, and no mark
    assert text.span_of(4, "wrote (1843)") == (1, 2)
    assert text.span_of(16, ". ") == (0, -1)


def test_candidates_are_all_short_spans_of_the_sentences_that_resemble_the_question_most():
    train = made(30, 0)
    features = SpanFeatures(train)
    text = Text("Nobody knew. Ada was born in Bonn. It rained. Alan sang. The year was long.")
    spans, categories, numbers = features("Where was Ada born?", text)
    assert len(spans) == len(categories) == len(numbers)
    ranked = features.ranked({"where", "was", "ada", "born"}, text)
    assert [(a, b) for a, b, _ in ranked] == [(2, 7), (11, 15), (0, 2)]
    expected = {(i, j) for a, b, _ in ranked for i in range(a, b) for j in range(i, min(i + features.longest, b))}
    assert set(map(tuple, spans.tolist())) == expected and len(spans) == len(expected)
    edges = np.cumsum((0, *features.sizes))
    assert (categories >= edges[:-1]).all() and (categories < edges[1:]).all()
