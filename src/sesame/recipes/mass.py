"""MASS (Song et al. 2019): the decoder writes the half of a text that the encoder does not see, in its place."""

from sesame.config import Denoising, FragmentMasking, Optimizer, Recipe, TextData
from sesame.recipes.bart import shape

RECIPES = (
    Recipe(
        name="mass-tiny",
        data=TextData(length=128, rows=32),
        backbone=shape(2, 128, 2, positions=128),
        pretext=Denoising(corruptions=(FragmentMasking(),), target="missing"),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
)
