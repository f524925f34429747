"""Frames: what a speech model expects to hear next, and, where labels are given, what an utterance is.

Without a file, of APC (Chung et al. 2019): `error` is the mean absolute difference of the predicted frame to the true
one so many frames ahead (the group), on held-out utterances; `error_copy` that of repeating the frame heard last,
`error_mean` that of the mean frame. The light form asks for the frame that the model learns to predict, the full form
for all up to twice as far. 8,192 frames are heard, 65,536 in the full form.

With a file (--probe frames=LABELS.tsv; a table with the columns `path`, seen from the file's folder, and `label`, and
perhaps `split`, which says `test` of what is asked; else a fifth is, by content): `knn` and `linear` of the means over
an utterance's frames, as the probe neighbours has them, per layer in the full form; beside them `knn_log_mel` and
`linear_log_mel`, from the mean and spread of the log-mel bands before they are normalised, and `majority`. The light
form hears 500 utterances, the full form 20,000.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from sesame import config
from sesame.data import chance
from sesame.data.batch import SpeechBatch
from sesame.data.features import Features
from sesame.data.sound import read_sound
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.pretext.apc import Apc
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.held_out import POSITIONS, Part, example_means, held_out, layer_states, on_device, part_of
from sesame.probes.neighbours import Labelled, baseline, told
from sesame.probes.rows import fields
from sesame.tasks import tables
from sesame.tasks.base import Notes

READS = ("speech",)
LIGHT, FULL = 8192, 65_536
UTTERANCES, ALL_UTTERANCES = 500, 20_000
ASKED = 0.2


def unfit(source: str, pretext: str) -> str:
    """Without labels it is for APC alone; empty where nothing is wrong."""
    if source or pretext == "apc":
        return ""
    return "The probe frames asks what comes next, which only APC learns. Give it labels: frames=FILE."


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    return _labels(model, ask) if ask.source else _errors(model, ask)


# ------------------------------------------------------------------------------------- what comes next
def _errors(model: Model, ask: Ask) -> Iterator[Answer]:
    backbone, apc = model.objective.backbone, model.objective.pretext
    if not isinstance(apc, Apc):
        raise UserError(unfit("", ""))
    parts = held_out(model, ask, FULL if ask.full else LIGHT)
    mean = ask.once(("frames mean", ask.full), lambda: _mean_frame(parts))
    horizons = range(1, 2 * apc.config.ahead + 1) if ask.full else (apc.config.ahead,)
    total = {h: np.zeros(4) for h in horizons}  # error, error_copy, error_mean, frames
    for part in parts:
        rows = on_device(part.inputs, backbone)
        with torch.no_grad():
            predicted = apc.head(backbone(rows).last)
        heard = torch.zeros(rows.valid.shape, dtype=torch.bool)
        heard.view(-1)[part.at] = True
        for h in horizons:
            now = heard[:, :-h].to(rows.x.device) & rows.valid[:, h:]
            future = rows.x[:, h:][now].double()
            guesses = predicted[:, :-h][now], rows.x[:, :-h][now], mean.to(rows.x.device)
            total[h] += [*((guess - future).abs().sum().item() for guess in guesses), future.numel()]
    for h, (*errors, count) in total.items():
        for metric, error in zip(("error", "error_copy", "error_mean"), errors, strict=True):
            if count:
                yield Value(metric, error / count, int(count) // len(mean), f"{h} ahead")


def _mean_frame(parts: list[Part]) -> Float[torch.Tensor, " mel"]:
    """Of all frames that are heard."""
    return torch.cat([part.inputs.x.flatten(0, 1)[part.at] for part in parts]).double().mean(0)


# --------------------------------------------------------------------------------- what an utterance is
def _labels(model: Model, ask: Ask) -> Iterator[Answer]:
    parts, order, things, sound = ask.once(("frames labels", ask.source, ask.full), lambda: _utterances(model, ask))
    name = ("frames log-mel", ask.source, ask.full)
    yield from ask.once(name, lambda: list(baseline(sound, things, "log_mel")))
    layers: list[list[torch.Tensor]] = []
    for part in parts:
        states = layer_states(model, part)
        states = states if ask.full else states[-1:]
        layers = layers or [[] for _ in states]
        for means, z in zip(layers, states, strict=True):
            means.append(example_means(part, z.float()))
    features = [torch.cat(means).cpu().numpy()[order] for means in layers]
    yield from told(features[-1], things)
    for layer, of_layer in enumerate(features if ask.full else ()):
        yield from told(of_layer, things, layer)


def _utterances(
    model: Model, ask: Ask
) -> tuple[list[Part], np.ndarray, Labelled, Float[np.ndarray, "utterance feature"]]:
    """The labelled utterances: as parts, where each stands in these, their labels, and what their sound says by itself.

    Those that are learned from come first.
    """
    path = Path(ask.source)
    data = model.recipe.data if model.recipe else None
    if not isinstance(data, config.SpeechData):
        raise UserError("The probe frames hears what a run on speech hears, and this model is of none.")
    split = "split" in fields(path)
    columns = config.Table(text="path", pair="split" if split else "", label="label")
    examples = tables.read(columns, path, Notes())
    keys = np.array([_key(path.parent / example.text, example.where) for example in examples], np.uint64)
    away = np.array([example.pair == "test" for example in examples])
    if not split:
        away = chance.uniform("frames asked", keys) < ASKED
    most = ALL_UTTERANCES if ask.full else UTTERANCES
    chosen = np.argsort(chance.bits("frames", keys), kind="stable")[:most]
    chosen = np.concatenate([chosen[~away[chosen]], chosen[away[chosen]]])
    labels, known = [str(examples[i].label) for i in chosen], int((~away[chosen]).sum())
    if len(set(labels[:known])) < 2 or known == len(chosen):
        raise UserError(
            f"{path}: {known} utterances to learn from, with {len(set(labels[:known]))} labels, and "
            f"{len(chosen) - known} to ask about. At least two labels are needed, and something to ask."
        )
    features = Features(data)
    sounds: list[Float[np.ndarray, "_"]] = []
    for i in chosen.tolist():
        sound = read_sound(path.parent / examples[i].text, data.sample_rate)
        if features.frames_in(len(sound)) < 1:
            raise UserError(f"{examples[i].where}: {examples[i].text} is shorter than one frame. Leave it out.")
        sounds.append(sound)
    frames = features.raw(sounds)
    names, label = np.unique(labels, return_inverse=True)
    things = Labelled(label, tuple(str(name) for name in names), keys[chosen], known)
    spoken = np.stack([np.concatenate([f.mean(0), f.std(0)]) for f in frames])
    parts, order = _parts([f[: data.longest] for f in features.normalised(frames)])
    return parts, order, things, spoken


def _key(path: Path, where: str) -> int:
    try:
        return int.from_bytes(hashlib.blake2b(path.read_bytes(), digest_size=8).digest(), "little")
    except OSError as error:
        raise UserError(f"{where}: {path} cannot be read ({error.strerror or error}).") from None


def _parts(frames: list[Float[np.ndarray, "_ mel"]]) -> tuple[list[Part], np.ndarray]:
    """Utterances of about the same length together, and where each then stands."""
    order = np.argsort([len(f) for f in frames], kind="stable")
    parts: list[Part] = []
    group: list[int] = []
    for i in order.tolist():
        if group and (len(group) + 1) * len(frames[i]) > POSITIONS:
            parts.append(_part([frames[j] for j in group]))
            group = []
        group.append(i)
    return [*parts, _part([frames[j] for j in group])], np.argsort(order)


def _part(frames: list[Float[np.ndarray, "_ mel"]]) -> Part:
    sizes = np.array([len(f) for f in frames])
    padded = np.stack([np.pad(f, ((0, sizes.max() - len(f)), (0, 0))) for f in frames])
    return part_of(SpeechBatch(frames=padded, frames_in=sizes, key=np.zeros(len(frames), np.uint64), seed=0, epoch=0))
