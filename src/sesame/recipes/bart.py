"""BART's shape and text infilling (Lewis et al. 2020) at a size that a laptop trains in minutes."""

from sesame.config import EncoderDecoder, Infilling, Optimizer, Recipe, TextData, Transformer


def _stack(causal: bool) -> Transformer:
    return Transformer(layers=2, width=128, heads=2, ffn=512, positions=128, kinds=0, norm_eps=1e-5, causal=causal)


RECIPES = (
    Recipe(
        name="bart-tiny",
        data=TextData(length=128, rows=32),
        backbone=EncoderDecoder(encoder=_stack(causal=False), decoder=_stack(causal=True)),
        pretext=Infilling(),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
)
