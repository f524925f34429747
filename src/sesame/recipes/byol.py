"""BYOL (Grill et al. 2020) on the built-in digits."""

from msgspec.structs import replace

from sesame.config import VIEWS, Byol, Recipe
from sesame.recipes.simclr import DESCENT, DIGITS, SMALL

RECIPES = (
    Recipe(
        name="byol-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=Byol(views=VIEWS["digits"], hidden=256, out=64, decay=0.97),
        optimizer=replace(DESCENT, lr=5e-3),
        steps=400,
    ),
)
