"""Pretext tasks: what is hidden, and what is to be recovered."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from sesame.config.augment import VIEWS, Views
from sesame.config.types import Above0, Positive, Rate


class Bert(Struct, frozen=True, kw_only=True, tag="bert"):
    """Masked LM with any weighted mixture of next-sentence and sentence-order prediction (Devlin 2019, Lan 2020)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    mask: Rate = 0.8
    """Share of the hidden tokens replaced by [MASK]."""
    random: Rate = 0.1
    """Share of the hidden tokens replaced by a random one; the rest stay as they are."""
    unit: Literal["token", "word", "span", "ngram"] = "token"
    """What is hidden together: tokens, whole words, SpanBERT's spans of words, ALBERT's n-grams of words."""
    masked_lm: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of the masked LM loss."""
    next_sentence: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of the next-sentence loss; above 0, examples are sentence pairs."""
    sentence_order: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of the sentence-order loss; above 0, examples are sentence pairs."""
    pairs: bool = False
    """Examples are sentence pairs also where no pair loss has a weight; all are neighbours then."""
    embeddings: Literal["normal", "counts"] = "normal"
    """counts: the first embeddings come from what stands near what in the text (PPMI, SVD), in seconds."""


class CausalLM(Struct, frozen=True, kw_only=True, tag="causal-lm"):
    """Predict the next token from those before it (Radford et al. 2018)."""


class TokenMasking(Struct, frozen=True, kw_only=True, tag="token-masking"):
    """Single tokens become [MASK] (Lewis et al. 2020, 2.2); with `random` 0.1 it is BERT style (Raffel et al., 3.3)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    random: Rate = 0.0
    """Share of the hidden tokens replaced by a random one instead of [MASK]."""


class TokenDeletion(Struct, frozen=True, kw_only=True, tag="token-deletion"):
    """Single tokens are left out, and nothing says where (Lewis et al. 2020, 2.2; Raffel et al. 2020, 3.3)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is left out."""


class TextInfilling(Struct, frozen=True, kw_only=True, tag="text-infilling"):
    """Spans of Poisson length, none included, become one [MASK] each (Lewis et al. 2020, 2.2)."""

    rate: Rate = 0.3
    """Share of each example's tokens inside hidden spans."""
    span: Above0 = 3.0
    """Mean span length (Poisson)."""


class SentencePermutation(Struct, frozen=True, kw_only=True, tag="sentence-permutation"):
    """The sentences come in a random order (Lewis et al. 2020, 2.2)."""


class DocumentRotation(Struct, frozen=True, kw_only=True, tag="document-rotation"):
    """The text begins with a random one of its tokens; what was before it comes at the end (Lewis et al. 2020, 2.2)."""


class TokenShuffling(Struct, frozen=True, kw_only=True, tag="token-shuffling"):
    """The tokens come in a random order: T5's deshuffling (Raffel et al. 2020, 3.3)."""


class SpanCorruption(Struct, frozen=True, kw_only=True, tag="span-corruption"):
    """Hidden spans become one sentinel each, a different one for every span (Raffel et al. 2020, 3.1.4)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    span: Above0 = 3.0
    """Mean span length."""
    independent: bool = False
    """Each token is hidden by itself; what happens to stand together is one span, and `span` is not used."""


class FragmentMasking(Struct, frozen=True, kw_only=True, tag="fragment-masking"):
    """One run of tokens is hidden, each behind [MASK], another token or itself: MASS (Song et al. 2019, 3.1, 4.1)."""

    rate: Rate = 0.5
    """Share of each example's tokens in the fragment."""
    mask: Rate = 0.8
    """Share of the hidden tokens replaced by [MASK]."""
    random: Rate = 0.1
    """Share of the hidden tokens replaced by a random one; the rest stay as they are."""


class PrefixSplit(Struct, frozen=True, kw_only=True, tag="prefix-split"):
    """The text ends at a random place; what follows is hidden: the prefix LM (Raffel et al. 2020, 3.3)."""


Corruption = (
    TokenMasking
    | TokenDeletion
    | TextInfilling
    | SentencePermutation
    | DocumentRotation
    | TokenShuffling
    | SpanCorruption
    | FragmentMasking
    | PrefixSplit
)


class Denoising(Struct, frozen=True, kw_only=True, tag="denoising"):
    """An encoder reads damaged text, a decoder writes what it was (BART, MASS, T5)."""

    corruptions: tuple[Corruption, ...] = (TextInfilling(),)
    """What is done to a text, one after the other."""
    target: Literal["original", "missing"] = "original"
    """What is written: the whole text, or only the tokens that the last corruption hides."""


class SimClr(Struct, frozen=True, kw_only=True, tag="simclr"):
    """Of all other views in the batch, find the one of the same image (Chen et al. 2020)."""

    views: Views = VIEWS["simclr"]
    out: Positive = 128
    """Width of a projection; hidden layers of the projector are as wide as the backbone."""
    layers: Annotated[int, Meta(ge=2)] = 2
    """Of the projector; SimCLR v2 has three."""
    temperature: Above0 = 0.1


class Byol(Struct, frozen=True, kw_only=True, tag="byol"):
    """Predict a slow copy's projection of another view of the image (Grill et al. 2020)."""

    views: Views = VIEWS["byol"]
    hidden: Positive = 4096
    """Of projector and predictor."""
    out: Positive = 256
    decay: Rate = 0.99
    """Decay of the slow copy at the start; rises to 1 along a cosine. For 40, 100, 300 and 1,000 epochs of ImageNet the
    paper takes 0.97, 0.99, 0.99 and 0.996."""


class SimSiam(Struct, frozen=True, kw_only=True, tag="simsiam"):
    """Predict the projection of another view, which is held still (Chen & He 2021)."""

    views: Views = VIEWS["simclr"]
    out: Positive = 2048
    """Width of the projector's layers."""
    layers: Annotated[int, Meta(ge=2)] = 3
    """Of the projector; two for CIFAR."""
    hidden: Positive = 512
    """Of the predictor: a bottleneck."""


class MocoV3(Struct, frozen=True, kw_only=True, tag="moco-v3"):
    """Of a slow copy's outputs for the batch, predict the one of this image (Chen, Xie & He 2021)."""

    views: Views = VIEWS["byol"]
    hidden: Positive = 4096
    """Of projector and predictor."""
    out: Positive = 256
    layers: Annotated[int, Meta(ge=2)] = 2
    """Of the projector; three for vision Transformers, …"""
    predictor_norm: bool = False
    """… whose predictor also ends in batch norm."""
    temperature: Above0 = 1.0
    """1.0 for a ResNet, 0.2 for a vision Transformer."""
    decay: Rate = 0.99
    """Decay of the slow copy at the start; rises to 1 along a cosine."""


class Apc(Struct, frozen=True, kw_only=True, tag="apc"):
    """Autoregressive predictive coding: predict the frame `ahead` steps on from the past (Chung et al. 2019)."""

    ahead: Positive = 5


class FrameSpans(Struct, frozen=True, kw_only=True):
    """Spans of frames are hidden."""

    rate: Rate = 0.15
    """Share of an utterance's frames that its spans would cover if none overlapped; they may."""
    span: Positive = 7
    """Frames in a span."""


class Mockingjay(FrameSpans, frozen=True, kw_only=True, tag="mockingjay"):
    """Recover the frames of hidden spans from both sides (Liu et al. 2020)."""

    mask: Rate = 0.8
    """Share of the utterances whose hidden frames are replaced by zeros."""
    random: Rate = 0.1
    """Share of the utterances whose hidden frames are replaced by others of theirs; the rest stay as they are."""


class Tera(Mockingjay, frozen=True, kw_only=True, tag="tera"):
    """Mockingjay that also hides a block of frequency bands throughout each utterance (Liu et al. 2021)."""

    bands: Rate = 0.2
    """Share of the bands that are hidden at most; their number is uniform from none to so many."""


class BestRq(FrameSpans, frozen=True, kw_only=True, tag="best-rq"):
    """Predict the codes that a random projection gives to hidden frames (Chiu et al. 2022)."""

    rate: Rate = 0.4
    span: Positive = 10
    noise: Annotated[float, Meta(ge=0)] = 0.1
    """Standard deviation of the noise, around 0, that takes the place of hidden frames."""
    codes: Positive = 8192
    code_width: Positive = 16


class Hubert(FrameSpans, frozen=True, kw_only=True, tag="hubert"):
    """Predict the clusters of hidden frames (Hsu et al. 2021), as MelHuBERT does (Lin et al. 2022)."""

    rate: Rate = 0.8
    span: Positive = 10
    clusters: Positive = 100
    labels: str = ""
    """Cluster the hidden states of this run instead of the frames: the second iteration."""
    layer: int = -1
    """… of this layer, counted from 0 as `sesame watch` does; -1 is the last."""
    sample: Positive = 200_000
    """Frames that the clusters are found from; all are labelled."""


class Cpc(Struct, frozen=True, kw_only=True, tag="cpc"):
    """Tell the frames ahead from others of the utterance (van den Oord et al. 2018)."""

    ahead: Positive = 12
    """Steps ahead that are predicted, from 1 to this."""
    negatives: Positive = 10
    """Other frames of the same utterance that each true one stands among."""
    width: Positive = 64
    """Of the vectors that are compared."""


class WordWindow(Struct, frozen=True, kw_only=True):
    """Words and their neighbours, told from words drawn by chance (Mikolov et al. 2013)."""

    window: Positive = 5
    """Words to each side; every position takes a number of its own, uniform from 1 to this."""
    negative: Positive = 5
    """Words drawn by chance beside each true one, …"""
    exponent: Rate = 0.75
    """… with probability proportional to count**exponent."""
    sample: Annotated[float, Meta(ge=0)] = 1e-3
    """Words with a greater share of the text are left out now and then; 0 keeps every word."""


class Cbow(WordWindow, frozen=True, kw_only=True, tag="cbow"):
    """The mean of a word's neighbours predicts it."""


class SkipGram(WordWindow, frozen=True, kw_only=True, tag="skip-gram"):
    """Each neighbour of a word predicts it."""


class BidirectionalLM(Struct, frozen=True, kw_only=True, tag="bidirectional-lm"):
    """Predict the next word from those before it, and the word before from those after (Peters et al. 2018)."""


Pretext = (
    Bert
    | CausalLM
    | Denoising
    | SimClr
    | Byol
    | SimSiam
    | MocoV3
    | Apc
    | Mockingjay
    | Tera
    | BestRq
    | Hubert
    | Cpc
    | Cbow
    | SkipGram
    | BidirectionalLM
)
