"""What a model is used for: writing on, labelled tasks, and how they are learned."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from sesame.config.data import Espeak
from sesame.config.types import Above0, Count, Positive, Rate


class Generate(Struct, frozen=True, kw_only=True):
    """How a model writes on."""

    max_tokens: Positive = 100
    """Tokens written at most."""
    samples: Positive = 1
    """Texts for each prompt."""
    temperature: Annotated[float, Meta(ge=0)] | None = None
    """Scores are divided by it before one token is drawn; 0 takes the likeliest each time. Unset: 0.8."""
    top_k: Count = 0
    """Draw among so many likeliest tokens only; 0 for all."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Draw among the fewest likeliest tokens that have this probability together (Holtzman et al. 2020)."""
    min_p: Rate = 0.0
    """Draw among tokens with at least this share of the likeliest one's probability (Nguyen et al. 2025)."""
    repetition_penalty: Above0 = 1.0
    """Scores of tokens that are there already, the prompt's too, are divided by it where positive and multiplied where
    negative (Keskar et al. 2019). Of an encoder-decoder what it reads does not count, only what it writes."""
    beams: Positive = 1
    """Above 1: beam search in place of drawing."""
    length_penalty: float = 1.0
    """Beams are ranked by log-probability / length**penalty; above 0 favours long texts."""
    stop: tuple[str, ...] = ()
    """Texts at which writing ends; they are not part of the result."""
    seed: int = 0
    """What is drawn depends on it, the prompt, the number of the sample and the place, and on nothing else."""
    long: Literal["refuse", "window"] = "refuse"
    """Where the context ends. refuse: a longer prompt is an error, and writing ends. window: the newer half is read
    anew; the source of an encoder-decoder is cut."""


class TaskFiles(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Where the labelled examples of a task are."""

    train: str = ""
    dev: str = ""
    test: str = ""
    """Files; without a test file the dev file is reported too, and it is said."""


class Table(TaskFiles, frozen=True, kw_only=True):
    """Rows of a TSV, CSV or JSONL file."""

    text: str = "text"
    """Column of the text."""
    pair: str = ""
    """Column of the second text, for pairs."""
    label: str = "label"
    key: str = ""
    """Column that identifies a row; empty for the line number."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """What a head reads: the mean over all positions; the first ([CLS]), which BERT trains by next sentences; or the
    last, which alone has seen the whole text where a model reads from left to right. auto: last for such, else mean."""


class Classification(Table, frozen=True, kw_only=True, tag="classification"):
    """A class for a text, or for a pair of texts."""

    metric: Literal["accuracy", "macro_f1", "matthews"] = "accuracy"


class Regression(Table, frozen=True, kw_only=True, tag="regression"):
    """A number for a text, or for a pair of texts."""

    metric: Literal["pearson", "spearman"] = "pearson"


class Tagging(TaskFiles, frozen=True, kw_only=True, tag="tagging"):
    """A tag for every word, from CoNLL columns or CoNLL-U."""

    column: str = ""
    """Column of the tag: a name of CoNLL-U (upos, xpos, deprel), or a number from 1; empty for upos, or the last."""
    piece: Literal["auto", "first", "last"] = "auto"
    """Which sub-word of a word the head reads. auto: last where a model reads from left to right, else first."""
    metric: Literal["auto", "accuracy", "entity_f1"] = "auto"
    """auto: entity F1 where the tags are B-, I-, E-, S- and O, accuracy elsewhere."""


class SpanQA(TaskFiles, frozen=True, kw_only=True, tag="span-qa"):
    """The answer to a question as a span of a text, from SQuAD 1.1 or 2.0 JSON (also CMRC 2018, DRCD)."""

    metric: Literal["squad", "cmrc"] = "squad"
    """SQuAD's English scores, or CMRC's, which read Chinese."""
    stride: Positive = 128
    """Tokens from the start of one window of a long text to the start of the next; at most half of what fits."""
    longest_question: Positive = 64
    """Tokens after which a question is cut."""
    longest_answer: Positive = 30
    """Tokens an answer may have."""
    best: Positive = 20
    """Starts, and ends, of each window that are considered."""
    null_threshold: float | None = None
    """"No answer" is given where its score exceeds the best answer's by more than this (SQuAD 2.0). Unset: what is best
    on dev."""


class Seq2Seq(TaskFiles, frozen=True, kw_only=True, tag="seq2seq"):
    """A text for a text, from rows of a TSV, CSV or JSONL file; for encoder-decoders."""

    source: str = "source"
    """Column of the text that is read."""
    target: str = "target"
    """Column of the text that is to be written."""
    key: str = ""
    """Column that identifies a row; empty for the line number."""
    metric: Literal["rouge_l", "rouge_1", "rouge_2", "bleu", "exact"] = "rouge_l"
    longest: Positive = 64
    """Tokens that are written at most; longer targets are cut in training, and scored whole."""
    cased: bool = False
    """Exact match and BLEU tell upper from lower case; a model whose tokenizer writes lower case cannot."""


class Images(TaskFiles, frozen=True, kw_only=True, tag="images"):
    """A class for an image. Files are what image data are read from (`ImageData.source`); without test, the tenth of
    train that pretraining on it holds out."""

    metric: Literal["accuracy", "macro_f1", "matthews"] = "accuracy"
    size: Count = 0
    """Height and width that images are brought to; 0 for what suits them (`ImageData.size`)."""
    channels: Literal[0, 1, 3] = 0
    """1 for grey, 3 for colours; 0 for what the images are."""
    image_field: str = "image"
    """Column of Parquet files and hub data sets that holds the image, …"""
    label_field: str = "label"
    """… and its label."""


class Speech(TaskFiles, frozen=True, kw_only=True):
    """Utterances out of a source of speech: a folder, a manifest, or espeak (see SpeechData)."""

    pattern: str = ""
    """What a file's name says, where it does: {digit}_{speaker}_{take}."""
    apart: Literal["auto", "speakers", "source", "utterances"] = "auto"
    """How dev and test are told from train where no files are named. speakers: no speaker is on two sides; source: as
    the source divides them; auto: as the source does if no speaker is then on two sides, or the speaker is the label,
    else by speakers where three or more are known."""
    espeak: Espeak = Espeak()
    """What the source espeak says."""


class SpokenClass(Speech, frozen=True, kw_only=True, tag="spoken-class"):
    """A class for an utterance: a keyword, a speaker, an emotion."""

    label: str = "label"
    """Column of the manifest, or field of the pattern, that is the class; speaker for the speaker."""
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    pooling: Literal["mean", "statistics"] = "mean"
    """What the head reads of each layer's states: their mean over time, or also their standard deviation, as x-vectors
    do (Snyder et al. 2018): a voice is in how the states vary, too."""


class PhoneFrames(Speech, frozen=True, kw_only=True, tag="phone-frames"):
    """The phone that sounds in each frame, from the times of phones that the source knows."""


class PhoneCtc(Speech, frozen=True, kw_only=True, tag="phone-ctc"):
    """The phones of an utterance in order, without their times (Graves et al. 2006)."""


Task = Classification | Regression | Tagging | SpanQA | Seq2Seq | Images | SpokenClass | PhoneFrames | PhoneCtc


class FineTune(Struct, frozen=True, kw_only=True):
    """How a head and a backbone are trained on a task."""

    epochs: Above0 = 8.0
    min_steps: Count = 200
    """Optimiser steps at least: few examples need more epochs, above all from scratch (Zhang et al. 2021)."""
    rows: Positive = 32
    """Sequences in an optimiser step."""
    lr: Above0 = 5e-4
    """Peak rate; warmed up over a tenth of the steps, then linearly to 0."""
    head_lr: Above0 = 1e-2
    """The same where the head is trained on a backbone that is not: with `freeze`, and beside features that stay."""
    sweep: tuple[Above0, ...] = ()
    """Rates that are tried on one seed; the best on dev is taken for all."""
    layer_decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Factor of the rate for each layer further from the head (Howard & Ruder 2018; Clark et al. 2020)."""
    freeze: bool = False
    """Train the head alone."""
    mix: bool = False
    """The head reads a learned mix of all layers in place of the last one (as ELMo is used, frozen)."""
    dropout: Rate = 0.1
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    patience: Count = 0
    """Evaluations on dev without a better score after which training stops; 0 for never."""
    evaluations: Positive = 8
    """On dev, evenly over the steps; the best one's weights are kept."""
    labels: tuple[Positive, ...] = ()
    """Numbers of training examples that are tried beside all of them; a smaller choice is part of every larger one."""
    per_class: tuple[Positive, ...] = ()
    """The same as numbers for each class: of 10 digits, 10 is 100 examples, as many of each as there are."""
    percent: tuple[Annotated[float, Meta(gt=0, lt=100)], ...] = ()
    """The same in hundredths of the training examples."""
    length: Count = 0
    """Tokens (frames) a sequence may have; 0 for what the model reads."""
    seed: int = 0
    threads: Count = 0
