"""What geometry is measured on: held-out positions, never padding, the same every time, whatever shares a row."""

from pathlib import Path

import msgspec
import numpy as np
import probed
import pytest
import torch

from sesame import config
from sesame.data.speech import SpeechSet
from sesame.data.text import examples_of, rows_of
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import Ask
from sesame.probes import held_out as room
from sesame.probes.held_out import example_means, held_out, layer_states
from sesame.probes.states import held_out_batches


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> tuple[Model, Ask]:
    torch.set_num_threads(1)
    return probed.text(tmp_path_factory.mktemp("text"))


def test_every_state_of_text_is_that_of_its_example_alone(text):
    """Padding, [CLS], [SEP] and the neighbours in the row are neither read nor counted."""
    model, ask = text
    parts = held_out(model, ask, 10**6)
    states = [torch.cat(layer) for layer in zip(*(layer_states(model, part) for part in parts), strict=True)]
    example = np.concatenate([part.example for part in parts])
    batches = held_out_batches(ask.data, 10**6)
    texts = [b.ids[(b.example == i) & ~b.special] for b in batches for i in range(len(b.key))]
    assert len(texts) == len(np.unique(example)) > 20
    for number, ids in [*enumerate(texts)][:: len(texts) // 10]:
        batch, _ = examples_of([ids], model.vocabulary, len(ids) + 2)
        with torch.no_grad():
            alone = model.objective.backbone(rows_of(batch), layers=True).layers
        for layer, h in enumerate(alone):
            have = states[layer][torch.from_numpy(example == number)]
            torch.testing.assert_close(have, h[0, 1:-1], atol=1e-5, rtol=1e-5)


def test_of_a_vit_the_class_token_is_measured_at_every_layer():
    model, ask = probed.images(backbone=config.ViT(layers=2, width=12, heads=2, ffn=24, patch=4))
    (part,) = held_out(model, ask, 5)
    layers = layer_states(model, part)
    with torch.no_grad():
        last = model.objective.backbone(part.inputs).last
    assert [tuple(h.shape) for h in layers] == [(5, 12)] * 3
    torch.testing.assert_close(layers[-1], last[part.at], atol=1e-5, rtol=1e-5)


def test_no_more_is_read_than_asked_for_and_only_once(text):
    model, ask = text
    for most in (1, 50, 400):
        parts = held_out(model, ask, most)
        assert sum(map(len, parts)) == most
        assert held_out(model, ask, most) is parts


def test_a_token_is_named_where_it_is_a_whole_word(text):
    model, ask = text
    parts = held_out(model, ask, 10**6)
    found = np.concatenate([part.token for part in parts])
    expected = []
    for batch in held_out_batches(ask.data, 10**6):
        for row in range(len(batch.ids)):
            for at in np.flatnonzero(~batch.special[row]):
                last = at + 1 == batch.ids.shape[1] or batch.special[row, at + 1] or batch.word[row, at + 1]
                expected.append(batch.ids[row, at] if batch.word[row, at] and last else -1)
    np.testing.assert_array_equal(found, expected)
    assert 0 < (found >= 0).sum() < len(found)


@pytest.mark.parametrize("positions", [1, 40])
def test_how_much_is_read_at_once_changes_nothing(text, monkeypatch, positions):
    model, ask = text
    whole = held_out(model, ask, 150)
    monkeypatch.setattr(room, "POSITIONS", positions)
    parts = held_out(model, Ask(data=ask.data), 150)
    for layer in range(3):
        a, b = (torch.cat([layer_states(model, part)[layer] for part in some]) for some in (whole, parts))
        torch.testing.assert_close(a, b)
    means = [torch.cat([example_means(p, layer_states(model, p)[2]) for p in some]) for some in (whole, parts)]
    torch.testing.assert_close(*means)


def test_an_encoder_decoder_is_measured_in_its_encoder(tmp_path: Path):
    model, ask = probed.text(tmp_path, config.Denoising())
    part = held_out(model, ask, 100)[0]
    encoder = model.objective.backbone.encoder
    with torch.no_grad():
        expected = encoder(part.inputs, layers=True).layers
    for have, h in zip(layer_states(model, part), expected, strict=True):
        assert torch.equal(have, h.flatten(0, 1)[part.at])


def test_sound_is_read_without_its_padding_and_images_whole(tmp_path: Path):
    model, ask = probed.speech(tmp_path)
    parts = held_out(model, ask, 10**6)
    stream = model.objective.pretext.stream(ask.data, 0)
    assert sum(map(len, parts)) == stream.frames[stream.away].sum()
    for part in parts:
        assert part.inputs.valid.flatten()[part.at].all()
    model, ask = probed.images()
    stream = model.objective.pretext.stream(ask.data, 0)
    parts = held_out(model, ask, 10**6)
    assert sum(map(len, parts)) == len(stream.away)
    with torch.no_grad():
        states = [layer_states(model, part)[-1] for part in parts]
        expected = [model.objective.backbone(part.inputs).last for part in parts]
    torch.testing.assert_close(torch.cat(states), torch.cat(expected))


def test_some_sound_is_not_the_shortest_of_it(tmp_path: Path):
    model, ask = probed.speech(tmp_path)
    data = SpeechSet(msgspec.structs.replace(ask.data.config, length=100))
    stream = model.objective.pretext.stream(data, 0)
    sizes = np.sort(stream.frames[stream.away[:3]])
    parts = held_out(model, Ask(data=data), int(sizes.sum()) - 1)
    heard = np.unique(np.concatenate([part.example for part in parts]), return_counts=True)[1]
    assert heard.tolist() == [*sizes[:2], sizes[2] - 1]
    assert sizes.sum() > np.sort(stream.frames[stream.away])[:3].sum()


def test_text_may_come_from_a_file_of_the_users(text, tmp_path: Path):
    model, _ = text
    file = tmp_path / "some.txt"
    file.write_text("t1 t2 t3\n\n" + " ".join(f"t{i % 40}" for i in range(60)), encoding="utf-8")
    parts = held_out(model, Ask(source=str(file)), 10**6)
    token = np.concatenate([part.token for part in parts])
    example = np.concatenate([part.example for part in parts])
    ids = model.vocabulary.encode_batch(["t1 t2 t3", " ".join(f"t{i % 40}" for i in range(60))])
    assert sorted(token.tolist()) == sorted([*ids[0], *ids[1]])
    assert np.bincount(example).max() == probed.LENGTH - 2  # cut where the model reads no further
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    with pytest.raises(UserError, match="no text"):
        held_out(model, Ask(source=str(empty)), 10)


def test_what_cannot_be_read_is_said(text):
    with pytest.raises(UserError, match="NAME=FILE"):
        held_out(text[0], Ask(), 10)
    model, ask = probed.images()
    with pytest.raises(UserError, match="Leave the file out"):
        held_out(model, Ask(source="labels.tsv", data=ask.data), 10)
