"""Raw files to batches. `open_data` opens what a recipe trains on."""

from typing import Any

from sesame import config


def open_data(c: config.Data) -> Any:
    """What a recipe trains on, ready for `Pretext.stream`. Text is an opened token store; images and speech are
    small enough that their streams open them."""
    if isinstance(c, config.TextData):
        from sesame.data.text import TextSet

        return TextSet.open(c)
    return c


FACTS = ("vocab", "features", "in_channels", "image")
"""Fields of a backbone that are 0 where they are left to the data."""


def facts(c: config.Data, data: Any) -> dict[str, int]:
    """What the data say of these."""
    if isinstance(c, config.TextData):
        return {"vocab": data.vocabulary.size}
    if isinstance(c, config.SpeechData):
        return {"features": c.mels}
    from sesame.data.images import open_source

    channels, height = open_source(c).pixels.shape[1:3]
    return {"in_channels": channels, "image": height}
