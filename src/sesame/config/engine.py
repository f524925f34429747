"""Training: the optimiser, what is measured beside it, and the recipe, which fixes all of a run."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from sesame.config.data import Data
from sesame.config.models import Backbone
from sesame.config.pretext import Pretext
from sesame.config.types import Above0, Count, Positive, Rate


class Optimizer(Struct, frozen=True, kw_only=True):
    """AdamW everywhere, or Muon on the blocks' matrices with AdamW on the rest; or one of three kinds of descent.

    sgd changes weights by rate times gradient and nothing else (no momentum, no decay); it changes those rows of a
    table alone that a step has read, which is how word vectors are trained. momentum is what vision papers call SGD;
    lars is that with a rate of its own for each matrix, for large batches.
    """

    name: Literal["adamw", "muon", "sgd", "momentum", "lars"] = "adamw"
    lr: Above0 = 1e-3
    """Peak learning rate of all but Muon."""
    muon_lr: Above0 = 0.02
    beta1: Rate = 0.9
    beta2: Rate = 0.98
    eps: Above0 = 1e-6
    momentum: Rate = 0.9
    """Of momentum and lars."""
    nesterov: bool = False
    """momentum looks ahead (Sutskever et al. 2013)."""
    trust: Above0 = 1e-3
    """Of lars: a matrix moves by this share of its norm, times the rate."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    """Not applied to biases and norms. Decoupled in AdamW and Muon; momentum and lars add it to the gradient."""
    warmup: Rate = 0.06
    """Share of all steps over which the rate rises linearly from 0."""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    floor: Rate = 0.0
    """The rate at the last step, as a share of the peak."""
    clip: Annotated[float, Meta(ge=0)] = 1.0
    """Gradient norm above which gradients are scaled down; 0 for never."""


class Probe(Struct, frozen=True, kw_only=True):
    """A measurement of what the model has learned, which does not change it."""

    name: str
    """One of `sesame watch --help`, or a file of your own: my_probe.py."""
    source: str = ""
    """What it is measured on (--probe NAME=FILE); empty for what the probe brings itself, or the held-out data."""


class Watch(Struct, frozen=True, kw_only=True):
    """What is measured while a run trains, and when. Measuring changes no weight."""

    probes: tuple[Probe, ...] = ()
    """Given with --probe NAME or --probe NAME=FILE."""
    every: Count = 0
    """Measured at 0, 1, 2, 4, 8 … until these lie so far apart, then every so many; 0: as the budget allows."""
    at: tuple[Count, ...] = ()
    """Measured here and nowhere else, whatever it takes."""
    unit: Literal["steps", "tokens"] = "steps"
    """What `every` and `at` count."""
    budget: Rate = 0.05
    """Share of the planned training time that may be spent on measuring."""
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    """That share in seconds; 0: worked out at the start from the measured speed, and frozen."""


class Recipe(Struct, frozen=True, kw_only=True):
    """Everything that fixes a run. What is measured (threads, steps from minutes) is frozen here at the start."""

    name: str
    data: Data
    backbone: Backbone
    pretext: Pretext
    optimizer: Optimizer = Optimizer()
    steps: Count = 10_000
    """Optimiser steps in all."""
    max_minutes: Annotated[float, Meta(ge=0)] = 0.0
    """Above 0: the speed is measured at the start and `steps` set to what fits; evaluation and saving included."""
    max_tokens: Count = 0
    """Above 0: `steps` is set to what sees so many tokens (positions; images for images)."""
    accumulate: Positive = 1
    """Micro-batches in an optimiser step; the loss is the exact mean over the whole step."""
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """auto: bf16 on CUDA, fp32 elsewhere: without AMX bf16 products are slow on a CPU."""
    compile: bool = False
    threads: Count = 0
    """0: as many as there are cores; frozen at the start."""
    products: Literal["auto", "torch", "onednn"] = "auto"
    """How fp32 matrices are multiplied on a CPU: by torch's own library or by oneDNN; auto: whichever is measured to
    be faster, frozen at the start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    """On CUDA: only deterministic kernels, so that resuming is bit-exact there too."""
    ema: Rate = 0.0
    """Above 0: decay of a running average of the weights, evaluated and saved as the model."""
    eval_every: Count = 0
    """Steps between evaluations on held-out examples; 0: twenty times in the run."""
    eval_rows: Positive = 256
    """Held-out rows (images, utterances) that an evaluation reads."""
    save_every: Count = 0
    """Steps between checkpoints; 0: ten times in the run."""
    save_early: bool = False
    """Also at steps 1, 2, 4, 8 … before the first of these, to see afterwards how it began (as Pythia's are saved)."""
    save_minutes: Annotated[float, Meta(ge=0)] = 10.0
    """A checkpoint also when so many minutes have passed since the last; 0 for never."""
    keep: Positive = 2
    """Newest checkpoints kept whole; the others keep their weights only."""
    log_every: Positive = 10
    watch: Watch = Watch()
