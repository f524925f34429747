"""Grids of damage: which corruption BART is to mend, and T5's objectives, rates and span lengths.

Arms of one grid have one architecture. What they are asked must suit all of them: the encoder fine-tuned on a labelled
task, and whole texts written for texts, from the same examples with the same settings.
"""

from typing import Any

import msgspec

from sesame.config import (
    DocumentRotation,
    FineTune,
    FragmentMasking,
    PrefixSplit,
    SentencePermutation,
    SpanCorruption,
    TextInfilling,
    TokenDeletion,
    TokenMasking,
    TokenShuffling,
)
from sesame.studies.grid import Arm, FineTuned, Grid

_TOKENS = 3_000_000
_QUICK = FineTune(epochs=8, min_steps=0, rows=16, evaluations=3, lr=1e-3)
_ASKED = (
    FineTuned(name="area, accuracy", task="pydocs/area", examples=300, settings=_QUICK),
    FineTuned(name="names, entity F1", task="pydocs/names", examples=300, settings=_QUICK),
)


def _bart(name: str, *corruptions: Any) -> Arm:
    return Arm(
        name=name, recipe="bart-tiny", changes={"pretext.corruptions": [msgspec.to_builtins(c) for c in corruptions]}
    )


def _t5(name: str, *corruptions: Any, target: str = "missing") -> Arm:
    changes = {"pretext.corruptions": [msgspec.to_builtins(c) for c in corruptions], "pretext.target": target}
    return Arm(name=name, recipe="t5-tiny", changes=changes)


DENOISING = (
    Grid(
        name="corruptions",
        about="What is done to a text that the decoder is to write as it was (Lewis et al. 2020, table 1).",
        arms=(
            _bart("infilling", TextInfilling()),
            _bart("masking", TokenMasking()),
            _bart("deletion", TokenDeletion()),
            _bart("permutation", SentencePermutation()),
            _bart("rotation", DocumentRotation()),
            _bart("infilling + permutation", SentencePermutation(), TextInfilling()),
        ),
        amount=_TOKENS,
        measurements=_ASKED,
    ),
    Grid(
        name="t5-objectives",
        about="What is hidden, and what is written (Raffel et al. 2020, tables 4 and 5).",
        arms=(
            _t5("spans", SpanCorruption()),
            _t5("tokens by themselves", SpanCorruption(independent=True)),
            _t5("dropped tokens", TokenDeletion()),
            _t5("MASS", FragmentMasking()),
            _t5("BERT style", TokenMasking(random=0.1), target="original"),
            _t5("deshuffling", TokenShuffling(), target="original"),
            _t5("prefix LM", PrefixSplit()),
        ),
        amount=_TOKENS,
        measurements=_ASKED,
    ),
    Grid(
        name="t5-rates",
        about="How much of the text is hidden (Raffel et al. 2020, table 6).",
        arms=tuple(_t5(f"{rate:.0%}", SpanCorruption(rate=rate)) for rate in (0.15, 0.1, 0.25, 0.5)),
        amount=_TOKENS,
        measurements=_ASKED,
    ),
    Grid(
        name="t5-spans",
        about="How long the hidden spans are (Raffel et al. 2020, table 7).",
        arms=tuple(_t5(f"spans of {span}", SpanCorruption(span=float(span))) for span in (3, 2, 5, 10)),
        amount=_TOKENS,
        measurements=_ASKED,
    ),
)
