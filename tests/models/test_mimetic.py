import math

import msgspec
import numpy as np
import torch

from sesame import config
from sesame.data.batch import Rows
from sesame.models import build
from sesame.models.mimetic import sinusoids

SMALL = config.Transformer(layers=2, width=32, heads=2, ffn=64, vocab=50, positions=64, start="mimetic")


def test_positions_are_the_sinusoids_of_the_paper() -> None:
    table = sinusoids(7, 6)
    for position in range(7):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert math.isclose(table[position, 2 * i], math.sin(angle), abs_tol=1e-5)
            assert math.isclose(table[position, 2 * i + 1], math.cos(angle), abs_tol=1e-5)


def test_the_first_layer_attends_to_neighbours_more_than_to_what_is_far() -> None:
    torch.manual_seed(0)
    model = build(SMALL)
    n = 40
    ids = torch.randint(50, (1, n))
    rows = Rows(ids, torch.arange(n)[None], torch.zeros_like(ids), torch.zeros_like(ids), alone=True)
    with torch.no_grad():
        query, key, _ = model.blocks[0].attention.qkv(model.embed(rows)[0]).chunk(3, -1)
        scores = (query.view(n, 2, 16).transpose(0, 1) @ key.view(n, 2, 16).permute(1, 2, 0)) / 4
    weight = scores.softmax(-1).mean(0).numpy()
    distance = np.abs(np.arange(n)[:, None] - np.arange(n))
    assert weight[distance <= 3].mean() > 2 * weight[distance >= 10].mean()


def test_nothing_else_differs_from_the_normal_start() -> None:
    def weights(start: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return build(msgspec.structs.replace(SMALL, start=start)).state_dict()

    normal, mimetic = weights("normal"), weights("mimetic")
    changed = {name for name in normal if not torch.equal(normal[name], mimetic[name])}
    first = "blocks.0.attention."
    assert changed == {"embed.position.weight", first + "qkv.weight", first + "out.weight"}
    added = mimetic[first + "out.weight"] - normal[first + "out.weight"]
    assert torch.allclose(added, added[0, 0] * torch.eye(32), atol=1e-6) and added[0, 0] > 0.5
