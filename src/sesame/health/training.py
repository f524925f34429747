"""What the log says: the loss against a reference, along the run and beside training's, repeated data, the gradient."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sesame.data.text import TextSet
from sesame.errors import UserError
from sesame.health import bands
from sesame.health.check import Check, State, below, not_examined
from sesame.health.levels import Level, levels
from sesame.health.patient import Patient
from sesame.report import wording
from sesame.report.reading import Row

LOSS, TREND, REPEATED, GRADIENT, RUN = "loss", "held-out loss", "repeated data", "gradient norm", "training"
LINES = 6
"""Of the log, from which on gradient norms are looked at."""
ALIKE = "all that is to be predicted is alike (one code, one frame): there is nothing to learn"


def checks(patient: Patient) -> Iterator[Check]:
    """Everything that the log, with the levels of its losses, can say."""
    if patient.told.state == "imported":
        yield not_examined(RUN, "it was imported, not trained here: there is no log")
        return
    yield how_it_ended(patient.told.state, patient.told.reason)
    found = _levels(patient)
    if isinstance(found, str):
        yield not_examined(LOSS, found)
    else:
        for level in found:
            yield against(level, loss_of(level, patient), patient.ended, start_of(level, patient))
    fixed = found if isinstance(found, list) and not any(level.moving for level in found) else []
    yield along(patient.held_out, patient.training, fixed)
    if patient.kind == "text":  # images and sounds are meant to be seen for hundreds of epochs, never twice alike
        yield repeated(patient)
    yield gradient([row["gradient_norm"] for row in patient.logged], patient.recipe.optimizer.clip)


def _levels(patient: Patient) -> list[Level] | str:
    try:
        return list(levels(patient))
    except UserError as why:
        return str(why)


def loss_of(level: Level, patient: Patient) -> float | None:
    """The newest loss that goes with a level; that of training where nothing is held out."""
    if level.loss is not None:
        return level.loss
    rows = patient.training if level.training else patient.held_out or patient.training
    return next((float(row[key]) for row in rows[-1:] if (key := f"{level.term}.loss") in row), None)


def start_of(level: Level, patient: Patient) -> float:
    """The held-out loss before the first step, which freshly drawn weights owe to how they were drawn.

    Infinite for weights that began as another run's, which may know nearly all that there is, and where the held-out
    loss is not what goes with the level, or may rise while all is well.
    """
    if level.training or level.moving or level.loss is not None or patient.run.config.origin:
        return math.inf
    key = f"{level.term}.loss"
    return next((float(row[key]) for row in patient.held_out if row["step"] == 0 and key in row), math.inf)


# ------------------------------------------------------------------------------------------------ the run
def how_it_ended(state: str, reason: str) -> Check:
    """Whether training stopped by itself. What is not finite stops it (engine/loop.py), and says what to try."""
    expected = "runs, or ended as planned"
    if state == "failed" and "not finite" in reason:
        advice = (
            "Lower --optimizer.lr, warm up for longer (--optimizer.warmup), or train with --precision fp32; "
            "begin a new run."
        )
        return Check(RUN, "ill", "the loss or the gradient became infinite or NaN", expected, advice)
    if state == "failed":
        return Check(RUN, "ill", f"it failed: {reason}", expected, "Mend what it says, then sesame pretrain --resume.")
    if state == "killed":
        advice = "Memory is the commonest reason. Go on with sesame pretrain --resume."
        return Check(RUN, "doubtful", "its process is gone without a word", expected, advice)
    said = {"running": "still running", "finished": "finished", "interrupted": "stopped when asked"}
    return Check(RUN, "healthy", said.get(state, state), expected)


# ----------------------------------------------------------------------------------------------- the loss
def against(level: Level, loss: float | None, ended: bool, start: float = math.inf) -> Check:
    """A loss beside the level that needs no context, or where that is lower beside its own `start`.

    `ended`: the run has done all its steps.
    """
    name = f"{LOSS} ({wording.term(level.term)})"
    expected = f"below {level.plateau:.3g} ({level.what})"
    given = start < level.plateau
    if given:  # with the first weights: it is not learned
        expected = f"below {start:.3g} (its own start; {level.plateau:.3g} {level.what})"
        level = replace(level, plateau=start)
    if not level.way > 0:
        return not_examined(name, ALIKE)
    if loss is None:
        return not_examined(name, "nothing is logged of it yet", expected)
    progress = level.progress(loss)
    where = " in training" if level.training else ""
    reading = f"{loss:.3g}{where}, {max(progress, 0):.0%} of the way to {level.lowest:.3g}"
    if not progress >= bands.PLATEAU:  # NaN, too
        state: State = "ill" if ended else "doubtful"
        stays = "no better than at its start" if given else "on the plateau"
        reading = f"{loss:.3g}{where}: {stays if progress > -bands.PLATEAU else 'above it'}"
        advice = (
            "It has learned nothing yet that the data's frequencies do not say. Train for longer; if it stays there, "
            "try a higher --optimizer.lr with a longer --optimizer.warmup, or a lower one where the gradient norm "
            "jumps."
        )
        if level.term == "masked_lm" and not given:
            advice += " --pretext.embeddings counts and --backbone.start mimetic start off the plateau."
        return Check(name, state, reading, expected, advice, loss)
    if level.moving and progress > bands.TOO_GOOD:
        advice = (
            "One output for all images has this loss. Believe the rows on collapse; if they are healthy, the views "
        )
        advice += "may be too much alike: make them differ more (sesame data views shows them)."
        return Check(name, "doubtful", reading, f"{expected}, not quite {level.lowest:.3g}", advice, loss)
    return Check(name, "healthy", reading, expected, "", loss)


def along(held_out: Sequence[Row], training: Sequence[Row], fixed: Sequence[Level]) -> Check:
    """Whether the held-out loss has risen from its lowest. `fixed`: the levels of the terms, none where they move."""
    expected = "at most 3% of the way above its lowest"
    if not fixed:
        return not_examined(TREND, "its targets change as it learns, or its scale is not known, so it may well rise")
    if len(held_out) < 2:
        return not_examined(TREND, "it was evaluated less than twice", expected)
    scale = sum(level.way for level in fixed)
    if not scale > 0:
        return not_examined(TREND, ALIKE)
    losses = [row["loss"] for row in held_out]
    lowest, last = min(losses), losses[-1]
    risen = (last - lowest) / scale
    at = held_out[losses.index(lowest)]["step"]
    state = below(risen, bands.RISEN, bands.FAR_RISEN)
    if state == "healthy":
        quarter = losses[-1 - max(1, len(losses) // 4)]
        falling = " and falling" if quarter - last > 0.01 * abs(quarter) else ""
        lowest_of_all = "its lowest" if last == lowest else f"lowest {lowest:.3g} at step {at:,}"
        return Check(TREND, state, f"{last:.3g}, {lowest_of_all}{falling}", expected, "", risen)
    reading = f"{last:.3g}, up from {lowest:.3g} at step {at:,}"
    since = [row["loss"] for row in training if row["step"] >= at]
    few = max(1, len(since) // 4)  # a single line is too noisy to tell by
    learning = len(since) > 1 and statistics.fmean(since[-few:]) < statistics.fmean(since[:few])
    if learning:
        advice = f"It learns its data by heart: more of them, fewer steps, or the checkpoint near step {at:,}."
    else:
        advice = "Training's loss rose, too: it diverges. Lower --optimizer.lr, warm up for longer, or clip gradients "
        advice += "(--optimizer.clip 1)."
    return Check(TREND, state, reading, expected, advice, risen)


# ------------------------------------------------------------------------------------------ repeated data
def repeated(patient: Patient) -> Check:
    """How often the text was read, and whether the loss on text that was not read tells."""
    if not isinstance(patient.data, TextSet):
        return not_examined(REPEATED, patient.no_data)
    if not patient.logged:
        return not_examined(REPEATED, "nothing is logged yet")
    store = patient.data.store
    epochs = patient.logged[-1]["tokens"] / max(int(store.lengths[~store.held_out].sum()), 1)
    return passes(epochs, patient.held_out, patient.training)


def passes(epochs: float, held_out: Sequence[Row], training: Sequence[Row]) -> Check:
    """`epochs` passes over the text, with the losses on what is held out and in training."""
    expected = f"up to {bands.EPOCHS:.0f} passes, or held-out within {bands.GAP:.0%} of training"
    reading = f"each token read {epochs:.3g} times"
    if epochs <= bands.EPOCHS:
        return Check(REPEATED, "healthy", reading, expected, "", epochs)
    advice = (
        "Add text, train for fewer steps, or a smaller model. Up to 4 passes are about as good as new text "
        "(Muennighoff et al. 2023)."
    )
    if not held_out or not training:
        return Check(REPEATED, "doubtful", f"{reading}; no held-out loss says whether it matters", expected, advice)
    lately = training[-max(3, len(training) // 10) :]  # a single line is noisy
    ours, theirs = held_out[-1]["loss"], statistics.fmean(row["loss"] for row in lately)
    gap = (ours - theirs) / max(abs(theirs), 1e-9)
    reading += f"; held-out loss {gap:+.0%} from training's"
    return Check(REPEATED, below(gap, bands.GAP, bands.WIDE_GAP), reading, expected, advice, epochs)


# ------------------------------------------------------------------------------------------ gradient norm
def gradient(norms: Sequence[float], clip: float) -> Check:
    """Norms at the lines of the log, before clipping: spikes, growth, stillness. The first tenth, in which the rate
    still rises and norms are high, is left out."""
    expected = f"at most {bands.SPIKES:.0%} spikes ({bands.SPIKE:.0f}× the median around); no growth above "
    expected += f"{bands.GROWN:.0f}×"
    if len(norms) < LINES:
        return not_examined(GRADIENT, f"{len(norms)} lines are logged, and {LINES} are needed", expected)
    norms = norms[-(-len(norms) // 10) :]
    median = statistics.median(norms)
    share = spikes(norms)
    last, second = _quarter(norms, 3), _quarter(norms, 1)
    grown = last / second if second > 0 else 1.0
    reading = f"median {median:.3g}; {share:.0%} spikes; lately {grown:.2g}× that of before"
    if clip > 0:
        reading += f"; {sum(norm > clip for norm in norms) / len(norms):.0%} clipped at {clip:g}"
    if last < bands.STILL:
        advice = "Nothing moves any more: has it collapsed, or is its loss exactly at its lowest? See the other rows."
        return Check(GRADIENT, "ill", reading, expected, advice, median)
    state: State = "ill" if grown > bands.BLOWN_UP else "healthy"
    if state == "healthy" and (share > bands.SPIKES or grown > bands.GROWN):
        state = "doubtful"
    advice = "Lower --optimizer.lr, warm up for longer, or clip (--optimizer.clip 1)."
    return Check(GRADIENT, state, reading, expected, advice, median)


def spikes(norms: Sequence[float], around: int = 10) -> float:
    """The share of norms that are above SPIKE times the median of those at most so many lines away."""
    high = 0
    for i, norm in enumerate(norms):
        near = [*norms[max(0, i - around) : i], *norms[i + 1 : i + 1 + around]]
        high += norm > bands.SPIKE * statistics.median(near)
    return high / len(norms)


def _quarter(norms: Sequence[float], number: int) -> float:
    n = len(norms)
    return statistics.median(norms[number * n // 4 : (number + 1) * n // 4])
