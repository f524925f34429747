"""Published networks on sound: their hidden states are those of `transformers`, and heads read them as layers."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sesame import config
from sesame.data.batch import At, Rows
from sesame.errors import UserError
from sesame.models.upstream import Upstream, upstream_in
from sesame.tasks.hearing import Listener

transformers = pytest.importorskip("transformers")
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 8,
    "conv_dim": (8, 8, 8), "conv_stride": (5, 4, 4), "conv_kernel": (10, 4, 4), "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture(scope="module", params=["Wav2Vec2", "Hubert"])
def folder(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("upstream") / request.param
    torch.manual_seed(0)
    made = getattr(transformers, f"{request.param}Model")(getattr(transformers, f"{request.param}Config")(**SMALL))
    made.save_pretrained(path)
    return path


def opened(folder: Path) -> Upstream:
    found = upstream_in(folder)
    assert found is not None and (found.layers, found.width) == (2, 16)
    return Upstream(found)


def test_what_is_heard_are_the_hidden_states_of_the_reference(folder: Path) -> None:
    sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32) * 0.1 + 0.3
    network = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with torch.inference_mode():
        values = extractor(sound, sampling_rate=16000, return_tensors="pt").input_values
        expected = network(values, output_hidden_states=True).hidden_states
    ours = opened(folder).hear(sound)
    assert len(expected) == 3
    np.testing.assert_allclose(ours, torch.cat(expected, -1)[0].numpy(), atol=1e-5)


def test_a_folder_that_wants_sound_as_it_is_gets_it(folder: Path, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    plain = tmp_path / "plain"
    transformers.AutoModel.from_pretrained(folder).save_pretrained(plain)
    (plain / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    network = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(3 * sound)[None], output_hidden_states=True).hidden_states
    np.testing.assert_allclose(opened(plain).hear(3 * sound), torch.cat(expected, -1)[0].numpy(), atol=1e-4)


def test_frames_are_as_many_and_as_far_apart_as_the_convolutions_say(folder: Path) -> None:
    upstream = opened(folder)
    assert upstream.hop == 80 and upstream.window == 10 + 5 * (4 - 1) + 20 * (4 - 1)
    for samples in (85, 164, 165, 4000):
        heard = upstream.hear(np.random.default_rng(0).standard_normal(samples).astype(np.float32))
        assert len(heard) == 1 + (samples - upstream.window) // upstream.hop
    assert len(upstream.hear(np.zeros(20, np.float32))) == 0


def test_heads_read_the_states_as_layers(folder: Path) -> None:
    upstream, x = opened(folder), torch.randn(2, 5, 48)
    nothing = torch.zeros(2, 5, dtype=torch.int64)
    rows, where = Rows(x, nothing, nothing, nothing), np.random.default_rng(0).random((2, 5)) < 0.5
    states = upstream(rows, layers=True)
    assert torch.equal(torch.cat(states.layers, -1), x) and len(states.layers) == upstream.depth == 3
    assert torch.equal(upstream(rows, At.of(where)).last, x[..., 32:][torch.from_numpy(where)])


def test_where_only_statistics_are_read_two_frames_hold_them(folder: Path) -> None:
    ear = Listener(config.SpeechData(), opened(folder))
    sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    whole = ear.heard(sound, None)
    np.testing.assert_allclose(ear.heard(sound, "mean"), whole.mean(0)[None], atol=1e-6)
    few = ear.heard(sound, "statistics")
    assert few.shape == (2, 48)
    np.testing.assert_allclose(few.mean(0), whole.mean(0), atol=1e-5)
    np.testing.assert_allclose(few.std(0), whole.std(0), atol=1e-5)


def test_it_travels_to_other_processes_without_its_weights(folder: Path) -> None:
    upstream = opened(folder)
    sound = np.ones(300, np.float32)
    before = upstream.hear(sound)
    again = pickle.loads(pickle.dumps(upstream))
    assert len(pickle.dumps(upstream)) < 20_000 and (again.hear(sound) == before).all()


def test_without_transformers_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="sesame-ssl\\[upstream\\]"):
        opened(folder).hear(np.zeros(4000, np.float32))


def test_other_folders_are_none_of_these(tmp_path: Path) -> None:
    assert upstream_in(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert upstream_in(tmp_path) is None


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "hubert", "num_hidden_layers": 2, "hidden_size": 16})
    )
    with pytest.raises(UserError, match="cannot be opened"):
        Upstream(config.Upstream(folder=str(tmp_path), layers=2, width=16)).hear(np.zeros(4000, np.float32))
