"""Fine-tuned models: saved, opened again, and put to work on files of the kind they were trained on."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sesame import config, models
from sesame.config import FineTune
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.layer_mix import LayerMix
from sesame.models.upstream import Upstream
from sesame.tasks.arms import HEAD_ALONE
from sesame.tasks.base import Notes, Task
from sesame.tasks.hearing import Ear, Listener
from sesame.tasks.network import Network, predict, readable
from sesame.tasks.opening import class_of
from sesame.tasks.writer import Writer

TASK, WEIGHTS, TOKENIZER = "task.json", "model.safetensors", "tokenizer"


class Card(Struct, frozen=True, kw_only=True):
    """What `task.json` holds: all that is needed to build the network and use it as it was used in training."""

    name: str
    task: config.Task
    labels: tuple[str, ...]
    backbone: config.Backbone
    length: int
    """Tokens a sequence may have."""
    settings: FineTune
    arm: str
    dev: dict[str, float]
    """Metrics on dev."""
    hears: config.SpeechData | None = None
    """Of a model on speech: how it hears."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model."""

    card: Card
    task: Task[Any, Any]
    network: Network
    vocabulary: Vocabulary | Ear | None
    """What it reads with; None of images."""

    def save(self, folder: Path) -> None:
        """Write task.json, the weights and the tokenizer; the folder appears complete or not at all."""
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        beside.mkdir(parents=True)
        try:
            (beside / TASK).write_bytes(msgspec.json.format(msgspec.json.encode(self.card), indent=2) + b"\n")
            weights = {key: value.cpu().contiguous() for key, value in self.network.state_dict().items()}
            save_file(weights, beside / WEIGHTS)
            if isinstance(self.vocabulary, Vocabulary):
                self.vocabulary.save(beside / TOKENIZER)
            beside.rename(folder)
        except SafetensorError as error:
            raise UserError(f"{folder}: the model cannot be written ({error}). Nothing was left there.") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def evaluate(self, file: Path | str, notes: Notes | None = None) -> tuple[int, dict[str, float]]:
        """How many labelled examples `file` has, and the metrics on them. `notes` is told what is skipped or cut."""
        notes = notes or Notes()
        examples = self.task.check(self.task.read(self.card.task, Path(file), notes), notes)
        examples, predictions = self._predict(examples, notes)
        return len(examples), self.task.metrics(examples, predictions)

    def predict(self, file: Path | str, out: Path | str, notes: Notes | None = None) -> int:
        """Write predictions for the examples of `file` to `out`, in the format they came in; returns how many."""
        notes = notes or Notes()
        examples = self.task.read(self.card.task, Path(file), notes, labelled=False)
        examples, predictions = self._predict(examples, notes)
        self.task.write(examples, predictions, Path(out))
        return len(examples)

    def _predict(self, examples: list[Any], notes: Notes) -> tuple[list[Any], list[Any]]:
        """The examples that can be read, and a prediction for each."""
        self.task.check_model(self.network.backbone, examples)
        sequences = self.task.encode(examples, self.vocabulary, self.card.length, notes)
        examples, sequences = readable(examples, sequences)
        pad = self.vocabulary.pad if self.vocabulary else 0
        return examples, predict(self.task, self.network, examples, sequences, pad)


def open_tuned(path: Path | str) -> Tuned:
    """A fine-tuned model: its folder, or a folder made by `sesame finetune` that holds a single one.

    Raises UserError where there is none, or several, or it is damaged.
    """
    folder = _folder_of(Path(path))
    try:
        card = msgspec.json.decode((folder / TASK).read_bytes(), type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / TASK} is damaged, or written by another version of sesame ({error}).") from None
    task = class_of(card.task)(card.task, card.labels)
    backbone: Any = models.build(card.backbone)
    if task.reads == "images":
        from sesame.tasks.images import ImageNetwork

        network: Network = ImageNetwork(backbone, task.head(backbone.width, card.settings.dropout))
    elif isinstance(backbone, EncoderDecoder):
        network = Writer(backbone)
    else:
        mixed = (card.settings.mix or card.arm in HEAD_ALONE) and card.arm != "raw"
        mix = LayerMix(backbone.depth) if mixed else None
        network = Network(backbone, task.head(backbone.width, card.settings.dropout), mix)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"{folder / WEIGHTS} cannot be read ({said}). Fine-tune again.") from None
    if card.hears:
        hears = Listener(card.hears, backbone) if isinstance(backbone, Upstream) else Ear(card.hears)
        return Tuned(card, task, network.eval(), hears)
    vocabulary = Vocabulary.open(folder / TOKENIZER) if task.reads == "text" else None
    return Tuned(card, task, network.eval(), vocabulary)


def _folder_of(path: Path) -> Path:
    if (path / TASK).is_file():
        return path
    found = sorted(file.parent for file in path.rglob(TASK)) if path.is_dir() else []
    if not found:
        raise UserError(f"{path} holds no fine-tuned model. Make one: sesame finetune RUN TASK --out DIR.")
    if len(found) > 1:
        raise UserError(f"{path} holds several models. Choose one of {', '.join(map(str, found))}.")
    return found[0]
