"""BYOL (Grill et al. 2020): on the built-in digits, on small photos, and with the settings for 100 epochs of ImageNet.

Pixels stay in 0..1, where the paper gives them ImageNet's mean and deviation.
"""

from msgspec.structs import replace

from sesame.config import VIEWS, Byol, ConvNet, Recipe, ResNet
from sesame.recipes.simclr import DESCENT, DIGITS, EPOCHS_100, IMAGENET, LARS, PHOTOS, SMALL

RECIPES = (
    Recipe(
        name="byol-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=Byol(views=VIEWS["digits"], hidden=256, out=64, decay=0.97),
        optimizer=replace(DESCENT, lr=5e-3),
        steps=400,
    ),
    Recipe(
        name="byol-cifar",
        data=PHOTOS,
        backbone=ConvNet(channels=(32, 64, 128)),
        pretext=Byol(views=VIEWS["simclr-cifar"], hidden=512, out=128, decay=0.97),
        optimizer=DESCENT,
        steps=3000,
    ),
    # 0.45 · 4096/256 and a decay from 0.99: the values for 100 epochs (appendix I; 0.2 and 0.996 are for 1,000).
    Recipe(
        name="byol-imagenet",
        data=IMAGENET,
        backbone=ResNet(depth=50),
        pretext=Byol(decay=0.99),
        optimizer=replace(LARS, lr=7.2),
        steps=EPOCHS_100,
    ),
)
