"""SimCLR (Chen et al. 2020) on the built-in digits."""

from sesame.config import VIEWS, ConvNet, ImageData, Optimizer, Recipe, SimClr

DIGITS = ImageData(source="digits", rows=256)
SMALL = ConvNet(channels=(16, 32, 64))
DESCENT = Optimizer(lr=2e-3, beta2=0.999, eps=1e-8, weight_decay=1e-4, warmup=0.1, decay="cosine", clip=0.0)
"""Small networks need no LARS, which is for batches of thousands."""

RECIPES = (
    Recipe(
        name="simclr-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=SimClr(views=VIEWS["digits"], out=64, temperature=0.1),
        optimizer=DESCENT,
        steps=400,
    ),
)
