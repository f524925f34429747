"""A published T5 learns on, on text cut by its own vocabulary, which has no start token: what `transformers` would."""

from pathlib import Path

import pytest
import torch
from families import KIN
from msgspec.structs import replace
from test_writing import published

import sesame
from sesame import config, recipes
from sesame.config import Recipe
from sesame.data.batch import Cursor
from sesame.data.text import TextSet
from sesame.engine.build import load
from sesame.errors import UserError
from sesame.pretext.base import Objective
from sesame.pretext.denoising import Denoising

torch.set_num_threads(1)
VOCABULARY = KIN["t5"].vocabulary
LENGTH = 14
"""Short enough for the two sentinels there are."""
TASK = config.Denoising(corruptions=(config.SpanCorruption(),), target="missing")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    words = ["abcd"[i % 4] + "abcd"[i * i % 4] for i in range(7 * 40)]
    lines = "\n\n".join(" ".join(words[i : i + 7 + i % 3]) for i in range(0, len(words), 7))
    (tmp_path / "text.txt").write_text(lines)
    published("t5", tmp_path / "published", seed=3)
    sesame.prepare([tmp_path / "text.txt"], tmp_path / "data", tokenizer=tmp_path / "published", held_out=0.1)
    return tmp_path


def test_the_loss_is_that_of_transformers(made: Path) -> None:
    theirs, model = published("t5", made / "again", seed=3), load(made / "published")
    data = TextSet.open(config.TextData(store=str(made / "data"), length=LENGTH, rows=6, sentinels=2))
    task = Denoising(TASK, model.objective.backbone, data.vocabulary)
    (batch,) = next(iter(task.stream(data, seed=0).train(Cursor(), 0, 10, 1))).parts
    split = task.split(batch)
    encoder, decoder = split.seen
    whole, total, count = Objective(model.objective.backbone, task).eval(), 0.0, 0
    with torch.no_grad():
        for number in range(len(batch.key)):
            read = encoder.x[encoder.example == number]
            written = split.target["written"][decoder.example.flatten()[split.target["at"]] == number]
            text = batch.ids[(batch.example == number) & ~batch.special].tolist()
            assert read[-1] == written[-1] == VOCABULARY.sep and VOCABULARY.pad not in read
            ends = {VOCABULARY.sep, *VOCABULARY.sentinels.tolist()}
            assert sorted(i for i in [*read.tolist(), *written.tolist()] if i not in ends) == sorted(text)
            total += float(theirs(input_ids=read[None], labels=written[None]).loss) * len(written)
            count += len(written)
        ours = whole(split)["denoising"]
    assert (float(ours.sum), ours.count) == (pytest.approx(total, rel=1e-4), count)


def small(name: str, **data: int) -> Recipe:
    recipe = recipes.find(name)
    short = replace(recipe.data, length=LENGTH, rows=4, phases=(), **data)
    return replace(recipe, data=short, steps=2, max_minutes=0.0, threads=1)


def test_it_learns_on_and_logs_how_it_goes(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    model = sesame.pretrain(small("t5-tiny", sentinels=2), made / "data", made / "run", str(made / "published"))
    assert model.step == 2 and "step 2 of 2: held-out loss" in caplog.text
    assert model.recipe is not None
    assert model.recipe.backbone == load(made / "published").objective.backbone.config


@pytest.mark.parametrize("recipe", ["gpt-tiny", "mass-tiny"])
def test_tasks_that_need_a_start_token_say_so(recipe: str, made: Path) -> None:
    with pytest.raises(UserError, match=r"no start token|no cls token"):
        sesame.pretrain(small(recipe), made / "data", made / "run")
