"""A contact sheet of spectrograms, to see at a glance whether a speech source is what one thinks it is."""

from collections.abc import Sequence

import msgspec
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from sesame.config import SpeechData
from sesame.data.features import Features
from sesame.data.sound import read_sound
from sesame.data.utterance import Utterance

LONGEST = 300
"""Frames (10 ms each) that are drawn of an utterance."""
RANGE = 13.8
"""Natural logarithm of power from black to white: 60 dB below the loudest band of the utterance and less are black."""
COLUMNS, GAP, CAPTION = 3, 8, 14


def spectrograms(found: Sequence[Utterance], data: SpeechData, count: int) -> Image.Image:
    """`count` utterances, evenly from all over the source, low bands at the bottom."""
    count = min(count, len(found))
    chosen = [found[len(found) * i // count] for i in range(count)]
    cells = [spectrogram(utterance, data) for utterance in chosen]
    high, wide = cells[0].shape[0] + CAPTION + GAP, max(cell.shape[1] for cell in cells) + GAP
    sheet = Image.new("L", (GAP + COLUMNS * wide, GAP + -(-count // COLUMNS) * high), 32)
    pen = ImageDraw.Draw(sheet)
    for i, (cell, utterance) in enumerate(zip(cells, chosen, strict=True)):
        left, top = GAP + i % COLUMNS * wide, GAP + i // COLUMNS * high
        sheet.paste(Image.fromarray(cell), (left, top))
        said = " · ".join(filter(None, (utterance.speaker, utterance.label, utterance.text))) or utterance.path.name
        pen.text((left, top + cell.shape[0] + 1), said[: (wide - GAP) // 6], fill=224)
    return sheet


def spectrogram(utterance: Utterance, data: SpeechData) -> UInt8[np.ndarray, "band frame"]:
    """Its log-mel frames as grey levels, whatever features the recipe is for."""
    plain = msgspec.structs.replace(data, features="logmel", mels=80, deltas=0, cmvn=False)
    sound = read_sound(utterance.path, data.sample_rate, utterance.start, utterance.end)
    (frames,) = Features(plain).raw([sound])
    level = np.clip(1.0 + (frames[:LONGEST] - frames.max()) / RANGE, 0.0, 1.0)
    return np.rint(255 * level).astype(np.uint8).T[::-1]
