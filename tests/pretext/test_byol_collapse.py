"""What keeps methods without negatives from making all outputs one: taken away, the collapse shows in their spread."""

import itertools

import pytest
import torch
from torch import nn

from sesame import config
from sesame.data.batch import Cursor, Pixels
from sesame.data.images import ImageSet, ImageStream
from sesame.engine.optim import Optimizer, rate_at
from sesame.models.convnet import ConvNet
from sesame.pretext import build
from sesame.pretext.base import Objective

DIGITS = config.VIEWS["digits"]
STEPS = 50
TASKS = {
    "byol": config.Byol(views=DIGITS, hidden=64, out=32, decay=0.9),
    "simsiam": config.SimSiam(views=DIGITS, out=32, hidden=8, layers=2),
}
DESCENT = config.Optimizer(lr=1e-2, beta2=0.999, eps=1e-8, weight_decay=0.0, decay="cosine")


def trained(task: config.Pretext, predictor: bool) -> Objective:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = ConvNet(config.ConvNet(channels=(6, 12)))
    whole = Objective(backbone, build(task, backbone, None)).train()
    if not predictor:
        whole.pretext.predictor = nn.Identity()
    optimizer = Optimizer(whole, DESCENT)
    stream = ImageStream(ImageSet(config.ImageData(rows=32)), seed=0)
    for step, data in enumerate(itertools.islice(stream.train(Cursor(), 0, STEPS, 1), STEPS)):
        (term,) = whole(whole.pretext.split(data.parts[0])).values()
        (term.sum / term.count).backward()
        optimizer.step(rate_at(DESCENT, step, STEPS))
        whole.pretext.after_step(backbone, step, STEPS)
    return whole.eval()


def spread(whole: Objective) -> float:
    """Standard deviation of the projections at length 1, as a share of that of even directions, 1/√d."""
    pixels = torch.from_numpy(ImageStream(ImageSet(config.ImageData()), 0).pixels).float() / 255
    with torch.no_grad():
        z = nn.functional.normalize(whole.pretext.projector(whole.backbone(Pixels(pixels)).last), dim=1)
    return float(z.std(0).mean()) * z.shape[1] ** 0.5


@pytest.mark.parametrize("name", TASKS)
def test_with_its_predictor_the_outputs_stay_apart(name):
    assert spread(trained(TASKS[name], predictor=True)) > 0.4


def test_byol_without_its_predictor_collapses():
    assert spread(trained(TASKS["byol"], predictor=False)) < 0.15
