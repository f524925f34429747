"""What features are worth beside those of a random network and the raw input, where there are labels to tell by."""

import math
from collections.abc import Iterator

from sesame.errors import UserError
from sesame.health import bands
from sesame.health.check import Check, State, not_examined
from sesame.health.patient import NotMeasured, Patient
from sesame.report.reading import Row

OVER_RANDOM, OVER_RAW = "gain over a random network", "gain over raw features"


def checks(patient: Patient) -> Iterator[Check]:
    """Labels told right by the nearest neighbours, in three kinds of features."""
    try:
        probe, source, raw = _labelled(patient)
        ours = patient.probe(probe, source).row("knn")
        known = patient.probe(probe, source).row(raw)
        theirs = patient.probe(probe, source, random=True).row("knn")
    except UserError as why:
        yield from (not_examined(name, str(why)) for name in (OVER_RANDOM, OVER_RAW))
        return
    yield over_random(ours, theirs)
    yield over_raw(ours, known)


def _labelled(patient: Patient) -> tuple[str, str, str]:
    """The probe that tells labels, its source, and its metric of the raw features."""
    if patient.kind == "images":
        return "neighbours", "", "knn_pixels"
    if patient.kind == "speech":
        for probe in patient.recipe.watch.probes:
            if probe.name == "frames" and probe.source:
                return "frames", probe.source, "knn_log_mel"
        raise NotMeasured(
            "no labels are known: pretrain with --probe frames=LABELS.tsv, or compare with sesame finetune"
        )
    raise NotMeasured("text has no labels of its own: sesame finetune compares with scratch and with TF-IDF")


def clear(ours: Row, theirs: Row) -> tuple[float, float]:
    """The difference of two shares, and how many standard errors it is (of two samples of their sizes)."""
    gain = ours["value"] - theirs["value"]
    # Two thirds of one answer are added to either side, so that all right has an error, too (Agresti & Coull 1998).
    error = math.sqrt(sum(_variance(row["value"], row["n"]) for row in (ours, theirs)))
    return gain, gain / error


def _variance(share: float, n: int) -> float:
    p = (share * n + 2) / (n + 4)
    return p * (1 - p) / (n + 4)


def over_random(ours: Row, theirs: Row) -> Check:
    """Ill where training has clearly made it worse than the draw it began with."""
    gain, errors = clear(ours, theirs)
    state: State = "healthy" if errors > bands.ERRORS else "ill" if errors < -bands.ERRORS else "doubtful"
    if state == "doubtful" and gain >= 0 and theirs["value"] >= bands.CEILING:
        state = "healthy"
    advice = "What it has learned does not help to tell these labels. Train for longer; look at collapse and rank; ask "
    advice += "whether the views keep what the labels are about (sesame data views)."
    return Check(OVER_RANDOM, state, _said(gain, ours, theirs), _EXPECTED, advice, gain)


def over_raw(ours: Row, known: Row) -> Check:
    """Never ill: raw features may be good, and a young network is not yet better."""
    gain, errors = clear(ours, known)
    near = errors > -bands.ERRORS and known["value"] >= bands.CEILING
    state: State = "healthy" if errors > bands.ERRORS or near else "doubtful"
    advice = "The input itself tells as much. Train for longer, on more data, or with a larger backbone."
    return Check(OVER_RAW, state, _said(gain, ours, known), _EXPECTED, advice, gain)


_EXPECTED = f"more than {bands.ERRORS:.0f} standard errors, unless {bands.CEILING:.0%} are told right without"


def _said(gain: float, ours: Row, theirs: Row) -> str:
    return f"{100 * gain:+.1f} points ({ours['value']:.1%} against {theirs['value']:.1%})".replace("-", "−")
