"""Published sizes, counted on the meta device (no memory) and by the papers' formula."""

import msgspec
import pytest
import torch

from sesame import models, recipes
from sesame.models.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_a_published_size_has_its_published_number_of_parameters(name: str) -> None:
    published = ZOO[name]
    c, d = published.backbone, published.backbone.width
    with torch.device("meta"):
        counted = sum(p.numel() for p in models.build(c).parameters())
    pooler = d * d + d if name.startswith("bert") else 0
    formula = c.layers * (12 * d * d + 13 * d) + (c.vocab + c.positions + c.kinds) * d + 2 * d
    assert counted == formula
    assert counted + pooler == published.parameters


@pytest.mark.parametrize("name", sorted(ZOO.keys() & recipes.RECIPES.keys()))
def test_a_recipe_has_the_published_shape_of_its_name(name: str) -> None:
    ours = recipes.find(name).backbone
    published = msgspec.structs.replace(ZOO[name].backbone, vocab=ours.vocab, dropout=ours.dropout, start=ours.start)
    assert ours == published
