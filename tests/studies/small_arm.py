"""Small untrained arms, as they are measured: with the data they would be trained on."""

from pathlib import Path

from small_store import random_documents, store_of

from sesame import config
from sesame.data.images import ImageSet
from sesame.data.text import TextSet
from sesame.engine import build as building
from sesame.engine.build import Model

SHAPE = {"layers": 2, "width": 16, "heads": 2, "ffn": 24, "positions": 32, "init": 0.4}


def model_of(recipe: config.Recipe, data: object) -> Model:
    recipe = building.freeze(recipe, data)
    return Model(building.build(recipe, data).eval(), building.vocabulary_of(data), recipe, 0)


def text(folder: Path, task: config.Pretext | None = None, seed: int = 0) -> tuple[Model, TextSet]:
    """A BERT (or an encoder-decoder) and 60 documents, half of them held out."""
    place = folder / "store"
    if not place.exists():
        store_of(place, random_documents(60), held_out=0.5)
    source = config.TextData(store=str(place), length=24, rows=4)
    data = TextSet.open(source)
    backbone: config.Backbone = config.Transformer(**SHAPE)
    if task is not None and not isinstance(task, config.Bert):
        decoder = config.Transformer(**(SHAPE | {"causal": True}))
        backbone = config.EncoderDecoder(encoder=backbone, decoder=decoder)
    recipe = config.Recipe(
        name="tiny", data=source, backbone=backbone, pretext=task or config.Bert(), threads=1, seed=seed
    )
    return model_of(recipe, data), data


def images() -> tuple[Model, config.ImageData]:
    """BYOL on the built-in digits."""
    source = config.ImageData(rows=64)
    task = config.Byol(views=config.VIEWS["digits"], hidden=12, out=8)
    recipe = config.Recipe(name="tiny", data=source, backbone=config.ConvNet(channels=(6, 10)), pretext=task, threads=1)
    return model_of(recipe, ImageSet(source)), source
