"""Raw files to batches. `open_data` opens what a recipe trains on."""

import glob
from pathlib import Path
from typing import Any

import msgspec

from sesame import config


def open_data(c: config.Data) -> Any:
    """What a recipe trains on, ready for `Pretext.stream`: a TextSet, an ImageSet or a SpeechSet.

    Each has the `config` that it was opened by; `facts`, what it knows of a backbone's FACTS; `hash`, of its content;
    and `altered`, what to say where that is not the hash it had. Images and sounds are read when first asked for, once.
    """
    if isinstance(c, config.TextData):
        from sesame.data.text import TextSet

        return TextSet.open(c)
    if isinstance(c, config.SpeechData):
        from sesame.data.speech import SpeechSet

        return SpeechSet(c)
    from sesame.data.images import ImageSet

    return ImageSet(c)


def located(c: config.Data, source: str) -> config.Data:
    """`c` with its source: a path is kept from the root on, so that a run finds it wherever it is gone on with."""
    hub, name = ("hf:", source[3:]) if source.startswith("hf:") else ("", source)
    path = Path(name).expanduser()
    there = source not in ("", *BUILT_IN) and (path.exists() or glob.has_magic(name))
    place = hub + str(path.resolve()) if there or isinstance(c, config.TextData) else source
    field = "store" if isinstance(c, config.TextData) else "source"
    return msgspec.structs.replace(c, **{field: place})


def unit_of(c: config.Data) -> str:
    """What a run counts as it goes on."""
    return {config.ImageData: "images", config.SpeechData: "frames"}.get(type(c), "tokens")


def pictured(c: config.Data) -> str:
    """What a stream's `picture` of such data shows."""
    if isinstance(c, config.ImageData):
        return (
            "Images as they are, with the crops outlined, and views of them as it is trained on, with what was drawn "
            "for each."
        )
    return "The first three seconds of some utterances: mel bands, low ones at the bottom."


BUILT_IN = ("digits", "espeak")
"""Images and speech that no file is needed for."""
FACTS = ("vocab", "features", "in_channels", "image")
"""Fields of a backbone that are 0 where they are left to the data."""
