"""A small BERT with random weights, as it would be loaded."""

import torch

from sesame import config, models, pretext
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, wordpiece
from sesame.engine.build import Model
from sesame.pretext.base import Objective

WORDS = "return the of list a value sorted every item in order and none if it is empty"
PIECES = [*BERT_SPECIAL.values(), *WORDS.split(), ".", ",", "##s", "##ed"]
LENGTH = 16
MASKED_LM = config.Bert()


def make(task: config.Pretext = MASKED_LM, recipe: bool = True, **changes) -> Model:
    vocabulary = Vocabulary(wordpiece({piece: i for i, piece in enumerate(PIECES)}, lowercase=True), BERT_SPECIAL)
    shape = {"layers": 2, "width": 32, "heads": 2, "ffn": 64, "vocab": len(PIECES), "positions": 40, "init": 0.3}
    shape = config.Transformer(**(shape | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = models.build(shape)
        objective = Objective(backbone, pretext.build(task, backbone, vocabulary))
        for name, p in objective.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(p, std=0.3)
    made = config.Recipe(name="tiny", data=config.TextData(length=LENGTH), backbone=shape, pretext=task)
    return Model(objective, vocabulary, made if recipe else None, 0)
