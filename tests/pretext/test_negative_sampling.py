"""Negative sampling against double loops: the loss, its gradient, and whole steps of CBOW and skip-gram."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from small_store import random_documents, store_of

from sesame import config, models, pretext, recipes
from sesame.data.batch import Cursor
from sesame.data.text import TextSet
from sesame.engine.optim import Optimizer
from sesame.errors import UserError
from sesame.models.word_vectors import WordVectors
from sesame.pretext.base import Objective
from sesame.pretext.negative_sampling import Bags, Occurrences, negative_sampling

WIDTH = 6


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x)))


def made(tmp_path: Path, c: config.Pretext, dtype: torch.dtype = torch.float64):
    """An objective on a small store, and one batch, divided."""
    store = store_of(tmp_path / "store", random_documents(30), held_out=0.1)
    data = TextSet(store, config.TextData(length=32, rows=4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = models.build(config.WordVectors(width=WIDTH, vocab=store.vocabulary.size))
        task = pretext.build(c, backbone, store.vocabulary)
        torch.nn.init.normal_(task.guessed.weight, std=0.5)
    objective = Objective(backbone, task).to(dtype)
    stream = task.stream(data, seed=0)
    task.start(backbone, {})
    return objective, next(stream.train(Cursor(), 0, 10, 1)).parts[0]


def by_hand(objective: Objective, split, lr: float, most: int):
    """The loss of a step, its tables afterwards, and how often the true word is first: word by word, as word2vec does
    with weights that stand still within the step. A bag's words get the whole gradient of their mean. What is asked for
    more often than `most` counts `most` times."""
    read = objective.backbone.embed.token.weight.detach().numpy()
    guessed = objective.pretext.guessed.weight.detach().numpy()
    of_read, of_guessed = np.zeros_like(read), np.zeros_like(guessed)
    times_read, times_guessed = np.zeros(len(read)), np.zeros(len(read))
    bags, loss, hits = split.seen, 0.0, 0
    for i, (asked, kept) in enumerate(zip(split.target["asked"].tolist(), split.target["kept"].tolist(), strict=True)):
        words = bags.words[bags.bag == i].tolist()
        h = read[words].mean(0)
        error, scores = np.zeros(WIDTH), []
        for j, word in enumerate(asked):
            times_guessed[word] += 1
            if not kept[j]:
                assert j and word == asked[0]
                continue
            score, label = float(h @ guessed[word]), float(j == 0)
            scores.append(score)
            loss -= float(np.log(sigmoid(score if label else -score)))
            g = (label - sigmoid(score)) * lr
            error += g * guessed[word]
            of_guessed[word] += g * h
        for word in words:
            of_read[word] += error
            times_read[word] += 1
        hits += scores[0] > max(scores[1:], default=-np.inf)
    assert (times_guessed > most).any() and (times_guessed[5:] <= most).any()
    share = [np.minimum(1, most / np.maximum(times, 1))[:, None] for times in (times_read, times_guessed)]
    return loss, hits, read + share[0] * of_read, guessed + share[1] * of_guessed


@pytest.mark.parametrize("c", [config.Cbow(window=3, sample=0.02), config.SkipGram(window=2, negative=3)])
def test_a_step_is_that_of_a_loop_over_words(tmp_path: Path, monkeypatch, c: config.Pretext) -> None:
    monkeypatch.setattr("sesame.pretext.negative_sampling.MOST", 8)
    objective, batch = made(tmp_path, c)
    split = objective.pretext.split(batch)
    (term,) = objective(split).values()
    lr = 0.1
    loss, hits, read, guessed = by_hand(objective, split, lr, most=8)
    assert term.count == len(split.target["asked"]) > 40
    assert float(term.sum.detach()) == pytest.approx(loss, rel=1e-6)
    assert int(term.hits) == hits
    optimizer = Optimizer(objective, config.Optimizer(name="sgd", lr=lr, clip=0.0))
    term.sum.backward()
    assert objective.backbone.embed.token.weight.grad.is_sparse
    optimizer.clip()
    optimizer.step(1.0)
    np.testing.assert_allclose(objective.backbone.embed.token.weight.detach().numpy(), read, atol=1e-9)
    np.testing.assert_allclose(objective.pretext.guessed.weight.detach().numpy(), guessed, atol=1e-9)


def test_the_gradient_is_autograds_where_a_bag_has_one_word() -> None:
    torch.manual_seed(0)
    read, guessed = (torch.randn(9, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    words, asked = np.array([3, 3, 8]), np.array([[1, 2, 2], [4, 4, 0], [1, 3, 3]])
    kept = torch.from_numpy((asked != asked[:, :1]).astype(float))
    kept[:, 0] = 1.0
    bags = Bags.of(words, np.ones(3, np.int64), 9)
    total, _ = negative_sampling(read, guessed, bags, torch.from_numpy(asked), kept, Occurrences.of(asked.ravel(), 9))
    ours = torch.autograd.grad(3.0 * total, (read, guessed))
    score = (guessed[torch.from_numpy(asked)] * read[torch.from_numpy(words)][:, None]).sum(-1)
    sign = torch.tensor([1.0, -1.0, -1.0])
    plain = -3.0 * (torch.nn.functional.logsigmoid(sign * score) * kept).sum()
    for mine, theirs in zip(ours, torch.autograd.grad(plain, (read, guessed)), strict=True):
        torch.testing.assert_close(mine.to_dense(), theirs)


def test_a_table_of_many_rows_is_added_up_like_a_small_one() -> None:
    rows = np.random.default_rng(0).integers(0, 50, 200) + 70_000  # beyond two bytes
    vectors, weight = torch.randn(7, 3), torch.rand(200)
    source = torch.from_numpy(np.random.default_rng(1).integers(0, 7, 200))
    places = Occurrences.of(rows, 80_000)
    expected = torch.zeros(80_000, 3).index_add_(0, torch.from_numpy(rows), vectors[source] * weight[:, None])
    torch.testing.assert_close(places.gradient(vectors, source, weight), expected[places.row])
    assert places.row.tolist() == sorted(set(rows.tolist()))


def test_other_optimisers_and_clipping_see_the_same_gradient(tmp_path: Path) -> None:
    objective, batch = made(tmp_path, config.Cbow(window=2))
    split = objective.pretext.split(batch)
    weight = objective.backbone.embed.token.weight
    found = {}
    for name in ("sgd", "adamw"):
        sum(term.sum for term in objective(split).values()).backward()
        whole = torch.cat([p.grad.to_dense().flatten() for p in objective.parameters()])
        optimizer = Optimizer(objective, config.Optimizer(name=name, clip=0.25, lr=1e-9))
        found[name] = float(optimizer.clip())
        assert found[name] == pytest.approx(float(whole.norm()))
        clipped = torch.cat([p.grad.to_dense().flatten() for p in objective.parameters()])
        torch.testing.assert_close(clipped, whole * 0.25 / found[name], rtol=1e-5, atol=0)
        optimizer.step(1.0)
        assert weight.grad is None


def test_tokens_that_are_no_words_are_neither_read_nor_drawn_nor_moved(tmp_path: Path) -> None:
    objective, batch = made(tmp_path, config.Cbow())
    task = objective.pretext
    batch.ids[~batch.special & (batch.position % 3 == 0)] = 1  # [UNK]
    split = task.split(batch)
    words = torch.cat([split.seen.words, split.target["asked"].flatten()])
    assert not np.isin(words.numpy(), task.special).any()
    assert not objective.backbone.embed.token.weight[torch.from_numpy(task.special)].any()


def test_a_batch_in_which_no_word_has_a_neighbour_changes_nothing(tmp_path: Path) -> None:
    objective, batch = made(tmp_path, config.Cbow())
    objective.pretext.rate = 0 * objective.pretext.rate
    (term,) = objective(objective.pretext.split(batch)).values()
    term.sum.backward()
    assert term.count == 0 and float(term.sum.detach()) == 0
    assert not objective.backbone.embed.token.weight.grad.to_dense().any()


def test_what_cannot_be_trained_so_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", random_documents(9))
    data = TextSet(store, config.TextData(length=16))
    table = WordVectors(config.WordVectors(width=4, vocab=store.vocabulary.size))
    with pytest.raises(UserError, match="one process"):
        pretext.build(config.Cbow(), table, store.vocabulary).stream(data, 0, rank=0, world=2)
    network = models.build(config.Transformer(layers=1, width=8, heads=1, ffn=8, vocab=60))
    with pytest.raises(UserError, match="word vectors, not on a Transformer"):
        pretext.build(config.SkipGram(), network, store.vocabulary)
    unknown = store_of(tmp_path / "unknown", [[[1]]] * 9)
    unknown.ids = np.full(len(unknown.ids), unknown.vocabulary.unk)
    with pytest.raises(UserError, match="no word that the vocabulary knows"):
        pretext.build(config.Cbow(), table, store.vocabulary).stream(TextSet(unknown, data.config), 0)


def test_recipes_have_the_settings_of_the_code() -> None:
    for name, lr in (("cbow", 0.05), ("skip-gram", 0.025)):
        recipe = recipes.find(name)
        assert (recipe.optimizer.lr, recipe.optimizer.floor, recipe.optimizer.warmup) == (lr, 1e-4, 0.0)
        told = msgspec.to_builtins(recipe.pretext)
        assert {k: told[k] for k in ("window", "negative", "exponent", "sample")} == {
            "window": 5, "negative": 5, "exponent": 0.75, "sample": 1e-3,
        }  # fmt: skip
