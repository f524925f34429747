"""ResNet: torchvision's names, shapes and counts, and the outputs of transformers' own with the same weights."""

import logging

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from sesame import config
from sesame.data.batch import Pixels
from sesame.models.resnet import DEPTHS, ResNet

PUBLISHED = {18: (11_689_512, 512), 34: (21_797_672, 512), 50: (25_557_032, 2048)}
"""torchvision's parameters, and the width that its classifier of 1,000 classes reads."""


@pytest.mark.parametrize("depth", PUBLISHED)
def test_counts_are_torchvisions_without_the_classifier(depth: int) -> None:
    with torch.device("meta"):
        model = ResNet(config.ResNet(depth=depth))
    whole, width = PUBLISHED[depth]
    assert model.width == width
    assert sum(p.numel() for p in model.parameters()) == whole - 1000 * (width + 1)


def torchvision_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict, written out from its documentation, without `fc`."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(stem: str, conv: str, norm: str, outward: int, inward: int, size: int) -> None:
        shapes[f"{stem}{conv}.weight"] = (outward, inward, size, size)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{stem}{norm}.{name}"] = (outward,)
        shapes[f"{stem}{norm}.num_batches_tracked"] = ()

    convolution("", "conv1", "bn1", 64, 3, 7)
    inward = 64
    for stage, blocks in enumerate({18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}[depth], 1):
        width = 64 << (stage - 1)
        for block in range(blocks):
            stem = f"layer{stage}.{block}."
            outward = width * (4 if depth == 50 else 1)
            if depth == 50:
                convolution(stem, "conv1", "bn1", width, inward, 1)
                convolution(stem, "conv2", "bn2", width, width, 3)
                convolution(stem, "conv3", "bn3", outward, width, 1)
            else:
                convolution(stem, "conv1", "bn1", width, inward, 3)
                convolution(stem, "conv2", "bn2", width, width, 3)
            if block == 0 and (stage > 1 or depth == 50):
                convolution(stem, "downsample.0", "downsample.1", outward, inward, 1)
            inward = outward
    return shapes


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_weights_would_fit_by_name_and_shape(depth: int) -> None:
    with torch.device("meta"):
        mine = ResNet(config.ResNet(depth=depth, image=224)).state_dict()
    assert {name: tuple(value.shape) for name, value in mine.items()} == torchvision_shapes(depth)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_outputs_are_those_of_transformers(depth: int) -> None:
    torch.manual_seed(0)
    model = ResNet(config.ResNet(depth=depth, image=224)).eval().double()
    sizes = [(256 if depth == 50 else 64) << i for i in range(4)]
    kind = "bottleneck" if depth == 50 else "basic"
    other = ResNetModel(ResNetConfig(hidden_sizes=sizes, depths=list(DEPTHS[depth]), layer_type=kind)).eval().double()
    for module in model.modules():  # statistics and scales that matter
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
    renamed = {}
    for name, value in model.state_dict().items():
        parts, kept = name.split("."), name.rpartition(".")[2]
        if not name.startswith("layer"):
            stem = "embedder.embedder"
            what = parts[0]
        else:
            what = parts[2]
            place = "shortcut" if what == "downsample" else f"layer.{int(what[-1]) - 1}"
            stem = f"encoder.stages.{int(parts[0][-1]) - 1}.layers.{parts[1]}.{place}"
        convolves = what.startswith("conv") or (what == "downsample" and parts[3] == "0")
        renamed[f"{stem}.{'convolution' if convolves else 'normalization'}.{kept}"] = value
    other.load_state_dict(renamed)
    x = torch.rand(2, 3, 65, 80, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = model(Pixels(x), layers=True), other(x, output_hidden_states=True)
    torch.testing.assert_close(ours.last, theirs.pooler_output[:, :, 0, 0])
    for mine, its in zip(ours.layers, theirs.hidden_states, strict=True):
        torch.testing.assert_close(mine, its)


def test_small_images_get_the_small_stem_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        small = ResNet(config.ResNet(image=32, in_channels=1))
        large = ResNet(config.ResNet(image=96))
    assert small.conv1.weight.shape == (64, 1, 3, 3) and large.conv1.weight.shape == (64, 3, 7, 7)
    assert [m.shape[2] for m in small(Pixels(torch.rand(2, 1, 32, 32)), layers=True).layers] == [32, 32, 16, 8, 4]
    assert [m.shape[2] for m in large(Pixels(torch.rand(2, 3, 96, 96)), layers=True).layers] == [24, 24, 12, 6, 3]
    assert "ResNet-18 for images of 32x32: its stem is 3x3 with stride 1, no max-pooling" in caplog.text
    assert "ResNet-18 for images of 96x96: its stem is 7x7 with stride 2, max-pooling" in caplog.text
    assert ResNet(config.ResNet(image=32, stem="large")).conv1.weight.shape[2] == 7
