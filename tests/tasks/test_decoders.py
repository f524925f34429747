"""The cache against no cache, batches against one by one, windows against reading them anew."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import bart, gpt, next_scores, words

from sesame.data.batch import Rows
from sesame.data.text import examples_of, rows_of
from sesame.models.cache import Cache
from sesame.tasks.decoders import decoder_of, lay_out

VOCABULARY = words(30)
IDS = st.lists(st.integers(5, 29), min_size=1, max_size=7)


@settings(max_examples=12, deadline=None)
@given(prompts=st.lists(IDS, min_size=1, max_size=4), written=st.lists(st.integers(5, 29), max_size=5))
@torch.inference_mode()
def test_steps_of_a_batch_give_the_scores_of_each_text_read_whole(prompts, written) -> None:
    model = gpt(VOCABULARY)
    decoder = decoder_of(model)
    texts = [[VOCABULARY.cls, *ids] for ids in prompts]
    scores = decoder.start(texts, 8, False)
    for token in [*written, None]:
        for row, text in enumerate(texts):
            np.testing.assert_allclose(scores[row].numpy(), next_scores(model, text), atol=2e-4)
        if token is not None:
            scores = decoder.step(torch.full((len(texts),), token))
            texts = [[*text, token] for text in texts]


@torch.inference_mode()
def test_rows_that_are_taken_go_on_from_what_they_had_read() -> None:
    model = gpt(VOCABULARY)
    decoder = decoder_of(model)
    texts = [[2, 7, 8], [2, 9], [2, 10, 11, 12]]
    decoder.start(texts, 8, False)
    for chosen, tokens in (([2, 0, 0], [6, 7, 8]), ([1, 2], [9, 10])):
        decoder.take(torch.tensor(chosen))
        scores = decoder.step(torch.tensor(tokens))
        texts = [[*texts[i], token] for i, token in zip(chosen, tokens, strict=True)]
        for row, text in enumerate(texts):
            np.testing.assert_allclose(scores[row].numpy(), next_scores(model, text), atol=2e-4)


@torch.inference_mode()
def test_the_cache_holds_what_packed_rows_compute() -> None:
    """Texts packed into a row, against the same texts side by side in a cache and then one more token each."""
    model = gpt(VOCABULARY)
    texts = [[7, 8, 9, 10], [11, 12], [13, 14, 15]]
    batch, number = examples_of(texts, VOCABULARY, 24)
    assert len(batch.ids) == 1
    packed = model.objective.backbone(rows_of(batch)).last[0]
    decoder = decoder_of(model)
    decoder.start([[VOCABULARY.cls, *ids[:-1]] for ids in texts], 4, False)
    last = decoder.step(torch.tensor([ids[-1] for ids in texts]))
    for row, (n, ids) in enumerate(zip(number.tolist(), texts, strict=True)):
        at = np.flatnonzero((batch.example[0] == n) & (batch.position[0] == len(ids)))[0]
        wanted = packed[at] @ model.objective.backbone.embed.token.weight.T
        torch.testing.assert_close(last[row], wanted, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_where_the_context_is_full_the_newer_half_is_read_anew_whatever_the_other_rows_do() -> None:
    model = gpt(VOCABULARY, positions=8)
    texts = [[2, 7, 8, 9, 10], [2, 11]]
    decoder = decoder_of(model)
    scores = decoder.start(texts, 20, True)
    read = [list(text) for text in texts]
    for place in range(20):
        for row in range(2):
            np.testing.assert_allclose(scores[row].numpy(), _next(model, read[row]), atol=2e-4)
        tokens = torch.tensor([5 + place, 6 + place])
        scores = decoder.step(tokens)
        for row, token in enumerate(tokens.tolist()):
            read[row].append(token)
            if len(read[row]) > 8:
                read[row] = read[row][-4:]


def _next(model, ids: list[int]) -> np.ndarray:
    """As `next_scores`, of ids that need not begin with [CLS]."""
    x = torch.tensor([ids])
    rows = Rows(x, torch.arange(len(ids))[None], torch.zeros_like(x), torch.zeros_like(x), alone=True)
    h = model.objective.backbone(rows).last[0, -1]
    return (model.objective.backbone.embed.token.weight @ h).numpy()


@torch.inference_mode()
def test_an_encoder_decoder_steps_as_it_reads_whole_answers() -> None:
    model = bart(VOCABULARY)
    backbone = model.objective.backbone
    sources = [[2, 7, 8, 9, 3], [2, 10, 3], [2, 11, 12, 3]]
    decoder = decoder_of(model)
    scores = decoder.start(sources, 8, False)
    answers = [[VOCABULARY.sep] for _ in sources]
    for tokens in ([7, 8, 9], [10, 11, 12], [13, 14, 15]):
        for row, (source, answer) in enumerate(zip(sources, answers, strict=True)):
            h = backbone((_alone(source), _alone(answer))).last[0, -1]
            torch.testing.assert_close(scores[row], backbone.encoder.embed.token.weight @ h, atol=2e-4, rtol=1e-4)
        taken = torch.tensor([1, 0, 2])
        decoder.take(taken)
        sources, answers = ([x[i] for i in taken] for x in (sources, answers))
        scores = decoder.step(torch.tensor(tokens))
        answers = [[*answer, token] for answer, token in zip(answers, tokens, strict=True)]


def _alone(ids: list[int]) -> Rows:
    x = torch.tensor([ids])
    return Rows(x, torch.arange(len(ids))[None], torch.zeros_like(x), torch.zeros_like(x), alone=True)


@torch.inference_mode()
def test_the_keys_of_an_encoder_are_computed_once() -> None:
    model = bart(VOCABULARY)
    calls = []
    for block in model.objective.backbone.decoder.blocks:
        block.cross.kv.register_forward_hook(lambda *_: calls.append(1))
    decoder = decoder_of(model)
    decoder.start([[2, 7, 3]], 8, False)
    for token in (7, 8, 9):
        decoder.step(torch.tensor([token]))
    assert len(calls) == 2  # one a layer


@torch.inference_mode()
def test_a_cache_is_as_large_as_was_asked_for() -> None:
    model = gpt(VOCABULARY)
    cache = Cache(2, 9)
    model.objective.backbone(_alone([2, 7, 8]), cache=cache)
    assert cache.length == 3
    assert {tuple(kept.key.shape) for kept in cache.layers} == {(1, 4, 9, 8)}


@pytest.mark.parametrize("make", [gpt, bart])
def test_another_storage_order_changes_no_number(make) -> None:
    model = make(VOCABULARY)
    before = {name: p.detach().clone() for name, p in model.objective.named_parameters()}
    lay_out(model.objective)
    after = dict(model.objective.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert after[next(n for n in after if n.endswith("qkv.weight"))].stride(0) == 1
