"""The page in a real browser, on a phone and on a desk: charts fit, points can be clicked, a live page goes on."""

import html
import json
import re
import shutil
import subprocess
import threading
from typing import ClassVar

import pytest
from report_folders import CLASSES, MEASURED, recipe, word_classes, write_probes, write_run, write_tuning

from sesame import config
from sesame.probes.base import Item
from sesame.report import examples, page
from sesame.report.folders import open_folders
from sesame.report.live import Live, server
from sesame.report.report import compose

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=5000",
    "--dump-dom",
]  # fmt: skip
ERRORS = "<script>window.failures = []; addEventListener('error', (e) => failures.push(e.message));</script>"
LOOK = """<script>
const places = () => [...document.querySelectorAll('.chart')];
const pause = () => new Promise((done) => setTimeout(done, 50));
const drawn = async () => { while (!places().every((place) => place.querySelector('svg'))) await pause(); };
const visible = (name) => getComputedStyle(document.querySelector(name)).visibility;
const cards = (form) => [...form.querySelectorAll('.card')].map((card) => card.innerText.replace(/\\s+/g, ' ').trim());

// The topmost thing under a point of the chart, as a finger would meet it.
function touch(chart, series, step) {
  const dots = [...chart.querySelectorAll('path')].filter((path) => {
    const of = path.__data__?.datum;
    return of?.series === series && of?.step === step && of?.kind === 'curve';
  });
  dots.at(-1).scrollIntoView({block: 'center'});
  const box = dots.at(-1).getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(x, y);
  top.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: x, clientY: y}));
}

async function look() {
  await drawn();
  await pause();
  const charts = places().map((place) => {
    const svg = place.querySelector('svg');
    return {name: place.id, drawn: svg.querySelectorAll('path').length > 3,
            wide: Number(svg.getAttribute('width')), room: place.clientWidth};
  });
  const page = {failures, charts, width: innerWidth, scroll: document.documentElement.scrollWidth};
  page.hidden = visible('.over-time');
  document.querySelector('[value=time]').click();
  page.shown = visible('.over-time');

  const name = 'learned-word-classes-mask-prediction';
  const form = document.querySelector(`[data-examples="${name}"]`);
  page.before = cards(form);
  touch(document.getElementById(name), 'determiner', 100);
  page.clicked = {cards: cards(form), series: form.elements.series.value,
                  step: form.elements.step.selectedOptions[0].text};
  form.elements.series.value = 'noun';
  form.elements.step.selectedIndex = form.elements.step.options.length - 1;
  form.dispatchEvent(new Event('change', {bubbles: true}));
  page.chosen = cards(form);
  await pause();
  page.faint = document.getElementById(name).querySelectorAll('.mark-line path[opacity="0.15"]').length;
  page.after = document.documentElement.scrollWidth;
  parent.postMessage(page, '*');
}
look();</script>"""
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
    """A page that looks at itself, and how many charts it should have."""
    folder = tmp_path_factory.mktemp("browser")
    watched = write_run(folder / "a-run-with-a-rather-long-name").path
    write_probes(watched)
    write_run(folder / "pairs", recipe(pretext=config.Bert(next_sentence=1.0)), terms=("masked_lm", "next_sentence"))
    write_tuning(folder / "tuned")
    report = compose(*open_folders(sorted(path for path in folder.iterdir())))
    (folder / "watched.html").write_text(with_script(page.render(report), LOOK))
    return folder / "watched.html", len(list(report.figures))


def with_script(text, script):
    head, body = text.split("\n<body", 1)  # the library speaks of bodies, too
    opening, body = body.split(">", 1)
    return f"{head}\n<body{opening}>{ERRORS}{body[: body.rindex('</body>')]}{script}</body></html>"


def seen_by(browser, address, profile):
    """What the page at `address` writes into its element `seen`."""
    done = subprocess.run(
        [browser, *FLAGS, "--window-size=1400,1000", f"--user-data-dir={profile}", address],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)[1]))


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_every_chart_is_drawn_to_its_place_and_its_points_can_be_clicked(made, tmp_path, width, height):
    path, charts = made
    (frame := tmp_path / "frame.html").write_text(FRAME.format(page=path.as_uri(), width=width, height=height))
    seen = seen_by(CHROMIUM, frame.as_uri(), tmp_path / "browser")
    assert seen["failures"] == []
    assert len(seen["charts"]) == charts == 10 + 8 + 1 + 20
    assert [chart["name"] for chart in seen["charts"] if not chart["drawn"]] == []
    assert [
        chart for chart in seen["charts"] if chart["wide"] > chart["room"] or chart["wide"] < 0.9 * chart["room"]
    ] == []
    assert seen["width"] == width
    assert seen["scroll"] <= width >= seen["after"]
    assert (seen["hidden"], seen["shown"]) == ("hidden", "visible")

    assert seen["before"] == []
    assert (seen["clicked"]["series"], seen["clicked"]["step"]) == ("determiner", "100")
    items = probe_items("determiner", 100), probe_items("determiner", MEASURED[-1])
    assert seen["clicked"]["cards"] == [
        f"The <i>first</i> of {then.word} and more. {line('step 100', then)} {line('at the end', last)}"
        for then, last in zip(*items, strict=True)
    ]
    assert seen["chosen"] == [
        f"The <i>first</i> of {item.word} and more. {line('at the end', item)}"
        for item in probe_items("noun", MEASURED[-1])
    ]
    assert seen["faint"] == len(CLASSES) - 1


def probe_items(group, step):
    """Those with a text, of one class at one step, out of the answers that the table was made of."""
    found = [one for one in word_classes(step, 0) if isinstance(one, Item) and one.metric == "mask_prediction"]
    return [one for one in found if one.group == group and one.text]


def line(when, item):
    """How the page tells an item's guesses."""
    told = [
        f"{token} ✓ {100 * p:.4g}%" if token == item.word else f"{token} {100 * p:.4g}%" for token, p in item.guesses
    ]
    return f"{when} {'right' if item.right else 'wrong'} {' '.join(told)}"


FOLLOW = """<script>
addEventListener('load', async () => {
  while (!document.querySelector('.chart svg')) await new Promise((done) => setTimeout(done, 50));
  const of = (name, form = 0) => document.querySelectorAll('.examples')[form].elements[name];
  document.querySelector('[value=time]').click();
  of('series').value = 'verb';
  of('series').dispatchEvent(new Event('change', {bubbles: true}));
  of('step', 1).value = 32;
  document.querySelector('details').open = true;
  const stamp = document.body.dataset.live;
  while (document.body.dataset.live === stamp) await new Promise((done) => setTimeout(done, 50));
  while (![...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg')))
    await new Promise((done) => setTimeout(done, 50));
  const out = document.createElement('pre');
  out.id = 'seen';
  out.textContent = JSON.stringify({
    failures, stamps: [stamp, document.body.dataset.live], steps: of('step').options.length,
    at: [of('step').value, of('step', 1).value],
    time: document.querySelector('[value=time]').checked, series: of('series').value,
    cards: document.querySelectorAll('.examples .card').length, open: document.querySelector('details').open,
    said: document.getElementById('live').textContent,
  });
  document.body.append(out);
});</script>"""


class Growing(Live):
    """The page of a run that was measured once more when the browser asks for news."""

    pages: ClassVar[list[tuple[str, bytes]]] = []
    asked = 0

    def page(self) -> bytes:
        return self.pages[min(self.asked, 1)][1]

    def stamp(self) -> str:
        self.asked += 1
        return self.pages[1][0]


def test_a_live_page_takes_up_what_is_new_and_keeps_what_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "MOST_STEPS", 8)  # all of the first page; some of them fall out of the second
    live = Growing([write_run(tmp_path / "run").path])
    for number, until in enumerate((100, 200)):
        write_probes(live.paths[0], until=until, only="word-classes")
        text = page.render(compose(*open_folders(live.paths)), f"stamp-{number}")
        live.pages.append((f"stamp-{number}", with_script(text, FOLLOW).encode()))
    with server(live, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        seen = seen_by(CHROMIUM, f"http://127.0.0.1:{serving.server_port}/", tmp_path / "browser")
        serving.shutdown()
    assert seen["failures"] == []
    assert seen["stamps"] == ["stamp-0", "stamp-1"]
    assert seen["steps"] == len([step for step in MEASURED if step <= 100]) == 8
    assert seen["at"] == ["200", "32"]  # the last is the new last, and a step that was chosen is the same step
    assert (seen["time"], seen["open"], seen["series"], seen["cards"]) == (True, True, "verb", 4)
    assert seen["said"].startswith("Nothing is training any more")
