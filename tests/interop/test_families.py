"""RoBERTa, ALBERT, GPT-2, BART, T5: ours and those of `transformers` compute the same, written either way."""

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
import transformers
from families import KIN, SIZE, objective, ours, padded, texts, theirs
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file, save_file
from small_bert import shaken
from test_parity import opened_by_transformers, packed

from sesame import config, interop
from sesame.errors import UserError

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
NEAR = {"atol": 1e-4, "rtol": 1e-4}
WEIGHTS = "model.safetensors"
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
lengths = st.lists(st.tuples(st.integers(1, 15), st.integers(1, 15)), min_size=2, max_size=5)


@pytest.mark.parametrize("name", KIN)
@few
@given(data=st.data(), sizes=lengths, in_a_row=st.integers(1, 3), seed=st.integers(0, 99))
@torch.no_grad()
def test_what_sesame_writes_computes_the_same_in_transformers(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, sizes: list, in_a_row: int, seed: int
) -> None:
    kin = KIN[name]
    backbone = data.draw(kin.shapes)
    whole, folder = objective(kin, backbone, seed), tmp_path_factory.mktemp("written") / "model"
    assert interop.obstacle(whole, kin.vocabulary) is None
    assert interop.save_model(whole, kin.vocabulary, folder)
    model = opened_by_transformers(folder)
    assert type(model).__name__ == kin.architecture
    kinds = getattr(backbone, "kinds", 1)
    read, written = texts([a for a, _ in sizes], seed, kinds), texts([b for _, b in sizes], seed + 1)
    reference = theirs(model, read, written)
    both = isinstance(backbone, config.EncoderDecoder)
    for rows in {in_a_row, 1}:
        found = ours(whole, packed(read, rows), packed(written, rows) if both else None)
        torch.testing.assert_close(found, reference, **NEAR)

    again = interop.open_model(folder)
    assert (again.backbone, again.pretext) == (whole.backbone.config, kin.task)
    assert again.vocabulary.hash == kin.vocabulary.hash and again.left_out == ()
    state = whole.state_dict()
    assert again.state.keys() == state.keys() and all(torch.equal(again.state[n], state[n]) for n in state)
    says = json.loads((folder / "config.json").read_text())
    assert says["pad_token_id"] == kin.vocabulary.pad
    if says["model_type"] in ("gpt2", "bart", "t5"):
        generation = transformers.GenerationConfig.from_pretrained(folder)
        assert (generation.eos_token_id, generation.pad_token_id) == (kin.vocabulary.sep, kin.vocabulary.pad)


@pytest.mark.parametrize("name", KIN)
@few
@given(data=st.data(), sizes=lengths, seed=st.integers(0, 99))
@torch.no_grad()
def test_what_transformers_writes_computes_the_same_in_sesame(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, sizes: list, seed: int
) -> None:
    kin, folder = KIN[name], tmp_path_factory.mktemp("published")
    backbone = data.draw(kin.shapes)
    model = shaken(kin.theirs(backbone), seed).eval()
    model.save_pretrained(folder)
    kin.vocabulary.save(folder)
    opened = interop.open_model(folder)
    read, written = texts([a for a, _ in sizes], seed, getattr(backbone, "kinds", 1)), texts([b for _, b in sizes], 1)
    both = isinstance(backbone, config.EncoderDecoder)
    found = ours(opened.objective().eval(), packed(read, 3), packed(written, 3) if both else None)
    torch.testing.assert_close(found, theirs(model, read, written), **NEAR)
    torch.testing.assert_close(found[0], padded(model, packed(read, 1), packed(written, 1)), **NEAR)


@pytest.mark.parametrize("name", KIN)
def test_a_folder_of_the_backbone_alone_opens_and_says_what_is_fresh(name: str, tmp_path: Path) -> None:
    """Published GPT-2s and encoders have no name of the family before their tensors'."""
    kin = KIN[name]
    model = shaken(kin.theirs(shape_of(name)), 0)
    bare = model if name.startswith("t5") else model.base_model
    bare.save_pretrained(tmp_path)
    kin.vocabulary.save(tmp_path)
    expected = tmp_path / "whole"
    model.save_pretrained(expected)
    kin.vocabulary.save(expected)
    one, other = interop.open_model(tmp_path).state, interop.open_model(expected).state
    backbone = [n for n in other if n.startswith("backbone.")]
    assert backbone and all(torch.equal(one[n], other[n]) for n in backbone)


def shape_of(name: str) -> config.Transformer | config.EncoderDecoder:
    """One of the shapes of a family."""
    found: list = []

    @settings(max_examples=1, deadline=None, database=None, derandomize=True)
    @given(backbone=KIN[name].shapes)
    def draw(backbone: object) -> None:
        found.append(backbone)

    draw()
    return found[0]


def folder_of(name: str, tmp_path: Path) -> Path:
    kin = KIN[name]
    assert interop.save_model(objective(kin, shape_of(name), 0), kin.vocabulary, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", KIN)
def test_a_tensor_lost_one_too_many_and_a_tokenizer_that_does_not_fit_are_said_by_name(
    name: str, tmp_path: Path
) -> None:
    folder = folder_of(name, tmp_path)
    tensors = load_file(folder / WEIGHTS)
    lost = next(n for n in sorted(tensors) if "norm" in n.lower() or "ln_" in n)
    stem = lost.split(".")[0]
    more = {f"{stem}.adapter": torch.zeros(2)} if not name.startswith("t5") else {"encoder.adapter": torch.zeros(2)}
    save_file({n: t for n, t in (tensors | more).items() if n != lost}, folder / WEIGHTS)
    with pytest.raises(UserError, match=f"missing: {lost}.*unknown: .*adapter"):
        interop.open_model(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 9}))
    with pytest.raises(UserError, match="tokens and the model only 9"):
        interop.open_model(folder)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is true"),
        ("gpt2", {"n_head": 3}, "no multiple of n_head 3"),
        ("bart", {"normalize_before": True}, "normalize_before is true"),
        ("t5", {"feed_forward_proj": "gated-silu"}, 'feed_forward_proj is "gated-silu"'),
        ("roberta", {"hidden_act": "relu"}, 'hidden_act is "relu"'),
        ("albert", {"num_hidden_groups": 99}, "num_hidden_groups is 99"),
        ("albert", {"model_type": "gpt2"}, "weights of another architecture"),
    ],
)
def test_what_sesame_cannot_compute_is_said_by_name(name: str, change: dict, said: str, tmp_path: Path) -> None:
    folder = folder_of(name, tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=said):
        interop.open_model(folder)


def test_a_bias_of_the_output_that_bart_never_trains_is_not_lost_in_silence(tmp_path: Path) -> None:
    folder = folder_of("bart", tmp_path)
    tensors = load_file(folder / WEIGHTS)
    assert not tensors["final_logits_bias"].any() and tensors["final_logits_bias"].shape == (1, SIZE)
    save_file(tensors | {"final_logits_bias": torch.ones(1, SIZE)}, folder / WEIGHTS)
    with pytest.raises(UserError, match="final_logits_bias is not zero"):
        interop.open_model(folder)
