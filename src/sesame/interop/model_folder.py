"""Model folders in the layout of `transformers` (config.json, weights, tokenizer): open one, write one.

That library itself is not needed for either.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sesame import config, models, pretext
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.interop import bert
from sesame.interop.hub import locate
from sesame.interop.names import to_ours, to_theirs
from sesame.interop.tensors import read_json, read_tensors
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective
from sesame.pretext.bert import Bert

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A model that was opened: what it is, its weights under our names, its tokenizer."""

    folder: Path
    backbone: config.Transformer
    pretext: config.Bert
    """Weight 1 for every objective whose head the folder has; masked LM where it has none."""
    state: dict[str, Tensor]
    """Under the names of `Objective(backbone, pretext).state_dict()`; a pooler also where no pair head is."""
    vocabulary: Vocabulary
    left_out: tuple[str, ...]
    """Tensors of the folder that belong to other heads, such as a fine-tuned classifier."""

    def objective(self) -> Objective:
        """The model, ready; heads that the folder lacks are fresh, drawn from torch's generator."""
        backbone = models.build(self.backbone)
        objective = Objective(backbone, pretext.build(self.pretext, backbone, self.vocabulary))
        self.load_into(objective)
        return objective

    def load_into(self, objective: Objective) -> None:
        """Give `objective` these weights. Heads that this model lacks stay as they are, and it is said.

        Raises UserError when the backbones differ.
        """
        own = objective.state_dict()
        wrong = [k for k in own.keys() & self.state.keys() if own[k].shape != self.state[k].shape]
        wrong += [k for k in own.keys() ^ self.state.keys() if k.startswith("backbone.")]
        if wrong:
            raise UserError(
                f"{self.folder}: another architecture than the recipe's: {', '.join(sorted(wrong))} do not fit. "
                "Leave the recipe's backbone as the model has it."
            )
        fresh = sorted({".".join(k.split(".")[:2]) for k in own if k not in self.state})
        if fresh:
            log.warning("%s has no weights for %s: fresh ones are taken", self.folder, ", ".join(fresh))
        if unused := sorted(set(self.state) - set(own)):
            log.info("%s: %s not used by these pretext tasks", self.folder, ", ".join(unused))
        objective.load_state_dict({k: v for k, v in self.state.items() if k in own}, strict=False)


def open_model(model: str | Path) -> Published:
    """Open a BERT: a folder (safetensors, shards, `.bin`; any BERT of `transformers`, old names too) or a hub name.

    Raises UserError, tensor by tensor, when something is missing, has another shape, or has no place in a BERT.
    """
    folder = locate(str(model))
    path = folder / "config.json"
    published = read_json(path)
    family = published.get("model_type", "bert" if "type_vocab_size" in published else None)
    if family != "bert":
        raise UserError(f"{path}: model_type is {family!r}. The architectures that open here: bert.")
    backbone, pair = bert.own_config(published, path)
    vocabulary = Vocabulary.open(folder)
    if vocabulary.size > backbone.vocab:
        raise UserError(
            f"{folder}: the tokenizer has {vocabulary.size} tokens and the model only {backbone.vocab}. "
            "They do not belong together: fetch both from the same place."
        )
    found, left_out = bert.current_names(read_tensors(folder), folder)
    if left_out:
        log.warning("%s: left out, as they belong to another head: %s", folder, ", ".join(left_out))
    stems = {"masked_lm": "cls.predictions.", pair: "cls.seq_relationship.", "pooler": "bert.pooler."}
    heads = [head for head, stem in stems.items() if any(name.startswith(stem) for name in found)]
    if pair in heads and "pooler" not in heads:
        heads.append("pooler")  # a pair head reads the pooler: without it the folder is not whole
    mapped = to_ours(found, bert.names_of(backbone.layers, heads), _shapes(backbone, vocabulary))
    faults = {"missing": mapped.missing, "of another shape": mapped.misshapen, "unknown": mapped.unused}
    if any(faults.values()):
        said = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise UserError(f"{folder}: the tensors are not those of the BERT in its config.json ({said}). Fetch it again.")
    task = config.Bert(
        masked_lm=float("masked_lm" in heads or pair not in heads),
        next_sentence=float("next_sentence" in heads),
        sentence_order=float("sentence_order" in heads),
    )
    return Published(folder, backbone, task, mapped.state, vocabulary, tuple(left_out))


def save_model(
    objective: Objective, vocabulary: Vocabulary | None, folder: Path, state: Mapping[str, Tensor] | None = None
) -> bool:
    """Write `objective` as a folder that `transformers` opens; False, and nothing written, where it has no such model.

    `state` gives other weights than the objective's own (whole ones, of a sharded model). Raises UserError when
    `folder` exists and is not empty. It appears complete or not at all.
    """
    if obstacle(objective) is not None:
        return False
    assert isinstance(objective.backbone, Transformer) and vocabulary is not None
    state = objective.state_dict() if state is None else state
    heads = {key.split(".")[1] for key in state if key.startswith("pretext.")}
    pair = bert.pair_of(heads)
    if both := [head for head in bert.PAIR if head in heads and head != pair]:
        log.info("%s: `transformers` has room for one pair head: %s is not written", folder, ", ".join(both))
    backbone = objective.backbone.config
    names = bert.names_of(backbone.layers, heads - set(both))
    if not backbone.kinds:
        # `transformers` has no BERT without segment kinds; with a single one of zeros it computes the same.
        state = {**state, "backbone.embed.kind.weight": torch.zeros(1, backbone.width)}
    tensors = {k: v.detach().cpu().float() for k, v in to_theirs(state, names).items()}
    described = bert.published_config(backbone, heads, vocabulary.pad)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty. Nothing was written: choose another place.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    beside.mkdir(parents=True)
    try:
        (beside / "config.json").write_text(json.dumps(described, indent=2) + "\n")
        save_file(tensors, beside / "model.safetensors", metadata={"format": "pt"})
        vocabulary.save(beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def obstacle(objective: Objective) -> str | None:
    """Why `transformers` has no model like this one, or None when `save_model` can write it."""
    if isinstance(objective.backbone, Transformer) and isinstance(objective.pretext, Bert):
        return bert.obstacle(objective.backbone.config)
    return f"a {type(objective.backbone).__name__} trained by {type(objective.pretext).__name__} is no BERT"


def _shapes(backbone: config.Transformer, vocabulary: Vocabulary) -> dict[str, torch.Size]:
    """The shape of every tensor of such a BERT with all its heads, without allocating one."""
    with torch.device("meta"):
        network = models.build(backbone)
        task = pretext.build(config.Bert(masked_lm=1.0, next_sentence=1.0, sentence_order=1.0), network, vocabulary)
        return {name: tensor.shape for name, tensor in Objective(network, task).state_dict().items()}
