"""`sesame data listen SOURCE`: what a speech source holds, and what was left out of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from sesame import config
from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError

if TYPE_CHECKING:
    from sesame.data.utterance import Utterance

MOST = 15
"""Labels and speakers that the table shows; result.json has all."""


@dataclass(frozen=True)
class Listen:
    """What a speech source holds: utterances, hours, speakers, labels, rates, and what was left out and why."""

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """A folder of .wav, .flac, .ogg files, a manifest (.tsv, .jsonl), or espeak (built in)."""
    label: str = "label"
    """Column of the manifest, or field of --pattern, that is the label."""
    pattern: str = ""
    """What a file's name says: {digit}_{speaker}_{take}, or by length {speaker:2}{text:3}{emotion:1}{take}."""
    skip_bad: bool = False
    """Leave out what cannot be used, count and report it, instead of stopping."""
    espeak: config.Espeak = field(default_factory=config.Espeak)
    """What the source espeak says."""
    picture: Path | None = None
    """Also draw some spectrograms into this PNG file."""
    shown: int = 12
    """How many spectrograms, of utterances from all over the source."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def listen_command(argv: list[str]) -> int:
    options = options_of(Listen, argv, "sesame data listen")
    if options.shown < 1:
        raise UserError(f"--shown {options.shown}: at least one spectrogram.")
    if options.picture is not None:
        if options.picture.suffix != ".png":
            raise UserError(f"--picture {options.picture}: a picture is drawn. Give a name that ends in .png.")
        check_free("--picture", options.picture)
    from sesame.data.sources import Skips
    from sesame.data.utterances import utterances

    data = config.SpeechData(
        source=options.source,
        label=options.label,
        pattern=options.pattern,
        skip_bad=options.skip_bad,
        espeak=options.espeak,
    )
    skips = Skips()
    found = utterances(data, skips)
    skipped = {reason: (skip.count, skip.examples) for reason, skip in skips.report().items()}
    result, shown = _described(options.source, found)
    result["skipped"] = {reason: {"count": n, "examples": list(of)} for reason, (n, of) in skipped.items()}
    if skipped:
        rows = [(reason, count, "\n".join(examples)) for reason, (count, examples) in skipped.items()]
        shown.append(table("Left out", ["why", "how many", "for example"], rows))
    if options.picture is not None:
        from sesame.data.spectrograms import spectrograms

        options.picture.parent.mkdir(parents=True, exist_ok=True)
        spectrograms(found, data, options.shown).save(options.picture)
        result["picture"] = str(options.picture)
        shown.append(f"Spectrograms: {options.picture}")
    emit("data listen", result, *shown, as_json=options.json, path=options.result)
    return 0


def _described(source: str, found: Sequence["Utterance"]) -> tuple[dict[str, Any], list[Any]]:
    """The numbers, and tables of them."""
    import numpy as np

    seconds = np.array([u.seconds for u in found])
    counts = {
        "speakers": Counter(u.speaker for u in found if u.speaker),
        "labels": Counter(u.label for u in found if u.label),
        "splits": Counter(u.split for u in found if u.split),
        "rates": Counter(str(u.rate) for u in found),
        "channels": Counter(str(u.channels) for u in found),
        "phones": Counter(p.name for u in found for p in u.phones),
    }
    fields = sorted({name for u in found for name, value in u.fields.items() if value})
    shortest, middle, longest = np.quantile(seconds, (0.0, 0.5, 1.0)).tolist()
    result: dict[str, Any] = {
        "source": source,
        "utterances": len(found),
        "distinct": len({u.key for u in found}),
        "hours": seconds.sum() / 3600,
        "seconds": {"shortest": shortest, "median": middle, "longest": longest},
        "with_text": sum(bool(u.text) for u in found),
        "fields": fields,
        **{name: dict(of.most_common()) for name, of in counts.items()},
    }
    rows = [
        ("utterances", f"{len(found):,}"),
        ("of these distinct", f"{result['distinct']:,}"),
        ("hours", f"{result['hours']:.3f}"),
        ("seconds, shortest, median, longest", f"{shortest:.2f}, {middle:.2f}, {longest:.2f}"),
        ("with a text", f"{result['with_text']:,}"),
        ("speakers", _few(counts["speakers"])),
        ("labels", _few(counts["labels"])),
        ("splits", _few(counts["splits"])),
        ("samples a second", _few(counts["rates"])),
        ("channels", _few(counts["channels"])),
        ("phones", _few(counts["phones"])),
        ("what is known of them", ", ".join(fields) or "nothing"),
    ]
    return result, [table(source, ["", ""], rows)]


def _few(counts: "Counter[str]") -> str:
    """How many there are, and the most frequent."""
    if not counts:
        return "unknown"
    few = ", ".join(f"{name} {n:,}" for name, n in counts.most_common(MOST))
    return f"{len(counts)}: {few}{', …' if len(counts) > MOST else ''}"
