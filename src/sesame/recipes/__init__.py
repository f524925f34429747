"""Ready-made runs: plain typed values. `find` looks one up by name."""

from sesame.config import Recipe
from sesame.errors import UserError, nearest
from sesame.recipes import albert, apc, bart, bert, byol, gpt, mass, roberta, t5

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *bert.RECIPES,
        *roberta.RECIPES,
        *albert.RECIPES,
        *gpt.RECIPES,
        *bart.RECIPES,
        *mass.RECIPES,
        *t5.RECIPES,
        *byol.RECIPES,
        *apc.RECIPES,
    )
}


def find(name: str) -> Recipe:
    """The recipe called `name`; UserError with the nearest names where there is none."""
    if name not in RECIPES:
        raise UserError(f"There is no recipe called {name!r}.{nearest(name, RECIPES)}")
    return RECIPES[name]
