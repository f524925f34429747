"""What every use of a model needs: its backbone, what it reads with, and how much of it at once."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.elmo import Elmo
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer
from sesame.models.upstream import Upstream
from sesame.models.word_vectors import WordVectors
from sesame.tasks.base import Task
from sesame.tasks.hearing import Ear, Listener

TEXT: tuple[type, ...] = (Transformer, WordVectors, Elmo)
"""Backbones over tokens: they read `Rows`, and their states are those of its positions."""


def text_model(model: Model) -> tuple[Any, Vocabulary]:
    """The backbone over tokens of `model`, and its tokenizer; a UserError for a model of anything else."""
    backbone = model.objective.backbone
    if not isinstance(backbone, TEXT) or model.vocabulary is None:
        raise UserError(
            f"{name(model)} is no Transformer over text, no ELMo and no word vectors, so it cannot read this text. "
            "Choose a text model."
        )
    return backbone, model.vocabulary


def writing_model(model: Model) -> tuple[EncoderDecoder, Vocabulary]:
    """The encoder-decoder of `model`, and its tokenizer; a UserError for a model of anything else."""
    backbone = model.objective.backbone
    if not isinstance(backbone, EncoderDecoder) or model.vocabulary is None:
        raise UserError(
            f"{name(model)} is no encoder-decoder, so it cannot write a text for a text. Choose one, such as a run of "
            "bart-tiny."
        )
    return backbone, model.vocabulary


def speech_model(model: Model) -> tuple[Any, Ear]:
    """The backbone over frames of `model`, and how it hears; a UserError for a model of anything else."""
    data = model.data
    if not isinstance(data, config.SpeechData):
        raise UserError(f"{name(model)} reads no speech, so it cannot learn this task. Choose a run on speech.")
    backbone = model.objective.backbone
    return backbone, Listener(data, backbone) if isinstance(backbone, Upstream) else Ear(data)


def backbone_of(model: Model) -> Any:
    """The backbone of a model of text or speech, of any kind; a UserError for a model of anything else."""
    if hears(model):
        return model.objective.backbone
    writes = isinstance(model.objective.backbone, EncoderDecoder)
    return writing_model(model)[0] if writes else text_model(model)[0]


def image_model(model: Model) -> Any:
    """The backbone of a model of images; a UserError for a model of anything else."""
    if not isinstance(model.data, config.ImageData):
        raise UserError(f"{name(model)} is no model of images. Choose a run that was pretrained on some.")
    return model.objective.backbone


def hears(model: Model) -> bool:
    """Whether it is a model of speech."""
    return isinstance(model.data, config.SpeechData)


def model_for(task: Task[Any, Any], model: Model) -> tuple[Any, Any]:
    """The backbone that `task` is learned with, and what it reads with (None of images); a UserError for a model that
    cannot do it."""
    if task.reads == "images":
        return image_model(model), None
    if task.reads == "speech":
        return speech_model(model)
    return writing_model(model) if task.writes else text_model(model)


def stacks(backbone: Any) -> tuple[Any, ...]:
    return (backbone.encoder, backbone.decoder) if isinstance(backbone, EncoderDecoder) else (backbone,)


def positions(backbone: Any) -> int | float:
    """Positions that every stack has; infinitely many where none is learned."""
    learned = [stack.config.positions for stack in stacks(backbone) if stack.config.position == "learned"]
    return min(learned, default=math.inf)


def name(model: Model) -> str:
    """What messages call `model`."""
    return model.recipe.name if model.recipe else "this model"


def reach(model: Model) -> int:
    """Positions that the model learned to read, [CLS] and [SEP] included: its longest row in training.

    Its position table may go on after that, but no training example reached those positions: they still hold random
    numbers. Of a published model, whose training is not known here, the table is believed.
    """
    if hears(model):
        return speech_model(model)[1].data.longest
    if model.recipe is None:
        return min(stack.config.positions for stack in stacks(backbone_of(model)))
    data = model.recipe.data
    assert isinstance(data, config.TextData), "a backbone over tokens is trained on text"
    return data.longest


def first_embeddings(model: Model) -> Float32[np.ndarray, "token width"]:
    """The vector of every token of the vocabulary by itself: what a model knows of it before it reads its context."""
    backbone, _ = text_model(model)
    with torch.inference_mode():
        vectors = backbone.words() if isinstance(backbone, Elmo) else backbone.embed.token.weight
        return vectors.float().cpu().numpy()
