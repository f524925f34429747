"""Beam search against all texts there are, and against transformers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import gpt, gpt2_of, next_scores, words

from sesame.config import Generate
from sesame.tasks.beam import beam_search
from sesame.tasks.decoders import decoder_of

TINY = words(7)  # five special tokens, of which [SEP] ends a text, and two words
END = TINY.sep


def search(model, prompts, how: Generate, limits=None):
    with torch.inference_mode():
        return beam_search(decoder_of(model), prompts, limits or [how.max_tokens] * len(prompts), how)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 999), penalty=st.sampled_from([0.0, 1.0, -0.5, 2.0]), limit=st.integers(1, 3))
def test_a_beam_as_wide_as_all_texts_finds_the_best_of_all(seed, penalty, limit) -> None:
    model, prompt = gpt(TINY, seed=seed), [TINY.cls, 5, 6]
    every = {}
    log_p: dict[tuple[int, ...], np.ndarray] = {}
    for size in range(1, limit + 1):
        for text in itertools.product(range(TINY.size), repeat=size):
            if END in text[:-1] or (size < limit and text[-1] != END):
                continue
            total = 0.0
            for place, token in enumerate(text):
                before = text[:place]
                if before not in log_p:
                    scores = torch.from_numpy(next_scores(model, [*prompt, *before])).double()
                    log_p[before] = scores.log_softmax(0).numpy()
                total += log_p[before][token]
            every[text] = (total / size**penalty, total)
    how = Generate(max_tokens=limit, beams=len(every), length_penalty=penalty)
    (found,) = search(model, [prompt], how)
    assert len(found) == len({beam.tokens for beam in found})
    best = max(every, key=lambda text: every[text][0])
    assert found[0].score == pytest.approx(every[best][0], abs=1e-4)
    for beam in found:
        assert (beam.score, beam.log_likelihood) == pytest.approx(every[beam.tokens], abs=1e-4)


@pytest.mark.parametrize(
    ("beams", "penalty", "repetition"), [(1, 1.0, 1.0), (3, 1.0, 1.0), (4, 0.0, 1.0), (4, 2.0, 1.3), (5, -1.0, 1.0)]
)
def test_beams_are_those_of_transformers(beams, penalty, repetition) -> None:
    vocabulary = words(12)
    model = gpt(vocabulary, positions=64, seed=1, init=0.15)
    with torch.no_grad():  # its texts end, some early
        model.objective.backbone.embed.token.weight[vocabulary.sep] += model.objective.backbone.norm.bias
    twin = gpt2_of(model)
    rng = np.random.default_rng(0)
    prompts = [[vocabulary.cls, *rng.integers(5, 12, size).tolist()] for size in (3, 9, 1, 6)]
    how = Generate(max_tokens=20, beams=beams, length_penalty=penalty, repetition_penalty=repetition)
    together = search(model, prompts, how)
    ended = False
    for prompt, found in zip(prompts, together, strict=True):
        ids = torch.tensor([prompt])
        theirs = twin.generate(
            ids, attention_mask=torch.ones_like(ids), num_beams=beams, num_return_sequences=beams, do_sample=False,
            length_penalty=penalty, repetition_penalty=repetition, max_new_tokens=20, return_dict_in_generate=True,
            output_scores=True,
        )  # fmt: skip
        for row, text in enumerate(theirs.sequences[:, len(prompt) :].tolist() if beams > 1 else []):
            mine = found[row]
            assert list(mine.tokens) == text[: len(mine.tokens)]
            assert set(text[len(mine.tokens) :]) <= {vocabulary.pad, vocabulary.sep}  # what it fills rows up with
            assert mine.score == pytest.approx(float(theirs.sequences_scores[row]), rel=1e-4)
            ended |= mine.tokens[-1] == vocabulary.sep
        if beams == 1:
            assert list(found[0].tokens) == theirs.sequences[0, len(prompt) :].tolist()[: len(found[0].tokens)]
    assert beams == 1 or ended  # texts that end before the limit are among them


def test_each_prompt_has_its_own_limit() -> None:
    model = gpt(TINY)
    alone = [search(model, [[2, 5]], Generate(max_tokens=n, beams=3))[0] for n in (2, 5)]
    together = search(model, [[2, 5], [2, 5]], Generate(max_tokens=5, beams=3), [2, 5])
    for one, other in zip(alone, together, strict=True):
        assert [beam.tokens for beam in one] == [beam.tokens for beam in other]
