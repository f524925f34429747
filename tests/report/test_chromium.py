"""The page in a real browser: every chart is drawn at the width of its place, on a phone and on a desk."""

import json
import re
import shutil
import subprocess

import pytest
from report_folders import recipe, write_run, write_tuning

from sesame import config
from sesame.report import page
from sesame.report.reading import open_folders
from sesame.report.report import compose

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=5000",
    "--dump-dom",
]  # fmt: skip
ERRORS = "<script>window.failures = []; addEventListener('error', (e) => failures.push(e.message));</script>"
LOOK = """<script>setTimeout(() => {
  const charts = [...document.querySelectorAll('.chart')].map((place) => {
    const svg = place.querySelector('svg');
    return {name: place.id, drawn: svg !== null && svg.querySelectorAll('path').length > 3,
            wide: svg && Number(svg.getAttribute('width')), room: place.clientWidth};
  });
  const page = {failures, charts, width: innerWidth, scroll: document.documentElement.scrollWidth,
                hidden: getComputedStyle(document.querySelector('.over-time')).visibility};
  document.querySelector('[value=time]').click();
  page.shown = getComputedStyle(document.querySelector('.over-time')).visibility;
  parent.postMessage(page, '*');
}, 3000);</script>"""
FRAME = """<!doctype html><iframe src="{page}" style="border: 0; width: {width}px; height: {height}px"></iframe>
<script>addEventListener('message', (e) => {{
  const out = document.createElement('pre');
  out.id = 'seen';
  out.textContent = JSON.stringify(e.data);
  document.body.append(out);
}});</script>"""
"""A window of Chromium's is at least 500 pixels wide, a frame in it may be narrower."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    write_run(folder / "a-run-with-a-rather-long-name")
    write_run(folder / "pairs", recipe(pretext=config.Bert(next_sentence=1.0)), terms=("masked_lm", "next_sentence"))
    write_tuning(folder / "tuned")
    text = page.render(compose(*open_folders(sorted(path for path in folder.iterdir()))))
    head, body = text.split("\n<body>\n", 1)  # the library speaks of bodies, too
    body = body[: body.rindex("</body>")]
    (folder / "watched.html").write_text(f"{head}<body>{ERRORS}{body}{LOOK}</body></html>")
    return folder / "watched.html"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_page(made, tmp_path, width, height):
    (frame := tmp_path / "frame.html").write_text(FRAME.format(page=made.as_uri(), width=width, height=height))
    done = subprocess.run(
        [CHROMIUM, *FLAGS, "--window-size=1400,1000", f"--user-data-dir={tmp_path / 'browser'}", frame.as_uri()],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)[1].replace("&amp;", "&"))
    assert seen["failures"] == []
    assert len(seen["charts"]) == 10 + 8 + 1
    assert [chart["name"] for chart in seen["charts"] if not chart["drawn"]] == []
    assert [
        chart for chart in seen["charts"] if chart["wide"] > chart["room"] or chart["wide"] < 0.9 * chart["room"]
    ] == []
    assert seen["width"] == width
    assert seen["scroll"] <= width
    assert (seen["hidden"], seen["shown"]) == ("hidden", "visible")
