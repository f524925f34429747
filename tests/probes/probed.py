"""Small untrained models of every kind, as a probe is given them: with the data they would be trained on."""

from pathlib import Path

import torch
from chirps import write_chirps
from small_store import random_documents, store_of

from sesame import config
from sesame.data.images import ImageSet
from sesame.data.speech import SpeechSet
from sesame.data.text import TextSet
from sesame.engine import build as building
from sesame.engine.build import Model
from sesame.probes import Ask

SHAPE = {"layers": 2, "width": 16, "heads": 2, "ffn": 24, "positions": 32, "init": 0.4}
LENGTH = 24


def model_of(recipe: config.Recipe, data: object, seed: int = 0) -> Model:
    """Fresh weights, biases included, so that no two layers are alike."""
    recipe = building.freeze(recipe, data)
    objective = building.build(recipe, data)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in objective.named_parameters():
            if name.endswith("bias"):
                p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    objective.eval()
    return Model(objective, building.vocabulary_of(data), recipe, 0)


def text(folder: Path, task: config.Pretext | None = None, seed: int = 0, **shape: object) -> tuple[Model, Ask]:
    """A BERT (or another model of text) and 40 documents, half of them held out."""
    store = store_of(folder / "store", random_documents(40), held_out=0.5)
    source = config.TextData(store=str(folder / "store"), length=LENGTH, rows=4)
    data = TextSet(store, source)
    backbone: config.Backbone = config.Transformer(**(SHAPE | shape))
    if isinstance(task, config.Denoising):
        decoder = config.Transformer(**(SHAPE | shape | {"causal": True}))
        backbone = config.EncoderDecoder(encoder=backbone, decoder=decoder)
    recipe = config.Recipe(
        name="tiny", data=source, backbone=backbone, pretext=task or config.Bert(), threads=1, seed=seed
    )
    return model_of(recipe, data, seed), Ask(data=data)


def images(seed: int = 0, backbone: config.Backbone | None = None) -> tuple[Model, Ask]:
    """BYOL on the built-in digits, of a conv net where nothing else is said."""
    data = ImageSet(config.ImageData(rows=64))
    recipe = config.Recipe(
        name="tiny",
        data=data.config,
        backbone=backbone or config.ConvNet(channels=(6, 10)),
        pretext=config.Byol(views=config.VIEWS["digits"], hidden=12, out=8),
        threads=1,
        seed=seed,
    )
    return model_of(recipe, data, seed), Ask(data=data)


def speech(folder: Path, seed: int = 0, **shape: object) -> tuple[Model, Ask]:
    """APC on sixty chirps."""
    source = config.SpeechData(source=str(write_chirps(folder / "chirps", 60)), mels=20, rows=4, length=32)
    data = SpeechSet(source)
    backbone = config.Transformer(**(SHAPE | {"input": "frames", "kinds": 0, "causal": True} | shape))
    recipe = config.Recipe(
        name="tiny", data=source, backbone=backbone, pretext=config.Apc(ahead=3), threads=1, seed=seed
    )
    return model_of(recipe, data, seed), Ask(data=data)
