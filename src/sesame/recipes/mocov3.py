"""MoCo v3 (Chen, Xie & He 2021) on the built-in digits."""

from sesame.config import VIEWS, MocoV3, Recipe
from sesame.recipes.simclr import DESCENT, DIGITS, SMALL

RECIPES = (
    Recipe(
        name="mocov3-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=MocoV3(views=VIEWS["digits"], hidden=256, out=64, temperature=0.2, decay=0.97),
        optimizer=DESCENT,
        steps=400,
    ),
)
