"""What it takes to open and write the models of one family: the names of its tensors, and `config.json` both ways.

A family is a small class in a file of its own; what all have in common is here.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.interop.names import Name

Backbone = config.Transformer | config.EncoderDecoder
Activation = Literal["gelu", "gelu_tanh", "relu"]
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Their names -> ours; the first of several is written."""

_SWITCHES = (
    "input", "head_width", "gated", "groups", "inner", "bias", "embedding", "scale_embedding", "position", "norm",
    "norm_kind", "embedding_norm", "causal", "scale_scores", "output",
)  # fmt: skip
_NONE = config.Transformer()


class Family:
    """The base of all: what a family does not say, it does not have."""

    name: ClassVar[str]
    """With its article, for messages."""
    model_type: ClassVar[str]
    """In config.json."""
    fields: ClassVar[type[Struct]]
    """The fields of config.json that decide what is computed, with the defaults of `transformers`."""
    pretext: ClassVar[config.Pretext]
    """The task with every head that the family has."""
    stem: ClassVar[str] = ""
    """How the names of the backbone begin, which leave it out in a folder of the backbone alone."""
    known: ClassVar[tuple[str, ...]]
    """How the names of its tensors begin; all others belong to other heads."""
    heads: ClassVar[dict[str, str]] = {}
    """Heads of ours -> how their tensors' names begin."""
    foreign: ClassVar[tuple[str, ...]] = ()
    """How names begin of what belongs to other heads all the same."""
    ignored: ClassVar[tuple[str, ...]] = (".position_ids",)
    """How names end of what can be computed again."""
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Old names within names, and what they are called today."""
    zeros: ClassVar[tuple[str, ...]] = ()
    """Buffers of the size of the vocabulary that are always zero, [1, vocabulary]."""
    divided: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Fields of which the second, a number of heads, divides the first."""
    switches: ClassVar[dict[str, Any]] = {}
    """Of `config.Transformer`, where they are not those of BERT; the decoder's, of two stacks, are causal too."""
    free: ClassVar[tuple[str, ...]] = ()
    """Switches that may have any value."""
    generates: ClassVar[bool] = False
    """It writes text: a generation_config.json belongs to it."""

    # ------------------------------------------------------------------------------------- config.json
    def able(self, c: Any) -> dict[str, tuple[object, tuple[object, ...]]]:
        """Of fields that other models may have otherwise: what is found, and what Sesame can compute."""
        return {}

    def backbone(self, c: Any, found: Mapping[str, Tensor]) -> Backbone:
        """Our configuration of what `config.json` and the tensors describe."""
        raise NotImplementedError("abstract")

    def described(self, backbone: Any, heads: Collection[str], pad: int) -> Struct:
        """The fields of `config.json` for a backbone of ours with these heads; `pad` is the id of the padding."""
        raise NotImplementedError("abstract")

    def architecture(self, heads: Collection[str]) -> str:
        """The class of `transformers`."""
        raise NotImplementedError("abstract")

    def tokens(self, vocabulary: Vocabulary) -> dict[str, int]:
        """The special tokens in `config.json` and `generation_config.json`."""
        if not self.generates:
            return {"pad_token_id": vocabulary.pad}
        (begins,) = vocabulary.begin or (vocabulary.pad,)
        return {"bos_token_id": begins, "eos_token_id": vocabulary.sep, "pad_token_id": vocabulary.pad}

    # ----------------------------------------------------------------------------------------- tensors
    def names(self, backbone: Any, heads: Collection[str], pad: int) -> list[Name]:
        """Of every tensor of a backbone with these heads; `pad` is the id of the padding."""
        raise NotImplementedError("abstract")

    def tied(self, c: Any) -> tuple[tuple[str, str], ...]:
        """Copies that may be stored again, and what they are copies of."""
        return ()

    def copies(self, backbone: Any) -> tuple[tuple[str, str], ...]:
        """What is written again under another name: that, and its own."""
        return ()

    def stems(self, c: Any) -> dict[str, str]:
        """`heads`, where the fields of config.json decide."""
        return self.heads

    # ------------------------------------------------------------------------------------------- both
    def task(self, heads: Collection[str]) -> config.Pretext:
        """The pretext task of a model that has these heads."""
        return self.pretext

    def dropped(self, heads: Collection[str]) -> set[str]:
        """Those of our heads that there is no room for, and that the rest makes sense without."""
        return set()

    def obstacles(self, backbone: Backbone, heads: Collection[str], vocabulary: Vocabulary | None) -> list[str]:
        """Why a model of ours is none of this family, reason by reason."""
        if not isinstance(backbone, config.Transformer):
            return [f"two stacks are not {self.name}"] * 3
        lost = sorted(set(heads) - self.heads.keys())
        return [*self.differing(backbone), *(f"{self.name} has no head for {head}" for head in lost)]

    def two_stacks(self, backbone: Backbone, heads: Collection[str], alike: Collection[str]) -> list[str]:
        """The obstacles of a family with an encoder and a decoder, which have the fields `alike` in common."""
        if not isinstance(backbone, config.EncoderDecoder):
            return [f"a single stack is not {self.name}"] * 3
        encoder, decoder = backbone.encoder, backbone.decoder
        said = [*self.differing(encoder, "the encoder"), *self.differing(decoder, "the decoder", causal=True)]
        for field in alike:
            if (one := getattr(encoder, field)) != (other := getattr(decoder, field)):
                said.append(f"both stacks of {self.name} have the same {field}, and the model's have {one} and {other}")
        return [*said, *(f"{self.name} has no head for {head}" for head in sorted(heads))]

    def differing(self, c: config.Transformer, whose: str = "the model", **own: object) -> list[str]:
        """Which switches of a stack are not the family's."""
        said = []
        for switch in dict.fromkeys((*_SWITCHES, *self.switches)):
            found, needed = getattr(c, switch), (self.switches | own).get(switch, getattr(_NONE, switch))
            if switch == "head_width" and found * c.heads == c.width:
                continue
            if switch not in self.free and found != needed:
                said.append(f"{whose} has {switch} {found}, and {self.name} has {switch} {needed}")
        return said

    # ------------------------------------------------------------------------------------- what is done with it
    def read(self, published: Mapping[str, Any], path: Path) -> Any:
        """The fields of `config.json` at `path`. Raises UserError naming the one that Sesame cannot compute."""
        try:
            c = msgspec.convert(published, self.fields)
        except msgspec.ValidationError as e:
            raise UserError(f"{path}: {e}. Expected the fields of {self.name}; fetch the model again.") from None
        for field, (found, known) in self.able(c).items():
            if found not in known:
                choices = " or ".join(msgspec.json.encode(k).decode() for k in known)
                value = msgspec.json.encode(found).decode()
                raise UserError(
                    f"{path}: {field} is {value}. Sesame's {self.name.split()[-1]} has {choices} only, so this model "
                    "cannot open here."
                )
        for width, heads in self.divided:
            if getattr(c, width) % getattr(c, heads):
                raise UserError(
                    f"{path}: {width} {getattr(c, width)} is no multiple of {heads} {getattr(c, heads)}. The file is "
                    "damaged: fetch the model again."
                )
        return c

    def today(self, found: Mapping[str, Tensor], c: Any, folder: Path) -> tuple[dict[str, Tensor], list[str]]:
        """`found` under the names of today, and the names of what belongs to other heads (a fine-tuned classifier).

        Undone here: old names, a bare backbone without the family's name before its tensors, buffers that can be
        computed again, and tensors stored again beside those that they are tied to, which must equal them.
        """
        others = tuple(known for known in self.known if known != self.stem)
        bare = not any(name.startswith(self.stem) for name in found)
        tensors: dict[str, Tensor] = {}
        elsewhere = []
        for name, tensor in found.items():
            new = name
            for old, now in self.renamed:
                new = new.replace(old, now)
            if bare and not new.startswith(others):
                new = self.stem + new
            if new.endswith(self.ignored):
                continue
            if new.startswith(self.known) and not new.startswith(self.foreign):
                tensors[new] = tensor
            else:
                elsewhere.append(name)
        for alias, source in self.tied(c):
            copy = tensors.pop(alias, None)
            if copy is not None and not torch.equal(copy, tensors.setdefault(source, copy)):
                raise UserError(
                    f"{folder}: {alias} differs from {source}. Sesame ties the one to the other, so this model cannot "
                    "open here."
                )
        for name in self.zeros:
            if (buffer := tensors.pop(name, None)) is not None and buffer.any():
                raise UserError(
                    f"{folder}: {name} is not zero. Sesame's {self.name.split()[-1]} has no such bias, so this model "
                    "cannot open here."
                )
        return tensors, elsewhere


def theirs_of(activation: str) -> str:
    """Their name of one of our activations."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == activation)
