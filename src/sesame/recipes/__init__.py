"""Ready-made runs: plain typed values. `find` looks one up by name."""

from sesame.config import Recipe
from sesame.errors import UserError, nearest
from sesame.recipes import (
    albert,
    apc,
    bart,
    bert,
    byol,
    cpc,
    elmo,
    gpt,
    masked_frames,
    mass,
    mocov3,
    roberta,
    simclr,
    simsiam,
    t5,
    word2vec,
)

TEXT = (bert, roberta, albert, gpt, bart, mass, t5, word2vec, elmo)
IMAGES = (simclr, byol, simsiam, mocov3)
SPEECH = (apc, masked_frames, cpc)
FILES = (*TEXT, *IMAGES, *SPEECH)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for file in FILES for recipe in file.RECIPES}


def find(name: str) -> Recipe:
    """The recipe called `name`; UserError with the nearest names where there is none."""
    if name not in RECIPES:
        raise UserError(f"There is no recipe called {name!r}.{nearest(name, RECIPES)}")
    return RECIPES[name]
