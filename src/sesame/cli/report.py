"""`sesame report RUN… --out report.html`, and `--live`"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit
from sesame.errors import UserError

log = logging.getLogger("sesame")


@dataclass(frozen=True)
class Report:
    """What runs did, on one HTML page that needs no network: curves, measurements, fill examples, results, settings.

    Several runs are compared; those that differ by their seed alone become one curve with a band. No run folder is
    changed.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN…")]
    """Folders of pretraining runs, of fine-tuning, and of checkpoints that `sesame watch` measured."""
    out: Path = Path("report.html")
    """The page to write; replaces an older report, never another file."""
    figures: Path | None = None
    """Also write every figure here: as PNG, as SVG, and its numbers as CSV."""
    text: UseAppendAction[tuple[str, ...]] = ()
    """A text with one [MASK] for the fill examples, instead of held-out sentences; may be given several times."""
    live: bool = False
    """Write nothing: serve the page to this machine alone, and make it anew while the run trains, until Ctrl-C."""
    port: int = 8642
    """Where --live serves it; 0 for any free one."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def report_command(argv: list[str]) -> int:
    options = options_of(Report, argv, "sesame report")
    if not options.runs:
        raise UserError("a report on what? Name one or more run folders: sesame report RUN… --out report.html")
    for text in options.text:
        if text.count("[MASK]") != 1:
            raise UserError(
                f"--text {text!r}: {text.count('[MASK]')} [MASK]s. Write exactly one, where a word is missing."
            )
    paths = list(options.runs)
    if options.live:
        return _serve(paths, options)
    from sesame.report import page
    from sesame.report.folders import open_folders
    from sesame.report.report import compose

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


def _serve(paths: list[Path], options: Report) -> int:
    if options.figures:
        raise UserError("--live writes nothing, so --figures does not go with it. Leave one of the two out.")
    import torch

    from sesame.report.live import LOOPBACK, Live, server

    torch.set_num_threads(1)  # beside a training that needs the cores
    live = Live(paths, options.text)
    with server(live, options.port) as serving:  # a port that is taken is said at once
        live.make()
        url = f"http://{LOOPBACK}:{serving.server_port}/"
        says = f"Open {url} in a browser on this machine. It follows the run; Ctrl-C ends it."
        emit("report", {"url": url}, says, as_json=options.json, path=None)
        sys.stdout.flush()  # somebody waits for the address, perhaps at the end of a pipe
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            log.info("\nNo longer served. A page that stays: sesame report %s", " ".join(map(str, paths)))
    return 0
