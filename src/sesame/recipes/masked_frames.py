"""Mockingjay, TERA, BEST-RQ and HuBERT: sizes that a laptop trains in minutes, and the papers' base sizes."""

from sesame.config import BestRq, Hubert, Mockingjay, Optimizer, Recipe, SpeechData, Tera, Transformer

_TINY = Transformer(layers=3, width=128, heads=2, ffn=512, input="frames", kinds=0, norm="pre", norm_eps=1e-5)
_FAST = Optimizer(lr=1e-3)
_BASE = Transformer(layers=3, width=768, heads=12, ffn=3072, input="frames", kinds=0, positions=1600)
"""Mockingjay's and TERA's: 3 layers of BERT's width."""
_LARGE = Transformer(
    layers=12, width=768, heads=12, ffn=3072, input="frames", kinds=0, positions=800, norm_eps=1e-5, dropout=0.1
)
"""MelHuBERT's: 12 layers over frames of 20 ms."""

RECIPES = (
    Recipe(
        name="mockingjay-tiny",
        data=SpeechData(rows=16),
        backbone=_TINY,
        pretext=Mockingjay(),
        optimizer=_FAST,
        max_minutes=10,
    ),
    Recipe(name="tera-tiny", data=SpeechData(rows=16), backbone=_TINY, pretext=Tera(), optimizer=_FAST, max_minutes=10),
    Recipe(  # a codebook that little sound can learn
        name="best-rq-tiny",
        data=SpeechData(rows=16, stack=4),
        backbone=_TINY,
        pretext=BestRq(codes=512, span=4),
        optimizer=_FAST,
        max_minutes=10,
    ),
    Recipe(
        name="hubert-tiny",
        data=SpeechData(rows=16, stack=2),
        backbone=_TINY,
        pretext=Hubert(span=5),
        optimizer=_FAST,
        max_minutes=10,
    ),
    Recipe(  # after Liu et al. 2020: 3 layers, 15% of the frames in spans of 7
        name="mockingjay",
        data=SpeechData(rows=12, length=1500),
        backbone=_BASE,
        pretext=Mockingjay(),
        optimizer=Optimizer(lr=2e-4, warmup=0.07),
        steps=200_000,
    ),
    Recipe(  # after Liu et al. 2021: the same, and up to a fifth of the bands
        name="tera",
        data=SpeechData(rows=32, length=1500),
        backbone=_BASE,
        pretext=Tera(),
        optimizer=Optimizer(lr=2e-4, warmup=0.07),
        steps=200_000,
    ),
    Recipe(  # Chiu et al. 2022: 8192 codes of 16 numbers, spans of 400 ms begun at 1% of the frames, noise N(0, 0.1);
        # their encoder is a Conformer of 0.6 billion weights, this one BERT-base
        name="best-rq",
        data=SpeechData(rows=256, length=1600, stack=4),
        backbone=_LARGE,
        pretext=BestRq(),
        optimizer=Optimizer(lr=4e-4, warmup=0.1),
        steps=250_000,
    ),
    Recipe(  # after Lin et al. 2022: two frames of 10 ms side by side, plain cross-entropy, .8 × 10 hidden
        name="hubert",
        data=SpeechData(rows=32, length=1500, mels=40, stack=2),
        backbone=_LARGE,
        pretext=Hubert(clusters=500),
        optimizer=Optimizer(lr=1e-4, warmup=0.03),
        steps=300_000,
    ),
)
