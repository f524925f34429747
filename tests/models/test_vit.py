"""ViT: published counts, and the outputs of transformers' own with the same weights."""

import pytest
import torch
from transformers import ViTConfig, ViTModel

from sesame import config
from sesame.data.batch import Pixels
from sesame.errors import UserError
from sesame.models.vit import ViT

SIZES = {"tiny": (192, 3, 5_717_416), "small": (384, 6, 22_050_664)}
"""Width, heads, and the parameters of timm's and DeiT's networks with their classifier of 1,000 classes."""


@pytest.mark.parametrize("name", SIZES)
def test_counts_are_the_published_ones(name: str) -> None:
    width, heads, published = SIZES[name]
    with torch.device("meta"):
        model = ViT(config.ViT(width=width, heads=heads, ffn=4 * width))
    token, classifier = width, 1000 * (width + 1)  # our class token starts from a bias and a position that are counted
    assert sum(p.numel() for p in model.parameters()) == published - classifier - token


@pytest.mark.parametrize("channels", [1, 3])
def test_the_outputs_are_those_of_transformers(channels: int) -> None:
    torch.manual_seed(0)
    other = ViTModel(
        ViTConfig(
            hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=48, image_size=12,
            patch_size=4, num_channels=channels, layer_norm_eps=1e-6,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    for p in other.parameters():
        p.data.normal_(0, 0.3)
    c = config.ViT(layers=3, width=24, heads=3, ffn=48, patch=4, image=12, in_channels=channels)
    model = ViT(c).eval()
    theirs = other.state_dict()
    bias = theirs["embeddings.patch_embeddings.projection.bias"]
    positions = theirs["embeddings.position_embeddings"][0].clone()
    positions[0] += theirs["embeddings.cls_token"][0, 0] - bias
    mine = {
        "embed.frame.weight": theirs["embeddings.patch_embeddings.projection.weight"].flatten(1),
        "embed.frame.bias": bias,
        "embed.position.weight": positions,
        "norm.weight": theirs["layernorm.weight"],
        "norm.bias": theirs["layernorm.bias"],
    }
    names = {"attention.out": "attention.o_proj", "attention.norm": "layernorm_before"}
    names |= {"ffn.up": "mlp.fc1", "ffn.down": "mlp.fc2", "ffn.norm": "layernorm_after"}
    for i in range(3):
        for kind in ("weight", "bias"):
            qkv = [theirs[f"layers.{i}.attention.{which}_proj.{kind}"] for which in "qkv"]
            mine[f"blocks.{i}.attention.qkv.{kind}"] = torch.cat(qkv)
            for name, its in names.items():
                mine[f"blocks.{i}.{name}.{kind}"] = theirs[f"layers.{i}.{its}.{kind}"]
    model.transformer.load_state_dict(mine)
    x = torch.rand(5, channels, 12, 12)
    with torch.no_grad():
        expected = other(x, output_hidden_states=True)
        torch.testing.assert_close(model(Pixels(x)).last, expected.last_hidden_state[:, 0], rtol=1e-4, atol=1e-5)
        states = model(Pixels(x), layers=True)
    torch.testing.assert_close(states.last, expected.last_hidden_state[:, 0], rtol=1e-4, atol=1e-5)
    assert len(states.layers) == 4
    torch.testing.assert_close(states.layers[0], expected.hidden_states[0], rtol=1e-4, atol=1e-5)


def test_small_images_are_cut_into_small_patches_and_others_are_refused() -> None:
    small = ViT(config.ViT(layers=1, width=12, heads=3, ffn=24, image=32))
    assert small.rows(torch.rand(2, 3, 32, 32)).x.shape == (2, 65, 48)
    with pytest.raises(UserError, match=r"images of 3x28x28 for a ViT made for 3x32x32"):
        small(Pixels(torch.rand(2, 3, 28, 28)))
    with pytest.raises(UserError, match=r"30x30 cannot be cut into patches of 4x4"):
        ViT(config.ViT(image=30))
