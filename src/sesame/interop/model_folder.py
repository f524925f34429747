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
from typing import Any

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor

from sesame import config, models, pretext
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.interop import generation
from sesame.interop.albert import Albert
from sesame.interop.bart import Bart
from sesame.interop.bert import PAIR, Bert
from sesame.interop.family import Backbone, Family
from sesame.interop.gpt2 import Gpt2
from sesame.interop.hub import locate
from sesame.interop.names import to_ours, to_theirs
from sesame.interop.roberta import Roberta
from sesame.interop.t5 import T5
from sesame.interop.tensors import read_json, read_tensors
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective

log = logging.getLogger(__name__)

FAMILIES: tuple[Family, ...] = (Roberta(), Bert(), Albert(), Gpt2(), Bart(), T5())
"""A model is written as the first of these that it is nearest to."""


@dataclass(frozen=True)
class Published:
    """A model that was opened: what it is, its weights under our names, its tokenizer."""

    folder: Path
    backbone: Backbone
    pretext: config.Pretext
    """Of BERT's kind weight 1 for every objective whose head the folder has, masked LM where it has none; of what
    writes text the task that its family was trained by."""
    state: dict[str, Tensor]
    """Under the names of `Objective(backbone, pretext).state_dict()`; a pooler also where no pair head is."""
    vocabulary: Vocabulary
    left_out: tuple[str, ...]
    """Tensors of the folder that belong to other heads, such as a fine-tuned classifier."""

    @property
    def length(self) -> int:
        """Tokens of a text that it reads at once."""
        return _embedding(self.backbone).positions

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
    """Open a BERT, RoBERTa, ALBERT, GPT-2, BART or T5: a folder (safetensors, shards, `.bin`; any model of that family
    in `transformers`, old names too) or a hub name.

    Raises UserError, tensor by tensor, when something is missing, has another shape, or has no place in the model.
    """
    folder = locate(str(model))
    path = folder / "config.json"
    published = read_json(path)
    family = _family(published, path)
    c = family.read(published, path)
    found, left_out = family.today(read_tensors(folder), c, folder)
    backbone = family.backbone(c, found)
    vocabulary = Vocabulary.open(folder)
    rows = _embedding(backbone).vocab
    if vocabulary.size > rows:
        raise UserError(
            f"{folder}: the tokenizer has {vocabulary.size} tokens and the model only {rows}. "
            "They do not belong together: fetch both from the same place."
        )
    if left_out:
        log.warning("%s: left out, as they belong to another head: %s", folder, ", ".join(left_out))
    heads = {head for head, stem in family.stems(c).items() if any(name.startswith(stem) for name in found)}
    if any(pair in heads for pair in PAIR):
        heads.add("pooler")  # a pair head reads the pooler: without it the folder is not whole
    names = family.names(backbone, heads, getattr(c, "pad_token_id", 0))
    mapped = to_ours(found, names, _shapes(backbone, family.pretext, vocabulary))
    what = family.name.split()[-1]
    if not mapped.state:
        raise UserError(
            f"{folder}: holds weights of another architecture: no tensor is one of the {what} in its config.json. "
            "They do not belong together: fetch both from the same place."
        )
    faults = {"missing": mapped.missing, "of another shape": mapped.misshapen, "unknown": mapped.unused}
    if any(faults.values()):
        said = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise UserError(
            f"{folder}: the tensors are not those of the {what} in its config.json ({said}). Fetch it again."
        )
    return Published(folder, backbone, family.task(heads), mapped.state, vocabulary, tuple(left_out))


def save_model(
    objective: Objective,
    vocabulary: Vocabulary | None,
    folder: Path,
    state: Mapping[str, Tensor] | None = None,
    like: Path | None = None,
) -> bool:
    """Write `objective` as a folder that `transformers` opens; False, and nothing written, where it has no such model.

    `state` gives other weights than the objective's own (whole ones, of a sharded model), and the folder `like` how the
    model is to write. Raises UserError when `folder` exists and is not empty. It appears complete or not at all.
    """
    state = objective.state_dict() if state is None else state
    family, reason = _nearest(objective, vocabulary, state)
    if family is None or reason is not None:
        return False
    assert isinstance(objective.backbone, Transformer | EncoderDecoder) and vocabulary is not None
    heads = _heads(state)
    if dropped := family.dropped(heads):
        log.info("%s: `transformers` has no room for one head more: %s is not written", folder, ", ".join(dropped))
    backbone = objective.backbone.config
    names = family.names(backbone, heads - dropped, vocabulary.pad)
    if isinstance(backbone, config.Transformer) and not backbone.kinds:
        # `transformers` has no BERT without segment kinds; with a single one of zeros it computes the same.
        state = {"backbone.embed.kind.weight": torch.zeros(1, backbone.embedding or backbone.width), **state}
    tensors = {k: v.detach().cpu().float() for k, v in to_theirs(state, names).items()}
    tensors |= {name: tensors[source].clone() for name, source in family.copies(backbone)}
    tensors |= {name: torch.zeros(1, _embedding(backbone).vocab) for name in family.zeros}
    special = family.tokens(vocabulary)
    described = {
        "model_type": family.model_type,
        "architectures": [family.architecture(heads)],
        "dtype": "float32",
        **special,
        **msgspec.to_builtins(family.described(backbone, heads, vocabulary.pad)),
    }
    texts = {"config.json": json.dumps(described, indent=2) + "\n"}
    if family.generates:
        texts[generation.NAME] = generation.merged(like, special)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty. Nothing was written: choose another place.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    beside.mkdir(parents=True)
    try:
        for name, content in texts.items():
            (beside / name).write_text(content)
        save_file(tensors, beside / "model.safetensors", metadata={"format": "pt"})
        vocabulary.save(beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def obstacle(objective: Objective, vocabulary: Vocabulary | None = None) -> str | None:
    """Why `transformers` has no model like this one, or None when `save_model` can write it."""
    return _nearest(objective, vocabulary, objective.state_dict())[1]


def _nearest(
    objective: Objective, vocabulary: Vocabulary | None, state: Mapping[str, Tensor]
) -> tuple[Family | None, str | None]:
    """The family with the fewest obstacles, and the first of them."""
    if not isinstance(objective.backbone, Transformer | EncoderDecoder):
        kinds = type(objective.backbone).__name__, type(objective.pretext).__name__
        return None, f"a {kinds[0]} trained by {kinds[1]} is none of {_known()}"
    heads, backbone = _heads(state), objective.backbone.config
    found = []
    for family in FAMILIES:
        found.append((family, family.obstacles(backbone, heads - family.dropped(heads), vocabulary)))
    family, reasons = min(found, key=lambda pair: len(pair[1]))
    return family, reasons[0] if reasons else None


def _family(published: Mapping[str, Any], path: Path) -> Family:
    kind = published.get("model_type", "bert" if "type_vocab_size" in published else None)
    for family in FAMILIES:
        if family.model_type == kind:
            return family
    raise UserError(f"{path}: model_type is {kind!r}. The architectures that open here: {_known()}.")


def _known() -> str:
    return ", ".join(sorted(family.model_type for family in FAMILIES))


def _heads(state: Mapping[str, Tensor]) -> set[str]:
    return {key.split(".")[1] for key in state if key.startswith("pretext.")}


def _embedding(backbone: Backbone) -> config.Transformer:
    """The stack that has the embedding."""
    return backbone.encoder if isinstance(backbone, config.EncoderDecoder) else backbone


def _shapes(backbone: Backbone, task: config.Pretext, vocabulary: Vocabulary) -> dict[str, torch.Size]:
    """The shape of every tensor of such a model with all its heads, without allocating one."""
    with torch.device("meta"):
        network = models.build(backbone)
        objective = Objective(network, pretext.build(task, network, vocabulary))
        return {name: tensor.shape for name, tensor in objective.state_dict().items()}
