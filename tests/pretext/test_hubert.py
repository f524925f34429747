"""HuBERT: labels are the nearest cluster's, stand where their frames stand, and survive a second iteration."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from chirps import write_chirps
from small_frames import BOTH_SIDES, objective

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.speech import SpeechSet, SpeechStream
from sesame.errors import UserError
from sesame.pretext.base import Teacher
from sesame.pretext.frame_spans import hidden_frames

TASK = config.Hubert(clusters=7, span=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SpeechSet:
    folder = write_chirps(tmp_path_factory.mktemp("chirps"))
    return SpeechSet(config.SpeechData(source=str(folder), mels=20, rows=8, length=20))


def frames_with_labels(data: SpeechSet, artifact: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    edges = artifact["offsets"]
    return [(data.features(u), artifact["labels"][edges[i] : edges[i + 1]]) for i, u in enumerate(data.utterances)]


def test_every_frame_has_the_label_of_the_nearest_cluster_mean(data: SpeechSet) -> None:
    found = frames_with_labels(data, objective(TASK).pretext.prepare(data))
    assert all(len(frames) == len(labels) for frames, labels in found)
    frames, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    assert set(labels.tolist()) == set(range(7))
    means = np.stack([frames[labels == k].mean(0) for k in range(7)])
    nearest = ((frames[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() > 0.9  # minibatch k-means is near a fixed point of Lloyd's


def test_labels_are_the_same_every_time(data: SpeechSet) -> None:
    first, second = (objective(TASK).pretext.prepare(data) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_the_loss_is_cross_entropy_at_hidden_frames_wherever_the_utterance_is_cut(data: SpeechSet) -> None:
    whole = objective(TASK)
    artifact = whole.pretext.prepare(data)
    whole.pretext.recall(artifact)
    label_of = {
        frame.tobytes(): int(label)
        for frames, labels in frames_with_labels(data, artifact)
        for frame, label in zip(frames, labels, strict=True)
    }
    given = next(SpeechStream(data, 3).train(Cursor(epoch=2), 0, 9, 1)).parts[0]
    split, hidden = whole.pretext.split(given), hidden_frames(given, TASK)
    x = torch.from_numpy(given.frames).clone()
    x[torch.from_numpy(hidden)] = whole.pretext.hidden.detach()
    rows = type(split.seen)(x, split.seen.position, split.seen.kind, split.seen.example)
    scores, total = whole.pretext.head(whole.backbone(rows).last), 0.0
    for row, time in np.argwhere(hidden).tolist():
        label = label_of[given.frames[row, time].tobytes()]
        total -= float(F.log_softmax(scores[row, time], -1)[label].detach())
    term = whole(split)["hubert"]
    assert term.count == hidden.sum() and float(term.sum.detach()) == pytest.approx(total, rel=1e-5)


def test_the_second_iteration_clusters_a_hidden_layer(data: SpeechSet) -> None:
    teacher = objective(config.Mockingjay())
    second = objective(config.Hubert(clusters=7, labels="a run", layer=1))
    first = objective(TASK).pretext.prepare(data)
    found = second.pretext.prepare(data, Teacher(teacher.backbone, data.config))
    assert (found["offsets"] == first["offsets"]).all() and (found["labels"] != first["labels"]).any()


@pytest.mark.parametrize(
    ("task", "heard", "message"),
    [
        (config.Hubert(clusters=7, layer=9), {}, "layers 0 to 2"),
        (config.Hubert(clusters=7), {"stack": 2, "mels": 10}, "--data.stack"),
    ],
)
def test_a_teacher_that_does_not_fit_is_named(
    data: SpeechSet, task: config.Hubert, heard: dict[str, int], message: str
) -> None:
    import msgspec

    theirs = msgspec.structs.replace(data.config, **heard)
    with pytest.raises(UserError, match=message):
        objective(task).pretext.prepare(data, Teacher(objective(config.Mockingjay(), BOTH_SIDES).backbone, theirs))


def test_a_teacher_that_hears_one_utterance_otherwise_is_named(tmp_path: Path) -> None:
    """One sample more than frames need is one frame more at half the rate, where soxr rounds up."""
    folder = write_chirps(tmp_path)
    soundfile.write(folder / "00.wav", np.zeros(4000), 16000)
    soundfile.write(folder / "zz.wav", np.zeros(400 + 20 * 160 - 1), 16000)
    data = SpeechSet(config.SpeechData(source=str(folder), mels=20))
    theirs = config.SpeechData(mels=20, sample_rate=8000)
    with pytest.raises(UserError, match=r"zz\.wav: .* hears 21 frames where this one hears 20\. .*--data\.sample-rate"):
        objective(TASK).pretext.prepare(data, Teacher(objective(config.Mockingjay()).backbone, theirs))


def test_fewer_clusters_than_frames_are_never_spread_over_an_utterance(data: SpeechSet) -> None:
    whole, given = objective(TASK).pretext, next(SpeechStream(data, 0).train(Cursor(), 0, 9, 1)).parts[0]
    whole.recall(whole.prepare(data))
    key = int(given.key[0])
    whole.labels[key] = whole.labels[key][: int(given.frames_in[0]) - 1]
    with pytest.raises(UserError, match="other frames"):
        whole.split(given)


def test_what_the_source_calls_test_has_no_part_in_the_clusters(data: SpeechSet, tmp_path: Path) -> None:
    folder = write_chirps(tmp_path)
    names = [path.name for path in sorted(folder.iterdir())]
    soundfile.write(folder / "zz.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)
    lines = [*(f"{name}\ttrain\n" for name in names), "zz.wav\ttest\n"]
    (folder / "list.tsv").write_text("".join(["path\tsplit\n", *lines]))
    more = SpeechSet(config.SpeechData(source=str(folder / "list.tsv"), mels=20, rows=8, length=20))
    without, found = (objective(TASK).pretext.prepare(d)["labels"] for d in (data, more))
    assert (found[: len(without)] == without).all() and len(found) > len(without)


def test_more_clusters_than_frames_are_refused(data: SpeechSet) -> None:
    with pytest.raises(UserError, match=r"--pretext\.clusters"):
        objective(config.Hubert(clusters=5000)).pretext.prepare(data)


def test_changed_data_are_named(data: SpeechSet) -> None:
    whole = objective(TASK)
    with pytest.raises(UserError, match="data changed"):
        whole.pretext.split(next(SpeechStream(data, 0).train(Cursor(), 0, 9, 1)).parts[0])
