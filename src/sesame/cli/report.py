"""`sesame report RUN… --out report.html`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from sesame.cli.output import emit
from sesame.errors import UserError


@dataclass(frozen=True)
class Report:
    """What runs did, on one HTML page that needs no network: curves, fill examples, results, settings.

    Several runs are compared. No run folder is changed.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN…")]
    """Folders of pretraining runs and of fine-tuning."""
    out: Path = Path("report.html")
    """The page to write; replaces an older report, never another file."""
    figures: Path | None = None
    """Also write every figure here: as PNG, as SVG, and its numbers as CSV."""
    text: UseAppendAction[tuple[str, ...]] = ()
    """A text with one [MASK] for the fill examples, instead of held-out sentences; may be given several times."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def report_command(argv: list[str]) -> int:
    options = tyro.cli(Report, args=argv, prog="sesame report", config=(FlagCreatePairsOff,))
    if not options.runs:
        raise UserError("a report on what? Name one or more run folders: sesame report RUN… --out report.html")
    for text in options.text:
        if text.count("[MASK]") != 1:
            raise UserError(
                f"--text {text!r}: {text.count('[MASK]')} [MASK]s. Write exactly one, where a word is missing."
            )
    from sesame.report import page
    from sesame.report.reading import open_folders
    from sesame.report.report import compose

    paths = list(options.runs)
    opened = open_folders(paths)
    page.check_out(options.out, paths)
    if options.figures:
        page.check_outside(options.figures, paths)
    report = compose(*opened, options.text)
    size = page.write(report, options.out)
    drawn = list(report.figures)
    written = [path for figure in drawn for path in figure.export(options.figures)] if options.figures else []
    result = {
        "out": options.out,
        "bytes": size,
        "runs": {run.label: run.state for run in report.runs},
        "finetuned": {tuning.label: tuning.names for tuning in report.tunings},
        "figures": [figure.name for figure in drawn],
        "files": written,
        "notes": report.notes,
    }
    says = [f"Written: {options.out} ({size / 1e6:.1f} MB, {len(drawn)} charts). Open it in a browser."]
    if options.figures:
        says.append(f"Figures as PNG, SVG and CSV: {options.figures}")
    emit("report", result, *report.notes, *says, as_json=options.json, path=None)
    return 0
