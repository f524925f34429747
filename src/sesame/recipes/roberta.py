"""RoBERTa (Liu et al. 2019): BERT without sentence pairs, longer and on more text; byte-level BPE, one segment kind.

`roberta-tiny` trains on a laptop in minutes; the others have the published shapes and settings (table 9), but for
dropout of attention weights, which ours leave out. Masks are drawn anew in every epoch, as all of ours are (the
paper's dynamic masking, 4.1). The paper's FULL-SENTENCES inputs run on over the ends of documents. Ours stop there,
and rows are filled with several examples that do not see each other: every batch is full, and what an example holds
is the paper's DOC-SENTENCES, which did slightly better (table 2). The settings of `roberta-tiny` are BERT's.
"""

from sesame.config import Bert, Optimizer, Recipe, TextData, Transformer


def shape(layers: int, width: int, **more: object) -> Transformer:
    """Heads of 64, a feed-forward layer four times as wide."""
    own = {"heads": width // 64, "ffn": 4 * width, "kinds": 1, "norm_eps": 1e-5}
    return Transformer(layers=layers, width=width, **own | more)  # type: ignore[arg-type]


def _published(name: str, layers: int, width: int, lr: float, warmup: int) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=512, rows=8000, tokenizer="bytebpe", vocab=50_265),
        backbone=shape(layers, width, dropout=0.1),
        pretext=Bert(),
        optimizer=Optimizer(lr=lr, beta2=0.98, eps=1e-6, clip=0.0, warmup=warmup / 500_000),
        steps=500_000,
    )


RECIPES = (
    Recipe(
        name="roberta-tiny",
        data=TextData(length=128, rows=32, tokenizer="bytebpe"),
        backbone=shape(2, 128, start="mimetic"),
        pretext=Bert(embeddings="counts"),
        optimizer=Optimizer(lr=4e-3),
        max_minutes=30,
    ),
    _published("roberta-base", 12, 768, lr=6e-4, warmup=24_000),
    _published("roberta-large", 24, 1024, lr=4e-4, warmup=30_000),
)
