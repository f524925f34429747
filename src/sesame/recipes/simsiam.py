"""SimSiam (Chen & He 2021) on the built-in digits."""

from msgspec.structs import replace

from sesame.config import VIEWS, Recipe, SimSiam
from sesame.recipes.simclr import DESCENT, DIGITS, SMALL

RECIPES = (
    Recipe(
        name="simsiam-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=SimSiam(views=VIEWS["digits"], out=256, hidden=64, layers=2),
        optimizer=replace(DESCENT, lr=5e-3),
        steps=400,
    ),
)
