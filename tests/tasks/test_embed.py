"""Vectors of texts: packed or one by one, the same numbers; of every layer; nothing cut off."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import LENGTH, WORDS, make

from sesame.data.text import examples_of, rows_of
from sesame.errors import UserError
from sesame.tasks import embed as room
from sesame.tasks.embed import embed, embed_tokens

TEXTS = [
    "return the list.",
    "sorted",
    "every item in order and none if it is empty",
    "the value of a",
    "items, sorted.",
]


@pytest.mark.parametrize("layer", [0, 1, 2, -1, -3])
def test_the_mean_is_that_of_transformers_over_the_attention_mask(model, reference, layer):
    tokenizer, network = reference
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = network(**encoded, output_hidden_states=True).hidden_states[layer]
    mask = encoded.attention_mask[:, :, None]
    np.testing.assert_allclose(embed(model, TEXTS, layer), (states * mask).sum(1) / mask.sum(1), atol=1e-5)


def alone(model, ids: list[int]) -> np.ndarray:
    """All states of one text, by itself."""
    batch, _ = examples_of([ids], model.vocabulary, len(ids) + 2)
    with torch.no_grad():
        return model.objective.backbone(rows_of(batch)).last[0].numpy()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=40), min_size=1, max_size=30))
def test_texts_of_any_length_are_read_whole_and_independently_of_their_neighbours(texts):
    model = make()
    texts = [" ".join(words) for words in texts]
    pooled, tokens = embed(model, texts), embed_tokens(model, texts)
    for i, ids in enumerate(model.vocabulary.encode_batch(texts)):
        pieces = [ids[start : start + LENGTH - 2] for start in range(0, len(ids), LENGTH - 2)]
        states = [alone(model, piece) for piece in pieces]
        np.testing.assert_allclose(pooled[i], np.concatenate(states).mean(0), atol=1e-5)
        here = slice(tokens.offsets[i], tokens.offsets[i + 1])
        np.testing.assert_allclose(tokens.vectors[here], np.concatenate([s[1:-1] for s in states]), atol=1e-5)
        assert tokens.ids[here].tolist() == ids
    assert tokens.offsets[-1] == len(tokens.vectors)


def test_many_groups_give_what_one_group_gives(model, monkeypatch):
    texts = TEXTS * 20
    whole = embed(model, texts)
    monkeypatch.setattr(room, "ROWS", 1)
    np.testing.assert_allclose(embed(model, texts), whole, atol=1e-6)


def test_hardly_anything_is_computed_for_padding(monkeypatch):
    model = make(recipe=False, positions=128)
    widths = []
    forward = type(model.objective.backbone).forward
    monkeypatch.setattr(
        type(model.objective.backbone),
        "forward",
        lambda self, rows, *a, **k: (
            widths.append((rows.x.numel(), int(rows.valid.sum()))) or forward(self, rows, *a, **k)
        ),
    )
    embed(model, TEXTS * 100)
    positions, useful = np.sum(widths, 0)
    assert useful > 0.97 * positions


def test_an_empty_text_is_refused_by_number(model):
    for nothing in ("", " \t"):
        with pytest.raises(UserError, match="text 2 is empty"):
            embed(model, ["the list", nothing])


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_not_there_is_refused(model, layer):
    with pytest.raises(UserError, match=rf"no layer {layer}: tiny has 0 \(the embeddings\) to 2"):
        embed(model, TEXTS, layer)


def test_no_texts_give_no_vectors(model):
    assert embed(model, []).shape == (0, 32)
    assert embed_tokens(model, []).offsets.tolist() == [0]
