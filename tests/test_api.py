"""The public names: all there, and none of them imported before it is used."""

import subprocess
import sys

import pytest

import sesame
from sesame import api, recipes
from sesame.errors import UserError


def test_every_public_name_can_be_had():
    for name in sesame.__all__:
        assert getattr(sesame, name) is not None
        assert name in dir(sesame)
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = sesame.pretrian


def test_importing_sesame_imports_nothing_heavy():
    code = (
        "import sys, sesame; sesame.recipes.find('bert-tiny'); assert not {'torch', 'numpy', 'tyro'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fields_replace_those_of_the_recipe():
    tiny = recipes.find("bert-tiny")
    assert api.with_fields(tiny, seed=3, max_minutes=2).seed == 3
    assert api.with_fields(tiny, steps=7).max_minutes == 0
    assert api.with_fields(tiny, steps=7).pretext == tiny.pretext


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"step": 7}, "no field 'step'. Did you mean steps"),
        ({"steps": -7}, r"bert-tiny with other fields: .*>= 0.*steps"),
        ({"precision": "half"}, "half"),
    ],
)
def test_a_field_that_cannot_be_is_named(fields, message):
    with pytest.raises(UserError, match=message):
        api.with_fields(recipes.find("bert-tiny"), **fields)
