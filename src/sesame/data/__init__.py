"""Raw files to batches. `open_data` opens what a recipe trains on."""

from typing import Any

from sesame import config


def open_data(c: config.Data) -> Any:
    """The data set behind a recipe's `data`, ready for `Pretext.stream`."""
    match c:
        case config.TextData():
            from sesame.data.text import TextSet

            return TextSet.open(c)
        case config.ImageData():
            from sesame.data.images import ImageSet

            return ImageSet.open(c)
        case config.SpeechData():
            from sesame.data.speech import SpeechSet

            return SpeechSet.open(c)
