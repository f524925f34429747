"""What another library published, ready to be read: a model with our names for its weights, or a network of theirs."""

from dataclasses import dataclass
from pathlib import Path

from sesame import config, models
from sesame.data.tokenizer import Vocabulary
from sesame.interop.generation import settings_in
from sesame.interop.hub import locate
from sesame.interop.model_folder import open_model
from sesame.models.upstream import SAMPLE_RATE, upstream_in
from sesame.pretext.base import Objective, Pretext


@dataclass(frozen=True)
class Ready:
    objective: Objective
    vocabulary: Vocabulary | None = None
    data: config.Data | None = None
    """How what it reads is prepared, where that is no text."""
    writes: config.Generate | None = None
    """How it is to write, where it says."""


def ready(model: str | Path) -> Ready:
    """Open a folder or a hub name. Raises UserError as `open_model` does."""
    if upstream := upstream_in(locate(str(model))):
        return Ready(Objective(models.build(upstream), Pretext()), data=config.SpeechData(sample_rate=SAMPLE_RATE))
    published = open_model(model)
    return Ready(published.objective(), published.vocabulary, writes=settings_in(published.folder))
