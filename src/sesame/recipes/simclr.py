"""SimCLR (Chen et al. 2020): on the built-in digits, on small photos, and as published.

Steps of the published ones are for the data that they name; those for a CPU are sized for minutes, not for the papers'
days. Only the digits are built in: others need --data.
"""

from msgspec.structs import replace

from sesame.config import VIEWS, ConvNet, ImageData, Optimizer, Recipe, ResNet, SimClr

DIGITS = ImageData(source="digits", rows=256)
SMALL = ConvNet(channels=(16, 32, 64))
DESCENT = Optimizer(lr=2e-3, beta2=0.999, eps=1e-8, weight_decay=1e-4, warmup=0.1, decay="cosine", clip=0.0)
"""For small networks: LARS is for batches of thousands."""
PHOTOS = ImageData(source="", rows=256)
LARS = Optimizer(name="lars", lr=4.8, momentum=0.9, weight_decay=1e-6, warmup=0.1, decay="cosine", clip=0.0)
"""0.3 · 4096/256, 10 of 100 epochs of warm-up (section 2.2 and appendix B.6)."""
IMAGENET = ImageData(source="", rows=4096, size=224)
EPOCHS_100 = 28_150
"""Of ImageNet without the tenth that is held out, in steps of 4,096."""

RECIPES = (
    Recipe(
        name="simclr-digits",
        data=DIGITS,
        backbone=SMALL,
        pretext=SimClr(views=VIEWS["digits"], out=64, temperature=0.1),
        optimizer=DESCENT,
        steps=400,
    ),
    Recipe(
        name="simclr-cifar",
        data=PHOTOS,
        backbone=ConvNet(channels=(32, 64, 128)),
        pretext=SimClr(views=VIEWS["simclr-cifar"], temperature=0.2),
        optimizer=DESCENT,
        steps=3000,
    ),
    # CIFAR-10 as in appendix B.9, on the ResNet-18 that other libraries report; 800 epochs of 45,000 images.
    Recipe(
        name="simclr-cifar-resnet18",
        data=ImageData(source="", rows=512, size=32),
        backbone=ResNet(depth=18),
        pretext=SimClr(views=VIEWS["simclr-cifar"], temperature=0.5),
        optimizer=replace(LARS, lr=1.0, warmup=0.0125),
        steps=70_000,
    ),
    Recipe(
        name="simclr-imagenet",
        data=IMAGENET,
        backbone=ResNet(depth=50),
        pretext=SimClr(),
        optimizer=LARS,
        steps=EPOCHS_100,
    ),
)
