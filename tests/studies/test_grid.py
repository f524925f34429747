"""Grids: what an arm's changes make of its recipe, and what is wrong with a file."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import recipes
from sesame.config import Bert
from sesame.errors import UserError
from sesame.report.reproduce import option
from sesame.studies.grid import Arm, FineTuned, Grid, HeldOut, checked, chosen, options, read, recipe_of, stem, title
from sesame.studies.grids import GRIDS, find

ASKED = (HeldOut(name="masked LM", pretext=Bert(), term="masked_lm"),)


def grid(*arms: Arm, **fields: object) -> Grid:
    return Grid(name="mine", arms=arms, amount=100, measurements=ASKED, **fields)


def arm(name: str = "a", **changes: object) -> Arm:
    return Arm(name=name, recipe="bert-tiny", changes={k.replace("__", "."): v for k, v in changes.items()})


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_that_comes_along_is_whole(name):
    found = find(name)
    made = [recipe_of(one, found) for one in found.arms]
    assert len({msgspec.json.encode(recipe) for recipe in made}) == len(made)  # no two arms are the same
    assert len({recipe.data for recipe in made}) == 1  # and all read the same, in the same order
    assert msgspec.json.decode(msgspec.json.encode(found), type=Grid) == found


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "pretext.rate": st.floats(0, 1),
        "data.rows": st.integers(1, 99),
        "backbone.embedding_norm": st.booleans(),
        "save_early": st.booleans(),
        "optimizer.name": st.sampled_from(["adamw", "muon"]),
        "watch.at": st.lists(st.integers(0, 9), min_size=2, max_size=3),
    },
)


@given(CHANGES)
@settings(max_examples=25, deadline=None)
def test_a_change_is_what_the_option_of_the_command_line_is(changes):
    words = [word for name, value in changes.items() for word in option(name, value)]
    one = recipe_of(Arm(name="a", recipe="bert-tiny", changes=changes), grid(arm()))
    assert recipe_of(arm(), grid(arm()), options(words)) == one
    told = msgspec.to_builtins(recipes.find("bert-tiny"))
    for name, value in changes.items():
        *path, last = name.split(".")
        place = told
        for part in path:
            place = place[part]
        place[last] = value
    assert one == msgspec.convert(told, type(one))


def test_an_arm_s_own_change_outweighs_what_is_given_for_all_grids():
    wide = grid(arm("a", data__rows=8), changes={"data.rows": 4, "data.length": 32})
    assert recipe_of(wide.arms[0], wide).data.rows == 8
    assert recipe_of(wide.arms[0], wide, {"data.length": "16"}).data.length == 16
    with pytest.raises(UserError, match=r"--data\.rows: the arm a sets it itself"):
        recipe_of(wide.arms[0], wide, {"data.rows": "2"})


def test_a_whole_part_can_be_replaced_and_changed_further():
    one = arm(pretext={"type": "bert", "rate": 0.4, "next_sentence": 1.0}, pretext__mask=1.0)
    assert recipe_of(one, grid(one)).pretext == Bert(rate=0.4, next_sentence=1.0, mask=1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pretext.rte": 1}, ["arm a", "--pretext.rte", "--pretext.rate"]),
        ({"pretext.rate": 7}, ["arm a", "--pretext.rate 7", "<= 1.0"]),
        ({"data.rows": "many"}, ["--data.rows many", "int"]),
        ({"steps": 7}, ["--steps", "the same for all arms"]),
        ({"seed": 7}, ["--seeds"]),
    ],
)
def test_a_change_that_cannot_be_is_named(changes, words):
    with pytest.raises(UserError) as error:
        recipe_of(Arm(name="a", recipe="bert-tiny", changes=changes), grid(arm()))
    assert all(word in str(error.value) for word in words), error.value


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"arm a: .*bert-tny.*bert-tiny"):
        recipe_of(Arm(name="a", recipe="bert-tny"), grid(arm()))


# ------------------------------------------------------------------------------------------------------ files
TOML = """
name = "mine"
amount = 100
equal = "steps"
reference = "15%"
[[arms]]
name = "15%"
recipe = "bert-tiny"
[[arms]]
name = "40%"
recipe = "bert-tiny"
changes = {"pretext.rate" = 0.4}
[[measurements]]
kind = "held-out"
name = "all masked"
pretext = {type = "bert", mask = 1.0, random = 0.0}
term = "masked_lm"
[[measurements]]
kind = "finetune"
task = "pydocs/area"
settings = {epochs = 2}
"""


def test_a_file_is_a_grid(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    found = find(str(tmp_path / "mine.toml"))
    assert [recipe_of(one, found).pretext.rate for one in found.arms] == [0.15, 0.4]
    assert [title(m) for m in found.measurements] == ["all masked", "pydocs/area"]
    assert (found.equal, found.reference) == ("steps", "15%")
    assert isinstance(found.measurements[1], FineTuned) and found.measurements[1].settings.epochs == 2
    (tmp_path / "mine.json").write_bytes(msgspec.json.encode(found))
    assert read(tmp_path / "mine.json") == found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('equal = "steps"', 'equal = "stepz"', ["equal", "stepz"]),
        ('kind = "finetune"', 'kind = "fine"', ["measurements", "fine"]),
        ('reference = "15%"', 'reference = "14%"', ["14%", "15%"]),
        ('name = "40%"', 'name = "15%"', ["two arms", "15%"]),
        ("amount = 100", "amount = 0", ["amount", "> 0"]),
        ("amount = 100", "amount = 1.5", ["whole number"]),
        ("amount = 100", "amount = ", ["TOML"]),
        ('changes = {"pretext', 'change = {"pretext', ["arms", "change"]),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path, old, new, words):
    path = tmp_path / "mine.toml"
    path.write_text(TOML.replace(old, new))
    with pytest.raises(UserError) as error:
        read(path)
    assert all(word in str(error.value) for word in ["mine.toml", *words]), error.value


def test_what_is_no_file_and_no_grid_is_said(tmp_path):
    with pytest.raises(UserError, match="bert-pairs"):
        find("bert-pair")
    with pytest.raises(UserError, match="No such file"):
        find(str(tmp_path / "none.json"))
    (tmp_path / "broken.json").write_text(json.dumps({"name": "x"})[:-1])
    with pytest.raises(UserError, match="no JSON"):
        read(tmp_path / "broken.json")


# ------------------------------------------------------------------------------------------------- what is chosen
def test_some_arms_are_chosen_and_the_first_stands_for_a_reference_that_is_not():
    whole = grid(arm("a"), arm("b", data__rows=8), arm("c", data__rows=9), reference="b")
    assert [one.name for one in chosen(whole, ["c", "a"]).arms] == ["a", "c"]
    assert chosen(whole, ["c", "a"]).reference == "a"
    assert chosen(whole, ["b", "c"]).reference == "b"
    with pytest.raises(UserError, match="no arm 'd'"):
        chosen(whole, ["d"])
    with pytest.raises(UserError, match="no measurement 'masked'"):
        chosen(whole, [], ["masked"])


def test_names_that_would_share_a_folder_are_refused():
    with pytest.raises(UserError, match="80/10/10"):
        checked(grid(arm("80/10/10"), arm("80-10-10", data__rows=8)), "mine")
    assert stem("80/10/10") == "80-10-10" and stem("rate 8%") == "rate-8%" and stem("/") == "arm"
