"""The order on the page is that of `acquired`, and what is not learned is said so."""

import pyarrow.parquet as pq
import pytest
from report_folders import MEASURED, WORDS, recipe, write_probes, write_run

from sesame.probes.acquisition import acquired
from sesame.probes.answers import opened
from sesame.report import page
from sesame.report.acquisition_figures import order
from sesame.report.folders import open_folders
from sesame.report.probe_reading import Measure, cohorts
from sesame.report.report import compose

MASKED = Measure("word-classes", "gold.conllu", "mask_prediction")


@pytest.fixture(scope="module")
def found(watched_run):
    return acquired([opened(watched_run, *MASKED[::2])])


@pytest.fixture(scope="module")
def made(cohort):
    return order("order", "mask prediction", cohort, MASKED)


def test_the_figure_and_the_table_show_what_was_found_in_its_order(made, found):
    assert [row[0] for row in made.table] == [group.name for group in found.groups]
    rows = {(row["group"], row["share"]): row for row in made.figure.rows}
    for group in found.groups:
        for at, share in zip(group.reached, ("50% of its final score", "90%"), strict=False):
            row = rows[group.name, share]
            assert (row["tokens"], row["low"], row["high"]) == (at.tokens, at.tokens_low, at.tokens_high)
            assert row["rank"] == at.rank
    assert {int(row[1]) for row in made.table} == {WORDS}
    learned = [group.name for group in found.groups if group.reached]
    assert learned[0] == "determiner"
    assert len(rows) == 2 * len(learned) + (len(found.groups) - len(learned))


def test_what_is_not_learned_is_said_in_words(made, found):
    never = [group for group in found.groups if group.not_learned]
    assert "proper noun" in [group.name for group in never]
    for group in never:
        assert made.table[[row[0] for row in made.table].index(group.name)][3:] == ["not learned", "not learned", "–"]
        assert f"{group.name} ({group.not_learned})" in made.said[0]


def test_the_published_order_stands_beside_it(made, found):
    (said,) = [said for said in made.said if said.startswith("Published order")]
    assert "then adverbs and verbs, then nouns and adjectives, then proper nouns" in said
    assert f"Of the {found.published.pairs} pairs" in said
    assert f"{found.published.agreeing} are so here" in said


def test_sudden_rises_are_told_steepest_first(made, found):
    (said,) = [said for said in made.said if said.startswith("Rises")]
    steepest = max(found.rises, key=lambda rise: rise.score[1] - rise.score[0])
    assert f"measurements: {steepest.group} from {steepest.score[0]:.0%} to {steepest.score[1]:.0%}" in said


def test_seeds_are_taken_together(tmp_path, watched_run):
    paths = [watched_run, tmp_path / "b"]
    write_run(paths[1])
    write_probes(paths[1], seed=1)
    made = order("order", "mask prediction", cohorts(open_folders(paths).measured)[0], MASKED)
    found = acquired([opened(path, *MASKED[::2]) for path in paths])
    assert [row[0] for row in made.table] == [group.name for group in found.groups]
    assert f"Kendall's τ is {found.seeds[1, 0]:.2f}" in made.said[1]


def test_seeds_without_a_common_step_have_an_order_and_no_curve(tmp_path):
    for seed, name in enumerate("ab"):
        write_run(tmp_path / name, recipe(seed=seed))
        write_probes(tmp_path / name, seed, only="word-classes")
        for table in ("probes.parquet", "probe-items.parquet"):  # one is measured at even places, one at odd ones
            path = tmp_path / name / table
            pq.write_table(pq.read_table(path, filters=[("step", "in", MEASURED[seed::2])]), path)
    made = compose(*open_folders([tmp_path / "a", tmp_path / "b"]))
    (part,) = made.learned
    assert part.figures == [] and "mask prediction" in part.without
    found = acquired([opened(tmp_path / name, *MASKED[::2]) for name in "ab"])
    assert [row[0] for row in part.orders[0].table] == [group.name for group in found.groups]
    assert part.orders[0].figure.spec["layer"]
    assert "Measured at no common step: mask prediction" in page.render(made)


def test_after_few_measurements_there_is_no_order_yet(tmp_path):
    write_run(tmp_path / "run")
    write_probes(tmp_path / "run", until=1)
    assert order("order", "mask prediction", cohorts(open_folders([tmp_path / "run"]).measured)[0], MASKED) is None
