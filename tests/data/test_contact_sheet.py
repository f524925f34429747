"""The contact sheet: what is said of a view is what was drawn for it, and its pixels are the view's."""

import numpy as np
import torch
from msgspec.structs import replace

from sesame.config import Augment, ImageData
from sesame.data.contact_sheet import COLOURS, GAP, TILE, contact_sheet, told
from sesame.data.images import ImageSet, ImageStream
from sesame.data.views import Parameters, apply, draw

TWO = Parameters(
    size=8,
    box=torch.tensor([[0, 1, 5, 7], [2, 2, 4, 4]]),
    flip=torch.tensor([1, 0]),
    order=torch.tensor([[3, 1, 0, 2], [0, 1, 2, 3]]),
    factor=torch.tensor([[1.1, 0.5, 1.25, -0.1], [1.0, 1.0, 1.0, 0.0]]),
    jittered=(torch.tensor([0]), *[torch.tensor([], dtype=torch.int64)] * 3),
    grey=torch.tensor([1]),
    blurred=torch.tensor([1]),
    sigma=torch.tensor([1.52]),
    radius=2,
    solarised=torch.tensor([0]),
)


def test_what_is_said_is_what_was_drawn_in_its_order() -> None:
    changes = "hue -36°, contrast 0.50, brightness 1.10, saturation 1.25"
    assert told(TWO, 0, True, False) == ["crop 7x5, mirrored", changes, "solarised"]
    assert told(TWO, 1, True, False) == ["crop 4x4", "colours kept", "grey, blur 1.5 px"]
    assert told(TWO, 0, True, True)[1] == "contrast 0.50, brightness 1.10"  # grey has no hue to turn
    assert told(TWO, 1, False, True) == ["crop 4x4", "blur 1.5 px"]


def test_each_row_is_the_image_and_its_views() -> None:
    stream = ImageStream(ImageSet(ImageData(rows=1)), 0)
    images = np.array([3, 900])
    plain = Augment(area=(0.3, 0.3), jitter=0.0, grey=0.0, blur=0.0)
    views = plain, replace(plain, solarise=1.0)
    sheet = np.asarray(contact_sheet(stream, views, images, 3, 7, "digits"))
    side, half = TILE // 8, TILE // 16
    assert sheet.shape[1] == GAP + 4 * (TILE + GAP)
    top = 4 * GAP
    key = stream.key[images]
    for n in range(3):
        p = draw(views[n % 2], key, 7, n // 2, n % 2, 8, 8)
        expected = apply(torch.from_numpy(stream.pixels[images]), p)[0, 0]
        centres = sheet[top + half : top + TILE : side, GAP + (n + 1) * (TILE + GAP) + half :, 0][:, :TILE:side]
        assert centres.shape == (8, 8)
        assert np.abs(centres / 255 - expected.numpy()).max() < 1 / 255
    outline = tuple(int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5))
    first, left, _, _ = draw(views[0], key, 7, 1, 0, 8, 8).box[0].tolist()  # the last view's is drawn over the others
    assert tuple(sheet[top + first * side, GAP + left * side].tolist()) == outline
