"""A labelled data set that a small network can learn in seconds: whether a text has one of two words in it."""

import random
from collections.abc import Sequence

from small_model import WORDS

from sesame import config
from sesame.tasks.base import Notes, TaskData
from sesame.tasks.classification import Choice, Classification
from sesame.tasks.tables import TextExample


def examples(count: int, first: int = 0) -> list[TextExample]:
    """Texts of 2 to 9 words; the same for the same numbers."""
    made = []
    for number in range(first, first + count):
        chance = random.Random(number)
        words = [chance.choice(WORDS.split()) for _ in range(chance.randint(2, 9))]
        label = "yes" if {"list", "value"} & set(words) else "no"
        made.append(TextExample(f"text-{number}", f"texts.tsv:{number + 2}", " ".join(words), label=label))
    return made


class Quick(Classification):
    """Without what it takes to choose a linear model."""

    def lexical(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[Choice]:
        return self.majority(train, test)


def task_data(train: int = 24, dev: int = 8, test: int = 8, kind: type[Classification] = Quick) -> TaskData:
    parts: Sequence[list[TextExample]] = examples(train), examples(dev, 1000), examples(test, 2000)
    settings = config.Classification()
    return TaskData("small", kind(settings, ("no", "yes")), *parts, Notes())
