"""The page needs nothing else, says what the folders say, and leaves them as they are."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import vl_convert
from report_folders import CLASSES, recipe, write_probes, write_run, write_tuning

from sesame import config
from sesame.errors import UserError
from sesame.report import page, wording
from sesame.report.folders import open_folders
from sesame.report.report import compose, differences
from sesame.tasks.comparison import Gain, Mean, Point


class Page(HTMLParser):
    """What a page loads, its charts, and the cells of its results."""

    def __init__(self, text: str):
        super().__init__()
        self.loads: list[str] = []
        self.specs: list[dict] = []
        self.behind: list[dict] = []
        self.rows: dict[str, list[str]] = {}
        self.bold: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.tags: list[str] = []
        self._row, self._in = "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "srcset", "action", "data") or (k == "href" and v[0] != "#")]
        self.ids += [given["id"]] if "id" in given else []
        self._row = given.get("data-task", "" if tag == "tr" else self._row)
        kinds = {"chart": "data-chart" in given, "behind": "data-behind" in given, "strong": tag == "strong"}
        self._in = next((kind for kind, here in kinds.items() if here), "")
        if tag == "td" and self._row:
            self.rows.setdefault(self._row, []).append(given.get("data-value", ""))

    def handle_data(self, data):
        if self._in == "chart":
            self.specs.append(json.loads(data))
        elif self._in == "behind":
            self.behind.append(json.loads(data))
        elif self._in == "strong" and self._row:
            self.bold.setdefault(self._row, []).append(data)

    def handle_endtag(self, tag):
        self._in = ""
        self._row = "" if tag == "table" else self._row


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_run(folder / "run")
    write_probes(folder / "run")
    write_run(folder / "pairs", recipe(pretext=config.Bert(next_sentence=1.0)), state="failed", step=200,
              reason="the loss is not finite", terms=("masked_lm", "next_sentence"))  # fmt: skip
    write_tuning(folder / "tuned")
    return [folder / name for name in ("run", "pairs", "tuned")]


def state(folders: list[Path]) -> dict[Path, tuple[bytes, int]]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def before(folders):
    return state(folders)


@pytest.fixture(scope="module")
def report(folders, before):
    return compose(*open_folders(folders))


@pytest.fixture(scope="module")
def text(report):
    return page.render(report)


@pytest.fixture(scope="module")
def read(text):
    return Page(text)


def test_nothing_is_loaded_from_anywhere(text, read):
    assert read.loads == []  # pictures of examples would be in the page itself: these runs have none
    assert not re.search(r"@import|url\(", text[: text.index("</style>")])
    assert "link" not in read.tags
    assert len(text) < 3_000_000


def test_every_chart_is_valid_and_has_its_place(report, read):
    names = [figure.name for figure in report.figures]
    assert len(names) == len(set(names)) == len(read.specs)
    assert set(names) <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    for spec in read.specs:
        assert vl_convert.vegalite_to_vega(spec)["marks"]  # altair has held it against the schema; this compiles it
        assert spec.get("width") == "container" or {part["width"] for part in spec["vconcat"]} == {300}
        assert spec["description"]


def test_names_with_one_slug_or_none_have_places_and_files_of_their_own(tmp_path):
    names = ("日本語", "中文", "run_1", "run-1")
    for number, name in enumerate(names):
        write_run(tmp_path / name, recipe(ema=number / 10))  # four recipes: each has its own charts
        write_probes(tmp_path / name, until=4, only="rank")
    write_tuning(tmp_path / "tuned", tasks=("отзывы", "товары"), seeds=1)
    made = compose(*open_folders([*(tmp_path / name for name in names), tmp_path / "tuned"]))
    read = Page(page.render(made))
    assert len(read.ids) == len(set(read.ids))
    drawn = [figure.name for figure in made.figures]
    assert len(drawn) == len(set(drawn)) == len(read.specs)
    ranks = [name for name in drawn if name.startswith("learned-rank")]
    assert ranks == [
        f"learned-rank-rankme{end}" for end in ("-layers", "-layers-2", "-run-1-layers", "-run-1-layers-2")
    ]
    assert [task.anchor for task in made.tasks] == ["task", "task-2"]


def test_there_is_a_chart_of_every_measure_over_tokens_and_over_time(report):
    names = {figure.name for figure in report.figures}
    for measure in ("loss", "masked-lm-loss", "masked-lm-accuracy", "next-sentence-loss", "next-sentence-accuracy"):
        assert {f"pretraining-{measure}-over-tokens", f"pretraining-{measure}-over-time"} <= names
    for task in ("task-pydocs-area", "task-pydocs-names"):
        assert {f"{task}-{what}" for what in ("over-epochs", "over-labels", "gain-over-labels", "loss-curve")} <= names
    assert "gain-by-task" in names


def test_the_numbers_of_the_table_are_those_of_the_result(folders, read):
    told = json.loads((folders[2] / "result.json").read_text())["tasks"]
    assert set(read.rows) == set(told)
    for task, row in read.rows.items():
        found = [told[task][column] for column in wording.COLUMN_NAMES if column in told[task]]
        expected = [value if isinstance(value, float) else value["mean"] for value in found]
        assert [float(cell) for cell in row[:6]] == [*expected, told[task]["gain"]["mean"]]
        best = max(expected)
        assert len(read.bold[task]) == 1
        assert read.bold[task][0].startswith(f"{100 * best:.1f}")


def test_what_a_run_s_name_contains_is_text_and_no_markup(tmp_path):
    write_run(tmp_path / "<script>alert(1)<")
    made = page.render(compose(*open_folders([tmp_path / "<script>alert(1)<"])))
    assert "<script>alert" not in made
    assert "&lt;script&gt;alert" in made
    assert len(Page(made).specs) == 4


def test_a_failed_and_an_unfinished_one_are_called_so(text, tmp_path):
    assert "It failed at step 200 of 400: the loss is not finite." in text
    half = page.render(compose(*open_folders([write_tuning(tmp_path / "half", finished=False)])))
    assert "It is not finished" in half
    assert len(Page(half).specs) == 2 * 2  # over epochs, and the loss curve


def test_how_it_learned_is_told_without_a_script_too(report, text):
    (classes, *_), captions = report.learned, re.findall(r"<figcaption>(.*?)</figcaption>", text, re.S)
    assert any("determiner 0.0% → " in caption and "Dotted levels" in caption for caption in captions)
    for made in classes.orders:
        for row in made.table:
            cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
            assert f'<tr><th scope="row" class="words">{row[0]}</th>{cells}</tr>' in text
        assert all(said.replace("'", "&#39;") in text for said in made.said)
    assert "Small dots" not in text  # all curves are of one form here
    assert "<summary>Rank: how many directions the states of each layer use" in text


def test_examples_stand_beside_their_charts(read):
    assert len(read.behind) == 2  # mask prediction and reconstruction
    for behind in read.behind:
        assert list(behind["series"]) == list(CLASSES)
        assert "<b>" in behind["series"]["verb"][0]["of"][0][3]


def test_settings_in_which_runs_differ_stand_side_by_side(report):
    assert dict(differences(report.runs)) == {"pretext.next_sentence": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("gain", "tfidf", "words"),
    [
        (Gain(0.05, 0.01), 0.5, "clear gain (more than two standard errors)"),
        (Gain(0.02, 0.0101), 0.5, "no clear difference (not more than two standard errors)"),
        (Gain(-0.05, 0.01), 0.5, "clear loss (more than two standard errors)"),
        (Gain(0.05, 1e-17), 0.5, "the same gain with every seed, so no error can be told"),
        (Gain(0.0, 0.0), 0.5, "no clear difference (not more than two standard errors)"),
        (Gain(0.05, None), 0.5, "one seed, so no error is known"),
        (Gain(0.05, 0.01), 0.8, "clear gain (more than two standard errors); not above TF-IDF"),
        (None, 0.5, "no comparison"),
    ],
)
def test_a_gain_is_put_into_words(gain, tfidf, words):
    result = Point(tfidf=tfidf, majority=0.1, pretrained=Mean(0.7, 0.01, 5), gain=gain, lr={})
    assert wording.verdict(result) == words


def test_the_conclusion_says_where_seeds_are_tied(folders):
    result = open_folders(folders[2:]).tunings[0].tasks["pydocs/area"]
    gains = (Gain(0.05, 0.01), Gain(-0.05, 0.01), Gain(0.05, 0.0))
    results = [msgspec.structs.replace(result, gain=gain, labels={}) for gain in gains]
    begin = "On {} of {} tasks, pretraining gains more than two standard errors over training from scratch"
    assert wording.conclusion(results[:2]) == f"{begin.format(1, 2)}; on 1 it loses more than that."
    assert wording.conclusion(results).endswith("; on 1 all seeds differ alike, so an error of 0 says little.")


def test_the_conclusion_says_what_the_fewest_labels_gave(folders):
    result = open_folders(folders[2:]).tunings[0].tasks["pydocs/area"]
    point = Point(majority=0.1, pretrained=Mean(0.7, 0.01, 5), gain=Gain(0.1, 0.01), lr={})
    many = msgspec.structs.replace(point, gain=Gain(-0.1, 0.01))
    results = [
        msgspec.structs.replace(result, gain=Gain(0.01, 0.01), labels={"1000": many, "90": point}),
        msgspec.structs.replace(result, gain=Gain(0.0, 0.01), labels={}),
    ]
    assert wording.conclusion(results) == (
        "On 0 of 2 tasks, and from the fewest labels on 1 of 1, pretraining gains more than two standard errors over "
        "training from scratch."
    )


def test_a_report_replaces_a_report_and_no_other_file(folders, tmp_path):
    report, out = compose(*open_folders(folders[1:2])), tmp_path / "report.html"
    for _ in range(2):
        page.check_out(out, folders)
        assert page.write(report, out) == out.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    out.write_text("<html>mine</html>")
    with pytest.raises(UserError, match=r"is no report of sesame"):
        page.check_out(out, folders)
    with pytest.raises(UserError, match="is a folder"):
        page.check_out(tmp_path, folders)
    with pytest.raises(UserError, match="which a report does not change"):
        page.check_out(folders[0] / "new" / "report.html", folders)


def test_the_folders_stay_as_they_are(folders, before, text):
    assert state(folders) == before


def test_a_figure_is_written_as_pictures_and_as_its_numbers(report, tmp_path):
    figure = next(f for f in report.figures if f.name == "task-pydocs-area-over-epochs")
    png, svg, table = figure.export(tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert svg.read_text().startswith("<svg")
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == len(figure.rows) == 24
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in figure.rows]


def test_curves_over_the_loss_are_written_too(report, tmp_path):
    figure = next(f for f in report.figures if f.name == "learned-word-classes-mask-prediction")
    png, svg, table = figure.export(tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert re.search(r'<svg [^>]*width="(\d+)"', svg.read_text())[1] > "600"
    rows = list(csv.DictReader(table.open()))
    assert {row["kind"] for row in rows} == {"curve", "level", "loss", "training"}
    assert [float(row["value"]) for row in rows] == [row["value"] for row in figure.rows]


def test_a_run_that_drew_its_examples_has_them_in_the_page_itself(folders, tmp_path):
    write_run(tmp_path / "seen", recipe(data=config.ImageData(), pretext=config.SimClr()))
    write_run(tmp_path / "unseen", recipe(seed=3))
    (tmp_path / "seen" / "examples.png").write_bytes(b"a picture")
    text = page.render(compose(*open_folders([tmp_path / "seen", tmp_path / "unseen"])))
    assert Page(text).loads == ["data:image/png;base64,YSBwaWN0dXJl"]
    assert "What seen learns from" in text and "What unseen learns from" not in text
    assert "with the crops outlined" in text


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        (("a", config.ImageData()), ("b", config.ImageData()), True),
        (("a", config.ImageData()), ("a", config.ImageData()), False),
        (("a", config.ImageData()), ("", config.ImageData()), False),
        (("a1", config.ImageData()), ("a1 and what a twin leaves out", config.ImageData()), False),
        (("", config.SpeechData()), ("", config.ImageData()), True),
    ],
)
def test_losses_on_data_that_are_known_to_be_different_are_not_compared(first, second, apart, tmp_path):
    for name, (data, source) in (("one", first), ("two", second)):
        write_run(tmp_path / name, recipe(data=source, pretext=config.SimClr()), data=data)
    notes = compose(*open_folders([tmp_path / "one", tmp_path / "two"])).notes
    assert any("These runs read different data" in note for note in notes) == apart


def test_the_key_of_tasks_has_the_arms_that_were_learned_from_and_no_others(folders):
    text = page.render(compose(*open_folders([folders[2]])))
    told = text.partition("Each task is learned from several starts: ")[2].partition("</p>")[0]
    assert [part.split()[0] for part in told.split("; ")] == ["pretrained", "scratch", "embeddings"]
