"""What an arm is asked, once it is trained: the same questions, about the same held-out examples."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from jaxtyping import Float, Int

from sesame import config, pretext
from sesame.config import TextData
from sesame.data import open_data
from sesame.data.batch import Cursor
from sesame.data.sources import hash_of_files
from sesame.engine.build import Model
from sesame.engine.distributed import Team
from sesame.engine.hooks import losses
from sesame.engine.loader import ready
from sesame.engine.window import Window
from sesame.errors import UserError, nearest
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.pretext.base import Objective, Pretext, Split
from sesame.pretext.sentence_pairs import NEEDS
from sesame.studies.grid import FineTuned, HeldOut, Measurement
from sesame.tasks.arms import network_of
from sesame.tasks.base import Notes, TaskData
from sesame.tasks.finetune import encode, fine_tune
from sesame.tasks.opening import files_of, open_task

FIT_SEED = 0
"""The pairs that a head is fitted on are the same for all arms and seeds."""
STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
"""Of the logistic regression's regularisation (C); cross-validation on training text chooses."""


class Measured(NamedTuple):
    """What came of one measurement of one run."""

    value: float | None
    """None where the arm has nothing to answer with."""
    metric: str
    share: bool
    how: str = ""
    """In what way this arm was asked, where that may differ between arms."""


def measure(asked: Measurement, model: Model, data: config.Data, seed: int) -> Measured:
    """Ask a trained arm. `data` says how held-out examples are cut: the same for all arms. `seed` is the run's."""
    if isinstance(asked, FineTuned):
        return _fine_tuned(asked, model, seed)
    return _held_out(asked, model, data)


def check(asked: Measurement, model: Model, data: config.Data, arm: str) -> dict[str, int]:
    """Raise UserError, before anything is trained, where the arm could not be asked that. `model` may be untrained.

    Gives what was cut or left out of a labelled task, and how often.
    """
    if isinstance(asked, FineTuned):
        task = task_of(asked)
        notes = Notes(task.notes.skip, task.notes.counts.copy())  # each arm counts for itself
        encode(reader(model), replace(task, notes=notes))
        return dict(notes.counts)
    ours, theirs = type(asked.pretext).__name__, type(model.objective.pretext.config).__name__
    if ours != theirs:
        raise UserError(f"{asked.name}: the arm {arm} was trained as {theirs}, and cannot be asked as {ours}. "
                        "Leave the measurement or the arm out.")  # fmt: skip
    objective, _, missing = as_asked(asked, model)
    if missing and asked.term not in NEEDS:
        raise UserError(
            f"{asked.name}: the arm {arm} has no head for {asked.term} ({missing[0]} is missing). Only questions about "
            "sentence pairs can do without."
        )
    if asked.head == "fitted" and (asked.term not in NEEDS or asked.metric != "accuracy"):
        raise UserError(f"{asked.name}: a head is fitted for the accuracy of next_sentence or sentence_order alone.")
    found = _values(objective, data, 1)
    if not found:
        raise UserError(
            f"{asked.name}: the data hold nothing out to ask about. Add data, or prepare text with a larger --held-out."
        )
    if (name := f"{asked.term}.{asked.metric}") not in found:
        raise UserError(f"{asked.name}: there is no {name} of held-out examples.{nearest(name, found)}")
    return {}


# ------------------------------------------------------------------------------------------- held-out examples
def _held_out(asked: HeldOut, model: Model, data: config.Data) -> Measured:
    objective, how, missing = as_asked(asked, model)
    if asked.head == "fitted":
        return Measured(fitted(asked, objective, data), asked.metric, True)
    if missing:
        return Measured(None, asked.metric, True, "no head for pairs, and gives no answer")
    value = _values(objective, data, asked.rows)[f"{asked.term}.{asked.metric}"]
    return Measured(value, asked.metric, asked.metric == "accuracy", how)


def _values(objective: Objective, data: config.Data, rows: int) -> dict[str, float]:
    """Mean, accuracy and perplexity of every term of the loss on held-out rows; empty where nothing is held out."""
    window = Window()
    with torch.no_grad():
        for split in splits(objective.pretext, data, rows):
            window.add(objective(split.to(_device(objective))))
    return losses(window.read(Team())) if window.terms else {}


def as_asked(asked: HeldOut, model: Model) -> tuple[Objective, str, list[str]]:
    """The trained backbone under the pretext task that is asked, with the heads that the arm has; where its head for
    another question stands in, that in words; and the names of weights that the question needs and the arm has not."""
    own = model.objective
    with torch.random.fork_rng(devices=[]):
        made = pretext.build(asked.pretext, own.backbone, model.vocabulary)
    weight = next(own.parameters())
    made = made.to(weight.device, weight.dtype).eval()
    state, how = dict(own.pretext.state_dict()), ""
    if asked.term in NEEDS:
        (other,) = set(NEEDS) - {asked.term}
        if f"{asked.term}.weight" not in state and f"{other}.weight" in state:
            how = f"its head for {other.replace('_', ' ')} alone, which answered"
            state |= {f"{asked.term}.{part}": state[f"{other}.{part}"] for part in ("weight", "bias")}
    lacking = made.load_state_dict(state, strict=False).missing_keys
    others = {name for name in ("masked_lm", *NEEDS) if name != asked.term}
    others |= set() if asked.term in NEEDS else {"pooler"}
    return Objective(own.backbone, made).eval(), how, [name for name in lacking if name.split(".")[0] not in others]


def splits(task: Pretext, data: config.Data, rows: int) -> Iterator[Split]:
    """At most `rows` held-out rows as the task divides them; the same for every model on these data."""
    dtype = next(task.parameters(), torch.zeros(())).dtype
    for batch in task.stream(open_data(data), FIT_SEED).held_out(rows):
        yield ready(batch, task.split, dtype)


# ------------------------------------------------------------------------------------------- a head that is fitted
def fitted(asked: HeldOut, objective: Objective, data: config.Data) -> float:
    """The accuracy on held-out pairs of a logistic regression on [CLS] states, fitted on pairs of training text.

    The backbone is frozen; [CLS] is what the heads for sentence pairs read, too. The same fit for every arm.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = objective.pretext
    stream = task.stream(open_data(data), FIT_SEED)
    rows, batches = 0, []
    for step in stream.train(Cursor(), 0, 1, 1):
        batches += [ready(part, task.split, torch.float32) for part in step.parts]
        rows += sum(len(part.ids) for part in step.parts)
        if rows >= asked.fit_rows:
            break
    x, y = _first_states(objective, asked.term, iter(batches))
    if len(np.unique(y)) < 2 or np.bincount(y).min() < 5:
        raise UserError(f"{asked.name}: {len(y)} labelled pairs of training text are too few to fit a head on. "
                        "Add text, or raise fit_rows.")  # fmt: skip
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    head = GridSearchCV(regression, {"logisticregression__C": STRENGTHS}, cv=5).fit(x, y)
    x, y = _first_states(objective, asked.term, splits(task, data, asked.rows))
    if not len(y):
        raise UserError(f"{asked.name}: no held-out example is a pair. Prepare text with a larger --held-out.")
    return float(np.mean(head.predict(x) == y))


def _first_states(
    objective: Objective, term: str, found: Iterator[Split]
) -> tuple[Float[np.ndarray, "pair width"], Int[np.ndarray, " pair"]]:
    """The state at [CLS] of every labelled pair, and its label."""
    states, labels = [np.zeros((0, objective.backbone.width), np.float32)], [np.zeros(0, np.int64)]
    with torch.no_grad():
        for split in found:
            split = split.to(_device(objective))
            last = objective.backbone(split.seen, split.where).last[split.target["first_at"]]
            label = split.target[term].numpy(force=True)
            states.append(last.float().numpy(force=True)[label >= 0])
            labels.append(label[label >= 0])
    return np.concatenate(states), np.concatenate(labels)


def _device(objective: Objective) -> torch.device:
    return next(objective.parameters()).device


# ------------------------------------------------------------------------------------------- labelled tasks
def _fine_tuned(asked: FineTuned, model: Model, seed: int) -> Measured:
    """Arms with the same seed share the examples, their order and the start of the head."""
    data, model = task_of(asked), reader(model)
    encoded = encode(model, data)
    settings = msgspec.structs.replace(asked.settings, seed=seed)
    network = network_of("pretrained", model, data.task, seed, settings.dropout)
    found = fine_tune(network, encoded, settings).test(encoded)
    return Measured(found[data.task.metric], data.task.metric, True)


def reader(model: Model) -> Model:
    """What is fine-tuned: of an encoder-decoder, its encoder."""
    own = model.objective
    if isinstance(own.backbone, EncoderDecoder):
        return replace(model, objective=Objective(own.backbone.encoder, own.pretext))
    return model


def task_of(asked: FineTuned) -> TaskData[Any, Any]:
    """The task with its examples, read once in a process while its files hold the same."""
    return _opened(asked.task, asked.examples, files_in(asked))


def files_in(asked: Measurement) -> tuple[str, ...]:
    """The hash of what the files of a labelled task hold; none of one that has no files."""
    files = files_of(asked.task) if isinstance(asked, FineTuned) else []
    return (hash_of_files(files),) if files else ()


@lru_cache(maxsize=8)
def _opened(task: str, examples: int, files: tuple[str, ...]) -> TaskData[Any, Any]:
    found = open_task(task)
    return found.learned_from(examples) if examples else found


# ------------------------------------------------------------------------------------------- what all have in common
def common(data: list[config.Data], reference: config.Data) -> config.Data:
    """How held-out examples are cut: as the reference reads them, no longer than the shortest that an arm has read."""
    if not isinstance(reference, TextData):
        return reference
    longest = [d.longest for d in data if isinstance(d, TextData)]
    return msgspec.structs.replace(reference, length=min(longest), phases=(), short_rate=0.0, twin=None)
