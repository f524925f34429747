"""wav2vec 2.0, HuBERT and their kin as published: networks on sound that are read, and never trained.

`transformers` runs them (an optional extra). Their hidden states are computed once, utterance by utterance, so that no
padding is ever heard: where the first convolution is normalised over time, padding would change every frame.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from sesame import config
from sesame.data.batch import At, Rows
from sesame.errors import UserError
from sesame.models.base import Backbone, States

KINDS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer")
"""What config.json calls them."""
SAMPLE_RATE = 16_000


def upstream_in(folder: Path) -> config.Upstream | None:
    """What a folder of `transformers` holds, if it is one of these networks."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("model_type") not in KINDS:
        return None
    return config.Upstream(folder=str(folder), layers=told["num_hidden_layers"], width=told["hidden_size"])


class Upstream(Backbone):
    """What heads read is computed beforehand by `hear`: rows hold the states of all layers side by side."""

    trainable = False

    def __init__(self, c: config.Upstream):
        super().__init__()
        self.config, self.width = c, c.width
        self._opened: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Upstream":
        return self  # there is nothing in it that anybody changes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        kept: tuple[Tensor, ...] = inputs.x.chunk(self.depth, -1)
        last = kept[-1] if at is None else kept[-1].flatten(0, 1)[at.places(inputs.x.shape[1])]
        return States(last, kept if layers else (), inputs.valid)

    def hear(self, sound: Float32[np.ndarray, " sample"]) -> Float32[np.ndarray, "frame layers_width"]:
        """The states of all layers, from what the convolutions give the first on; none of a sound that is too short."""
        network, normalised = self._network()
        if len(sound) < self.window:
            return np.zeros((0, self.depth * self.width), np.float32)
        x = torch.from_numpy(np.ascontiguousarray(sound))
        if normalised:
            x = (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-7)
        with torch.inference_mode():
            states = network(x[None], output_hidden_states=True).hidden_states
        joined: np.ndarray = torch.cat(states, -1)[0].float().numpy()
        return joined

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return int(np.prod(self._network()[0].config.conv_stride))

    @property
    def window(self) -> int:
        """Samples that a frame hears before the layers: the convolutions' field."""
        c = self._network()[0].config
        size = 1
        for kernel, stride in reversed(list(zip(c.conv_kernel, c.conv_stride, strict=True))):
            size = (size - 1) * stride + kernel
        return size

    def _network(self) -> tuple[Any, bool]:
        """The network, and whether it wants sounds with mean 0 and variance 1; opened when it is first heard."""
        if self._opened is None:
            try:
                transformers = importlib.import_module("transformers")
            except ImportError:
                raise UserError(
                    f"{self.config.folder} is run by transformers, which is not installed. "
                    "Install it: pip install 'sesame-ssl[upstream]'."
                ) from None
            folder = Path(self.config.folder)
            try:
                network = transformers.AutoModel.from_pretrained(folder).eval()
            except (OSError, ValueError, KeyError) as error:
                raise UserError(f"{folder} cannot be opened ({str(error).splitlines()[0]}).") from None
            told = folder / "preprocessor_config.json"
            normalised = json.loads(told.read_text("utf-8")).get("do_normalize", True) if told.exists() else True
            self._opened = network, bool(normalised)
        opened: tuple[Any, bool] = self._opened
        return opened
