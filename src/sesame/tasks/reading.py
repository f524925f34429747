"""What every use of a text model needs: its Transformer and tokenizer, and how much text it reads at once."""

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer


def text_model(model: Model) -> tuple[Transformer, Vocabulary]:
    """The Transformer over tokens of `model`, and its tokenizer; a UserError for a model of anything else."""
    backbone = model.objective.backbone
    if not isinstance(backbone, Transformer) or model.vocabulary is None:
        raise UserError(f"{name(model)} is no Transformer over text, so it cannot read this text. Choose a text model.")
    return backbone, model.vocabulary


def name(model: Model) -> str:
    """What messages call `model`."""
    return model.recipe.name if model.recipe else "this model"


def reach(model: Model) -> int:
    """Positions that the model learned to read, [CLS] and [SEP] included: its longest row in training.

    Its position table may go on after that, but no training example reached those positions: they still hold random
    numbers. Of a published model, whose training is not known here, the table is believed.
    """
    if model.recipe is None:
        backbone = model.objective.backbone
        return (backbone.encoder if isinstance(backbone, EncoderDecoder) else text_model(model)[0]).config.positions
    data = model.recipe.data
    assert isinstance(data, config.TextData), "a Transformer over tokens is trained on text"
    return max((phase.length for phase in data.phases), default=data.length)
