"""The report as one HTML file that needs nothing else: style, charts and the library that draws them are in it."""

import json
import os
import time
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from sesame.errors import UserError
from sesame.report import reproduce, wording
from sesame.report.acquisition_figures import HEADS
from sesame.report.curves import by_labels
from sesame.report.figures import Look
from sesame.report.pretraining_figures import units
from sesame.report.reading import gain_of, score
from sesame.report.report import Report, differences, settings, text_in
from sesame.report.task_figures import ARM_LOOKS

GENERATOR = "sesame report"
_MARK = f'<meta name="generator" content="{GENERATOR}'


def check_out(out: Path, paths: list[Path]) -> None:
    """Raise UserError where `out` is a file that no report left there, or lies in a folder that the report is about."""
    check_outside(out, paths)
    if out.is_dir():
        raise UserError(f"{out} is a folder. Name the file to write, for example --out {out / 'report.html'}.")
    if out.exists() and _MARK not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise UserError(f"{out} exists and is no report of sesame; it is left as it is. Choose another --out.")


def check_outside(place: Path, paths: list[Path]) -> None:
    """Raise UserError where `place` lies in one of the folders that the report is about, which it never changes."""
    for path in paths:
        if place.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{place} lies in {path}, which a report does not change. Write it somewhere else.")


def write(report: Report, out: Path) -> int:
    """Write the page; how many bytes it has."""
    return put(render(report), out)


def put(page: str, out: Path) -> int:
    """Write a page, beside its final name first; how many bytes it has."""
    content = page.encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    return len(content)


def render(report: Report, live: str = "") -> str:
    """The whole page. One with a stamp in `live` asks its server for newer ones (`report.live`)."""
    return rendered(
        _file("page.html"),
        GENERATOR,
        report=report,
        live=live,
        say=wording,
        reproduce=reproduce,
        arms=[look for look in ARM_LOOKS if look.name in report.arms],
        by_labels=by_labels,
        score_of=score,
        gain_of=gain_of,
        units=units(report.runs),
        columns=wording.columns([result for _, result in report.results]),
        settings=settings,
        differences=differences(report.runs),
        text_in=text_in,
        order_heads=HEADS,
    )


def rendered(template: str, generator: str, **values: Any) -> str:
    """A page from the text of a template, which also has the style, the script and the library of all our pages."""
    return _template(template).render(
        generator=f"{generator} {version('sesame-ssl')}",
        made=wording.day(time.time()),
        style=Markup(_file("page.css")),
        script=Markup(_file("page.js")),
        library=Markup(_library()),
        **values,
    )


def _template(text: str) -> jinja2.Template:
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["script_json"] = script_json
    made.filters["swatch"] = swatch
    return made.from_string(text)


def script_json(value: Any) -> Markup:
    """JSON that can stand inside a script element."""
    return Markup(json.dumps(value, allow_nan=False, ensure_ascii=False).replace("<", "\\u003c"))


def swatch(look: Look) -> Markup:
    """A piece of the line with its dot, for the key above the charts."""
    path = {
        "circle": "M14 7a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "square": "M14.5 3.5h7v7h-7z",
        "triangle-up": "M18 2.5l4.5 8h-9z",
        "diamond": "M18 2l4 5-4 5-4-5z",
        "cross": "M16.5 2.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
        "triangle-down": "M18 11.5l4.5-8h-9z",
    }[look.shape]
    dash = " ".join(map(str, look.dash)) if look.dash != (1, 0) else "none"
    return Markup(
        '<svg class="swatch" width="36" height="14" aria-hidden="true"><path d="M0 7h36" fill="none" stroke="{0}" '
        'stroke-width="2" stroke-dasharray="{1}"/><path d="{2}" fill="{0}"/></svg>'
    ).format(look.colour, dash, path)


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed (BSD 3-clause), which set `window.vegaEmbed`."""
    return str(vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")


def _file(name: str) -> str:
    return files("sesame.report").joinpath(name).read_text(encoding="utf-8")
