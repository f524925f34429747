"""Filling in: the probabilities are the model's, of every mask at once, and no text is dropped in silence."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import LENGTH, PIECES, make

from sesame import config
from sesame.errors import UserError
from sesame.tasks.fill import fill, window


@pytest.mark.parametrize("text", ["return the [MASK] of the list.", "[MASK] the items [MASK] order, [MASK]"])
def test_the_guesses_are_those_of_transformers(model, reference, text):
    tokenizer, network = reference
    encoded = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = network(**encoded).logits[0, encoded.input_ids[0] == tokenizer.mask_token_id]
    probability, ids = logits.softmax(-1).topk(4)
    filled = fill(model, text, k=4)
    assert [[g.token for g in guesses] for guesses in filled.masks] == [tokenizer.convert_ids_to_tokens(i) for i in ids]
    np.testing.assert_allclose([[g.probability for g in m] for m in filled.masks], probability, atol=1e-5)


def test_the_probabilities_of_the_whole_vocabulary_add_up_to_one(model):
    (guesses,) = fill(model, "return [MASK]", k=len(PIECES)).masks
    assert sum(g.probability for g in guesses) == pytest.approx(1, abs=1e-5)
    assert sorted(g.token for g in guesses) == sorted(PIECES)


def test_the_text_is_given_back_with_the_best_guesses_in_it(model):
    filled = fill(model, "return the [MASK] of the [MASK].", k=2)
    first, second = (guesses[0].token for guesses in filled.masks)
    ids = model.vocabulary.encode_batch([f"return the {first} of the {second}."], special=True)[0]
    assert filled.text == model.vocabulary.decode(ids)
    assert (filled.tokens, filled.read) == (7, (0, 7))


def test_a_mask_may_have_the_name_that_the_vocabulary_gives_it():
    from sesame.data.tokenizer import train
    from sesame.engine.build import Model

    vocabulary = train("bytes", list, 261)
    made = make(vocab=vocabulary.size)
    in_bytes = Model(made.objective, vocabulary, made.recipe, 0)
    assert fill(in_bytes, "or [MASK]").masks == fill(in_bytes, "or <mask>").masks


def test_of_a_long_text_the_surroundings_of_the_mask_are_read_and_it_is_said(model, caplog):
    text = "sorted " * 20 + "[MASK]" + " empty" * 30
    with caplog.at_level(logging.WARNING):
        filled = fill(model, text)
    room = LENGTH - 2
    assert filled.tokens == 51
    assert filled.read == (13, 13 + room)
    assert "51 tokens" in caplog.text
    assert filled.masks == fill(model, "sorted " * 7 + "[MASK]" + " empty" * 6).masks


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_window_has_every_mask_and_no_empty_place(data):
    tokens = data.draw(st.integers(1, 60))
    room = data.draw(st.integers(1, 40))
    masked = np.array(sorted(data.draw(st.sets(st.integers(0, tokens - 1), min_size=1, max_size=4))))
    if masked[-1] - masked[0] >= room:
        with pytest.raises(UserError, match="tokens apart"):
            window(masked, tokens, room)
        return
    start, stop = window(masked, tokens, room)
    assert 0 <= start <= masked[0]
    assert masked[-1] < stop <= tokens
    assert stop - start == min(room, tokens)


def test_a_published_model_reads_as_far_as_its_positions_go():
    text = "sorted " * 30 + "[MASK]"
    assert fill(make(recipe=False), text).read == (0, 31)


@pytest.mark.parametrize(
    ("text", "k", "message"),
    [
        ("return the list", 5, r"no \[MASK\] in the text 'return the list'"),
        ("", 5, r"no \[MASK\]"),
        ("[MASK]", 0, "0 guesses"),
        ("[MASK]", len(PIECES) + 1, f"Ask for 1 to {len(PIECES)}"),
        ("[MASK] " + "the " * 20 + "[MASK]", 5, "22 tokens apart"),
    ],
)
def test_what_cannot_be_filled_is_said(model, text, k, message):
    with pytest.raises(UserError, match=message):
        fill(model, text, k)


def test_a_model_that_never_learned_to_fill_is_refused():
    with pytest.raises(UserError, match="tiny was not trained by masked language modelling"):
        fill(make(config.Bert(masked_lm=0.0, next_sentence=1.0)), "[MASK]")
