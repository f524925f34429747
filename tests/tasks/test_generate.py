"""What is written: against transformers, for the same seed in any company, up to stop texts, piece by piece."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BartForConditionalGeneration
from writers import bart, gpt, gpt2_of, letters, words

from sesame import config
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.interop import save_model
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.bert import Bert
from sesame.tasks.decoders import decoder_of
from sesame.tasks.generate import generate
from sesame.tasks.streaming import Writing

WORDS = words(30)
PROMPTS = ["w1 w2", "w3", "w4 w5 w6 w7"]


@pytest.mark.parametrize("repetition", [1.0, 1.5])
def test_greedy_texts_are_those_of_transformers(repetition) -> None:
    model = gpt(WORDS, positions=64, seed=2)
    twin = gpt2_of(model)
    found = generate(model, PROMPTS, max_tokens=12, temperature=0, repetition_penalty=repetition)
    for prompt, text in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([[WORDS.cls, *WORDS.encode_batch([prompt])[0]]])
        theirs = twin.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, repetition_penalty=repetition, max_new_tokens=12
        )[0, ids.shape[1] :].tolist()
        assert text.tokens == len(theirs)
        assert text.text.split() == WORDS.decode(theirs, skip_special=True).split()
        assert text.finish == ("end" if theirs[-1] == WORDS.sep else "length")


def test_an_encoder_decoder_is_penalised_for_what_it_wrote_and_not_for_what_it_read(tmp_path) -> None:
    model = bart(WORDS, seed=3)
    assert save_model(model.objective, WORDS, tmp_path / "bart")
    twin = BartForConditionalGeneration.from_pretrained(tmp_path / "bart").eval()
    prompts = ["w1 w2", "w3 w16 w4 w12", "w16 w5 w19 w7"]  # with words of what is written
    found = generate(model, prompts, max_tokens=8, temperature=0, repetition_penalty=1.5)
    for prompt, text in zip(prompts, found, strict=True):
        ids = torch.tensor([[WORDS.cls, *WORDS.encode_batch([prompt])[0], WORDS.sep]])
        theirs = twin.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1, repetition_penalty=1.5,
            max_new_tokens=8, forced_eos_token_id=None,
        )[0, 1:].tolist()  # fmt: skip
        assert text.text.split() == WORDS.decode(theirs, skip_special=True).split()
    plain = generate(model, prompts, max_tokens=8, temperature=0)
    assert [text.text for text in found] != [text.text for text in plain]


def test_a_sample_is_the_same_in_any_company() -> None:
    model = gpt(WORDS)
    together = generate(model, [*PROMPTS, PROMPTS[0]], max_tokens=10, samples=3, top_k=8, seed=5)
    assert [(text.prompt, text.sample) for text in together] == [(p, s) for p in range(4) for s in range(3)]
    alone = [text for prompt in PROMPTS for text in generate(model, prompt, max_tokens=10, samples=2, top_k=8, seed=5)]
    same = [text for text in together if text.prompt < 3 and text.sample < 2]
    for one, other in zip(alone, same, strict=True):
        assert (one.text, one.finish) == (other.text, other.finish)
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-3)
    assert [t.text for t in together[:3]] == [t.text for t in together[9:]]
    assert len({t.text for t in together}) > 6
    others = generate(model, PROMPTS[0], max_tokens=10, samples=3, top_k=8, seed=6)
    assert [t.text for t in others] != [t.text for t in together[:3]]


def test_the_log_likelihood_is_that_of_the_tokens_that_were_written() -> None:
    model = gpt(WORDS)
    (text,) = generate(model, "w1", max_tokens=6, temperature=2.0, seed=1)
    prompt = [WORDS.cls, *WORDS.encode_batch(["w1"])[0]]
    written = WORDS.encode_batch([text.text], special=True)[0]
    if text.finish == "end":
        written = [*written, WORDS.sep]
    if len(written) != text.tokens:
        pytest.skip("a special token was written, which the text does not show")
    ids = torch.tensor([[*prompt, *written]])
    with torch.no_grad():
        log_p = gpt2_of(model)(ids).logits[0].double().log_softmax(-1)
    wanted = sum(float(log_p[len(prompt) - 1 + i, token]) for i, token in enumerate(written))
    assert text.log_likelihood == pytest.approx(wanted, abs=1e-3)


def test_beams_come_best_first_and_stop_texts_cut_them() -> None:
    model = gpt(WORDS)
    found = generate(model, "w1 w2", max_tokens=6, beams=4, samples=3)
    assert [text.sample for text in found] == [0, 1, 2]
    scores = [text.log_likelihood / text.tokens for text in found]
    assert scores == sorted(scores, reverse=True)
    word = found[0].text.split()[1]
    (cut,) = generate(model, "w1 w2", max_tokens=6, beams=4, stop=(word,))
    assert cut.finish == "stop"
    assert found[0].text.startswith(cut.text) and word not in cut.text


# ------------------------------------------------------------------------------------------ as it is written
TEXTS = st.text(st.sampled_from("abé漢😀 "), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, stop=st.lists(st.text(st.sampled_from("abé漢"), min_size=1, max_size=3), max_size=2))
def test_pieces_are_whole_characters_and_none_of_a_stop_text(text, stop) -> None:
    """Every byte is a token, so that characters and stop texts always lie across tokens."""
    vocabulary = letters()
    told: list[str] = []
    writing = Writing(vocabulary.decode, stop, told.append)
    ids = vocabulary.encode_batch([text])[0]
    assert len(ids) == len(text.encode())
    written = next((n for n, token in enumerate(ids, 1) if writing.add(token)), len(ids))
    said, stopped = writing.finished(ids[:written])
    ends = [n for n in range(1, len(text) + 1) if any(s in text[:n] for s in stop)]
    shown = text[: ends[0]] if ends else text  # nothing is written after the token that completes a stop text
    assert written == len(shown.encode())
    assert stopped == bool(ends)
    assert said == (shown[: min(shown.find(s) for s in stop if s in shown)] if ends else text)
    assert "".join(told) == said
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in told)


def test_bytes_that_are_no_character_are_told_at_the_end() -> None:
    vocabulary = letters()
    told: list[str] = []
    writing = Writing(vocabulary.decode, (), told.append)
    ids = vocabulary.encode_batch(["a😀"])[0][:3]
    for token in ids:
        writing.add(token)
    assert told == ["a"]
    assert writing.finished(ids) == ("a\N{REPLACEMENT CHARACTER}", False)


def test_what_is_told_is_what_is_given_back() -> None:
    model = gpt(letters(), seed=3)
    told: dict[tuple[int, int], str] = {}

    def tell(prompt: int, sample: int, piece: str) -> None:
        told[prompt, sample] = told.get((prompt, sample), "") + piece

    found = generate(model, ["ab", "é"], tell=tell, max_tokens=20, samples=2, stop=("q", "x"), temperature=1.5)
    for text in found:
        assert told.get((text.prompt, text.sample), "") == text.text
        assert "q" not in text.text and "x" not in text.text
    plain = generate(model, ["ab", "é"], max_tokens=20, samples=2, temperature=1.5)
    for one, other in zip(found, plain, strict=True):
        assert other.text.startswith(one.text)


# ---------------------------------------------------------------------------------------------- the context
def test_where_the_context_ends_writing_ends_or_goes_on_in_a_window(caplog) -> None:
    model = gpt(WORDS, positions=8, seed=4)
    how = {"max_tokens": 20, "top_k": 3, "samples": 2}
    with caplog.at_level(logging.WARNING, "sesame"):
        short = generate(model, "w1 w2", **how)
    assert {text.finish for text in short} <= {"context", "end"}
    assert max(text.tokens for text in short) == 8 - 3 + 1
    assert "--long window" in caplog.text
    long = generate(model, "w1 w2", long="window", **how)
    assert {text.finish for text in long} <= {"length", "end"}
    assert max(text.tokens for text in long) > 6
    for one, other in zip(short, long, strict=True):
        assert other.text.startswith(one.text)
    alone = generate(model, ["w1 w2", "w3 w4 w5 w6 w7"], long="window", max_tokens=20, top_k=3)
    assert alone[0].text == long[0].text  # whatever the other row reads anew, and when


def test_of_a_long_prompt_the_end_is_read_where_that_is_wanted(caplog) -> None:
    model, text = gpt(WORDS, positions=8), " ".join(f"w{i}" for i in range(10))
    with pytest.raises(UserError, match=r"11 tokens, and the model reads 8.*--long window"):
        generate(model, text)
    with caplog.at_level(logging.WARNING, "sesame"):
        found = generate(model, text, long="window", temperature=0, max_tokens=3)
    assert "11 tokens; 4 of them are read" in caplog.text
    assert found[0].tokens


# --------------------------------------------------------------------------------------- encoder-decoders
def test_an_encoder_decoder_answers_its_prompts() -> None:
    model = bart(WORDS, seed=1)
    greedy = generate(model, PROMPTS, max_tokens=6, temperature=0)
    alone = [generate(model, prompt, max_tokens=6, temperature=0)[0] for prompt in PROMPTS]
    assert [text.text for text in greedy] == [text.text for text in alone]
    beams = generate(model, PROMPTS, max_tokens=6, beams=3)
    one_by_one = [generate(model, prompt, max_tokens=6, beams=3)[0] for prompt in PROMPTS]
    assert [text.text for text in beams] == [text.text for text in one_by_one]
    assert WORDS.mask in decoder_of(model).encode(["w1 [MASK]"])[0]


# --------------------------------------------------------------------------------------------------- errors
def bert() -> Model:
    backbone = Transformer(config.Transformer(layers=1, width=8, heads=1, ffn=8, vocab=WORDS.size, positions=16))
    return Model(Objective(backbone, Bert(config.Bert(), backbone, WORDS)), WORDS, None, 0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"prompts": ""}, "the prompt is empty"),
        ({"prompts": ["w1", ""]}, "prompt 2 is empty"),
        ({"beams": 31}, "--beams 31: the vocabulary has 30 tokens"),
        ({"beams": 2, "top_k": 3}, "beam search draws nothing"),
        ({"beams": 2, "samples": 3}, "of 2 beams"),
        ({"temperature": 0, "top_p": 0.5}, "--temperature 0"),
        ({"temperature": 0, "samples": 2}, "the same text each time"),
        ({"stop": ("",)}, "empty stop text"),
        ({"top_q": 1}, r"no setting 'top_q'.*top_p|no setting 'top_q'.*top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_what_cannot_be_written_as_asked(how, said) -> None:
    with pytest.raises(UserError, match=said):
        generate(gpt(WORDS), **{"prompts": "w1", **how})


def test_a_masked_lm_does_not_write() -> None:
    with pytest.raises(UserError, match="was not trained to write"):
        generate(bert(), "w1")


def test_texts_say_what_they_are() -> None:
    (text,) = generate(gpt(WORDS), "w1", max_tokens=2)
    assert np.isfinite(text.log_likelihood)
    assert set(dataclasses.asdict(text)) == {"prompt", "sample", "text", "tokens", "log_likelihood", "finish"}
