"""A small encoder-decoder with random weights, as it would be loaded."""

import torch
from small_model import LENGTH, PIECES

from sesame import config, models, pretext
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, wordpiece
from sesame.engine.build import Model
from sesame.pretext.base import Objective

INFILLING = config.Denoising()


def make(
    init: float = 0.3, task: config.Denoising = INFILLING, sentinels: int = 0, vocabulary: Vocabulary | None = None
) -> Model:
    own = Vocabulary(wordpiece({piece: i for i, piece in enumerate(PIECES)}, lowercase=True), BERT_SPECIAL)
    vocabulary = (vocabulary or own).with_sentinels(sentinels)
    rows = vocabulary.size - sentinels + 3
    stack = {"layers": 2, "width": 32, "heads": 2, "ffn": 64, "vocab": rows, "positions": 40, "kinds": 0}
    encoder, decoder = (config.Transformer(**stack, init=init, causal=causal) for causal in (False, True))
    shape = config.EncoderDecoder(encoder=encoder, decoder=decoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        backbone = models.build(shape)
    objective = Objective(backbone, pretext.build(task, backbone, vocabulary)).eval()
    recipe = config.Recipe(name="tiny", data=config.TextData(length=LENGTH), backbone=shape, pretext=task)
    return Model(objective, vocabulary, recipe, 0)
