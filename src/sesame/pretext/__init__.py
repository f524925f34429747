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
