"""What the states say: collapse, rank, alignment and uniformity, codes, and heads that do nothing."""

from collections.abc import Callable, Iterator

import numpy as np

from sesame import config
from sesame.errors import UserError
from sesame.health import bands
from sesame.health.check import Check, above, below, not_examined
from sesame.health.levels import code_counts, entropy
from sesame.health.patient import NotMeasured, Patient
from sesame.models.transformer import Transformer
from sesame.probes.held_out import reader

COLLAPSE, RANK, ALPHA = "collapse", "rank (RankMe)", "decay (α-ReQ)"
ALIGNMENT, UNIFORMITY, CODES, HEADS = "alignment", "uniformity", "codes in use", "idle heads"
WHOLE = (
    "All inputs look alike to it. Of BYOL: is there a predictor, is the slow copy slow (--pretext.decay 0.99)? Then "
    "lower --optimizer.lr, take larger batches (--data.rows), or learn with negatives (simclr, mocov3)."
)


def checks(patient: Patient) -> Iterator[Check]:
    """Everything that the newest weights say without labels."""
    for names, ask in _asked(patient):
        try:
            yield from ask(patient)
        except UserError as why:
            yield from (not_examined(name, str(why)) for name in names)


def _asked(patient: Patient) -> Iterator[tuple[tuple[str, ...], Callable[[Patient], Iterator[Check]]]]:
    task = patient.recipe.pretext
    yield (COLLAPSE,), _collapse
    yield (RANK, ALPHA), _rank
    if isinstance(task, config.SimClr | config.Byol | config.SimSiam | config.MocoV3):
        yield (ALIGNMENT, UNIFORMITY), _two_views
    if isinstance(task, config.BestRq | config.Hubert):
        yield (CODES,), _codes
    if patient.model is None or isinstance(reader(patient.model), Transformer):
        yield (HEADS,), _heads


# ------------------------------------------------------------------------------------------------ collapse
def _collapse(patient: Patient) -> Iterator[Check]:
    found = patient.probe("collapse")
    if found.has("std_share", "projection"):
        yield spread(found.value("std_share", "projection"), _since(patient, "collapse", "std_share", "projection"))
    else:
        random = patient.probe("collapse", random=True).value("std_share", "backbone")
        yield spread_left(found.value("std_share", "backbone"), random)


def spread(share: float, before: str = "") -> Check:
    """Of projections, which methods on views spread out over all directions: the standard deviation, of 1/√d."""
    expected = f"at least {bands.STD:g} of 1/√d"
    reading = f"projections vary by {share:.2g} of 1/√d{before}"
    return Check(COLLAPSE, above(share, bands.STD, bands.COLLAPSED), reading, expected, WHOLE, share)


def spread_left(share: float, random: float) -> Check:
    """Of means over words or frames, which point much the same way also in a network that is well: beside random."""
    expected = f"at least {bands.SPREAD_LEFT:g} of a random network's"
    reading = f"examples vary by {share:.2g} of 1/√d, of a random network by {random:.2g}"
    state = above(share, bands.SPREAD_LEFT * random, bands.LITTLE_LEFT * random)
    advice = (
        "Little that tells one example from another arrives in the last layer, as happens while the loss is on its "
        "plateau. Train for longer; if it stays so, lower --optimizer.lr or warm up for longer."
    )
    return Check(COLLAPSE, state, reading, expected, advice, share)


def _since(patient: Patient, probe: str, metric: str, group: str = "", layer: int = -1) -> str:
    """What the meters beside training read at first, where they ran."""
    first = patient.before(probe, metric, group, layer)
    return f" ({first[1]:.2g} at step {first[0]:,})" if first else ""


# ---------------------------------------------------------------------------------------------------- rank
def _rank(patient: Patient) -> Iterator[Check]:
    found = patient.probe("rank")
    layer = found.last_layer
    share, directions = (found.value(metric, "", layer) for metric in ("rankme_share", "rankme"))
    random = patient.probe("rank", random=True).value("rankme", "", layer)
    yield rank(directions, share, random, _since(patient, "rank", "rankme", "", layer))
    try:
        yield decay(found.value("alpha_req", "", layer))
    except NotMeasured:
        yield not_examined(ALPHA, "too few of the variances are more than rounding")


def rank(directions: float, share: float, random: float, before: str = "") -> Check:
    """Directions that the last layer uses, beside those of the network before it learned."""
    expected = f"at least {bands.RANK:g} directions, and {bands.RANK_LEFT:g} of a random network's"
    reading = f"{directions:.3g} directions, {share:.0%} of the width{before}; random: {random:.3g}"
    state = above(directions, bands.RANK, bands.LOW_RANK)
    if state == "healthy" and directions < bands.RANK_LEFT * random:
        state = "doubtful"
    advice = (
        "States lie in few directions. Lower --optimizer.lr, raise --optimizer.weight-decay or the batch, or train for "
        "longer if the loss is still on its plateau."
    )
    return Check(RANK, state, reading, expected, advice, directions)


def decay(alpha: float) -> Check:
    """How fast the variances of the directions fall. Never ill: good models have been seen on both sides."""
    expected = f"{bands.ALPHA_LOW:g} to {bands.ALPHA_HIGH:g}, best near 1"
    if bands.ALPHA_LOW <= alpha <= bands.ALPHA_HIGH:
        return Check(ALPHA, "healthy", f"α = {alpha:.2g}", expected, "", alpha)
    advice = (
        "Few directions carry nearly all: see the rows on rank and collapse."
        if alpha > bands.ALPHA_HIGH
        else "All directions vary alike, as noise does: has it been trained for long enough?"
    )
    return Check(ALPHA, "doubtful", f"α = {alpha:.2g}", expected, advice, alpha)


# --------------------------------------------------------------------------------- alignment and uniformity
def _two_views(patient: Patient) -> Iterator[Check]:
    found = patient.probe("alignment")
    yield alignment(found.value("alignment", "projection"), _since(patient, "alignment", "alignment", "projection"))
    before = _since(patient, "alignment", "uniformity", "projection")
    yield uniformity(found.value("uniformity", "projection"), before)


def alignment(value: float, before: str = "") -> Check:
    """How far two views of an image are apart."""
    advice = "The views have little in common: make them weaker (sesame data views shows them), or train for longer."
    return Check(
        ALIGNMENT,
        below(value, bands.ALIGNMENT, bands.STRANGERS),
        f"{value:.3g} between two views{before}",
        f"at most {bands.ALIGNMENT:g}; 0 alike, 2 strangers",
        advice,
        value,
    )


def uniformity(value: float, before: str = "") -> Check:
    """How evenly images fill the sphere."""
    expected = f"at most {bands.UNIFORMITY:g}; 0 in one point, −4 even"
    reading = f"{value:.3g}{before}".replace("-", "−")
    return Check(UNIFORMITY, below(value, bands.UNIFORMITY, bands.POINT), reading, expected, WHOLE, value)


# --------------------------------------------------------------------------------------------------- codes
def _codes(patient: Patient) -> Iterator[Check]:
    yield codes(code_counts(patient))


def codes(counts: np.ndarray) -> Check:
    """How many of the codes the targets really have."""
    total = int(counts.sum())
    most = min(len(counts), total)  # so many could be in use
    perplexity = float(np.exp(entropy(counts / max(total, 1))))
    expected = f"at least {bands.CODES_USED:.0%} of {most:,}"
    reading = f"as {perplexity:,.0f} equally frequent codes; {(counts > 0).sum():,} of {len(counts):,} occur"
    state = above(perplexity / max(most, 1), bands.CODES_USED, bands.CODES_LEFT)
    advice = (
        "The targets hardly differ, so predicting them teaches little. Take fewer codes (--pretext.codes, "
        "--pretext.clusters), or look at the sound: is it mostly silence (sesame data listen)?"
    )
    return Check(CODES, state, reading, expected, advice, perplexity)


# --------------------------------------------------------------------------------------------------- heads
def _heads(patient: Patient) -> Iterator[Check]:
    found = patient.probe("attention")
    rows = [row for row in found.rows if row["metric"] == "heads"]
    idle = sum(row["value"] for row in rows if row["group"] in ("separator", "same"))
    yield heads(round(idle), round(sum(row["value"] for row in rows)))


def heads(idle: int, all_heads: int) -> Check:
    """Heads that look mostly at separators or at the token itself. Never ill."""
    share = idle / max(all_heads, 1)
    advice = (
        "Many heads move nothing between words. That does no harm by itself; if the loss is on its plateau, train for "
        "longer, else fewer heads may do (--backbone.heads)."
    )
    return Check(
        HEADS,
        "healthy" if share <= bands.IDLE_HEADS else "doubtful",
        f"{idle} of {all_heads} heads look mostly at [CLS], [SEP] or themselves",
        f"at most {bands.IDLE_HEADS:.0%}",
        advice,
        share,
    )
