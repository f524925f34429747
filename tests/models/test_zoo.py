"""The ladder's counts are the published networks', by the papers' formulas and by whole copies."""

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from sesame import models, recipes
from sesame.config import EncoderDecoder, Transformer
from sesame.models.zoo import ZOO, Published, parameters, size_of

EXACT = {  # counted of the released networks, but for rows of positions that nothing reads
    "elmo": 93_600_864,
    "gpt": 116_534_784,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "bert-base-chinese": 102_267_648,
    "bert-multilingual": 177_853_440,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "roberta-base": 124_645_632 - 2 * 768,
    "roberta-large": 355_359_744 - 2 * 1024,
    "albert-base": 11_683_584,
    "albert-large": 17_683_968,
    "albert-xlarge": 58_724_864,
    "albert-xxlarge": 222_595_584,
    "bart-base": 139_420_416 - 4 * 768,
    "bart-large": 406_291_456 - 4 * 1024,
    "mbart-large": 610_851_840 - 4 * 1024,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344,
    "t5-v1.1-small": 76_961_152,
    "t5-v1.1-base": 247_577_856,
    "t5-v1.1-large": 783_150_080,
    "t5-v1.1-xl": 2_849_757_184,
    "t5-v1.1-xxl": 11_135_332_352,
    "mt5-small": 300_176_768,
    "mt5-base": 582_401_280,
    "mt5-large": 1_229_581_312,
    "mt5-xl": 3_742_619_648,
    "megatron-8.3b": 8_317_040_640,
    "turing-nlg": 17_176_845_728,
    "gpt3-175b": 174_604_259_328,
    "resnet-18": 11_689_512 - 1000 * 513,
    "resnet-34": 21_797_672 - 1000 * 513,
    "resnet-50": 25_557_032 - 1000 * 2049,
    "vit-tiny": 5_717_416 - 1000 * 193 - 192,  # the class token of theirs is a position and a bias of ours
    "vit-small": 22_050_664 - 1000 * 385 - 384,
    "vit-base": 86_567_656 - 1000 * 769 - 768,
}


@pytest.mark.parametrize("name", EXACT)
def test_a_published_size_has_its_exact_number_of_parameters(name: str) -> None:
    assert parameters(name) == EXACT[name]


@pytest.mark.parametrize("name", ZOO)
def test_what_was_published_is_near_or_it_is_said_why_not(name: str) -> None:
    size = size_of(name)
    assert size.why or abs(size.parameters / size.said - 1) < 0.03
    assert (size.hold_fp32, size.hold_bf16, size.train) == tuple(n * size.parameters for n in (4, 2, 16))
    assert size.source and 2012 < size.year < 2021


def _formula(c: Transformer | EncoderDecoder) -> int:
    """Vaswani's layers, added up by hand."""
    if isinstance(c, EncoderDecoder):
        cross = c.decoder.layers * _attention(c.decoder)
        return _formula(c.encoder) + _formula(c.decoder) + cross - c.decoder.vocab * c.decoder.width
    d, e = c.width, c.embedding or c.width
    norm = d if c.norm_kind == "rms" else 2 * d
    wide = (2 + c.gated) * d * c.ffn + c.bias * ((1 + c.gated) * c.ffn + d)
    own = c.layers if not c.groups else c.groups * c.inner
    tables = c.vocab + (c.positions if c.position == "learned" else 0) + c.kinds
    relative = c.buckets * c.heads if c.position == "relative" else 0
    project = e * d + d if c.embedding else 0
    ends = (2 * e) * c.embedding_norm + norm * (c.norm == "pre") + c.vocab * d * (c.output == "untied")
    return own * (_attention(c) + wide + norm) + tables * e + relative + project + ends


def _attention(c: Transformer) -> int:
    inner = c.heads * (c.head_width or c.width // c.heads)
    norm = c.width if c.norm_kind == "rms" else 2 * c.width
    return 4 * c.width * inner + c.bias * (3 * inner + c.width) + norm


NETWORKS = [name for name, published in ZOO.items() if isinstance(published.backbone, Transformer | EncoderDecoder)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_count_is_the_formula_and_that_of_a_small_whole_copy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published = ZOO[name]
    c = published.backbone
    pooler = c.width * (c.width + 1) if published.pooler else 0
    assert parameters(name) == _formula(c) + pooler

    def small(stack: Transformer) -> Transformer:
        heads = {"head_width": 5} if stack.head_width else {}
        embedding = {"embedding": 6} if stack.embedding else {}
        return msgspec.structs.replace(
            stack, layers=3, width=8, heads=2, ffn=12, vocab=20, positions=9, **heads, **embedding
        )

    if isinstance(c, EncoderDecoder):
        tiny: Transformer | EncoderDecoder = EncoderDecoder(encoder=small(c.encoder), decoder=small(c.decoder))
    else:
        tiny = small(c)
    built = sum(p.numel() for p in models.build(tiny).parameters())
    monkeypatch.setitem(ZOO, "tiny", Published(backbone=tiny, year=2020, said=1, source="here"))
    parameters.cache_clear()
    assert parameters("tiny") == built == _formula(tiny)
    parameters.cache_clear()


@pytest.mark.parametrize("name", sorted(ZOO.keys() & recipes.RECIPES.keys()))
def test_a_recipe_has_the_published_shape_of_its_name(name: str) -> None:
    def plain(c: Any) -> Any:
        free = {"vocab": 0, "dropout": 0.0, "start": "normal"}
        return msgspec.structs.replace(c, **{name: value for name, value in free.items() if hasattr(c, name)})

    ours, published = recipes.find(name).backbone, ZOO[name].backbone
    if isinstance(ours, EncoderDecoder):
        assert plain(ours.encoder) == plain(published.encoder) and plain(ours.decoder) == plain(published.decoder)
    else:
        assert plain(ours) == plain(published)


def test_the_counts_take_no_memory_and_the_meta_device_alone() -> None:
    parameters.cache_clear()
    made: list[torch.device] = []
    original = models.build

    def watched(c: Transformer | EncoderDecoder) -> nn.Module:
        network = original(c)
        made.extend({p.device for p in network.parameters()})
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", watched)
        assert parameters("gpt3-175b") > 10**11
    assert {device.type for device in made} == {"meta"}
