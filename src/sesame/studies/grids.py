"""The grids that come with Sesame: the comparisons behind the papers' tables, at a size that a laptop trains.

A new one is a value in `GRIDS`. What stands here is kept apart from how it is run, so that adding a grid touches
nothing else.
"""

from pathlib import Path

from sesame.config import Bert, FineTune
from sesame.errors import UserError, nearest
from sesame.studies.denoising_grids import DENOISING
from sesame.studies.grid import Arm, FineTuned, Grid, HeldOut, checked, read

_TINY = "bert-tiny"
_ALL_MASKED = HeldOut(name="masked LM, all [MASK]", pretext=Bert(mask=1.0, random=0.0), term="masked_lm")
_AS_BERT = HeldOut(name="masked LM, 80/10/10", pretext=Bert(), term="masked_lm")
_NSP, _SOP = Bert(next_sentence=1.0), Bert(sentence_order=1.0)
_QUICK = FineTune(epochs=8, min_steps=0, rows=16, evaluations=3, lr=1e-3)
"""For a few hundred examples: the same for every arm, so that none is favoured by a search."""
_HEAD = FineTune(epochs=20, min_steps=0, rows=16, evaluations=4, lr=1e-2, freeze=True)
"""The head alone, which needs more and larger steps."""


def _masks(mask: float, random: float) -> dict[str, float]:
    return {"pretext.mask": mask, "pretext.random": random}


GRIDS: dict[str, Grid] = {
    grid.name: checked(grid, grid.name)
    for grid in (
        Grid(
            name="bert-pairs",
            about="Masked LM alone, with next-sentence, and with sentence-order prediction; each asked all three "
            "(Lan et al. 2020, table 5). All read sentence pairs; without a pair loss every pair is in order.",
            changes={"data.length": 64, "data.rows": 64},
            arms=(
                Arm(name="none", recipe=_TINY, changes={"pretext.pairs": True}),
                Arm(name="NSP", recipe=_TINY, changes={"pretext.next_sentence": 1.0}),
                Arm(name="SOP", recipe=_TINY, changes={"pretext.sentence_order": 1.0}),
            ),
            amount=7_000_000,
            measurements=(
                HeldOut(name="masked LM", pretext=Bert(pairs=True), term="masked_lm"),
                HeldOut(name="next sentence, own head", pretext=_NSP, term="next_sentence"),
                HeldOut(name="sentence order, own head", pretext=_SOP, term="sentence_order"),
                HeldOut(name="next sentence, fitted head", pretext=_NSP, term="next_sentence", head="fitted"),
                HeldOut(name="sentence order, fitted head", pretext=_SOP, term="sentence_order", head="fitted"),
            ),
        ),
        Grid(
            name="masking",
            about="What stands where a token is hidden: shares of [MASK], of the token itself and of a random one "
            "(Devlin et al. 2019, table 8), and how many tokens are hidden.",
            arms=(
                Arm(name="80/10/10", recipe=_TINY),
                Arm(name="100/0/0", recipe=_TINY, changes=_masks(1.0, 0.0)),
                Arm(name="80/0/20", recipe=_TINY, changes=_masks(0.8, 0.2)),
                Arm(name="80/20/0", recipe=_TINY, changes=_masks(0.8, 0.0)),
                Arm(name="0/20/80", recipe=_TINY, changes=_masks(0.0, 0.8)),
                Arm(name="0/0/100", recipe=_TINY, changes=_masks(0.0, 1.0)),
                Arm(name="rate 8%", recipe=_TINY, changes={"pretext.rate": 0.08}),
                Arm(name="rate 30%", recipe=_TINY, changes={"pretext.rate": 0.3}),
                Arm(name="rate 50%", recipe=_TINY, changes={"pretext.rate": 0.5}),
            ),
            amount=2_000_000,
            measurements=(
                _ALL_MASKED,
                _AS_BERT,
                FineTuned(name="names, fine-tuned", task="pydocs/names", examples=300, settings=_QUICK),
                FineTuned(name="names, frozen", task="pydocs/names", examples=300, settings=_HEAD),
            ),
        ),
        Grid(
            name="mask-units",
            about="What is hidden together: tokens, whole words, SpanBERT's spans of words, ALBERT's n-grams of words.",
            arms=tuple(
                Arm(name=unit, recipe=_TINY, changes={"pretext.unit": unit})
                for unit in ("token", "word", "span", "ngram")
            ),
            amount=3_000_000,
            measurements=(
                HeldOut(name="tokens", pretext=Bert(mask=1.0, random=0.0), term="masked_lm"),
                HeldOut(name="whole words", pretext=Bert(mask=1.0, random=0.0, unit="word"), term="masked_lm"),
                HeldOut(name="spans", pretext=Bert(mask=1.0, random=0.0, unit="span"), term="masked_lm"),
                FineTuned(name="names, fine-tuned", task="pydocs/names", examples=300, settings=_QUICK),
            ),
        ),
        Grid(
            name="starts",
            about="How the weights start: drawn at random, with attention near the identity (Trockman & Kolter 2023), "
            "and with first embeddings from counts of the text.",
            arms=tuple(
                Arm(name=name, recipe=_TINY, changes={"backbone.start": start, "pretext.embeddings": embeddings})
                for name, start, embeddings in (
                    ("normal", "normal", "normal"),
                    ("mimetic", "mimetic", "normal"),
                    ("counts", "normal", "counts"),
                    ("mimetic + counts", "mimetic", "counts"),
                )
            ),
            amount=2_000_000,
            measurements=(_AS_BERT,),
        ),
        *DENOISING,
    )
}  # fmt: skip


def find(name: str) -> Grid:
    """The grid called `name`, or that of a file. Raises UserError with the nearest names where there is neither."""
    if name in GRIDS:
        return GRIDS[name]
    path = Path(name)
    if path.suffix in (".json", ".toml") or path.is_file():
        return read(path)
    raise UserError(f"there is no grid called {name!r}.{nearest(name, GRIDS)} A file ends with .json or .toml.")
