"""TF-IDF baselines: they learn what words tell, choose their strength by the metric, and never look at the test."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from sesame.tasks import lexical, metrics
from sesame.tasks.tables import TextExample


def examples(*texts):
    return [TextExample(str(i), "", *((text,) if isinstance(text, str) else text)) for i, text in enumerate(texts)]


def drawn(seed, count, words=12):
    """Texts of five words of a few, and whether "w0" is in them: random words beside one that tells."""
    rng = np.random.default_rng(seed)
    texts = [[f"w{k}" for k in rng.integers(1, words, 5)] for _ in range(count)]
    labels = ["yes" if k % 2 else "no" for k in range(count)]
    for text, label in zip(texts, labels, strict=True):
        text[int(rng.integers(5))] = "w0" if label == "yes" else text[0]
    return examples(*map(" ".join, texts)), labels


def test_the_most_frequent_label_and_its_share():
    assert lexical.most_frequent(["b", "a", "b"]) == ("b", 2 / 3)
    assert lexical.most_frequent(["b", "a"]) == ("a", 0.5)


def test_it_learns_the_word_that_tells_and_probabilities_are_those_of_the_label():
    train, labels = drawn(0, 120)
    test, gold = drawn(1, 60)
    found = lexical.classify(train, labels, test, metrics.accuracy)
    assert metrics.accuracy(gold, [label for label, _ in found]) > 0.95
    assert all(0.5 <= probability <= 1 for _, probability in found)


def test_it_is_scikit_learns_own_pipeline_at_the_chosen_strength(monkeypatch):
    monkeypatch.setattr(lexical, "INVERSE_STRENGTHS", (10.0,))
    monkeypatch.setattr(lexical, "STRENGTHS", (0.1,))
    (train, labels), (test, _) = drawn(0, 40), drawn(1, 10)
    values = [float(label == "yes") for label in labels]
    tfidf = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True)
    x = tfidf.fit_transform([e.text for e in train])
    z = tfidf.transform([e.text for e in test])
    probability = LogisticRegression(C=10.0, tol=1e-3, max_iter=1000).fit(x, labels).predict_proba(z)
    found = lexical.classify(train, labels, test, metrics.accuracy)
    np.testing.assert_allclose([p for _, p in found], probability.max(1), atol=1e-9)
    expected = Ridge(0.1).fit(x, values).predict(z)
    np.testing.assert_allclose(lexical.regress(train, values, test, metrics.pearson), expected, atol=1e-9)


def test_pairs_are_compared_feature_by_feature():
    pairs = examples(("a b", "b a"), ("a b", "c c"), ("c a .", "a b c"))
    features = lexical.Features(pairs)
    found = features(pairs).toarray()
    size = len(features.vectorizer.vocabulary_)
    a = features.vectorizer.transform([e.text for e in pairs]).toarray()
    b = features.vectorizer.transform([e.pair for e in pairs]).toarray()
    np.testing.assert_array_equal(found[:, : 2 * size], np.hstack([a, b]))
    np.testing.assert_allclose(found[:, 2 * size : 3 * size], abs(a - b))
    np.testing.assert_allclose(found[:, 3 * size : 4 * size], a * b)
    cosine = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found[:, -1], cosine)
    assert found.shape == (3, 4 * size + 1)


def test_whether_two_texts_match_can_be_learned_from_pairs_never_seen():
    def matches(seed, count):
        rng = np.random.default_rng(seed)
        texts = [[f"w{k}" for k in rng.choice(50, 6, replace=False)] for _ in range(count)]
        other = [text[::-1] if i % 2 else texts[i - 1] for i, text in enumerate(texts)]
        pairs = examples(*((" ".join(a), " ".join(b)) for a, b in zip(texts, other, strict=True)))
        return pairs, ["match" if i % 2 else "other" for i in range(count)]

    (train, labels), (test, gold) = matches(0, 100), matches(1, 50)
    found = lexical.classify(train, labels, test, metrics.accuracy)
    assert metrics.accuracy(gold, [label for label, _ in found]) > 0.95


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["The weights made the rope stretch.", "Who left?"], False),
        (["Die Donaudampfschifffahrtsgesellschaft legte gestern ab."], False),
        (["这间酒店环境和服务态度亦算不错", "房间空间太小, 但是价钱便宜，可以接受"], True),
        (["ภาษาไทยเขียนติดกันโดยไม่มีช่องว่างระหว่างคำ"], True),
        (["splitlines", "rpartition"], True),
    ],
)
def test_characters_are_counted_where_the_writing_separates_no_words(texts, expected):
    assert lexical.unspaced(texts) is expected
    grams = lexical.Features(examples(*texts)).vectorizer.get_feature_names_out()
    assert max(map(len, grams)) <= 3 if expected else max(map(len, grams)) > 3


def test_the_strength_is_chosen_by_the_metric_on_examples_that_were_not_fitted(monkeypatch):
    """A score that punishes certainty takes another strength than accuracy does, and sees each example once."""
    train, labels = drawn(0, 60)
    sizes = []

    def fewest_yes(gold, predicted):
        sizes.append(len(gold))
        return -float(np.mean(np.array(predicted) == "yes"))

    x, y = lexical.Features(train)(train), np.array(labels)
    y[:4] = "no"  # more "no": the stronger the regularisation, the fewer "yes"
    strengths = (1e-4, 1.0, 100.0)
    model = lambda c: LogisticRegression(C=c, max_iter=1000)  # noqa: E731
    assert lexical._best(model, strengths, x, y, lexical._stratified, fewest_yes) == 1e-4
    assert lexical._best(model, strengths, x, y, lexical._stratified, metrics.accuracy) > 1e-4
    assert sizes == [60] * 3


@pytest.mark.parametrize(
    "labels", [["a"], ["a", "a"], ["a", "b"], ["a", "a", "b"], ["a", "a", "b", "b", "c"], ["a", "a", "a", "b", "c"]]
)
def test_a_handful_of_examples_is_enough(labels, recwarn):
    train = examples(*(f"{label} word {i} here" for i, label in enumerate(labels)))
    found = lexical.classify(train, labels, train, metrics.matthews)
    assert {label for label, _ in found} <= set(labels)
    assert len(lexical.regress(train, [float(i) for i in range(len(labels))], train, metrics.pearson)) == len(labels)
    assert not recwarn.list


def test_the_same_examples_give_the_same_predictions(monkeypatch):
    monkeypatch.setattr(lexical, "TUNED_ON", 30)
    (train, labels), (test, _) = drawn(0, 50), drawn(1, 10)
    once, again = (lexical.classify(train, labels, test, metrics.macro_f1) for _ in range(2))
    assert once == again


def test_a_label_too_rare_to_be_drawn_is_no_matter(monkeypatch):
    """What the strength is chosen on has its own folds: they need not have every label, or more than one."""
    monkeypatch.setattr(lexical, "TUNED_ON", 30)
    train, _ = drawn(0, 90)
    for rare in (1, 2, 3):
        few = ["no"] * (90 - rare) + ["yes"] * rare
        assert len(lexical.classify(train, few, train[:4], metrics.accuracy)) == 4


def test_words_of_the_test_alone_have_no_feature():
    train, labels = drawn(0, 30)
    known = lexical.Features(train)
    assert known(examples("unheard of things")).nnz == 0
    assert len(lexical.classify(train, labels, examples("unheard"), metrics.accuracy)) == 1
