"""`sesame pretrain`: what the command line makes of a recipe, and what it says to mistakes; `sesame runs`."""

import json

import pytest

from sesame import recipes
from sesame.cli.main import main
from sesame.cli.pretrain import checked, read_options
from sesame.config import FineTune
from sesame.data import located
from sesame.errors import UserError


def test_any_field_of_the_recipe_is_an_option():
    words = ["--optimizer.lr", "0.5", "--backbone.layers", "3", "--data.rows", "4", "--data", "a", "b", "--seed", "7"]
    words += ["--deterministic", "--out", "x"]
    where, recipe = read_options("bert-tiny", words)
    assert (recipe.optimizer.lr, recipe.backbone.layers, recipe.data.rows, recipe.seed) == (0.5, 3, 4, 7)
    assert recipe.deterministic
    assert where.data == ("a", "b")
    assert str(where.out) == "x"
    assert recipe.backbone.width == recipes.find("bert-tiny").backbone.width


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_read(name):
    assert read_options(name, [])[1] == recipes.find(name)


@pytest.mark.parametrize(("words", "minutes"), [(["--steps", "5"], 0), (["--max-tokens=5"], 0), (["--seed", "5"], 30)])
def test_steps_and_tokens_outweigh_the_minutes_of_the_recipe(words, minutes):
    assert read_options("bert-tiny", words)[1].max_minutes == minutes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--stpes", "3"], "no option --stpes. Did you mean --steps"),
        (["--optimizer.rl", "3"], "no option --optimizer.rl. Did you mean --optimizer.lr"),
        (["--steps", "-3"], "--steps -3: expected `int` >= 0"),
        (["--optimizer.lr", "0"], "--optimizer.lr 0.0: expected `float` > 0.0"),
        (["--pretext.rate", "1.5"], "--pretext.rate 1.5: expected `float` <= 1.0"),
        (["--data.sample-exponent", "-1"], "--data.sample-exponent -1.0: expected"),
        (["stray"], "'stray' belongs to no option"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(words, says):
    with pytest.raises(UserError) as error:
        read_options("bert-tiny", words)
    assert says in str(error.value)


def test_an_option_that_is_off_by_its_no_is_suggested_so_and_one_of_several_values_has_no_number():
    with pytest.raises(UserError, match=r"no option --data.cmvn. Did you mean --data.no-cmvn"):
        read_options("apc-tiny", ["--data.cmvn"])
    with pytest.raises(UserError, match=r"--sweep 0.1 -1.0: expected `float` > 0"):
        checked(FineTune(sweep=(0.1, -1.0)))


@pytest.mark.parametrize(
    ("recipe", "words", "says"),
    [
        ("simclr-digits", ["--data", "a", "b"], "--data a b: of images and speech, give one source"),
        ("simclr-digits", ["--data", "digits", "--tokenizer", "x"], "simclr-digits reads no text"),
        ("bert-tiny", ["--data", "store", "text.txt"], "store is prepared already and no raw text"),
        ("bert-tiny", ["--data", "none.txt"], "--skip-bad is an option of sesame data prepare"),
    ],
)
def test_sources_that_would_not_be_read_are_refused(recipe, words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text("{}")
    (tmp_path / "store" / "tokens.bin").touch()
    (tmp_path / "store" / "vocab.txt").write_text("a\nb\n")
    (tmp_path / "text.txt").write_text("a b\n" * 9)
    assert main(["pretrain", recipe, *words, "--out", "run", "--steps", "1"]) == 2
    assert says in capsys.readouterr().err


def test_a_source_is_found_from_wherever_the_run_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "digits").mkdir()  # what is built in has its name first
    c = recipes.find("simclr-digits").data
    here = [located(c, source).source for source in ("photos", "hf:photos", "shards/*.parquet")]
    assert here == [f"{tmp_path}/photos", f"hf:{tmp_path}/photos", f"{tmp_path}/shards/*.parquet"]
    elsewhere = ["digits", "hf:ylecun/mnist", "nowhere", ""]
    assert [located(c, source).source for source in elsewhere] == elsewhere


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which recipe"),
        (["--steps", "3"], "which recipe"),
        (["bert-tniy"], "Did you mean bert-tiny"),
        (["bert-tiny", "--data", "pydocs"], "Name the run folder"),
        (["bert-tiny", "--out", "run"], "what to train on?"),
        (["--resume", "nowhere"], "no run folder"),
    ],
)
def test_what_is_missing_is_asked_for_with_exit_status_2(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_runs_has_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
