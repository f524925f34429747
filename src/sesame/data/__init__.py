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
