"""The size ladder: every published size of the families that Sesame has, counted exactly, beside what was said of it.

A count is that of the network as it is used after pretraining: encoders with the pooler that theirs have, without
masked LM heads and without classifiers; a projection onto words that is the embedding counts once. It is made of the
network itself, on torch's meta device, where a tensor has a shape and no memory.
"""

from functools import cache
from typing import Any

import msgspec
import torch
from msgspec import Struct

from sesame import models
from sesame.config import Elmo, EncoderDecoder, ResNet, Transformer, ViT, WordVectors

Shape = Transformer | EncoderDecoder | WordVectors | Elmo | ResNet | ViT


class Published(Struct, frozen=True, kw_only=True):
    """One published model."""

    backbone: Shape
    year: int
    said: int
    """Parameters that were published for it, as they were rounded there; 0 where none were."""
    source: str
    pooler: bool = False
    why: str = ""
    """Why the two numbers differ, where they do by more than rounding."""


class Size(Struct, frozen=True, kw_only=True):
    """What a model weighs."""

    name: str
    kind: str
    """vectors, recurrent, encoder, decoder, encoder-decoder, convolutional (images); a ViT is an encoder."""
    year: int
    parameters: int
    said: int
    hold_fp32: int
    """Bytes of the weights, …"""
    hold_bf16: int
    train: int
    """… and of the weights, their gradients and AdamW's two moments, in fp32; without what the layers compute."""
    source: str
    why: str


def size_of(name: str) -> Size:
    """The exact numbers of one model of the ladder."""
    published, count = ZOO[name], parameters(name)
    return Size(
        name=name,
        kind=kind_of(published.backbone),
        year=published.year,
        parameters=count,
        said=published.said,
        hold_fp32=4 * count,
        hold_bf16=2 * count,
        train=16 * count,
        source=published.source,
        why=published.why,
    )


@cache
def parameters(name: str) -> int:
    """Exact number of parameters."""
    shape = ZOO[name].backbone
    counted = _counted(shape)
    pooler = shape.width * (shape.width + 1) if isinstance(shape, Transformer) and ZOO[name].pooler else 0
    return counted + pooler


def _counted(shape: Shape) -> int:
    """Layers that share no weights are all alike: one of each stack is made, and counted as often as there are."""
    if isinstance(shape, WordVectors | Elmo | ResNet | ViT):
        with torch.device("meta"):
            return sum(p.numel() for p in models.build(shape).parameters())
    stacks = {"": shape} if isinstance(shape, Transformer) else {"encoder.": shape.encoder, "decoder.": shape.decoder}
    one = {name: c if c.groups else msgspec.structs.replace(c, layers=1) for name, c in stacks.items()}
    small = one[""] if "" in one else EncoderDecoder(encoder=one["encoder."], decoder=one["decoder."])
    with torch.device("meta"):
        count = {name: p.numel() for name, p in models.build(small).named_parameters()}
    times = {f"{name}blocks.": c.layers for name, c in stacks.items() if not c.groups}
    return sum(n * next((t for stem, t in times.items() if name.startswith(stem)), 1) for name, n in count.items())


def kind_of(shape: Shape) -> str:
    if isinstance(shape, Transformer):
        return "decoder" if shape.causal else "encoder"
    kinds = {EncoderDecoder: "encoder-decoder", WordVectors: "vectors", Elmo: "recurrent"}
    return (kinds | {ResNet: "convolutional", ViT: "encoder"})[type(shape)]


def short(count: int) -> str:
    """1_557_611_200 as 1.56B; a dash for nothing."""
    for unit, name in ((10**9, "B"), (10**6, "M")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count) if count else "–"


# ----------------------------------------------------------------------------------------------- shapes
def _bert(layers: int, width: int, vocab: int = 30_522, **more: Any) -> Transformer:
    """Every BERT: heads of 64, a feed-forward four times as wide, 512 positions, two kinds of segment."""
    return Transformer(layers=layers, width=width, heads=width // 64, ffn=4 * width, vocab=vocab, **more)


def _roberta(layers: int, width: int, vocab: int = 50_265) -> Transformer:
    return _bert(layers, width, vocab, kinds=1, norm_eps=1e-5)


def _albert(layers: int, width: int) -> Transformer:
    return _bert(layers, width, 30_000, embedding=128, groups=1, activation="gelu_tanh")


def _gpt(layers: int, width: int, heads: int, positions: int, vocab: int = 50_257, **more: Any) -> Transformer:
    """Norm before each layer (GPT-2, GPT-3 and theirs) unless told."""
    own: dict[str, Any] = {"norm": "pre", "embedding_norm": False, "activation": "gelu_tanh", "norm_eps": 1e-5}
    return Transformer(
        layers=layers, width=width, heads=heads, ffn=4 * width, vocab=vocab, positions=positions, kinds=0, causal=True,
        **own | more,
    )  # fmt: skip


def _two(stack: Transformer, **decoder: Any) -> EncoderDecoder:
    return EncoderDecoder(encoder=stack, decoder=msgspec.structs.replace(stack, causal=True, **decoder))


def _bart(layers: int, width: int, heads: int, vocab: int = 50_265, **more: Any) -> EncoderDecoder:
    own: dict[str, Any] = {"kinds": 0, "norm_eps": 1e-5, "positions": 1024}
    return _two(Transformer(layers=layers, width=width, heads=heads, ffn=4 * width, vocab=vocab, **own | more))


def _t5(layers: int, width: int, heads: int, ffn: int, head: int = 64, v1: bool = False, vocab: int = 32_128) -> Any:
    """1.0; or 1.1 (`v1`), with gates and a projection of its own."""
    stack = Transformer(
        layers=layers, width=width, heads=heads, head_width=head, ffn=ffn, vocab=vocab, bias=False, kinds=0, norm="pre",
        norm_kind="rms", norm_eps=1e-6, embedding_norm=False, scale_scores=False, position="relative", gated=v1,
        activation="gelu_tanh" if v1 else "relu",
    )  # fmt: skip
    return _two(stack, output="untied" if v1 else "scaled")


def _vit(width: int) -> ViT:
    """Twelve layers, heads of 64, patches of 16x16 of an image of 224x224."""
    return ViT(width=width, heads=width // 64, ffn=4 * width, patch=16, image=224, in_channels=3)


# ------------------------------------------------------------------------------------------------ table
def _row(backbone: Shape, year: int, said: int | float, source: str, why: str = "", pooler: bool = False) -> Published:
    return Published(backbone=backbone, year=year, said=round(said * 1e6), source=source, why=why, pooler=pooler)


_MINI, _BERT, _CODE = "Turc et al. 2019, table 1", "Devlin et al. 2019, section 3", "google-research/bert"
_ROBERTA, _ALBERT = "fairseq, examples/roberta", "Lan et al. 2020, table 1"
_GPT2, _GPT3 = "Radford et al. 2019, table 2", "Brown et al. 2020, table 2.1"
_VISION, _DEIT = "torchvision, published weights", "Touvron et al. 2021, table 1; timm"
_T5, _V1, _MT5 = "Raffel et al. 2020, 3.7", "t5, released checkpoints", "Xue et al. 2021, table 1"
_UNTIED = "no figure was published; beside 1.0 it has gates, and projects onto words by a matrix of its own"

ZOO: dict[str, Published] = {
    "word2vec": _row(
        WordVectors(vocab=3_000_000, width=300), 2013, 900, "word2vec, GoogleNews-vectors-negative300",
        "the vectors as released; training holds as many again for the output side",
    ),
    "elmo": _row(
        Elmo(vocab=1),  # words are spelled, so their number does not matter
        2018, 93.6, "Peters et al. 2018, released model", "the lecture says 94M; without the softmax onto words",
    ),
    "gpt": _row(
        _gpt(12, 768, 12, 512, 40_478, norm="post"), 2018, 117, "Radford et al. 2019, table 2, of GPT",
    ),
    "bert-tiny": _row(_bert(2, 128), 2019, 4.4, _MINI, pooler=True),
    "bert-mini": _row(_bert(4, 256), 2019, 11.3, _MINI, pooler=True),
    "bert-small": _row(_bert(4, 512), 2019, 29.1, _MINI, pooler=True),
    "bert-medium": _row(_bert(8, 512), 2019, 41.7, _MINI, pooler=True),
    "bert-base": _row(_bert(12, 768), 2018, 110, _BERT, pooler=True),
    "bert-large": _row(
        _bert(24, 1024), 2018, 340, _BERT, "336.2M with its pretraining heads; 340M is rounded up", pooler=True
    ),
    "bert-base-chinese": _row(_bert(12, 768, 21_128), 2018, 110, _CODE, "a smaller vocabulary: 21,128", pooler=True),
    "bert-multilingual": _row(
        _bert(12, 768, 119_547), 2018, 110, f"{_CODE}, cased", "a larger vocabulary: 119,547", pooler=True
    ),
    "gpt2": _row(
        _gpt(12, 768, 12, 1024), 2019, 117, _GPT2, "the authors' table was wrong; the repository now says 124M"
    ),
    "gpt2-medium": _row(
        _gpt(24, 1024, 16, 1024), 2019, 345, _GPT2, "the authors' table was wrong; the repository now says 355M"
    ),
    "gpt2-large": _row(
        _gpt(36, 1280, 20, 1024), 2019, 762, _GPT2, "the authors' table was wrong; the repository now says 774M"
    ),
    "gpt2-xl": _row(
        _gpt(48, 1600, 25, 1024), 2019, 1542, _GPT2, "the authors' table was wrong; the repository now says 1.5B"
    ),
    "roberta-base": _row(
        _roberta(12, 768), 2019, 125, _ROBERTA, "its file holds two more rows of positions, which nothing reads",
        pooler=True,
    ),
    "roberta-large": _row(
        _roberta(24, 1024), 2019, 355, _ROBERTA, "its file holds two more rows of positions, which nothing reads",
        pooler=True,
    ),
    "albert-base": _row(_albert(12, 768), 2019, 12, _ALBERT, pooler=True),
    "albert-large": _row(_albert(24, 1024), 2019, 18, _ALBERT, pooler=True),
    "albert-xlarge": _row(_albert(24, 2048), 2019, 60, _ALBERT, "the paper rounds up", pooler=True),
    "albert-xxlarge": _row(
        _albert(12, 4096), 2019, 235, _ALBERT, "the shape in the paper's table gives 223M; it does not say why 235M",
        pooler=True,
    ),
    "bart-base": _row(
        _bart(6, 768, 12), 2019, 140, "fairseq, examples/bart",
        "its file holds twice two more rows of positions, which nothing reads",
    ),
    "bart-large": _row(
        _bart(12, 1024, 16), 2019, 400, "fairseq, examples/bart",
        "its file holds twice two more rows of positions, which nothing reads",
    ),
    "mbart-large": _row(
        _bart(12, 1024, 16, 250_027, norm="pre", scale_embedding=True), 2020, 680, "Liu et al. 2020, section 2.2",
        "the paper's shape and vocabulary give 611M; it does not say what the rest is",
    ),
    "t5-small": _row(_t5(6, 512, 8, 2048), 2019, 60, _T5),
    "t5-base": _row(_t5(12, 768, 12, 3072), 2019, 220, _T5),
    "t5-large": _row(_t5(24, 1024, 16, 4096), 2019, 770, _T5, "the paper rounds up"),
    "t5-3b": _row(_t5(24, 1024, 32, 16_384, head=128), 2019, 2800, _T5),
    "t5-11b": _row(_t5(24, 1024, 128, 65_536, head=128), 2019, 11_000, _T5),
    "t5-v1.1-small": _row(_t5(8, 512, 6, 1024, v1=True), 2020, 0, _V1, _UNTIED),
    "t5-v1.1-base": _row(_t5(12, 768, 12, 2048, v1=True), 2020, 0, _V1, _UNTIED),
    "t5-v1.1-large": _row(_t5(24, 1024, 16, 2816, v1=True), 2020, 0, _V1, _UNTIED),
    "t5-v1.1-xl": _row(_t5(24, 2048, 32, 5120, v1=True), 2020, 0, _V1, _UNTIED),
    "t5-v1.1-xxl": _row(_t5(24, 4096, 64, 10_240, v1=True), 2020, 0, _V1, _UNTIED),
    "mt5-small": _row(_t5(8, 512, 6, 1024, v1=True, vocab=250_112), 2020, 300, _MT5),
    "mt5-base": _row(_t5(12, 768, 12, 2048, v1=True, vocab=250_112), 2020, 580, _MT5),
    "mt5-large": _row(_t5(24, 1024, 16, 2816, v1=True, vocab=250_112), 2020, 1200, _MT5),
    "mt5-xl": _row(_t5(24, 2048, 32, 5120, v1=True, vocab=250_112), 2020, 3700, _MT5),
    "mt5-xxl": _row(_t5(24, 4096, 64, 10_240, v1=True, vocab=250_112), 2020, 13_000, _MT5),
    "megatron-8.3b": _row(
        _gpt(72, 3072, 24, 1024, 51_200), 2019, 8300, "Shoeybi et al. 2019, table 2", "vocabulary padded to 51,200"
    ),
    "turing-nlg": _row(
        _gpt(78, 4256, 28, 1024), 2020, 17_000, "Microsoft Research blog, February 2020",
        "the vocabulary is not published; GPT-2's is taken",
    ),
    "gpt3-125m": _row(_gpt(12, 768, 12, 2048), 2020, 125, _GPT3),
    "gpt3-350m": _row(_gpt(24, 1024, 16, 2048), 2020, 350, _GPT3),
    "gpt3-760m": _row(_gpt(24, 1536, 16, 2048), 2020, 760, _GPT3),
    "gpt3-1.3b": _row(
        _gpt(24, 2048, 16, 2048), 2020, 1300, _GPT3,
        "the table's 24 heads of 128 are wider than the model; 16 are taken, which changes no count",
    ),
    "gpt3-2.7b": _row(_gpt(32, 2560, 32, 2048), 2020, 2700, _GPT3),
    "gpt3-6.7b": _row(_gpt(32, 4096, 32, 2048), 2020, 6700, _GPT3),
    "gpt3-13b": _row(
        _gpt(40, 5120, 40, 2048), 2020, 13_000, _GPT3, "the table's width of 5,140 is not 40 heads of 128; 5,120 is"
    ),
    "gpt3-175b": _row(_gpt(96, 12_288, 96, 2048), 2020, 175_000, _GPT3),
    "resnet-18": _row(ResNet(depth=18), 2015, 11.7, _VISION, "without its classifier of 1,000 classes (513,000)"),
    "resnet-34": _row(ResNet(depth=34), 2015, 21.8, _VISION, "without its classifier of 1,000 classes (513,000)"),
    "resnet-50": _row(ResNet(depth=50), 2015, 25.6, _VISION, "without its classifier of 1,000 classes (2,049,000)"),
    "vit-tiny": _row(_vit(192), 2020, 5.7, _DEIT, "without its classifier of 1,000 classes (193,000)"),
    "vit-small": _row(_vit(384), 2020, 22, _DEIT, "without its classifier of 1,000 classes (385,000)"),
    "vit-base": _row(_vit(768), 2020, 86, "Dosovitskiy et al. 2021, table 1"),
}  # fmt: skip
