"""Pretext tasks, one file each. `build` makes the one that a configuration describes."""

from collections.abc import Callable
from typing import Any

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.models.base import Backbone
from sesame.pretext.apc import Apc
from sesame.pretext.base import Pretext
from sesame.pretext.bert import Bert
from sesame.pretext.best_rq import BestRq
from sesame.pretext.bidirectional_lm import BidirectionalLM
from sesame.pretext.byol import Byol
from sesame.pretext.causal_lm import CausalLM
from sesame.pretext.cbow import Cbow
from sesame.pretext.cpc import Cpc
from sesame.pretext.denoising import Denoising
from sesame.pretext.hubert import Hubert
from sesame.pretext.mockingjay import Mockingjay
from sesame.pretext.mocov3 import MocoV3
from sesame.pretext.simclr import SimClr
from sesame.pretext.simsiam import SimSiam
from sesame.pretext.skip_gram import SkipGram
from sesame.pretext.tera import Tera

PRETEXTS: dict[type, Callable[[Any, Any, Any], Pretext]] = {
    config.Bert: Bert,
    config.CausalLM: CausalLM,
    config.Denoising: Denoising,
    config.SimClr: SimClr,
    config.Byol: Byol,
    config.SimSiam: SimSiam,
    config.MocoV3: MocoV3,
    config.Apc: Apc,
    config.Mockingjay: Mockingjay,
    config.Tera: Tera,
    config.BestRq: BestRq,
    config.Hubert: Hubert,
    config.Cpc: Cpc,
    config.Cbow: Cbow,
    config.SkipGram: SkipGram,
    config.BidirectionalLM: BidirectionalLM,
}


def build(c: config.Pretext, backbone: Backbone, vocabulary: Vocabulary | None) -> Pretext:
    """The pretext task with fresh heads for `backbone`; `vocabulary` of the text, None for images and speech."""
    return PRETEXTS[type(c)](c, backbone, vocabulary)


def in_words(pretext: config.Pretext) -> str:
    """What a model learns to do: predicting the next token."""
    if isinstance(pretext, config.Bert):
        parts = [
            (pretext.masked_lm, "masked language modelling"),
            (pretext.next_sentence, "next-sentence prediction"),
            (pretext.sentence_order, "sentence-order prediction"),
        ]
        return " and ".join(name for weight, name in parts if weight) or "nothing"
    if isinstance(pretext, config.Denoising):
        damage = ", ".join(str(c.__struct_config__.tag).replace("-", " ") for c in pretext.corruptions)
        return (
            f"denoising ({damage}), writing {'the whole text' if pretext.target == 'original' else 'what is missing'}"
        )
    return {
        config.CausalLM: "predicting the next token",
        config.SimClr: "finding the other view of the image (SimCLR)",
        config.Byol: "predicting another view of the image (BYOL)",
        config.SimSiam: "predicting another view of the image (SimSiam)",
        config.MocoV3: "finding the other view of the image (MoCo v3)",
        config.Apc: "predicting the frames ahead (APC)",
        config.Mockingjay: "recovering hidden frames (Mockingjay)",
        config.Tera: "recovering hidden frames and bands (TERA)",
        config.BestRq: "predicting random codes of hidden frames (BEST-RQ)",
        config.Hubert: "predicting clusters of hidden frames (HuBERT)",
        config.Cpc: "telling the frames ahead from others (CPC)",
    }.get(type(pretext), str(pretext.__struct_config__.tag))
