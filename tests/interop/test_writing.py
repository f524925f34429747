"""What published models write, greedily and by beam search, is what they write in `transformers`; their settings."""

import json
import logging
from pathlib import Path

import pytest
import torch
import transformers
from families import KIN, objective
from small_bert import shaken
from test_families import shape_of
from transformers.generation import GenerateDecoderOnlyOutput

from sesame import interop
from sesame.config import Generate
from sesame.engine.build import Model, load
from sesame.engine.exchange import export_model, import_model
from sesame.errors import UserError
from sesame.interop import generation
from sesame.tasks.beam import beam_search
from sesame.tasks.decoders import CausalDecoder, decoder_of
from sesame.tasks.generate import settings_for
from sesame.tasks.sampling import filtered, penalised, seen_in

torch.set_num_threads(1)
WRITERS = ("gpt2", "bart", "t5", "t5 1.1")
LIMIT = 8


def published(name: str, folder: Path, seed: int = 0, **writes: object) -> transformers.PreTrainedModel:
    kin = KIN[name]
    model = shaken(kin.theirs(shape_of(name)), seed).eval()
    rows = kin.vocabulary.size  # an embedding has a few rows that are no token, which only `transformers` would write
    model.resize_token_embeddings(rows)
    with torch.no_grad():  # opinions that depend on what was read
        for weight in model.parameters():
            weight.mul_(4.0 if weight.ndim == 2 else 0.5)
    model.generation_config.update(**writes)
    model.save_pretrained(folder)
    kin.vocabulary.save(folder)
    return model


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("beams", "penalty", "repetition"), [(1, 1.0, 1.0), (3, 1.0, 1.0), (4, 2.0, 1.0), (3, -0.5, 1.0), (3, 1.0, 1.5)]
)
@torch.inference_mode()
def test_published_models_write_what_they_write_in_transformers(
    name: str, beams: int, penalty: float, repetition: float, tmp_path: Path
) -> None:
    theirs = published(name, tmp_path / "published", seed=1)
    model = load(tmp_path / "published")
    decoder, vocabulary = decoder_of(model), model.vocabulary
    assert vocabulary is not None
    words = [i for i in range(vocabulary.size) if i not in vocabulary.special_ids]
    first, last = ([vocabulary.cls], []) if isinstance(decoder, CausalDecoder) else (vocabulary.begin, [vocabulary.sep])
    prompts = [[*first, *(words[(7 * i + j) % len(words)] for j in range(n)), *last] for i, n in enumerate((4, 2, 7))]
    how = Generate(max_tokens=LIMIT, beams=beams, length_penalty=penalty, repetition_penalty=repetition)
    together = beam_search(decoder, prompts, [LIMIT] * len(prompts), how)
    varied = set()
    for prompt, found in zip(prompts, together, strict=True):
        ids = torch.tensor([prompt])
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), num_beams=beams, num_return_sequences=beams, do_sample=False,
            length_penalty=penalty, repetition_penalty=repetition, max_new_tokens=LIMIT,
            forced_eos_token_id=None, forced_bos_token_id=None, bos_token_id=vocabulary.sep,
            eos_token_id=vocabulary.sep, pad_token_id=vocabulary.pad, early_stopping=False,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        lead = len(prompt) if isinstance(decoder, CausalDecoder) else 1
        for row, text in enumerate(out.sequences[:, lead:].tolist()):
            mine = found[row]
            assert list(mine.tokens) == text[: len(mine.tokens)]
            assert set(text[len(mine.tokens) :]) <= {vocabulary.pad, vocabulary.sep}  # what it fills rows up with
            if beams > 1:
                assert mine.score == pytest.approx(float(out.sequences_scores[row]), rel=1e-4)
            varied.add(mine.tokens)
    assert len(varied) > 1


@pytest.mark.parametrize("name", WRITERS)
def test_a_decoder_begins_as_its_family_does(name: str, tmp_path: Path) -> None:
    """The token that `transformers` is told to begin with is the one that training and writing begin with here."""
    kin = KIN[name]
    assert interop.save_model(objective(kin, shape_of(name), 0), kin.vocabulary, tmp_path / "model")
    says = json.loads((tmp_path / "model" / "config.json").read_text())
    if name != "gpt2":
        assert says["decoder_start_token_id"] == kin.vocabulary.decoder_begin
    assert kin.vocabulary.decoder_begin == (kin.vocabulary.pad if name.startswith("t5") else kin.vocabulary.sep)
    assert kin.vocabulary.begin == (() if name.startswith("t5") else (kin.vocabulary.cls,))


def test_how_a_model_is_to_write_comes_with_it_and_goes_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published("bart", tmp_path / "model", num_beams=4, length_penalty=2.0, no_repeat_ngram_size=3, max_new_tokens=30)
    caplog.set_level(logging.WARNING)
    writes = load(tmp_path / "model").writes
    assert writes == Generate(beams=4, length_penalty=2.0, max_tokens=30)
    assert "no_repeat_ngram_size" in caplog.text and "num_beams" not in caplog.text

    import_model(tmp_path / "model", tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.writes == writes
    assert settings_for(model, max_tokens=7) == Generate(beams=4, length_penalty=2.0, max_tokens=7)
    assert settings_for(model, temperature=0.5).beams == 1
    export_model(tmp_path / "run", tmp_path / "again")
    config = transformers.GenerationConfig.from_pretrained(tmp_path / "again")
    assert (config.num_beams, config.length_penalty, config.no_repeat_ngram_size) == (4, 2.0, 3)
    assert config.eos_token_id == KIN["bart"].vocabulary.sep


@pytest.mark.parametrize(
    ("says", "writes"),
    [
        ({}, None),
        ({"eos_token_id": 2, "transformers_version": "4.31.0", "_from_model_config": True}, None),
        ({"do_sample": True}, Generate(temperature=1.0, top_k=50)),
        ({"do_sample": True, "top_k": 0, "top_p": 0.95}, Generate(temperature=1.0, top_p=0.95)),
        ({"do_sample": True, "temperature": 0.6, "min_p": 0.1}, Generate(temperature=0.6, top_k=50, min_p=0.1)),
        ({"do_sample": False, "top_p": 0.9, "min_p": 0.1}, Generate(temperature=0)),
        ({"repetition_penalty": 1.2}, Generate(repetition_penalty=1.2, temperature=0)),
        ({"temperature": 0.6, "top_p": 0.9}, Generate(temperature=0)),
        ({"num_beams": 5, "length_penalty": 2.0}, Generate(beams=5, length_penalty=2.0)),
    ],
)
@torch.inference_mode()
def test_settings_are_read_as_transformers_means_them(says: dict, writes: Generate | None, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    assert interop.settings_in(tmp_path) == writes
    if writes is None:
        return
    torch.manual_seed(0)
    shape = transformers.GPT2Config(
        vocab_size=99, n_embd=8, n_layer=1, n_head=1, initializer_range=0.5, bos_token_id=None, eos_token_id=None
    )
    theirs = transformers.GPT2LMHeadModel(shape).eval()
    theirs.generation_config = transformers.GenerationConfig.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 3, 5]])
    out = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, return_dict_in_generate=True, output_scores=True,
        output_logits=True,
    )  # fmt: skip
    assert isinstance(out, GenerateDecoderOnlyOutput) == (writes.beams == 1)
    if writes.beams > 1:
        assert len(out.scores[0]) == writes.beams
        return
    scores = penalised(out.logits[0], seen_in([ids[0].tolist()], 99, ids.device), writes.repetition_penalty)
    if writes.temperature:
        scores = filtered(scores, writes, writes.temperature)
    torch.testing.assert_close(out.scores[0], scores)
    assert writes.temperature or out.sequences[0, -1] == scores.argmax()


def test_drawing_within_beams_is_not_known_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    says = {"num_beams": 5, "do_sample": True, "temperature": 0.7}
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    assert interop.settings_in(tmp_path) == Generate(beams=5)
    assert "not known here: do_sample with num_beams" in caplog.text


@pytest.mark.parametrize(
    ("says", "named"),
    [
        ({"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "forced_eos_token_id": 2}, ""),
        ({"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}, ""),
        ({"decoder_start_token_id": 5, "eos_token_id": 2, "pad_token_id": 1}, "decoder_start_token_id"),
        ({"forced_bos_token_id": 0, "bos_token_id": 0, "eos_token_id": 2}, "forced_bos_token_id"),
        ({"forced_eos_token_id": 7, "eos_token_id": 2}, "forced_eos_token_id"),
        ({"eos_token_id": [2, 3]}, "eos_token_id"),
    ],
)
def test_ids_by_which_texts_would_begin_or_end_otherwise_are_said(
    says: dict, named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    assert interop.settings_in(tmp_path) is None
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [named] * bool(named)


def test_the_length_of_an_encoder_decoders_texts_is_that_of_what_it_writes(tmp_path: Path) -> None:
    says = {"max_length": 142, "num_beams": 4, "decoder_start_token_id": 2, "eos_token_id": 2}
    for more, most in (({}, 141), ({"max_new_tokens": 30}, 30)):
        (tmp_path / "generation_config.json").write_text(json.dumps(says | more))
        assert interop.settings_in(tmp_path) == Generate(beams=4, max_tokens=most)
    (tmp_path / "generation_config.json").write_text('{"max_length": 50, "num_beams": 4}')  # counts the prompt too
    assert interop.settings_in(tmp_path) == Generate(beams=4)


def test_ids_that_become_others_on_the_way_out_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    says = {"decoder_start_token_id": 0, "eos_token_id": 2, "forced_bos_token_id": 0}
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    written = json.loads(generation.merged(tmp_path, {"decoder_start_token_id": 2, "eos_token_id": 2}))
    assert written == says | {"decoder_start_token_id": 2}
    assert "decoder_start_token_id 0 (now 2)" in caplog.text and "eos" not in caplog.text


def test_what_is_asked_for_takes_away_what_it_contradicts() -> None:
    gpt2 = objective(KIN["gpt2"], shape_of("gpt2"), 0)

    def settings(own: Generate, **fields: object) -> Generate:
        return settings_for(Model(gpt2, None, None, 0, writes=own), **fields)

    drawing, likeliest = Generate(temperature=0.6, top_k=50, top_p=0.9), Generate(temperature=0, max_tokens=7)
    assert settings(drawing, temperature=0) == Generate(temperature=0)
    assert settings(drawing, beams=3) == Generate(beams=3)
    assert settings(likeliest, top_k=5) == Generate(top_k=5, max_tokens=7)
    assert settings(likeliest) == likeliest


def test_a_setting_that_cannot_be_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"num_beams": 0}')
    with pytest.raises(UserError, match=r"generation_config.json: .*beams"):
        interop.settings_in(tmp_path)
    assert interop.settings_in(tmp_path / "nowhere") is None
