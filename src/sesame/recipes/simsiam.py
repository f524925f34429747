"""SimSiam (Chen & He 2021): on the built-in digits, and for 100 epochs of ImageNet."""

from msgspec.structs import replace

from sesame.config import VIEWS, Augment, ImageData, Optimizer, Recipe, ResNet, SimSiam
from sesame.recipes.simclr import DESCENT, DIGITS, SMALL

MOCO_V2 = Augment(size=224, area=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
"""Section 3 of the paper, which takes MoCo v2's."""

RECIPES = (
    Recipe(
        name="simsiam-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=SimSiam(views=VIEWS["digits"], out=256, hidden=64, layers=2),
        optimizer=replace(DESCENT, lr=5e-3),
        steps=400,
    ),
    # The paper's values, but for three things that its code does and we do not. It decays norms and biases too; its
    # command for 100 epochs holds the rate of the predictor (--fix-pred-lr), and here it falls with all others;
    # it gives pixels ImageNet's mean and deviation, and here they stay in 0..1, as for every method on images.
    Recipe(
        name="simsiam-imagenet",
        data=ImageData(source="", rows=256, size=224),
        backbone=ResNet(depth=50),
        pretext=SimSiam(views=(MOCO_V2, MOCO_V2)),
        optimizer=Optimizer(
            name="momentum", lr=0.05, momentum=0.9, weight_decay=1e-4, warmup=0.0, decay="cosine", clip=0.0
        ),
        steps=450_000,
    ),
)
