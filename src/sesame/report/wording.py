"""Numbers, runs and results in plain words."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

from sesame import config, models, pretext
from sesame.report import reading
from sesame.report.probe_reading import Cohort
from sesame.report.reading import FineTuning, Pretraining, is_clear, is_tied
from sesame.tasks.comparison import Gain, Mean, Point, Result

COLUMN_NAMES = {
    "majority": "majority",
    "tfidf": "TF-IDF",
    "spread": "mel statistics",
    "raw": "raw features",
    "random": "random, frozen",
    "embeddings": "embeddings",
    "frozen": "frozen",
    "scratch": "scratch",
    "pretrained": "pretrained",
}
"""Of results; text has the first two, embeddings and the last two."""
_ARMS = {
    "pretrained": "starts from the run",
    "scratch": "starts from fresh weights",
    "embeddings": "has the run's embeddings alone",
    "frozen": "reads off the run's features as they are",
    "random": "reads off those of fresh weights",
    "raw": "reads off what a network is given",
}
METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "entity_f1": "entity F1",
    "f1": "F1",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "exact": "exact match",
    "em": "exact match",
    "exact_match": "exact match",
}


def quantity(value: float) -> str:
    """1,234 · 45,600 · 3.9 million · 1.2 billion"""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:,.0f}"


def short(value: float) -> str:
    """Three digits: 812 · 79.5k · 1.23M"""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def several(names: Sequence[str]) -> str:
    """verbs, nouns and adjectives"""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def duration(seconds: float) -> str:
    """48 seconds · 5.2 minutes · 3.1 hours"""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def percent(share: float) -> str:
    return f"{share:.1%}"


def points(value: float) -> str:
    """A score in hundredths: 74.3"""
    return f"{100 * value:.1f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference of scores in hundredths: +5.4"""
    return f"{100 * value:+.1f}".replace("-", "−")


def score(mean: float, se: float | None) -> str:
    """74.3 ± 0.5"""
    return points(mean) + (f" ± {points(se)}" if se is not None else "")


def gain(value: Gain) -> str:
    """+5.4 ± 0.8"""
    return signed(value.mean) + (f" ± {points(value.se)}" if value.se is not None else "")


def number(value: float, percent: bool) -> str:
    """A measurement: 12.3% where it is a share, else four digits."""
    return f"{value:.1%}" if percent else f"{value:.4g}".replace("-", "−")


def day(time: float) -> str:
    """22 November 2026, 18:32 UTC"""
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def metric(name: str) -> str:
    return METRIC_NAMES.get(name, name.replace("_", " "))


_TERMS = {
    "apc": "APC",
    "best_rq": "BEST-RQ",
    "byol": "BYOL",
    "cbow": "CBOW",
    "cpc": "CPC",
    "hubert": "HuBERT",
    "moco": "MoCo",
    "nt_xent": "NT-Xent",
    "simsiam": "SimSiam",
    "tera": "TERA",
}


def term(name: str) -> str:
    """A term of the loss, as its paper spells it: masked_lm -> masked LM."""
    return _TERMS.get(name, name.replace("_", " ").replace(" lm", " LM"))


# ------------------------------------------------------------------------------------------- probes
LEVELS = {
    "chance": "guessing",
    "unigram": "by word frequency alone",
    "majority": "always the most frequent answer",
    "word_majority": "the most frequent answer for each word",
    "tfidf": "TF-IDF",
    "pixels": "from the pixels",
    "log_mel": "from the log-mel bands",
    "copy": "repeating the last frame",
    "mean": "always the mean frame",
}
"""Ends of metrics that are a level for the metric of the name before it: what needs no network, or no learning."""
_MEASURES = {
    "rankme": "RankMe",
    "rankme_share": "RankMe, share of the width",
    "alpha_req": "decay of the variances (α-ReQ)",
    "cka": "CKA",
    "cka_first": "CKA with the first step",
    "cka_previous": "CKA with the step before",
    "knn": "nearest neighbours (kNN)",
    "linear": "linear probe",
    "heads": "heads by their pattern",
    "ece": "expected calibration error",
    "brier": "Brier score",
    "std": "standard deviation",
    "std_share": "deviation, share of 1/√d",
    "pos_accuracy": "parts of speech told right",
    "relation_accuracy": "dependency relations told right",
    "content_accuracy": "which word a sentence has, told right",
    "length_accuracy": "length of a sentence told right",
    "pos_control_accuracy": "random tags of words told right",
    "pos_selectivity": "parts of speech, above random tags",
}
_GROUPS = {
    "attention": "pattern",
    "minimal-pairs": "phenomenon",
    "cloze": "relation",
    "linear": "part of speech",
}
WORD_CLASSES, DOWNSTREAM = "word-classes", "downstream"
CLASSES = ("determiner", "conjunction", "preposition", "pronoun", "auxiliary", "adverb", "verb", "noun", "adjective",
           "proper noun")  # fmt: skip
"""In the order of Chiang et al. 2020."""
_SHARES = ("accuracy", "confidence", "reliability", "share", "top1", "top10", "knn", "linear", "selectivity",
           "majority")  # fmt: skip


def measured(found: Sequence[Cohort]) -> list[str]:
    """What the curves of one or several runs are, and how they are marked."""
    said = []
    for cohort in found:
        if len(cohort.members) > 1:
            names = ", ".join(member.label for member in cohort.members)
            said.append(f"{names} differ by their seed alone: a line is their mean, at the steps that all have, and a "
                        "band spans the lowest and the highest of them.")  # fmt: skip
        if cohort.behind:
            said.append(f"{cohort.label} differs from {cohort.behind} by its seed alone, but has come less than half "
                        "as far: until then it is drawn by itself.")  # fmt: skip
    if any(len(cohort.members) == 1 for cohort in found):
        said.append("Where a number has a band, that is its 95% interval.")
    forms = {row["form"] for cohort in found for m in cohort.members for rows in m.values.values() for row in rows}
    if len(forms) > 1:
        said.append("Small dots are light measurements beside training, large ones full measurements.")
    return said


def probe(name: str, on: str = "") -> str:
    """word-classes -> Word classes; the name of a user's file without its folder; after it, what it is measured on."""
    words = Path(name).stem.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:] + (f": {on}" if on else "")


def measure(name: str) -> str:
    """mask_prediction_matched -> mask prediction, at matched word frequency."""
    for end, said in (("_matched", ", at matched word frequency"), ("_frozen", ", of a head on the frozen backbone")):
        if name.endswith(end):
            return measure(name.removesuffix(end)) + said
    return _MEASURES.get(name) or metric(name)


def group(name: str) -> str:
    """What the groups of a probe are."""
    return _GROUPS.get(name, "group")


def is_share(name: str) -> bool:
    """Whether a metric of that name is a share, and so written in per cent."""
    return name.rpartition("_")[2] in _SHARES


# ------------------------------------------------------------------------------------------- runs
def source(recipe: config.Recipe) -> str:
    data = recipe.data
    place = data.store if isinstance(data, config.TextData) else data.source
    return (Path(place).name if Path(place).is_absolute() else place) or "data of unknown name"


def machine(run: Pretraining) -> str:
    """Where it ran."""
    m = run.run.config.machine
    if not m:
        return ""
    where = m.get("cpu", "a CPU") if m.get("device", "cpu") == "cpu" else m["device"]
    threads, processes = m.get("threads", "1"), m.get("processes", "1")
    count = f"{threads} thread{'s' * (threads != '1')}"
    if processes != "1":
        count += f" in each of {processes} processes"
    return f"{where}, {count}, torch {m.get('torch', 'of unknown version')}"


def state(run: Pretraining) -> str:
    """How the run stands, in a word or two."""
    return {
        "running": "still running",
        "finished": "finished",
        "interrupted": "stopped early",
        "failed": "failed",
        "imported": "imported",
        "killed": "killed",
    }.get(run.state, run.state)


def account(run: Pretraining) -> str:
    """What was run, when, on what machine, and how it ended."""
    recipe = run.run.recipe
    shape, task = models.in_words(recipe.backbone), pretext.in_words(recipe.pretext)
    if run.state == "imported":
        return f"{recipe.name}: {shape}, imported from {run.run.config.origin}. It was not trained here."
    said = [f"{recipe.name}: {shape}, trained by {task} on {source(recipe)}"]
    if run.run.config.origin:
        said[0] += f", starting from {run.run.config.origin}"
    if run.began:
        said.append(f"Begun {day(run.began)}" + (f" on {machine(run)}" if machine(run) else ""))
    at, spent = (
        f"step {run.step:,} of {recipe.steps:,}",
        f"{quantity(run.tokens)} {run.unit} and {duration(run.seconds)}",
    )
    said.append(
        {
            "running": f"It is still running, at {at}, after {spent}: these are the numbers so far",
            "finished": f"Finished after {run.step:,} steps, {spent}",
            "interrupted": f"Stopped at {at}, after {spent}" + (f" ({run.reason})" if run.reason else ""),
            "failed": f"It failed at {at}: {run.reason or 'the reason was not written down'}",
            "killed": f"Its process is gone without a word, at {at}, after {spent}",
        }[run.state]
    )
    return ". ".join(part.rstrip(".") for part in said) + "."


def key_numbers(run: Pretraining) -> list[tuple[str, str]]:
    """What a run came to: (name, value)."""
    last = run.held_out[-1] if run.held_out else {}
    found = [("held-out loss", f"{last['loss']:.2f}")] if last else []
    for name in run.terms:
        if f"{name}.accuracy" in last:
            whose = f"{term(name)} " if len(run.terms) > 1 else ""
            found.append((f"{whose}accuracy", percent(last[f"{name}.accuracy"])))
    found += [(run.unit, quantity(run.tokens)), ("time", duration(run.seconds))]
    if run.seconds:
        found.append((f"{run.unit} a second", quantity(run.tokens / run.seconds)))
    return found


def tuning_account(tuning: FineTuning) -> str:
    """What was fine-tuned."""
    what = f"{len(tuning.names)} task{'s' * (len(tuning.names) != 1)}: {', '.join(tuning.names) or 'none yet'}"
    whose = f" of {tuning.run}" if tuning.run else ""
    if not tuning.finished:
        return f"Fine-tuning{whose} on {what}. It is not finished: there is no result.json, only the curves so far."
    took = f", in {duration(tuning.seconds)}" if tuning.seconds else ""
    return f"Fine-tuning{whose} on {what}{took}."


# ------------------------------------------------------------------------------------------- results
def about_task(result: Result) -> str:
    """How much data, what was learned at which rates, and what was not taken as it stands."""
    said = [
        f"{result.train:,} examples to train on, {result.dev:,} for dev and {result.test:,} for test; "
        f"measured by {metric(result.metric)}"
    ]
    if result.copied is not None:
        said.append(f"The source, copied, scores {result.copied:.3f}")
    if result.lr:
        said.append("Peak learning rates: " + ", ".join(f"{arm} {rate:g}" for arm, rate in result.lr.items()))
    if result.notes:
        said.append("Of the examples: " + ", ".join(f"{count:,} {what}" for what, count in result.notes.items()))
    return ". ".join(said) + "."


def arms_told(arms: Sequence[str]) -> str:
    """What tasks were learned from."""
    return f"Each task is learned from several starts: {'; '.join(f'{arm} {_ARMS[arm]}' for arm in arms)}."


def verdict(result: Point) -> str:
    """Whether pretraining was worth it on a task, and what it does not beat."""
    said = []
    if result.over_random and (frozen := reading.score(result, "frozen")):
        rivals = [("raw", "raw features"), ("spread", "mel statistics"), ("majority", "majority")]
        said.append(
            f"frozen features: {outcome(result.over_random)} over a random network{_unbeaten(result, frozen, rivals)}"
        )
    if result.gain and (pretrained := reading.score(result, "pretrained")):
        rivals = [
            ("embeddings", "embeddings alone"),
            ("tfidf", "TF-IDF"),
            ("spread", "mel statistics"),
            ("majority", "majority"),
            ("copied", "the source, copied"),
        ]
        begin = "fine-tuned: " if said else ""
        said.append(begin + outcome(result.gain) + _unbeaten(result, pretrained, rivals))
    said += [f"{name}: {outcome(gain)}" for name, gain in result.gains.items()]
    return "; ".join(said) or "no comparison"


def outcome(gain: Gain) -> str:
    """Whether a gain is more than chance, and by which rule."""
    if gain.se is None:
        return "one seed, so no error is known"
    what = "gain" if gain.mean > 0 else "loss"
    if is_tied(gain):
        return f"the same {what} with every seed, so no error can be told"
    if is_clear(gain):
        return f"clear {what} (more than two standard errors)"
    return "no clear difference (not more than two standard errors)"


def _unbeaten(result: Point, ours: Mean, rivals: Sequence[tuple[str, str]]) -> str:
    names = [name for column, name in rivals if (s := reading.score(result, column)) and s.mean >= ours.mean]
    return f"; not above {' and '.join(names)}" if names else ""


def columns(results: Iterable[Result]) -> dict[str, str]:
    """The columns of `COLUMN_NAMES` that some result has."""
    points = [point for result in results for point in (result, *result.labels.values())]
    return {
        name: shown
        for name, shown in COLUMN_NAMES.items()
        if any(reading.score(point, name) is not None for point in points)
    }


def best_column(result: Point) -> str:
    """The column with the highest score, "" where there is none."""
    scores = {column: score.mean for column in COLUMN_NAMES if (score := reading.score(result, column))}
    return max(scores, key=lambda column: scores[column], default="")


def conclusion(results: Sequence[Result]) -> str:
    """All tasks in one sentence."""
    gains = [gain for result in results if (gain := reading.gain_of(result))]
    if not gains:
        return "No task has a comparison yet."
    fewest = [gain for result in results if (few := _fewest(result)) and (gain := reading.gain_of(few))]
    worse = sum(is_clear(gain) and gain.mean < 0 for gain in gains)
    tasks = f"{len(gains)} task{'s' * (len(gains) != 1)}"
    said = f"On {_gained(gains)} of {tasks}"
    said += f", and from the fewest labels on {_gained(fewest)} of {len(fewest)}" if fewest else ""
    said += f", pretraining gains more than two standard errors over {_rival(results)}"
    said += f"; on {worse} it loses more than that" if worse else ""
    tied = sum(map(is_tied, gains))
    return said + (f"; on {tied} all seeds differ alike, so an error of 0 says little." if tied else ".")


def _gained(gains: Sequence[Gain]) -> int:
    return sum(is_clear(gain) and gain.mean > 0 for gain in gains)


def _fewest(result: Result) -> Point | None:
    """The result from the smallest number of labels, where it was learned from several."""
    sizes = [int(size) for size in result.labels if int(size) > 0]
    return result.labels[str(min(sizes))] if sizes else None


def _rival(results: Sequence[Result]) -> str:
    """What pretraining is compared with."""
    found = [("training from scratch", any(r.gain for r in results)),
             ("a random network that is not trained", any(r.over_random and not r.gain for r in results))]  # fmt: skip
    return " or ".join(name for name, there in found if there)
