"""Small untrained text models with real tokenizers, and the text they would be trained on."""

from pathlib import Path

import numpy as np
import probed
import torch
from jaxtyping import Float
from torch import Tensor

from sesame import config
from sesame.data import chance
from sesame.data.encode import Encoder
from sesame.data.store import SourceInfo, StoreWriter, TokenStore
from sesame.data.text import TextSet, examples_of, rows_of
from sesame.data.tokenizer import Kind, train
from sesame.engine.build import Model
from sesame.probes.prediction import Reader

PARTS = """
the old man|a young woman|she|he|they|every child|the children|my friend|someone|paris
was seeing|can find|walked into|liked|would sell|is running to|are walking from|never lost|also kept
the house|an apple|his garden|these doors|some water|them|a small ship|london|her book|nothing
and smiled|but left|in the morning|with him|if it rained|very often|again|at night|by the road
"""
"""Subjects, verbs, objects, ends."""
CHINESE = ["我们在北京看见一本书。", "他的书很好，但是我不喜欢。", "这本书在北京很有名。"]


def sentence(*key: int) -> str:
    parts = [part.split("|") for part in PARTS.split("\n") if part]
    chosen = [part[int(chance.integers(len(part), "reader", i, *key))] for i, part in enumerate(parts)]
    return f"{' '.join(chosen)}."


def documents(count: int = 60) -> list[str]:
    return [" ".join(sentence(number, i) for i in range(3 + number % 5)) for number in range(count)] + CHINESE


def prepared(folder: Path, kind: Kind = "wordpiece", vocab: int = 150, texts: list[str] | None = None) -> TextSet:
    """A store of `texts`; about a third of them is held out."""
    texts = texts or documents()
    sizes = {"wordpiece": vocab, "bytebpe": vocab + 200, "chars": vocab, "bytes": 0}
    vocabulary = train(kind, lambda: texts, sizes[kind])
    folder.mkdir(parents=True, exist_ok=True)
    with StoreWriter(folder / "store", vocabulary) as writer:
        encoded = Encoder(vocabulary)(texts)
        keys = np.array([chance.purpose_key(text) for text in texts], np.uint64)
        writer.append(encoded.ids, encoded.flags, encoded.lengths, keys, np.zeros(len(texts), np.int64))
        counts = dict.fromkeys(("characters", "bytes", "sentences", "unknown"), 0)
        sources = (SourceInfo("made", 0, 0, 0),)
        writer.finish(0.3, made_from="", lengths=(), skipped={}, sources=sources, **counts)
    source = config.TextData(store=str(folder / "store"), length=probed.LENGTH, rows=4)
    return TextSet(TokenStore.open(folder / "store"), source)


def bert(data: TextSet, seed: int = 0, **shape: object) -> Model:
    return _model(data, config.Bert(), seed, **shape)


def gpt(data: TextSet, seed: int = 0, **shape: object) -> Model:
    return _model(data, config.CausalLM(), seed, causal=True, norm="pre", kinds=0, **shape)


def _model(data: TextSet, task: config.Pretext, seed: int, **shape: object) -> Model:
    backbone = config.Transformer(**(probed.SHAPE | shape))
    recipe = config.Recipe(name="tiny", data=data.config, backbone=backbone, pretext=task, threads=1, seed=seed)
    return probed.model_of(recipe, data, seed)


def alone(reader: Reader, ids: np.ndarray) -> Float[Tensor, "token vocab"]:
    """The oracle: the scores of every token of one text, from a forward pass of its own that reads all positions.

    A masked LM's where the token stands, a causal LM's at the place before it.
    """
    batch, _ = examples_of([ids], reader.vocabulary, len(ids) + 2)
    with torch.no_grad():
        h = reader.backbone(rows_of(batch)).last[0]
        h = h[: len(ids)] if reader.causal else h[1 : len(ids) + 1]
        return reader.logits(h)
