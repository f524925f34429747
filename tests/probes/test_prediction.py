"""Many words at once, against one unpacked forward pass a word, and against `transformers`."""

from itertools import product
from math import prod

import numpy as np
import probed
import pytest
import readers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.errors import UserError
from sesame.probes import prediction
from sesame.probes.prediction import (
    GUESSES,
    Query,
    Reader,
    Word,
    answers,
    log_likelihoods,
    most_probable,
    predict,
    ranks,
)

ROOM = probed.LENGTH - 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=["bert", "gpt"])
def reader(request, data):
    return Reader.of(getattr(readers, request.param)(data))


@pytest.fixture(scope="module")
def masked(data):
    return Reader.of(readers.bert(data))


@st.composite
def words(draw) -> list[Word]:
    """Words of texts of any length that is read, several of some texts."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, ROOM))
        ids = np.random.default_rng(number).integers(5, 150, length)
        for _ in range(draw(st.integers(1, 2))):
            start = draw(st.integers(0, length - 1))
            found.append(Word(ids, start, draw(st.integers(start + 1, min(length, start + 4)))))
    return found


def by_hand(reader: Reader, word: Word, hidden: bool) -> torch.Tensor:
    """Scores at the word's places, from a pass of its own."""
    seen = word.ids.copy()
    if hidden and not reader.causal:
        seen[word.start : word.stop] = reader.vocabulary.mask
    return readers.alone(reader, seen)[word.start : word.stop]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=words(), hidden=st.booleans(), positions=st.sampled_from([30, 100, 1 << 13]))
def test_packed_words_are_predicted_as_if_each_had_a_forward_pass_of_its_own(
    reader, monkeypatch, asked, hidden, positions
):
    monkeypatch.setattr(prediction, "POSITIONS", positions)
    monkeypatch.setattr(prediction, "CHUNK", 40 * positions)
    with torch.no_grad():
        found = predict(reader, asked, hidden, shown=range(len(asked)))
    for number, word in enumerate(asked):
        scores = by_hand(reader, word, hidden)
        target = word.ids[word.start : word.stop]
        order = (-scores).argsort(dim=1, stable=True).tolist()
        assert found.rank[number] == max(row.index(token) + 1 for row, token in zip(order, target, strict=True))
        assert found.right[number] == (scores.argmax(1).tolist() == target.tolist())
        p = scores.softmax(1)[:1] if reader.causal else scores.softmax(1)
        token, probability = found.guesses[number][0]
        assert probability == pytest.approx(float(p.max(1).values.prod()), abs=1e-4)
        assert token == reader.vocabulary.decode(p.argmax(1).tolist())


def test_packed_scores_are_those_of_single_passes_the_long_ones_first(reader):
    rng = np.random.default_rng(0)
    queries = []
    for number, length in enumerate((1, ROOM, 7, 3, 22, 9)):
        ids = rng.integers(5, 150, length)
        at = rng.integers(0, length, 4)  # in any order, and twice
        queries.append(Query(ids, at, ids[at], np.full(4, number)))
    with torch.no_grad():
        found = list(answers(reader, iter(queries)))
    owner = np.concatenate([o for o, _, _ in found])
    scores = torch.cat([s for _, _, s in found])
    queries.sort(key=lambda query: -len(query.seen))
    expected = torch.cat([readers.alone(reader, q.seen)[torch.from_numpy(q.at)] for q in queries])
    assert owner.tolist() == np.repeat([1, 4, 5, 2, 3, 0], 4).tolist()
    assert torch.cat([t for _, t, _ in found]).tolist() == np.concatenate([q.target for q in queries]).tolist()
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def reference(masked, data, tmp_path_factory):
    """The same weights in `transformers`: probabilities of all tokens at every place of a text."""
    transformers = pytest.importorskip("transformers")
    from sesame.interop.model_folder import save_model

    folder = tmp_path_factory.mktemp("reference") / "model"
    assert save_model(readers.bert(data).objective, data.vocabulary, folder)
    network = transformers.BertForMaskedLM.from_pretrained(folder).eval()

    def log_p(ids) -> np.ndarray:
        v = masked.vocabulary
        with torch.no_grad():
            return network(torch.tensor([[v.cls, *ids, v.sep]])).logits[0, 1:-1].log_softmax(-1).numpy()

    return log_p


def test_mask_prediction_and_reconstruction_are_those_of_transformers(masked, reference):
    texts = masked.vocabulary.encode_batch(["the old man was seeing the house.", "paris", "she liked them again."])
    asked = [Word(ids := np.array(text), i, min(len(ids), i + 1 + i % 2)) for text in texts for i in range(len(text))]
    with torch.no_grad():
        hidden, plain = predict(masked, asked), predict(masked, asked, hidden=False)
    for number, word in enumerate(asked):
        here, target = slice(word.start, word.stop), word.ids[word.start : word.stop]
        seen = word.ids.copy()
        seen[here] = masked.vocabulary.mask
        assert hidden.right[number] == (reference(seen)[here].argmax(1) == target).all()
        assert plain.right[number] == (reference(word.ids)[here].argmax(1) == target).all()


def test_the_pseudo_likelihood_hides_a_token_and_what_follows_in_its_word(masked, reference):
    ids = np.array(masked.vocabulary.encode_batch(["the children walking"])[0])
    starts = np.array([0, 1, len(ids) - 2])
    expected = 0.0
    for token in range(len(ids)):
        end = min([s for s in [*starts, len(ids)] if s > token])
        seen = ids.copy()
        seen[token:end] = masked.vocabulary.mask
        expected += reference(seen)[token, ids[token]]
    with torch.no_grad():
        found = log_likelihoods(masked, [ids[:1], ids], [np.array([0]), starts])
        words_of_one = log_likelihoods(masked, [ids], [np.arange(len(ids))])
    assert found[1] == pytest.approx(expected, abs=1e-4)
    salazar = 0.0  # one mask at a time
    for token in range(len(ids)):
        seen = ids.copy()
        seen[token] = masked.vocabulary.mask
        salazar += reference(seen)[token, ids[token]]
    assert words_of_one[0] == pytest.approx(salazar, abs=1e-4)


def test_the_likelihood_of_a_causal_model_is_the_sum_over_its_tokens(data):
    reader = Reader.of(readers.gpt(data))
    texts = [np.random.default_rng(n).integers(5, 150, n) for n in (1, 5, ROOM)]
    with torch.no_grad():
        found = log_likelihoods(reader, texts, [np.arange(len(ids)) for ids in texts])
    for ids, said in zip(texts, found, strict=True):
        p = readers.alone(reader, ids).log_softmax(1)
        assert said == pytest.approx(float(p[torch.arange(len(ids)), torch.from_numpy(ids)].sum()), abs=1e-3)


def test_a_causal_model_does_not_see_what_comes_after(data):
    reader = Reader.of(readers.gpt(data))
    ids = np.random.default_rng(0).integers(5, 150, 12)
    other = np.append(ids[:6], (ids[6:] + 7) % 145 + 5)
    with torch.no_grad():
        one, two = predict(reader, [Word(ids, 4, 6)], shown=[0]), predict(reader, [Word(other, 4, 6)], shown=[0])
    assert one.rank == two.rank and dict(one.guesses[0]) == pytest.approx(dict(two.guesses[0]))


def test_of_equal_scores_the_smaller_token_is_first():
    scores = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    expected = {0: (4, 1), 1: (1, 2), 2: (2, 3), 3: (3, 4)}
    for token, of_each in expected.items():
        assert ranks(scores, torch.tensor([token, token])).tolist() == list(of_each)


def test_scores_that_are_no_numbers_make_nothing_right():
    nan = float("nan")
    assert ranks(torch.tensor([[nan, nan, nan], [nan, 1.0, 2.0]]), torch.tensor([0, 1])).tolist() == [3, 3]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_the_most_probable_sequences_are_the_best_of_all(places, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(7), places)
    every = sorted(product(range(7), repeat=places), key=lambda ids: -prod(p[i, t] for i, t in enumerate(ids)))
    top = [np.argsort(-row)[:GUESSES] for row in p]
    best = most_probable([([(int(t),) for t in of], p[i, of].tolist()) for i, of in enumerate(top)])
    assert [ids for ids, _ in best] == every[: len(best)] and len(best) == min(GUESSES, 7**places)
    assert best[0][1] == pytest.approx(p.max(1).prod())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_window_holds_the_word_and_as_much_of_the_text_as_is_read(reader, data):
    tokens = data.draw(st.integers(1, 80))
    start = data.draw(st.integers(0, tokens - 1))
    stop = data.draw(st.integers(start + 1, tokens))
    window = reader.window(start, stop, tokens)
    if stop - start > ROOM:
        assert window is None
        return
    assert 0 <= window.start <= start < stop <= window.stop <= tokens
    if reader.causal:  # what is on the right is not seen
        assert window.start == max(0, stop - ROOM)
    else:
        assert window.stop - window.start == min(tokens, ROOM)


def test_rows_of_the_embedding_that_are_no_token_are_never_a_guess(data):
    size = data.vocabulary.size
    model, words = readers.bert(data, vocab=size + 40), [Word(np.array([7, 8, 9]), 1, 2)]
    with torch.no_grad():
        before = predict(Reader.of(model), words, shown=[0])
        model.objective.pretext.masked_lm.bias[size:] = 100.0
        after = predict(Reader.of(model), words, shown=[0])
    assert after.rank == before.rank and after.guesses == before.guesses


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: probed.images()[0], "no Transformer over text"),
        (lambda data: readers._model(data, config.Bert(masked_lm=0.0, next_sentence=1.0), 0), "not trained to predict"),
    ],
)
def test_a_model_that_predicts_no_tokens_is_refused(data, make, message):
    with pytest.raises(UserError, match=message):
        Reader.of(make(data))
