"""BYOL (Grill et al. 2020) on the built-in digits."""

from sesame.config import Byol, ConvNet, ImageData, Optimizer, Recipe

RECIPES = (
    Recipe(
        name="byol-digits",
        data=ImageData(source="digits", rows=256),
        backbone=ConvNet(),
        pretext=Byol(noise=0.2),
        optimizer=Optimizer(lr=3e-3, decay="cosine", clip=0.0),
        steps=600,
    ),
)
