"""MoCo v3 (Chen, Xie & He 2021): on the built-in digits, and with the settings for 100 epochs of ImageNet, a ResNet.

Pixels stay in 0..1, where the authors' code gives them ImageNet's mean and deviation.
"""

from msgspec.structs import replace

from sesame.config import VIEWS, MocoV3, Recipe, ResNet
from sesame.recipes.simclr import DESCENT, DIGITS, EPOCHS_100, IMAGENET, LARS, SMALL

RECIPES = (
    Recipe(
        name="mocov3-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=MocoV3(views=VIEWS["digits"], hidden=256, out=64, temperature=0.2, decay=0.97),
        optimizer=DESCENT,
        steps=400,
    ),
    # 0.6 · 4096/256; BYOL's views with crops of at least a fifth of the image.
    Recipe(
        name="mocov3-imagenet",
        data=IMAGENET,
        backbone=ResNet(depth=50),
        pretext=MocoV3(views=(replace(VIEWS["byol"][0], area=(0.2, 1.0)), replace(VIEWS["byol"][1], area=(0.2, 1.0)))),
        optimizer=replace(LARS, lr=9.6),
        steps=EPOCHS_100,
    ),
)
