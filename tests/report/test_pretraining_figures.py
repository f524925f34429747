"""Runs of several families on one page: an axis counts what all of its runs count, or steps."""

import pytest
from report_folders import recipe, write_run

from sesame import config
from sesame.report import figures, page
from sesame.report.folders import open_folders
from sesame.report.pretraining_figures import pretraining_figures
from sesame.report.report import compose


@pytest.fixture
def families(tmp_path):
    """An image run first, then two of text and one of speech that has the same term as one of them."""
    image = recipe(data=config.ImageData(), pretext=config.SimClr())
    write_run(tmp_path / "a", image, terms=("nt_xent",))
    write_run(tmp_path / "b")
    write_run(tmp_path / "c", recipe(pretext=config.Bert(next_sentence=1.0)), terms=("masked_lm", "shared"))
    write_run(tmp_path / "d", recipe(data=config.SpeechData(), pretext=config.Apc()), terms=("shared",))
    return [tmp_path / name for name in "abcd"]


def test_an_axis_has_the_unit_of_the_runs_that_are_drawn_on_it(families):
    runs = open_folders(families).runs
    made = pretraining_figures(runs, figures.looks([run.label for run in runs]))["tokens"]
    axes = {figure.title: figure.spec["layer"][-1]["encoding"]["x"] for figure in made}
    said = {title: (axis["field"], axis["title"]) for title, axis in axes.items()}
    assert said == {
        "loss, all terms": ("step", "steps"),
        "NT-Xent: loss": ("tokens", "images seen"), "NT-Xent: accuracy": ("tokens", "images seen"),
        "masked LM: loss": ("tokens", "tokens seen"), "masked LM: accuracy": ("tokens", "tokens seen"),
        "shared: loss": ("step", "steps"), "shared: accuracy": ("step", "steps"),
    }  # fmt: skip


def test_a_loss_is_in_nats_where_it_is_a_cross_entropy(families):
    (run,) = open_folders(families[:1]).runs
    titles = []
    for _ in range(2):
        made = pretraining_figures([run], figures.looks([run.label]))["tokens"]
        titles.append(made[0].spec["layer"][-1]["encoding"]["y"]["title"])
        for row in (*run.held_out, *run.training):
            row.pop("nt_xent.accuracy", None)  # as BYOL and APC, which tell nothing apart
    assert titles == ["loss (nats)", "loss"]


def test_the_switch_says_the_unit_where_there_is_one(families):
    for paths, said in ((families, "what was seen"), (families[1:3], "tokens"), (families[:1], "images")):
        assert f'value="tokens" checked> {said}</label>' in page.render(compose(*open_folders(paths)))
